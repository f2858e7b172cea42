package backendtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"

	"vault/backend"
)

// ErrCrashed is what every operation answers once a [Faulty] has crashed.
var ErrCrashed = errors.New("backendtest: the process has crashed")

// ErrInjected is the failure of a [Fault] that names no other.
var ErrInjected = errors.New("backendtest: injected fault")

// OpKind names a method of a backend.
type OpKind string

// The operations that a [Faulty] counts. Close is not one of them.
const (
	Put    OpKind = "put"
	Create OpKind = "create"
	Get    OpKind = "get"
	List   OpKind = "list"
	Delete OpKind = "delete"
)

// Op is one operation: a method and the object's name or the prefix.
type Op struct {
	Kind OpKind
	Name string
}

// String returns the form "put packs/ab/cd".
func (o Op) String() string { return fmt.Sprintf("%s %s", o.Kind, o.Name) }

// Writes reports whether the operation may change what is stored.
func (o Op) Writes() bool { return o.Kind == Put || o.Kind == Create || o.Kind == Delete }

// When says on which side of its effect an operation fails.
type When int

// Before: the operation has no effect and fails. After: it takes effect, but
// its caller is told that it failed, as by a time-out.
const (
	Before When = iota
	After
)

// Fault is one planned failure.
type Fault struct {
	At    int           // the 1st, 2nd, ... operation from now that matches
	Match func(Op) bool // which operations count; nil means all
	When  When
	Err   error // what the caller gets; nil means ErrInjected, or ErrCrashed with Crash
	Crash bool  // from then on every operation fails with ErrCrashed
}

// Faulty passes operations on to another backend, records them in the order in
// which they began, and fails the planned ones. It is safe for concurrent use;
// operations that others have under way when a crash happens may or may not
// take effect, as with a real one.
type Faulty struct {
	b backend.Backend

	mu      sync.Mutex // guards what follows
	ops     []Op
	faults  []*Fault
	crashed bool
}

var _ backend.Backend = (*Faulty)(nil)

// NewFaulty wraps b, with no faults planned.
func NewFaulty(b backend.Backend) *Faulty { return &Faulty{b: b} }

// Inject plans one failure. Several may be planned; each happens once.
func (f *Faulty) Inject(fault Fault) {
	if fault.At < 1 {
		panic("backendtest: Fault.At counts from 1")
	}
	if fault.Err == nil {
		fault.Err = ErrInjected
		if fault.Crash {
			fault.Err = ErrCrashed
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// FailAt plans that the n-th operation from now fails with err.
func (f *Faulty) FailAt(n int, when When, err error) {
	f.Inject(Fault{At: n, When: when, Err: err})
}

// CrashAt plans that the n-th operation from now and all later ones fail with
// [ErrCrashed].
func (f *Faulty) CrashAt(n int, when When) {
	f.Inject(Fault{At: n, When: when, Crash: true})
}

// Crash makes every operation from now on fail with [ErrCrashed].
func (f *Faulty) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
}

// Crashed reports whether a crash has happened.
func (f *Faulty) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Revive ends a crash, forgets the faults that are still planned and the
// record: the next process starts on what was stored.
func (f *Faulty) Revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed, f.faults, f.ops = false, nil, nil
}

// Ops returns a copy of the record: every operation begun, failed ones and the
// one that crashed included, those refused after a crash not.
func (f *Faulty) Ops() []Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ops)
}

// Count returns how many operations the record holds.
func (f *Faulty) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ops)
}

// begin records op and returns the fault that it meets, or nil.
func (f *Faulty) begin(op Op) (*Fault, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return nil, ErrCrashed
	}
	f.ops = append(f.ops, op)
	var due *Fault
	f.faults = slices.DeleteFunc(f.faults, func(p *Fault) bool {
		if p.Match != nil && !p.Match(op) {
			return false
		}
		p.At--
		if p.At > 0 || due != nil {
			return false
		}
		due = p
		return true
	})
	if due != nil && due.Crash {
		f.crashed = true
	}
	return due, nil
}

// run does one operation and fails it as planned.
func (f *Faulty) run(op Op, do func() error) error {
	fault, err := f.begin(op)
	if err != nil {
		return err
	}
	if fault == nil {
		return do()
	}
	if fault.When == After {
		// The operation's own failure is hidden by the fault as well.
		_ = do()
	}
	return fmt.Errorf("%s: %w", op, fault.Err)
}

// Put implements [backend.Backend].
func (f *Faulty) Put(ctx context.Context, name string, data []byte) error {
	return f.run(Op{Put, name}, func() error { return f.b.Put(ctx, name, data) })
}

// Create implements [backend.Backend].
func (f *Faulty) Create(ctx context.Context, name string, data []byte) error {
	return f.run(Op{Create, name}, func() error { return f.b.Create(ctx, name, data) })
}

// Delete implements [backend.Backend].
func (f *Faulty) Delete(ctx context.Context, name string) error {
	return f.run(Op{Delete, name}, func() error { return f.b.Delete(ctx, name) })
}

// Get implements [backend.Backend]. A fault After fails the reader, at the end
// of its data. A crash fails readers that are open.
func (f *Faulty) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	op := Op{Get, name}
	fault, err := f.begin(op)
	if err != nil {
		return nil, err
	}
	if fault != nil && fault.When == Before {
		return nil, fmt.Errorf("%s: %w", op, fault.Err)
	}
	r, err := f.b.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	return &faultyReader{r: r, f: f, op: op, fault: fault}, nil
}

type faultyReader struct {
	r     io.ReadCloser
	f     *Faulty
	op    Op
	fault *Fault // nil: none
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if r.fault == nil && r.f.Crashed() {
		return 0, ErrCrashed
	}
	n, err := r.r.Read(p)
	if err == io.EOF && r.fault != nil {
		err = fmt.Errorf("%s: %w", r.op, r.fault.Err)
	}
	return n, err
}

func (r *faultyReader) Close() error { return r.r.Close() }

// List implements [backend.Backend]. A fault Before comes in place of the
// first object, a fault After follows the last one. A crash ends listings that
// are under way.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		op := Op{List, prefix}
		fault, err := f.begin(op)
		if err == nil && fault != nil && fault.When == Before {
			err = fmt.Errorf("%s: %w", op, fault.Err)
		}
		if err != nil {
			yield(backend.Info{}, err)
			return
		}
		for info, err := range f.b.List(ctx, prefix) {
			if fault == nil && f.Crashed() {
				info, err = backend.Info{}, ErrCrashed
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
		if fault != nil {
			yield(backend.Info{}, fmt.Errorf("%s: %w", op, fault.Err))
		}
	}
}

// Close closes the backend beneath, crashed or not.
func (f *Faulty) Close() error { return f.b.Close() }
