// Package mem keeps objects in memory: the simplest driver, for tests and as
// the plainest statement of what a backend does.
//
// It is durable only as long as the process. Stored bytes are never changed
// in place, so readers and listings see what was there when they began.
package mem

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"

	"vault/backend"
)

// place names the storage in errors.
const place = "memory"

// Backend is a [backend.Backend] over a map. Use [New].
type Backend struct {
	mu      sync.Mutex        // guards what follows
	objects map[string][]byte // the slices are never written to
	closed  bool
}

var _ backend.Backend = (*Backend)(nil)

// New returns an empty backend.
func New() *Backend {
	return &Backend{objects: make(map[string][]byte)}
}

// Put implements [backend.Backend].
func (b *Backend) Put(ctx context.Context, name string, data []byte) error {
	data = bytes.Clone(data)
	return b.do(ctx, "put", name, func() error {
		b.objects[name] = data
		return nil
	})
}

// Create implements [backend.Backend].
func (b *Backend) Create(ctx context.Context, name string, data []byte) error {
	data = bytes.Clone(data)
	return b.do(ctx, "create", name, func() error {
		if _, ok := b.objects[name]; ok {
			return fs.ErrExist
		}
		b.objects[name] = data
		return nil
	})
}

// Get implements [backend.Backend].
func (b *Backend) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	var data []byte
	err := b.do(ctx, "get", name, func() error {
		whole, ok := b.objects[name]
		size := int64(len(whole))
		switch {
		case !ok:
			return fs.ErrNotExist
		case off < 0:
			return fs.ErrInvalid
		case off > size || n > size-off:
			return io.ErrUnexpectedEOF
		case n < 0:
			n = size - off
		}
		data = whole[off : off+n]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, data: data}, nil
}

// List implements [backend.Backend]. It shows what was stored when the loop
// began.
func (b *Backend) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		list, err := b.snapshot(ctx, prefix)
		if err != nil {
			yield(backend.Info{}, err)
			return
		}
		for _, info := range list {
			if err := ctx.Err(); err != nil {
				yield(backend.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete implements [backend.Backend].
func (b *Backend) Delete(ctx context.Context, name string) error {
	return b.do(ctx, "delete", name, func() error {
		if _, ok := b.objects[name]; !ok {
			return fs.ErrNotExist
		}
		delete(b.objects, name)
		return nil
	})
}

// Close implements [backend.Backend]. The objects are forgotten.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.objects = true, nil
	return nil
}

// do runs one operation on a valid name with b.mu held and describes its
// failure.
func (b *Backend) do(ctx context.Context, op, name string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := backend.Check(name); err != nil {
		return failed(op, name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return failed(op, name, fs.ErrClosed)
	}
	if err := f(); err != nil {
		return failed(op, name, err)
	}
	return nil
}

// snapshot returns the objects under prefix in order of their names.
func (b *Backend) snapshot(ctx context.Context, prefix string) ([]backend.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := backend.CheckPrefix(prefix); err != nil {
		return nil, failed("list", prefix, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, failed("list", prefix, fs.ErrClosed)
	}
	var list []backend.Info
	for name, data := range b.objects {
		if strings.HasPrefix(name, prefix) {
			list = append(list, backend.Info{Name: name, Size: int64(len(data))})
		}
	}
	slices.SortFunc(list, func(x, y backend.Info) int { return strings.Compare(x.Name, y.Name) })
	return list, nil
}

func failed(op, name string, err error) error {
	return &backend.Error{Op: op, Place: place, Name: name, Err: err}
}

// reader reads one version of an object.
type reader struct {
	ctx    context.Context
	data   []byte // what is left
	closed bool
}

// Remaining tells backend.ReadAll how much to allocate.
func (r *reader) Remaining() int64 { return int64(len(r.data)) }

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *reader) Close() error {
	r.data, r.closed = nil, true
	return nil
}
