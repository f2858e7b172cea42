package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// This file is a second implementation of sections 3 to 6, written from the text
// of docs/format.md with the primitives alone. It shares nothing with the
// package but the inputs, so that a vector is right only if both agree.

func refBlake3(parts ...[]byte) []byte {
	h := blake3.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func refXOF(key []byte, n int, parts ...[]byte) []byte {
	h, err := blake3.NewKeyed(key)
	if err != nil {
		panic(err)
	}
	for _, p := range parts {
		h.Write(p)
	}
	out := make([]byte, n)
	h.Digest().Read(out)
	return out
}

// refSubkey: HKDF-Expand of RFC 5869, of which 32 bytes are the first block.
func refSubkey(label string) []byte {
	mac := hmac.New(sha256.New, testMaster[:])
	mac.Write([]byte("vault/1/"))
	mac.Write([]byte(label))
	mac.Write([]byte{0})
	mac.Write(testRepo[:])
	mac.Write([]byte{1})
	return mac.Sum(nil)
}

func refSeal(a AEAD, key []byte, nonceType byte, ordinal uint64, ad string, plain []byte) []byte {
	var c cipher.AEAD
	if a == 1 {
		block, err := aes.NewCipher(key)
		if err != nil {
			panic(err)
		}
		if c, err = cipher.NewGCM(block); err != nil {
			panic(err)
		}
	} else {
		var err error
		if c, err = chacha20poly1305.New(key); err != nil {
			panic(err)
		}
	}
	nonce := binary.BigEndian.AppendUint64([]byte{nonceType, 0, 0, 0}, ordinal)
	return c.Seal(nil, nonce, plain, []byte(ad))
}

// refObject returns the header with its commitment, and the object key.
func refObject(a AEAD, kind byte, label string, session, salt []byte) (header, key []byte) {
	header = []byte{'V', 'L', 'T', kind, 1, byte(a), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	header = append(header, testRepo[:]...)
	header = append(header, session...)
	header = append(header, salt...)
	header = append(header, 0, 0, 0)
	out := refXOF(refSubkey(label), 64, header)
	return append(header, out[32:]...), out[:32]
}

func refEnvelope(a AEAD, kind byte, label string, session, salt []byte, ad string, payload []byte) []byte {
	header, key := refObject(a, kind, label, session, salt)
	size := paddedByDefinition(len(header) + 4 + len(payload) + 16)
	plain := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	plain = append(plain, payload...)
	plain = append(plain, bytes.Repeat([]byte{0}, size-len(header)-16-len(plain))...)
	return append(header, refSeal(a, key, 0, 0, ad, plain)...)
}

func refHead(a AEAD) []byte {
	head := append([]byte("VLTC"), 1, byte(a), 0, 0)
	head = append(head, make([]byte, 16)...)
	return append(head, testRepo[:]...)
}

func refConfig(a AEAD, salt, payload []byte) []byte {
	head := refHead(a)
	b := append(bytes.Clone(head), refEnvelope(a, 'C', "metadata", make([]byte, 16), salt, "config"+string(head), payload)...)
	return append(b, refBlake3(b)...)
}

func refSlot(a AEAD, salt []byte) []byte {
	b := append([]byte("VLTK"), 1, byte(a), 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0)
	b = append(b, testSlotID[:]...)
	b = append(b, testRepo[:]...)
	b = append(b, salt...)
	out := refXOF(argon2.IDKey([]byte(testPassphrase), salt, 1, 8, 1, 32), 64, b)
	b = append(b, out[32:]...)
	payload := append([]byte{1}, testMaster[:]...)
	payload = append(payload, refHead(a)...)
	payload = binary.AppendUvarint(payload, 2*1_750_000_000) // zigzag
	payload = binary.AppendUvarint(payload, 123_456_789)
	payload = append(payload, 13)
	payload = append(payload, "räksmörgås"...)
	payload = append(payload, 12)
	payload = append(payload, "host.example"...)
	payload = append(payload, make([]byte, 640-len(payload))...)
	b = binary.LittleEndian.AppendUint32(b, 656)
	b = append(b, refSeal(a, out[:32], 0, 0, "keys/a0a1a2a3a4a5a6a7", payload)...)
	return append(b, refBlake3(b)...)
}
