package repo

import (
	"context"
	"reflect"
	"unsafe"

	"vault/crypto"
	"vault/index"
	"vault/pack"
)

// RefreshedIndex refreshes and returns the index of what r sees then.
func RefreshedIndex(ctx context.Context, r *Repo) (*index.Index, error) {
	v, err := r.refresh(ctx)
	if err != nil {
		return nil, err
	}
	return v.index, nil
}

// Indexes returns the indexes that a writer holds: of what it saw when it began, and
// of what it knows.
func Indexes(w *Writer) [2]*index.Index {
	return [2]*index.Index{w.view.index, w.known.index.Load()}
}

// SpoilSealed has f called with each segment that lanes seal into the pack of the
// kind that is open, before it is verified. It reports whether one is open.
func SpoilSealed(w *Writer, kind crypto.BlobKind, f func(sealed []byte)) bool {
	p := w.packers[kind-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.open {
		// The builder's own way of planting faults, which its package keeps to itself.
		field := reflect.ValueOf(o.Builder).Elem().FieldByName("plant").FieldByName("sealed")
		*(*func(uint32, []byte))(unsafe.Pointer(field.UnsafeAddr())) = func(_ uint32, region []byte) { f(region) }
	}
	return len(p.open) > 0
}

// LetGo has the writer let go of the open packs of a kind: who works in one last
// gives it to the uploader.
func LetGo(w *Writer, kind crypto.BlobKind) { w.packers[kind-1].closeOpen() }

// StoreSegment has a lane store a segment of one blob, without what [Lane.Put] does
// when that fails.
func StoreSegment(l *Lane, kind crypto.BlobKind, data []byte) error {
	return l.store(kind, data, []pack.Blob{{ID: l.w.r.keys.BlobID(kind, data), Length: uint32(len(data))}})
}
