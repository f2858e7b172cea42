package crypto

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/blake3"
)

// MasterKey is the secret from which all keys of a repository are derived. It
// prints as "crypto.MasterKey(redacted)" and refuses to be marshalled.
type MasterKey [32]byte

// NewMasterKey returns 32 bytes of rand.
func NewMasterKey(rand io.Reader) (m MasterKey, err error) {
	if _, err = io.ReadFull(rand, m[:]); err != nil {
		return MasterKey{}, fmt.Errorf("draw master key: %w", err)
	}
	return m, nil
}

// Format implements fmt.Formatter for every verb.
func (MasterKey) Format(f fmt.State, _ rune) { io.WriteString(f, "crypto.MasterKey(redacted)") }

// MarshalText always fails, so that no encoder writes the key.
func (MasterKey) MarshalText() ([]byte, error) {
	return nil, errors.New("crypto: a master key is not marshalled")
}

// subkeyPrefix begins the HKDF info of every subkey. Part of the format.
const subkeyPrefix = "vault/1/"

// Keys holds the subkeys of one repository. It is immutable, small to copy and
// safe for concurrent use; the zero value is of no use.
type Keys struct {
	s func() *keyState // fmt follows pointers in unexported fields, but no functions
}

type keyState struct {
	repo    RepoID
	aead    AEAD
	data    keyedHash           // names of data blobs
	tree    keyedHash           // names of tree blobs
	pages   keyedHash           // cuts of directories
	chunker [32]byte            // secret of the splitter
	cache   [32]byte            // authentication of local caches
	objects map[string][32]byte // label of a kind -> subkey; never written after NewKeys
}

// NewKeys derives the subkeys of repository repo, whose algorithm is aead.
func NewKeys(m MasterKey, repo RepoID, aead AEAD) *Keys {
	if !aead.known() {
		panic("crypto: internal error: NewKeys with an unknown " + aead.String())
	}
	s := &keyState{repo: repo, aead: aead, objects: make(map[string][32]byte)}
	s.data.init(subkey(m, "blob/data", repo))
	s.tree.init(subkey(m, "blob/tree", repo))
	s.pages.init(subkey(m, "pages", repo))
	s.chunker = subkey(m, "chunker", repo)
	s.cache = subkey(m, "cache", repo)
	for _, label := range []string{"pack", "index", "metadata", "session", "coordination"} {
		s.objects[label] = subkey(m, label, repo)
	}
	return &Keys{func() *keyState { return s }}
}

// subkey is HKDF-Expand (RFC 5869) with SHA-256: the master key is uniformly
// random, so there is nothing to extract.
func subkey(m MasterKey, label string, repo RepoID) (key [32]byte) {
	return expand(m[:], subkeyPrefix+label+"\x00"+string(repo[:]))
}

func expand(secret []byte, info string) (key [32]byte) {
	out, err := hkdf.Expand(sha256.New, secret, info, len(key))
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	copy(key[:], out)
	return key
}

// Format implements fmt.Formatter for every verb.
func (Keys) Format(f fmt.State, _ rune) { io.WriteString(f, "crypto.Keys(redacted)") }

// Repo returns the repository whose keys these are.
func (k *Keys) Repo() RepoID { return k.s().repo }

// AEAD returns the algorithm of the repository.
func (k *Keys) AEAD() AEAD { return k.s().aead }

// BlobID returns the name of a blob: BLAKE3 of its plaintext, keyed by the kind
// of blob. It does not allocate and neither retains nor changes data.
func (k *Keys) BlobID(kind BlobKind, data []byte) (id ID) {
	var kh *keyedHash
	switch s := k.s(); kind {
	case BlobData:
		kh = &s.data
	case BlobTree:
		kh = &s.tree
	default:
		panic("crypto: internal error: name of a " + kind.String())
	}
	h := kh.get()
	h.Write(data)
	h.Sum(id[:0])
	kh.put(h)
	return id
}

// PageHash returns the number that decides whether a page of a directory ends
// after the entry name, on a level of the tree (section 9, "cut"): the first 8
// bytes, little endian, of a keyed hash of both. It does not allocate.
func (k *Keys) PageHash(level uint8, name string) uint64 {
	var sum [32]byte
	pages := &k.s().pages
	h := pages.get()
	h.WriteString(levelBytes[level : level+1])
	h.WriteString(name)
	h.Sum(sum[:0])
	pages.put(h)
	return binary.LittleEndian.Uint64(sum[:])
}

// ChunkerSecret returns the secret of the splitter (section 8).
func (k *Keys) ChunkerSecret() [32]byte { return k.s().chunker }

// Cache returns the key under which a client authenticates its local cache.
func (k *Keys) Cache() [32]byte { return k.s().cache }

// CacheFrom returns the key under which a client authenticates what it keeps
// locally about copies from the repository of other keys into that of these:
// HKDF-Expand of both cache keys, so that neither alone gives it.
func (k *Keys) CacheFrom(other *Keys) [32]byte {
	to, from := k.s(), other.s()
	return expand(append(to.cache[:len(to.cache):len(to.cache)], from.cache[:]...), subkeyPrefix+"cache/copies\x00"+string(to.repo[:])+string(from.repo[:]))
}

// keyedHash is a pool of BLAKE3 hashers of one key. A hasher is about 11 KB, of
// which a reset touches little, so reuse is what makes small messages cheap.
type keyedHash struct {
	pool sync.Pool // of *blake3.Hasher, reset
}

func (kh *keyedHash) init(key [32]byte) {
	prepared := newKeyed(key[:])
	kh.pool.New = func() any { return prepared.Clone() }
}

func (kh *keyedHash) get() *blake3.Hasher { return kh.pool.Get().(*blake3.Hasher) }

func (kh *keyedHash) put(h *blake3.Hasher) {
	h.Reset()
	kh.pool.Put(h)
}

// newKeyed returns a hasher for a key of 32 bytes.
func newKeyed(key []byte) *blake3.Hasher {
	h, err := blake3.NewKeyed(key)
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	return h
}

// deriveCommitted returns the first 64 bytes of the output of BLAKE3, keyed with
// a subkey or slot key, over a header: an object's key and the commitment to it.
func deriveCommitted(key, header []byte) (objectKey, commitment [32]byte) {
	h := newKeyed(key)
	h.Write(header)
	d := h.Digest()
	d.Read(objectKey[:])
	d.Read(commitment[:])
	return objectKey, commitment
}

// levelBytes holds every byte once, in order: a level as a string of its own
// would be allocated.
var levelBytes = func() string {
	var b [256]byte
	for i := range b {
		b[i] = byte(i)
	}
	return string(b[:])
}()
