package archive

import (
	"context"

	"vault/crypto"
	"vault/snapshot"
)

// One large file keeps one worker busy with reading and cutting, while others may
// have nothing to do. So the worker lends chunks: a copy goes to a worker that is
// waiting at that moment, which names and stores it. When nobody waits it does so
// itself: no chunk is ever queued, and there is at most one copy for each worker.
const (
	lendFrom = 8 << 20 // bytes of a file, holes included, from which it is worth it
	maxLoans = 64      // items that may wait for an earlier one; most of them are done
)

// A loan is a chunk that another worker stores.
type loan struct {
	data []byte        // the copy, which the other worker gives back
	id   crypto.ID     // set before done
	done chan struct{} // one value when stored; none if the run is stopped before
}

// pending is an item that is known, or one that a loan will tell.
type pending struct {
	item snapshot.Item
	loan *loan
}

// loans are the items of a file from the first unknown one on.
type loans struct {
	queue []pending
	head  int
	bytes uint64 // of them all
}

func (l *loans) len() int   { return len(l.queue) - l.head }
func (l *loans) none() bool { return l.len() == 0 }
func (l *loans) reset()     { *l = loans{queue: l.queue[:0]} }

// lend offers b to the other workers. It reports whether one took it.
func (l *loans) lend(r *run, b []byte) bool {
	if r.idle.Load() <= 0 {
		return false
	}
	var room []byte
	select {
	case room = <-r.spare:
	default:
	}
	n := &loan{data: append(room[:0], b...), done: make(chan struct{}, 1)}
	select {
	case r.chunks <- n:
		l.push(pending{item: snapshot.Item{Kind: snapshot.ItemData, Length: uint64(len(b))}, loan: n})
		return true
	default:
		r.giveBack(n.data)
		return false
	}
}

func (r *run) giveBack(room []byte) {
	select {
	case r.spare <- room:
	default:
	}
}

// keep appends an item that is known.
func (l *loans) keep(it snapshot.Item) { l.push(pending{item: it}) }

func (l *loans) push(p pending) {
	l.queue = append(l.queue, p)
	l.bytes += p.item.Length
}

// first removes the first item if it is known, or when it becomes known if told to
// wait.
func (l *loans) first(ctx context.Context, wait bool) (snapshot.Item, bool, error) {
	p := &l.queue[l.head]
	it := p.item
	if p.loan != nil {
		select {
		case <-p.loan.done:
		default:
			if !wait {
				return it, false, nil
			}
			select {
			case <-p.loan.done:
			case <-ctx.Done():
				return it, false, context.Cause(ctx)
			}
		}
		it.ID = p.loan.id
	}
	l.bytes -= it.Length
	if l.head++; l.head == len(l.queue) {
		l.reset()
	}
	return it, true, nil
}

// repay stores the chunk of a loan.
func (w *worker) repay(l *loan) error {
	id, err := w.sink.put(w.run.ctx, crypto.BlobData, l.data)
	w.run.giveBack(l.data)
	l.data = nil
	if err != nil {
		return err
	}
	l.id = id
	l.done <- struct{}{}
	return nil
}
