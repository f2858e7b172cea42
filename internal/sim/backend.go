package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"

	"vault/backend"
)

var (
	errShort   = io.ErrUnexpectedEOF
	errTimeout = errors.New("sim: no answer in time")
	errKilled  = errors.New("sim: this process was killed")
	errFull    = fmt.Errorf("sim: %w", backend.ErrNoSpace)
)

func failed(op, name string, err error) error {
	return &backend.Error{Op: op, Place: "sim", Name: name, Err: err}
}

func missing(op, name string) error { return failed(op, name, fs.ErrNotExist) }

// kind is a method of the backend, or a turn that a client's goroutines take.
type kind uint8

const (
	opPut kind = iota
	opCreate
	opGet
	opList
	opDelete
	opTurn
)

func (k kind) String() string {
	return [...]string{"put", "create", "get", "list", "delete", "turn"}[k]
}

func (k kind) writes() bool { return k == opPut || k == opCreate || k == opDelete }

// call is one call of the store that waits to be granted.
type call struct {
	p      *process
	seq    int
	kind   kind
	name   string
	data   []byte
	off, n int64

	done  chan answer
	given bool    // the caller has gone: nobody waits for an answer
	ack   *effect // took effect already, the answer is on its way
}

// answer is what the caller gets.
type answer struct {
	data  []byte
	infos []backend.Info
	err   error
	late  error // after the data or the listing
}

// process is one life of a client: a [backend.Backend] whose calls wait for the
// scheduler, until it is killed.
type process struct {
	w      *World
	c      *client
	ctx    context.Context
	cancel context.CancelFunc
	gone   chan struct{} // closed when it is killed
	dead   bool          // guarded by w.mu
	held   bool          // someone has the turn; guarded by w.mu
	free   bool          // calls are answered at once: while it starts
	hurt   bool          // a fault was visible to the task at hand; guarded by w.mu
	frozen map[string][]backend.Info
	rand   *stream
	calls  int
}

var _ backend.Backend = (*process)(nil)

// do waits for the answer to one call.
func (p *process) do(ctx context.Context, k kind, name string, data []byte, off, n int64) answer {
	if err := ctx.Err(); err != nil {
		return answer{err: err}
	}
	c := &call{p: p, kind: k, name: name, data: bytes.Clone(data), off: off, n: n, done: make(chan answer, 1)}
	if !p.w.submit(c) {
		return answer{err: errKilled}
	}
	if p.free {
		return <-c.done
	}
	select {
	case a := <-c.done:
		return a
	case <-ctx.Done():
		p.w.leave(c)
		return answer{err: ctx.Err()}
	case <-p.gone:
		p.w.leave(c)
		return answer{err: errKilled}
	}
}

// Put implements backend.Backend.
func (p *process) Put(ctx context.Context, name string, data []byte) error {
	return p.do(ctx, opPut, name, data, 0, 0).err
}

// Create implements backend.Backend.
func (p *process) Create(ctx context.Context, name string, data []byte) error {
	return p.do(ctx, opCreate, name, data, 0, 0).err
}

// Delete implements backend.Backend.
func (p *process) Delete(ctx context.Context, name string) error {
	return p.do(ctx, opDelete, name, nil, 0, 0).err
}

// Get implements backend.Backend.
func (p *process) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	a := p.do(ctx, opGet, name, nil, off, n)
	if a.err != nil {
		return nil, a.err
	}
	return &reader{data: a.data, late: a.late}, nil
}

// List implements backend.Backend.
func (p *process) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		a := p.do(ctx, opList, prefix, nil, 0, 0)
		for _, info := range a.infos {
			if !yield(info, nil) {
				return
			}
		}
		if err := errors.Join(a.err, a.late); err != nil {
			yield(backend.Info{}, err)
		}
	}
}

// Close implements backend.Backend.
func (p *process) Close() error { return nil }

// turn waits until the scheduler lets this goroutine go on, while no other of
// this process has the turn. The turn ends with the function that it returns.
func (p *process) turn(ctx context.Context, name string) (func(), error) {
	if a := p.do(ctx, opTurn, name, nil, 0, 0); a.err != nil {
		return nil, a.err
	}
	return func() {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		p.held = false
	}, nil
}

// reader gives data, then an error.
type reader struct {
	data []byte
	late error
}

// Remaining tells backend.ReadAll how much to allocate.
func (r *reader) Remaining() int64 { return int64(len(r.data)) }

func (r *reader) Read(b []byte) (int, error) {
	if len(r.data) == 0 {
		if r.late != nil {
			return 0, r.late
		}
		return 0, io.EOF
	}
	n := copy(b, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *reader) Close() error { return nil }

// plain is a Backend over a map that changes at once, for what happens outside
// the schedule. It notes what is asked for, if asked to.
type plain struct {
	mu      sync.Mutex // guards what follows
	objects map[string][]byte
	asked   map[string]struct{} // names, and prefixes ending in a slash; nil: do not note
}

var _ backend.Backend = (*plain)(nil)

func (b *plain) note(name string) {
	if b.asked != nil {
		b.asked[name] = struct{}{}
	}
}

// Put implements backend.Backend.
func (b *plain) Put(_ context.Context, name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[name] = bytes.Clone(data)
	return nil
}

// Create implements backend.Backend.
func (b *plain) Create(_ context.Context, name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.objects[name]; ok {
		return failed("create", name, fs.ErrExist)
	}
	b.objects[name] = bytes.Clone(data)
	return nil
}

// Delete implements backend.Backend.
func (b *plain) Delete(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.objects[name]; !ok {
		return missing("delete", name)
	}
	delete(b.objects, name)
	return nil
}

// Get implements backend.Backend.
func (b *plain) Get(_ context.Context, name string, off, n int64) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(name)
	data, err := read(b.objects, name, off, n)
	if err != nil {
		return nil, err
	}
	return &reader{data: data}, nil
}

// List implements backend.Backend.
func (b *plain) List(_ context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		b.mu.Lock()
		b.note(prefix)
		infos := list(b.objects, prefix)
		b.mu.Unlock()
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Close implements backend.Backend.
func (b *plain) Close() error { return nil }
