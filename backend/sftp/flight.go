package sftp

import (
	"context"
	"sync"
)

// flight is requests that are under way together over one connection: as many
// round trips as one of them takes. A server may carry them out in any order. It is
// not safe for concurrent use.
type flight struct {
	ctx   context.Context
	c     *conn
	queue []passenger
	err   error // the first
}

// passenger is a request whose answer has not been looked at.
type passenger struct {
	ch   <-chan answer
	then func(a answer) error
}

// window is how many requests of a flight are under way at most.
const window = 128

// rooms are for requests that carry data.
var rooms = sync.Pool{New: func() any { b := make([]byte, 0, roomSize); return &b }}

const roomSize = chunkSize + 1<<10 // with what else a request says; handles have 256 bytes at most

// send sends a request, unless something has failed. Then, which is run by land or
// a later send, turns the answer into the outcome. The request is gone after this.
func (f *flight) send(q request, then func(a answer) error) {
	for f.err == nil && len(f.queue) >= window {
		f.next()
	}
	if f.err != nil {
		return
	}
	ch, err := call(f.ctx, f.c, func() (<-chan answer, error) {
		ch, err := f.c.send(q)
		if b := []byte(q); cap(b) >= roomSize {
			rooms.Put(&b)
		}
		return ch, err
	})
	if f.err = err; err == nil {
		f.queue = append(f.queue, passenger{ch, then})
	}
}

// next waits for the answer to the first request.
func (f *flight) next() {
	p := f.queue[0]
	f.queue = f.queue[1:]
	f.c.pending.Add(1)
	defer f.c.pending.Add(-1)
	var err error
	select {
	case a := <-p.ch:
		err = f.c.judge(p.then(a))
	case <-f.ctx.Done():
		err, f.queue = f.ctx.Err(), nil
	case <-f.c.ctx.Done():
		err, f.queue = &lost{context.Cause(f.c.ctx)}, nil
	}
	if f.err == nil {
		f.err = err
	}
}

// land waits for all answers and returns the first failure.
func (f *flight) land() error {
	for len(f.queue) > 0 {
		f.next()
	}
	return f.err
}
