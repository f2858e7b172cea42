package crypto

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/zeebo/blake3"
)

// Reproducible is a source of randomness whose salts are used as they are, so
// that equal seeds write equal objects: for golden files and simulations, never
// for a repository that somebody keeps. Two writers with equal sources share
// their keys and nonces.
type Reproducible struct{ io.Reader }

// salts counts the salts of this process.
var salts atomic.Uint64

// newSalt returns a fresh salt. The random bytes alone would do; the session, the
// process and the counter are mixed in for machines that were cloned together
// with the state of their random generator.
func newSalt(session SessionID, rand io.Reader) (salt [32]byte, err error) {
	if _, err := io.ReadFull(rand, salt[:]); err != nil {
		return [32]byte{}, fmt.Errorf("draw salt: %w", err)
	}
	if _, ok := rand.(Reproducible); ok {
		return salt, nil
	}
	var b [32 + 16 + 8 + 8]byte
	copy(b[:], salt[:])
	copy(b[32:], session[:])
	binary.LittleEndian.PutUint64(b[48:], uint64(os.Getpid()))
	binary.LittleEndian.PutUint64(b[56:], salts.Add(1))
	return blake3.Sum256(b[:]), nil
}
