package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// NonceType is the first byte of a nonce: what is sealed. The values are part of
// the format.
type NonceType uint8

// The types of nonces.
const (
	NonceSingle    NonceType = 0 // the only payload of an object
	NonceSegment   NonceType = 1 // a segment of a pack; the ordinal counts them
	NonceDirectory NonceType = 2 // the directory of a pack
	NonceFooter    NonceType = 3 // the footer of a pack
)

// nonceSize is the length of a nonce: | type 1 | zeros 3 | ordinal 8, big endian |.
const nonceSize = 12

// paddingContext is hashed under an object's key to make the padding of packs.
const paddingContext = "vault/1/padding"

// Object is the key of one sealed object, made from its header. Seal and Open
// may be called by several goroutines at once.
//
// An object of NewObject seals; each (type, ordinal) must be sealed at most
// once, as GCM loses all its promises when a nonce repeats. Whatever is encoded
// again takes a new object. An object of OpenObject only opens.
type Object struct {
	kind    Kind
	session SessionID
	fresh   bool // made by NewObject
	header  [HeaderSize]byte
	s       func() *objectState // as in Keys
}

// objectState is the secret part of an Object.
type objectState struct {
	aead cipher.AEAD
	key  [32]byte
}

// NewObject returns the key and header of a new object of a kind, written by a
// session (zero for the config and for records of collections). The salt is made
// of 32 bytes of rand; only rand can fail.
func (k *Keys) NewObject(kind Kind, session SessionID, rand io.Reader) (*Object, error) {
	salt, err := newSalt(session, rand)
	if err != nil {
		return nil, fmt.Errorf("new %s: %w", kind, err)
	}
	o := k.derive(&Header{Kind: kind, AEAD: k.s().aead, Repo: k.s().repo, Session: session, Salt: salt})
	o.fresh = true
	return o, nil
}

// derive returns the object of a header.
func (k *Keys) derive(h *Header) *Object {
	subkey, ok := k.s().objects[h.Kind.label()]
	if !ok {
		panic("crypto: internal error: sealed object of kind " + h.Kind.String())
	}
	o := &Object{kind: h.Kind, session: h.Session}
	encoded := h.encode()
	key, commitment := deriveCommitted(subkey[:], encoded[:])
	copy(o.header[:], encoded[:])
	copy(o.header[offCommitment:], commitment[:])
	s := &objectState{aead: newAEAD(h.AEAD, key[:]), key: key}
	o.s = func() *objectState { return s }
	return o
}

// OpenObject returns the key of the object of a kind with the given header,
// which must be the header and nothing more, HeaderSize bytes in format 1. It
// verifies every bit of it, so the session it names is authentic.
//
// The error says what can honestly be said. A header whose commitment verifies
// once a field is set to what it ought to be - version, repository id, kind - is
// ours and was altered: ErrTampered. Otherwise nothing about it is proven, and
// the field decides: ErrForeign for another repository id, ErrUnsupported for a
// version, flag, algorithm, epoch, domain or key source that this program does
// not know, ErrDamaged for anything that no writer writes, and ErrTampered if
// nothing but the commitment is wrong.
func (k *Keys) OpenObject(kind Kind, header []byte) (*Object, error) {
	h, err := ParseHeader(header)
	switch {
	case err != nil:
	case h.Repo != k.s().repo:
		err = fmt.Errorf("%s header: %w: repository %s, not %s", h.Kind, ErrForeign, h.Repo, k.s().repo)
	case h.Kind != kind:
		err = fmt.Errorf("%s header: %w: it is that of a %s", kind, ErrTampered, h.Kind)
	case h.AEAD != k.s().aead:
		err = fmt.Errorf("%s header: %w: %s, in a repository of %s", kind, ErrDamaged, h.AEAD, k.s().aead)
	case !kind.hasSession() && !h.Session.IsZero():
		err = fmt.Errorf("%s header: %w: it names a session", kind, ErrDamaged)
	}
	if len(header) < HeaderSize {
		return nil, err
	}
	// The header as it ought to be: if the commitment is to this one, it is ours.
	want := Header{Kind: kind, AEAD: k.s().aead, Repo: k.s().repo}
	copy(want.Session[:], header[offSession:])
	copy(want.Salt[:], header[offSalt:])
	o := k.derive(&want)
	ours := subtle.ConstantTimeCompare(o.header[offCommitment:], header[offCommitment:HeaderSize]) == 1
	switch {
	case err == nil && ours:
		return o, nil
	case err == nil:
		return nil, fmt.Errorf("%s header: %w: commitment differs", kind, ErrTampered)
	case ours && subtle.ConstantTimeCompare(o.header[:], header[:HeaderSize]) == 0:
		return nil, fmt.Errorf("%s header: %w: altered (%v)", kind, ErrTampered, err)
	}
	return nil, err
}

// newAEAD returns a cipher for a key of 32 bytes.
func newAEAD(a AEAD, key []byte) cipher.AEAD {
	var c cipher.AEAD
	var err error
	switch a {
	case AESGCM:
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			c, err = cipher.NewGCM(block)
		}
	case ChaCha20Poly1305:
		c, err = chacha20poly1305.New(key)
	default:
		err = fmt.Errorf("unknown %s", a)
	}
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	return c
}

// Format implements fmt.Formatter for every verb: an object holds its key.
func (Object) Format(f fmt.State, _ rune) { io.WriteString(f, "crypto.Object(redacted)") }

// Header returns the encoded header with its commitment, which begins the
// stored object. The caller must not change it.
func (o *Object) Header() []byte { return o.header[:] }

// Kind returns the kind of the object.
func (o *Object) Kind() Kind { return o.kind }

// Session returns the session that the header names.
func (o *Object) Session() SessionID { return o.session }

// nonces are pooled, because what is passed through cipher.AEAD escapes.
var nonces = sync.Pool{New: func() any { return new([nonceSize]byte) }}

func getNonce(t NonceType, ordinal uint64) *[nonceSize]byte {
	n := nonces.Get().(*[nonceSize]byte)
	*n = [nonceSize]byte{byte(t)}
	binary.BigEndian.PutUint64(n[4:], ordinal)
	return n
}

// Seal appends the sealed plaintext, len(plaintext)+Overhead bytes, to dst. It
// allocates only if dst lacks the room. The plaintext may be at dst's end,
// dst[len(dst):], and is then replaced; otherwise the two must not overlap.
func (o *Object) Seal(dst []byte, t NonceType, ordinal uint64, ad, plaintext []byte) []byte {
	if !o.fresh {
		panic("crypto: internal error: Seal with the key of an existing object")
	}
	n := getNonce(t, ordinal)
	dst = o.s().aead.Seal(dst, n[:], plaintext, ad)
	nonces.Put(n)
	return dst
}

// Open appends what was sealed to dst, len(sealed)-Overhead bytes, under the same
// rules as Seal. If sealed is not authentic the error is ErrTampered, the result
// nil, and the spare room of dst is undefined.
func (o *Object) Open(dst []byte, t NonceType, ordinal uint64, ad, sealed []byte) ([]byte, error) {
	n := getNonce(t, ordinal)
	out, err := o.s().aead.Open(dst, n[:], sealed, ad)
	nonces.Put(n)
	if err != nil {
		return nil, fmt.Errorf("open %s (%s %d): %w", o.kind, t, ordinal, ErrTampered)
	}
	if out == nil {
		out = []byte{} // an empty plaintext is not an absent one
	}
	return out, nil
}

// Padding appends n bytes of the stream that fills a pack (section 7): always
// the same for one object, and random to anyone without its key.
func (o *Object) Padding(dst []byte, n int) []byte {
	h := newKeyed(o.s().key[:])
	h.WriteString(paddingContext)
	start := len(dst)
	dst = append(dst, make([]byte, n)...)
	h.Digest().Read(dst[start:])
	return dst
}

// String names what a nonce of this type seals.
func (t NonceType) String() string {
	switch t {
	case NonceSingle:
		return "payload"
	case NonceSegment:
		return "segment"
	case NonceDirectory:
		return "directory"
	case NonceFooter:
		return "footer"
	}
	return fmt.Sprintf("nonce type %d", uint8(t))
}
