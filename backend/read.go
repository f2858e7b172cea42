package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// sized is what a driver's reader may offer: how many bytes are left. It is a
// hint that saves copies and is never trusted beyond the caller's limit.
type sized interface{ Remaining() int64 }

// firstRead is what ReadAll allocates when nobody says how large the object
// is; it grows with the bytes that arrive.
const firstRead = 4 << 10

// ReadAll returns the whole object. One of more than limit bytes is an error
// that matches [ErrTooLarge]; no more than about limit bytes are ever held.
func ReadAll(ctx context.Context, b Backend, name string, limit int64) (data []byte, err error) {
	if limit < 0 || limit > math.MaxInt64-bytes.MinRead-1 {
		return nil, fmt.Errorf("read %s: limit of %d bytes makes no sense", name, limit)
	}
	r, err := b.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	size := int64(firstRead)
	if s, ok := r.(sized); ok {
		if size = s.Remaining(); size > limit {
			return nil, fmt.Errorf("read %s: %w: %d bytes, limit %d", name, ErrTooLarge, size, limit)
		}
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(size, limit)+bytes.MinRead))
	if _, err := buf.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(buf.Len()) > limit {
		return nil, fmt.Errorf("read %s: %w: over %d bytes", name, ErrTooLarge, limit)
	}
	return buf.Bytes(), nil
}

// ReadRange fills dst with the object's bytes from offset off on. An object
// that ends before dst is full is an error that matches io.ErrUnexpectedEOF.
func ReadRange(ctx context.Context, b Backend, name string, off int64, dst []byte) error {
	r, err := b.Get(ctx, name, off, int64(len(dst)))
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.ReadFull(r, dst); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %s: %d bytes at %d: %w", name, len(dst), off, err)
	}
	return nil
}
