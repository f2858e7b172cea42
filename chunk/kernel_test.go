//go:build amd64 || arm64

package chunk

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"testing"
)

// The example of FIPS 197, appendix A.1.
func TestKeySchedule(t *testing.T) {
	key, _ := hex.DecodeString("2b7e151628aed2a6abf7158809cf4f3c")
	var k roundKeys
	k.expand(key)
	for i, want := range map[int]string{
		0:  "2b7e151628aed2a6abf7158809cf4f3c",
		1:  "a0fafe1788542cb123a339392a6c7605",
		9:  "ac7766f319fadc2128d12941575c006e",
		10: "d014f9a8c9ee2589e13f0cc8b6630ca6",
	} {
		if got := hex.EncodeToString(k[i][:]); got != want {
			t.Errorf("round key %d is %s, want %s", i, got, want)
		}
	}
}

// One block through the kernel is AES: with zeros before it, the 16th block of
// the first group is E xor nothing.
func TestKernelIsAES(t *testing.T) {
	if !haveKernel {
		t.Skip("no AES instructions")
	}
	key := lcgBytes(1, 16)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var k roundKeys
	k.expand(key)
	b := lcgBytes(2, 31)
	var state [16][16]byte
	if g := scanBlocks(&k, &state, &b[0], 1, 0); g != -1 {
		t.Errorf("a boundary in the first group: %d", g)
	}
	for i := range state {
		var want [16]byte
		block.Encrypt(want[:], b[i:i+16])
		if state[i] != want {
			t.Errorf("block %d is %x, want %x", i, state[i], want)
		}
	}
}

// sameHits compares kernel and portable on all boundaries of b.
func sameHits(t *testing.T, w *window, b []byte) (hits int) {
	t.Helper()
	var s windowScratch
	for at := 0; ; {
		want := w.findPortable(b[at:], &s)
		if got := w.findKernel(b[at:]); got != want {
			t.Fatalf("%d bytes: kernel finds %d, portable %d", len(b)-at, got, want)
		}
		if want < 0 {
			return hits
		}
		hits++
		at += want + 1
	}
}

func TestKernelMatchesPortable(t *testing.T) {
	if !haveKernel {
		t.Skip("no AES instructions")
	}
	w := mustNew(t, Params{AESWindow, 64, 65, 8}, testSecret).window
	hits := 0
	for n := range 400 { // nothing, less than a group, whole groups and more
		for seed := range uint64(4) {
			hits += sameHits(t, w, lcgBytes(seed, n))
		}
	}
	for name, b := range inputs(100000) {
		if n := sameHits(t, w, b); n == 0 && (name == "random" || name == "csv") {
			t.Errorf("%s: no boundaries to compare", name)
		}
	}
	if hits < 400 {
		t.Errorf("only %d boundaries were compared", hits)
	}
}

func FuzzKernel(f *testing.F) {
	if !haveKernel {
		f.Skip("no AES instructions")
	}
	f.Add(lcgBytes(1, 1000), uint8(0), uint8(0))
	f.Add(csvBytes(1, 1000), uint8(1), uint8(4))
	f.Add(bytes.Repeat([]byte{1, 2, 3}, 200), uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, seed, bits uint8) {
		if len(b) > 1<<16 {
			t.Skip("slow")
		}
		p := Params{AESWindow, 64, 65, 8 + bits%17}
		sameHits(t, mustNew(t, p, [32]byte{seed}).window, b)
	})
}
