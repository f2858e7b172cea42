package crypto

import (
	"encoding/binary"
	"fmt"
	"io"
)

// An envelope is the form of all sealed objects but packs and slots.
//
//	| header 115 | AEAD( payload length u32 | payload | zeros ) |
//
// The zeros make its length a size class.
const (
	lengthSize       = 4
	envelopeOverhead = HeaderSize + lengthSize + Overhead
)

// EnvelopeSize returns the length of the envelope of a payload of n bytes.
func EnvelopeSize(n int) int { return PaddedSize(envelopeOverhead + n) }

// SealEnvelope returns a whole new object. The associated data ad is its full
// name ("commits/01k..."), empty for index segments. The session is that of the
// writer, and zero for the config, plans and dones. It fails if the object would
// exceed the limit of its kind, or if rand does.
func (k *Keys) SealEnvelope(kind Kind, session SessionID, ad string, payload []byte, rand io.Reader) ([]byte, error) {
	if !kind.isEnvelope() {
		panic("crypto: internal error: envelope of a " + kind.String())
	}
	if !kind.hasSession() && !session.IsZero() {
		panic("crypto: internal error: a " + kind.String() + " names no session")
	}
	if limit := kind.MaxSize(); len(payload) > limit || EnvelopeSize(len(payload)) > limit {
		return nil, fmt.Errorf("seal %s: payload of %d bytes exceeds the limit of %d", kind, len(payload), limit)
	}
	o, err := k.NewObject(kind, session, rand)
	if err != nil {
		return nil, err
	}
	return o.sealEnvelope(ad, payload), nil
}

// sealEnvelope builds the plaintext where it is then sealed in place.
func (o *Object) sealEnvelope(ad string, payload []byte) []byte {
	b := make([]byte, EnvelopeSize(len(payload)))
	copy(b, o.header[:])
	plain := b[HeaderSize : len(b)-Overhead]
	binary.LittleEndian.PutUint32(plain, uint32(len(payload)))
	copy(plain[lengthSize:], payload)
	return o.Seal(b[:HeaderSize], NonceSingle, 0, []byte(ad), plain)
}

// OpenEnvelope returns the payload of an object and the session that wrote it.
// The kind and ad say what the object must be; an envelope that is not in a size
// class, or not padded with zeros, is ErrDamaged. For the other errors see
// OpenObject. The payload is memory of its own, about as long as the object.
func (k *Keys) OpenEnvelope(kind Kind, ad string, object []byte) (payload []byte, session SessionID, err error) {
	if !kind.isEnvelope() {
		panic("crypto: internal error: envelope of a " + kind.String())
	}
	if limit := kind.MaxSize(); len(object) > limit {
		return nil, SessionID{}, fmt.Errorf("open %s: %w: %d bytes, limit %d", kind, ErrDamaged, len(object), limit)
	}
	if len(object) < HeaderSize {
		return nil, SessionID{}, fmt.Errorf("open %s: %w: %d bytes", kind, ErrDamaged, len(object))
	}
	o, err := k.OpenObject(kind, object[:HeaderSize])
	if err != nil {
		return nil, SessionID{}, fmt.Errorf("open %s: %w", kind, err)
	}
	if n := len(object); n != PaddedSize(n) {
		return nil, SessionID{}, fmt.Errorf("open %s: %w: %d bytes are cut short or not padded", kind, ErrDamaged, n)
	}
	sealed := object[HeaderSize:]
	plain, err := o.Open(make([]byte, 0, len(sealed)-Overhead), NonceSingle, 0, []byte(ad), sealed)
	if err != nil {
		return nil, SessionID{}, err
	}
	payload, err = unpad(plain)
	if err != nil {
		return nil, SessionID{}, fmt.Errorf("open %s: %w", kind, err)
	}
	return payload, o.session, nil
}

// unpad returns the payload of the plaintext of an envelope.
func unpad(plain []byte) ([]byte, error) {
	n, rest := binary.LittleEndian.Uint32(plain), plain[lengthSize:]
	if uint64(n) > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: payload of %d bytes in %d", ErrDamaged, n, len(rest))
	}
	payload, padding := rest[:n:n], rest[n:]
	if EnvelopeSize(int(n)) != HeaderSize+len(plain)+Overhead {
		return nil, fmt.Errorf("%w: payload of %d bytes with padding of %d", ErrDamaged, n, len(padding))
	}
	if !allZero(padding) {
		return nil, fmt.Errorf("%w: padding is not zero", ErrDamaged)
	}
	return payload, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
