package crypto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// laterHeader returns a header that a later program could write: ours but for one
// field, with a commitment that fits.
func laterHeader(change func(h []byte) []byte) []byte {
	h := Header{Kind: KindPack, AEAD: AESGCM, Repo: testRepo, Session: testSession, Salt: [32]byte(sequence(7, 32))}
	encoded := h.encode()
	b := change(encoded[:])
	_, commitment := deriveCommitted(refSubkey("pack"), b)
	return append(b, commitment[:]...)
}

func TestOpenObjectUnsupported(t *testing.T) {
	k := testKeys(AESGCM)
	set := func(at int, v byte) func([]byte) []byte {
		return func(h []byte) []byte { h[at] = v; return h }
	}
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   error
		names  string // what the message must name
	}{
		{"nothing", func(h []byte) []byte { return h }, nil, ""},
		{"version", set(4, 2), ErrUnsupported, "version 2"},
		{"version 0", set(4, 0), ErrDamaged, "version 0"}, // no newer program would read it
		{"algorithm", set(5, 3), ErrUnsupported, "algorithm 3"},
		{"other algorithm", set(5, 2), ErrDamaged, "chacha20-poly1305"},
		{"flags", set(7, 0x80), ErrUnsupported, "flags 0x8000"},
		{"epoch", set(8, 1), ErrUnsupported, "epoch 1"},
		{"high epoch", set(11, 1), ErrUnsupported, "epoch 16777216"},
		{"domain", set(12, 9), ErrUnsupported, "domain 9"},
		{"repository", set(16, 0), ErrForeign, "repository 00e1"},
		{"magic", set(0, 'X'), ErrDamaged, "XLTP"},
		{"unknown kind", set(3, 'Z'), ErrDamaged, "VLTZ"},
		{"slot", set(3, 'K'), ErrDamaged, "VLTK"},
		{"another kind", set(3, 'I'), ErrTampered, "index segment"},
		{"source 1, empty", set(80, 1), ErrUnsupported, "key source 1"},
		{"source 2", set(80, 2), ErrUnsupported, "key source 2"},
		{"source 0 with a length", set(81, 1), ErrDamaged, "1 bytes"},
		{"source 1", func(h []byte) []byte {
			h[80] = 1
			binary.LittleEndian.PutUint16(h[81:], 1200)
			return append(h, make([]byte, 1200)...)
		}, ErrUnsupported, "write-only keys"},
		{"source 0 with bytes", func(h []byte) []byte {
			h[81] = 5
			return append(h, make([]byte, 5)...)
		}, ErrDamaged, "5 bytes"},
		{"longer", func(h []byte) []byte { return append(h, 0) }, ErrDamaged, "116 bytes"},
	} {
		b := laterHeader(tt.change)
		o, err := k.OpenObject(KindPack, b)
		if tt.want == nil {
			if err != nil || o == nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		wantSort(t, err, tt.want, "%s", tt.name)
		if o != nil || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: %v does not name %q", tt.name, err, tt.names)
		}
		// The first bytes alone, as a reader of packs fetches them, say the same.
		if _, short := k.OpenObject(KindPack, b[:HeaderSize]); tt.want == ErrUnsupported {
			wantSort(t, short, ErrUnsupported, "%s, first bytes", tt.name)
		} else if short == nil && tt.name != "longer" {
			t.Errorf("%s, first bytes: accepted", tt.name)
		}
	}
}

func TestOpenObjectAltered(t *testing.T) {
	for _, a := range bothAEADs {
		k := testKeys(a)
		for _, kind := range []Kind{KindPack, KindIndex, KindSession} {
			o, err := k.NewObject(kind, testSession, fixed(5))
			if err != nil {
				t.Fatal(err)
			}
			for bit := range HeaderSize * 8 {
				_, err := k.OpenObject(kind, flip(o.Header(), bit))
				wantSort(t, err, ErrTampered, "%s, bit %d", kind, bit)
			}
			for n := range HeaderSize {
				_, err := k.OpenObject(kind, o.Header()[:n])
				wantSort(t, err, ErrDamaged, "%s, first %d bytes", kind, n)
			}
			opened, err := k.OpenObject(kind, o.Header())
			if err != nil || opened.Kind() != kind || opened.Session() != testSession {
				t.Errorf("%s: %v", kind, err)
			}
			h, err := ParseHeader(o.Header())
			if err != nil || h != (Header{kind, a, testRepo, testSession, [32]byte(sequence(5, 32))}) {
				t.Errorf("%s: %+v, %v", kind, h, err)
			}
		}
	}
}

func TestRecordsWithoutSession(t *testing.T) {
	k := testKeys(AESGCM)
	o := k.derive(&Header{Kind: KindPlan, AEAD: AESGCM, Repo: testRepo, Session: testSession})
	_, err := k.OpenObject(KindPlan, o.Header())
	wantSort(t, err, ErrDamaged, "a plan that names a session")
}

func TestNonces(t *testing.T) {
	for _, a := range bothAEADs {
		o, err := testKeys(a).NewObject(KindPack, testSession, fixed(5))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := testKeys(a).OpenObject(KindPack, o.Header())
		if err != nil {
			t.Fatal(err)
		}
		prefix := []byte("prefix")
		sealed := o.Seal(bytes.Clone(prefix), NonceSegment, 1<<40+3, []byte("ad"), []byte("text"))
		if !bytes.HasPrefix(sealed, prefix) || len(sealed) != len(prefix)+4+Overhead {
			t.Fatalf("sealed %x", sealed)
		}
		sealed = sealed[len(prefix):]
		plain, err := opened.Open(bytes.Clone(prefix), NonceSegment, 1<<40+3, []byte("ad"), sealed)
		if err != nil || string(plain) != "prefixtext" {
			t.Errorf("opened %q, %v", plain, err)
		}
		for _, try := range []struct {
			t       NonceType
			ordinal uint64
			ad      string
		}{{NonceSegment, 3, "ad"}, {NonceSegment, 1<<40 + 4, "ad"}, {NonceFooter, 1<<40 + 3, "ad"}, {NonceSingle, 1<<40 + 3, "ad"}, {NonceSegment, 1<<40 + 3, ""}} {
			plain, err := opened.Open(nil, try.t, try.ordinal, []byte(try.ad), sealed)
			wantSort(t, err, ErrTampered, "%v", try)
			if plain != nil {
				t.Errorf("%v: %q besides the error", try, plain)
			}
		}
		for n := range len(sealed) {
			_, err := opened.Open(nil, NonceSegment, 1<<40+3, []byte("ad"), sealed[:n])
			wantSort(t, err, ErrTampered, "first %d bytes", n)
		}
		// In place, as documented.
		buf := append(make([]byte, 0, 100), "hello"...)
		inPlace := o.Seal(buf[:0], NonceSegment, 9, nil, buf)
		if &inPlace[0] != &buf[0] || !bytes.Equal(inPlace, o.Seal(nil, NonceSegment, 9, nil, []byte("hello"))) {
			t.Error("sealing in place differs")
		}
		if empty, err := opened.Open(nil, NonceFooter, 0, nil, o.Seal(nil, NonceFooter, 0, nil, nil)); err != nil || empty == nil || len(empty) != 0 {
			t.Errorf("empty plaintext: %#v, %v", empty, err)
		}
		mustPanic(t, "Seal of an opened object", func() { opened.Seal(nil, NonceSingle, 0, nil, nil) })
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "crypto: internal error: ") {
			t.Errorf("%s: recovered %q", what, text)
		}
	}()
	f()
}

func TestOurOwnBugs(t *testing.T) {
	k := testKeys(AESGCM)
	mustPanic(t, "unknown algorithm", func() { NewKeys(testMaster, testRepo, 0) })
	mustPanic(t, "unknown kind of blob", func() { k.BlobID(0, nil) })
	mustPanic(t, "envelope of a pack", func() { k.SealEnvelope(KindPack, testSession, "", nil, fixed(0)) })
	mustPanic(t, "opened envelope of a slot", func() { k.OpenEnvelope(KindSlot, "", nil) })
	mustPanic(t, "plan of a session", func() { k.SealEnvelope(KindPlan, testSession, "", nil, fixed(0)) })
	mustPanic(t, "object of a slot", func() { k.NewObject(KindSlot, testSession, fixed(0)) })
	mustPanic(t, "Open of no slot", func() { Slot{}.Open([]byte("x")) })
}

// TestSalts draws salts from generators in equal states, as clones of one machine
// have them.
func TestSalts(t *testing.T) {
	seen := map[[32]byte]bool{{}: true}
	for range 100 {
		salt, err := newSalt(testSession, bytes.NewReader(make([]byte, 32)))
		if err != nil || seen[salt] {
			t.Fatalf("salt %x again, %v", salt, err)
		}
		seen[salt] = true
	}
	a, _ := newSalt(testSession, fixed(3))
	b, _ := newSalt(SessionID{}, fixed(3))
	if a != b || a != [32]byte(sequence(3, 32)) {
		t.Error("reproducible salts differ")
	}
	want := errors.New("no entropy")
	for _, r := range []io.Reader{iotest.ErrReader(want), Reproducible{iotest.ErrReader(want)}} {
		if salt, err := newSalt(testSession, r); !errors.Is(err, want) || salt != [32]byte{} {
			t.Errorf("salt %x, %v", salt, err)
		}
	}
	k := testKeys(AESGCM)
	o1, _ := k.NewObject(KindPack, testSession, bytes.NewReader(make([]byte, 32)))
	o2, _ := k.NewObject(KindPack, testSession, bytes.NewReader(make([]byte, 32)))
	if bytes.Equal(o1.Header(), o2.Header()) || o1.s().key == o2.s().key {
		t.Error("two objects share a key")
	}
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		fmt.Sprint(KindDone): "done", fmt.Sprint(Kind('x')): "object of kind 0x78", fmt.Sprint(BlobTree): "tree", fmt.Sprint(BlobKind(7)): "blob kind 7",
		fmt.Sprint(AESGCM): "aes-256-gcm", fmt.Sprint(AEAD(9)): "algorithm 9", fmt.Sprint(DefaultKDFCost): "argon2id t=3 m=65536 p=4",
		fmt.Sprint(NonceFooter): "footer", fmt.Sprint(NonceType(8)): "nonce type 8",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !PreferredAEAD().known() {
		t.Error("no preferred algorithm")
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, a := range bothAEADs {
		b.Run(a.String(), func(b *testing.B) {
			o, err := testKeys(a).NewObject(KindPack, testSession, fixed(1))
			if err != nil {
				b.Fatal(err)
			}
			plain := make([]byte, 512<<10)
			dst := make([]byte, 0, len(plain)+Overhead)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				o.Seal(dst, NonceSegment, 0, nil, plain)
			}
		})
	}
}

func BenchmarkNewObject(b *testing.B) {
	k := testKeys(AESGCM)
	r := fixed(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.NewObject(KindPack, testSession, r); err != nil {
			b.Fatal(err)
		}
	}
}
