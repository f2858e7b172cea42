package chunk

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/restic/chunker"
)

// This file is the package comment written as a program: slow, without state and
// sharing no code with the package, so that the two can be compared.

// refHKDF is RFC 5869 without a salt.
func refHKDF(secret []byte, info string, n int) []byte {
	sum := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	prk := sum(make([]byte, 32), secret)
	var out, t []byte
	for i := byte(1); len(out) < n; i++ {
		t = sum(prk, t, []byte(info), []byte{i})
		out = append(out, t...)
	}
	return out[:n]
}

// refWindowKey derives the AESWindow key.
func refWindowKey(secret [32]byte) []byte {
	return refHKDF(secret[:], "vault/1/chunker/aes-window", 16)
}

// refPolynomial derives the Rabin polynomial.
func refPolynomial(secret [32]byte) chunker.Pol {
	s := refHKDF(secret[:], "vault/1/chunker/rabin", 8160)
	for ; ; s = s[8:] {
		p := chunker.Pol(binary.LittleEndian.Uint64(s)&(1<<53-1) | 1<<53 | 1)
		if p.Irreducible() {
			return p
		}
	}
}

// refWindowTest returns whether the low bits of V are zero for a 64-byte window.
func refWindowTest(secret [32]byte, bits uint8) func(window []byte) bool {
	block, err := aes.NewCipher(refWindowKey(secret))
	if err != nil {
		panic(err)
	}
	return func(window []byte) bool {
		var v [16]byte
		for back := range 4 {
			var e [16]byte
			at := 48 - 16*back
			block.Encrypt(e[:], window[at:at+16])
			for j := range 16 - 4*back {
				v[j] ^= e[j+4*back]
			}
		}
		return binary.LittleEndian.Uint64(v[:])%(1<<bits) == 0
	}
}

// refRabinTest is the same for the Rabin fingerprint.
func refRabinTest(secret [32]byte, bits uint8) func(window []byte) bool {
	p := refPolynomial(secret)
	return func(window []byte) bool {
		var v chunker.Pol
		for _, b := range window {
			v = (v<<8 | chunker.Pol(b)).Mod(p)
		}
		return v%(1<<bits) == 0
	}
}

// refLengths returns the chunk lengths of data.
func refLengths(p Params, secret [32]byte, data []byte) []int {
	test := refWindowTest(secret, p.Bits)
	if p.Algorithm == Rabin {
		test = refRabinTest(secret, p.Bits)
	}
	var lengths []int
	for len(data) > 0 {
		n := 1
		for n < len(data) && n < p.Max && !(n >= p.Min && test(data[n-64:n])) {
			n++
		}
		lengths = append(lengths, n)
		data = data[n:]
	}
	return lengths
}

// lcgBytes is the input of the vectors: the top bytes of
// x = x*6364136223846793005 + 1442695040888963407 (mod 2^64), from x = seed.
func lcgBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
	return b
}

// csvBytes is a table with a running number and two columns from the LCG.
func csvBytes(seed uint64, n int) []byte {
	b := make([]byte, 0, n+64)
	for i := 1; len(b) < n; i++ {
		seed = seed*6364136223846793005 + 1442695040888963407
		b = fmt.Appendf(b, "%d,2024-01-%02d,%d.%02d,open\n", i, seed>>40%28+1, seed>>50%1000, seed>>60)
	}
	return b[:n]
}
