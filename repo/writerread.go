package repo

import (
	"context"
	"errors"

	"vault/crypto"
)

// Get is [Repo.Get], and knows also the blobs that this Writer had stored when it
// was flushed last.
func (w *Writer) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	own := view{index: w.known.index.Load()}
	b, err := w.r.get(ctx, &own, kind, id, dst[:0])
	if err != nil && (isMissing(err) || errors.Is(err, errNoLocation)) {
		return w.r.Get(ctx, kind, id, dst)
	}
	return b, err
}
