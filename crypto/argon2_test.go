package crypto

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/argon2"
)

// TestArgon2id compares our derivation with that of golang.org/x/crypto: every
// number of lanes and passes, memory that is no multiple of what lanes share, and
// enough of it that addresses are made several times for a segment.
func TestArgon2id(t *testing.T) {
	if !haveMixer {
		t.Skip("this processor has no AVX-512: the derivation is the other one anyway")
	}
	if !mixes() {
		t.Error("it is not used")
	}
	rng := rand.New(rand.NewPCG(1, 1))
	costs := []KDFCost{TestKDFCost, {3, 8 * 16, 16}, {2, 4 * 300, 1}, {3, 4 * 2 * 257, 2}, {4, 4096, 4}}
	for range 60 {
		lanes := uint8(1 + rng.IntN(16))
		costs = append(costs, KDFCost{1 + uint32(rng.IntN(4)), 8*uint32(lanes) + uint32(rng.IntN(1500)), lanes})
	}
	for i, c := range costs {
		passphrase, salt := make([]byte, rng.IntN(200)), make([]byte, 32)
		for _, b := range [][]byte{passphrase, salt} {
			for j := range b {
				b[j] = byte(rng.Uint32())
			}
		}
		want := argon2.IDKey(passphrase, salt, c.Time, c.Memory, c.Threads, 32)
		if got := mixedArgon2id(passphrase, salt, c); !bytes.Equal(got, want) {
			t.Errorf("%d: %v, passphrase of %d bytes: %x, want %x", i, c, len(passphrase), got, want)
		}
	}
}

// FuzzArgon2id does the same for any input of a small derivation.
func FuzzArgon2id(f *testing.F) {
	if !haveMixer {
		f.Skip("this processor has no AVX-512")
	}
	f.Add([]byte("correct horse"), []byte("salt of 16 bytes"), uint8(1), uint16(8), uint8(1))
	f.Add([]byte(nil), make([]byte, 32), uint8(2), uint16(700), uint8(3))
	f.Fuzz(func(t *testing.T, passphrase, salt []byte, passes uint8, memory uint16, lanes uint8) {
		c := KDFCost{uint32(passes % 5), uint32(memory % 4096), lanes % 17}
		if c.Validate() != nil {
			t.Skip()
		}
		if got, want := mixedArgon2id(passphrase, salt, c), argon2.IDKey(passphrase, salt, c.Time, c.Memory, c.Threads, 32); !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", c, got, want)
		}
	})
}

// BenchmarkKDF measures the derivation that opens a repository.
func BenchmarkKDF(b *testing.B) {
	salt := make([]byte, 32)
	c := DefaultKDFCost
	for name, derive := range map[string]func(){
		"ours":  func() { argon2id([]byte("passphrase"), salt, c) },
		"other": func() { argon2.IDKey([]byte("passphrase"), salt, c.Time, c.Memory, c.Threads, 32) },
	} {
		b.Run(fmt.Sprint(name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				derive()
			}
		})
	}
}
