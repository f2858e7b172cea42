package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"vault/crypto"
	"vault/internal/wire"
	"vault/repo"
)

// source reads from the source and counts.
type source struct {
	repo        *repo.Repo
	blobs, read atomic.Int64
}

// Get implements snapshot.Source.
func (s *source) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	b, err := s.repo.Get(ctx, kind, id, dst)
	s.read.Add(int64(len(b)))
	return b, err
}

// sourceError is an error of reading the source.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func ofSource(err error) error {
	if err == nil {
		return nil
	}
	return &sourceError{err}
}

// baseError is an error of reading a pair that would have saved work.
type baseError struct{ err error }

func (e *baseError) Error() string { return fmt.Sprintf("compare with an earlier copy: %v", e.err) }
func (e *baseError) Unwrap() error { return e.err }

// local reports whether an error is about one backup: something of it is lost,
// or is not what was written. Others concern the store as a whole.
func local(err error) bool {
	var blob *repo.BlobError
	return errors.As(err, &blob) || repo.StateOf(err) == repo.Damaged || errors.Is(err, wire.ErrMalformed)
}
