package chunk

import (
	"bytes"
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"
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

func nameOf(k *kernel) string {
	if k == nil {
		return "portable"
	}
	return k.name
}

// Every kernel that can run passes its own trial, and the first is used. Those that
// SPLITTER_KERNELS names must be there, so that nothing was skipped in silence.
func TestKernelIsUsed(t *testing.T) {
	var names []string
	var first *kernel
	for _, k := range kernels {
		names = append(names, k.name)
		if !k.agrees() {
			t.Errorf("%s does not do what the portable path does", k.name)
		}
		if first == nil {
			first = k
		}
	}
	have := strings.Join(names, ",")
	t.Logf("%s has %s", runtime.GOARCH, have)
	if want := os.Getenv("SPLITTER_KERNELS"); want != "" && have != want {
		t.Errorf("this processor has the kernels %q, want %q", have, want)
	}
	if used := mustNew(t, DefaultParams(), testSecret).window.kernel; used != first {
		t.Errorf("%s is used, want %s", nameOf(used), nameOf(first))
	}
}

// goKernel does what a kernel must do and spoils it.
func goKernel(spoil func(*kernelState), hit func(g int) int) *kernel {
	return &kernel{"go", 1, func(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int {
		block, err := aes.NewCipher(keys[0][:])
		if err != nil {
			panic(err)
		}
		in := unsafe.Slice(p, group*groups+aes.BlockSize-1)
		for g := range groups {
			hits := 0
			for i := range state {
				var e [aes.BlockSize]byte
				block.Encrypt(e[:], in[group*g+i:])
				subtle.XORBytes(e[:], e[:], append(state[i][4:], 0, 0, 0, 0))
				state[i] = e
			}
			spoil(state)
			for i := range state {
				if binary.LittleEndian.Uint32(state[i][:])&mask == 0 {
					hits++
				}
			}
			if hits > 0 && g >= warmUp {
				return hit(g)
			}
		}
		return -1
	}, true}
}

// A kernel that is wrong, even in one bit of one position, gives way to the next.
func TestWrongKernelIsNotUsed(t *testing.T) {
	keep, same := func(*kernelState) {}, func(g int) int { return g }
	right := goKernel(keep, same)
	wrong := []*kernel{
		goKernel(keep, func(int) int { return -1 }),
		goKernel(keep, func(g int) int { return max(g-1, warmUp) }),
	}
	for i := range group {
		for _, j := range []int{0, 4, 15} {
			wrong = append(wrong, goKernel(func(s *kernelState) { s[i][j] ^= 0x80 }, same))
		}
	}
	for i, k := range wrong {
		if firstThatAgrees([]*kernel{k, right, k}) != right {
			t.Errorf("wrong kernel %d: the right one behind it is not used", i)
		}
		if firstThatAgrees([]*kernel{k}) != nil {
			t.Errorf("wrong kernel %d is used", i)
		}
	}
}

// each runs a test for every kernel that can run.
func each(t *testing.T, test func(t *testing.T, k *kernel)) {
	if len(kernels) == 0 {
		t.Skip("no AES instructions")
	}
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

// One block through a kernel is AES: with zeros before it, V of the first group is
// E xor nothing. The mask says whether the fourth group is a hit.
func TestKernelIsAES(t *testing.T) {
	key := lcgBytes(1, 16)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var keys roundKeys
	keys.expand(key)
	b := lcgBytes(2, 4*group+aes.BlockSize-1)
	each(t, func(t *testing.T, k *kernel) {
		for groups := range 5 {
			for _, mask := range []uint32{0, 1<<32 - 1} {
				var state kernelState
				want := -1
				if groups == 4 && mask == 0 {
					want = 3
				}
				if g := k.scan(&keys, &state, &b[0], groups, mask); g != want {
					t.Errorf("%d groups, mask %#x: group %d, want %d", groups, mask, g, want)
				}
				if groups != 1 {
					continue
				}
				for i := range state {
					var want [16]byte
					block.Encrypt(want[:], b[i:i+16])
					if got := state[k.slot(i)]; got != want {
						t.Errorf("block %d is %x, want %x", i, got, want)
					}
				}
			}
		}
	})
}

// sameHits compares a kernel and portable on all boundaries of b.
func sameHits(t *testing.T, k *kernel, w *window, b []byte) (hits int) {
	t.Helper()
	with := *w
	with.kernel = k
	var s windowScratch
	for at := 0; ; {
		want := w.findPortable(b[at:], &s)
		if got := with.findKernel(b[at:], &s); got != want {
			t.Fatalf("%d bytes: %s finds %d, portable %d", len(b)-at, k.name, got, want)
		}
		if want < 0 {
			return hits
		}
		hits++
		at += want + 1
	}
}

func TestKernelMatchesPortable(t *testing.T) {
	w := mustNew(t, Params{AESWindow, 64, 65, 8}, testSecret).window
	each(t, func(t *testing.T, k *kernel) {
		hits := 0
		for n := range 400 { // nothing, less than a group, whole groups and more
			for seed := range uint64(4) {
				hits += sameHits(t, k, w, lcgBytes(seed, n))
			}
		}
		for name, b := range inputs(100000) {
			if n := sameHits(t, k, w, b); n == 0 && (name == "random" || name == "csv") {
				t.Errorf("%s: no boundaries to compare", name)
			}
		}
		if hits < 400 {
			t.Errorf("only %d boundaries were compared", hits)
		}
	})
}

func FuzzKernel(f *testing.F) {
	if len(kernels) == 0 {
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
		for _, k := range kernels {
			sameHits(t, k, mustNew(t, p, [32]byte{seed}).window, b)
		}
	})
}

func BenchmarkKernel(b *testing.B) {
	w := *mustNew(b, Params{AESWindow, 64, 65, 24}, testSecret).window
	data := make([]byte, 1<<20) // no boundary
	var s windowScratch
	for _, k := range append([]*kernel{nil}, kernels...) {
		w.kernel = k
		b.Run(nameOf(k), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if n := w.findAny(data, &s); n >= 0 {
					b.Fatal(n)
				}
			}
		})
	}
}
