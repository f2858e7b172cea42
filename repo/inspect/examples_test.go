package inspect

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/restic/chunker"

	"vault/chunk"
	"vault/crypto"
)

const (
	formatPage    = "../../docs/format.md"
	examplesBegin = "<!-- examples:begin -->\n"
	examplesEnd   = "<!-- examples:end -->"
)

// TestExamples keeps section 15 of docs/format.md up to date.
func TestExamples(t *testing.T) {
	page, err := os.ReadFile(formatPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := bytes.Cut(page, []byte(examplesBegin))
	old, after, ended := bytes.Cut(rest, []byte(examplesEnd))
	if !found || !ended {
		t.Fatalf("%s has no place for examples", formatPage)
	}
	want := examples(t)
	if bytes.Equal(old, want) {
		return
	}
	if !*update {
		t.Fatalf("section 15 of %s is not what the program stores; if that is meant, run the test with -update and read the diff", formatPage)
	}
	page = slices.Concat(before, []byte(examplesBegin), want, []byte(examplesEnd), after)
	if err := os.WriteFile(formatPage, page, 0o644); err != nil {
		t.Fatal(err)
	}
}

// examples returns what stands between the markers.
func examples(t *testing.T) []byte {
	x := newExample(t)
	var b bytes.Buffer
	fmt.Fprintf(&b, `
A line is a field: its offset in the object, its first %d bytes, its name, and what it means, where values of up to 64 bytes stand in full. Bytes under "opened" are plaintext; they have the offsets of their ciphertext.
All objects were made with

| input | value |
|---|---|
| passphrase | %s |
| key derivation | %s (the least that is allowed: for tests only) |
| master key | %x |
| repository id | %s |
| randomness | the u64 0, 1, 2 ... big endian, one after another; salts take 32 bytes as they come. Those of plan and done begin with 2^32 |
| clock | %s |
| data blob | %s, 50 times |
| tree page of the empty directory | %x |

The header of a slot or config is shown in full, as is one of a pack; of the others what all have in common is left out.

`, hexShown, "`"+passphrase+"`", crypto.TestKDFCost, x.opened.Master[:], x.keys.Repo(), clock.Format(timeForm), "`one `", []byte{1, 1, 0, 0})
	for _, e := range []struct{ kind, title string }{
		{"key", "Key slot"},
		{"config", "Config"},
		{"pack", "Pack"},
		{"tree", "Tree page"},
		{"index", "Index segment"},
		{"session", "Session"},
		{"commit", "Commit"},
		{"event2", "Event"},
		{"plan", "Plan"},
		{"done", "Done"},
	} {
		r := x.report(e.kind)
		if what := objection(r); what != "" {
			t.Fatalf("%s: %s", e.kind, what)
		}
		fmt.Fprintf(&b, "### %s\n\n", e.title)
		if e.kind != "config" && e.kind != "pack" {
			r.Fields = shortHeaders(r.Fields)
		}
		fmt.Fprintf(&b, "```\n%s```\n\n", text(t, r))
	}
	var counted [32]byte
	for i := range counted {
		counted[i] = byte(i)
	}
	b.WriteString(`### Chunkers

What section 8 derives from the chunker secret, here with HKDF as a whole (RFC 5869: extract with an empty salt, then expand). For aes-window these are 16 bytes with the info ` + "`vault/1/chunker/aes-window`" + `.
For rabin it is a stream of 8160 bytes with the info ` + "`vault/1/chunker/rabin`" + `: each u64 of it, little endian, is cut to its low 54 bits, bits 53 and 0 are set, and the first that is irreducible over GF(2) is the polynomial.

| chunker secret | aes-window key | rabin polynomial |
|---|---|---|
`)
	for _, s := range [][32]byte{counted, x.keys.ChunkerSecret()} {
		key, pol := deriveChunkers(t, s)
		fmt.Fprintf(&b, "| %x | %x | %#x |\n", s, key, uint64(pol))
	}
	b.WriteString("\n")
	return b.Bytes()
}

// shortHeaders leaves out what all headers have in common.
func shortHeaders(fields []Field) []Field {
	fields = slices.Clone(fields)
	for i := range fields {
		f := &fields[i]
		f.Children = shortHeaders(f.Children)
		if f.Name == "header" {
			f.Children = slices.DeleteFunc(f.Children, func(c Field) bool {
				return c.Name != "session id" && c.Name != "salt" && c.Name != "commitment"
			})
			f.Note = "shortened"
		}
	}
	return fields
}

// deriveChunkers follows the specification, and proves with package chunk that
// it does the same.
func deriveChunkers(t *testing.T, secret [32]byte) (key []byte, pol chunker.Pol) {
	t.Helper()
	key = must[[]byte](t)(hkdf.Key(sha256.New, secret[:], nil, "vault/1/chunker/aes-window", 16))
	stream := must[[]byte](t)(hkdf.Key(sha256.New, secret[:], nil, "vault/1/chunker/rabin", 8160))
	for ; pol == 0 || !pol.Irreducible(); stream = stream[8:] {
		pol = chunker.Pol(binary.LittleEndian.Uint64(stream)&(1<<54-1) | 1<<53 | 1)
	}
	data := make([]byte, 1<<20)
	rand.NewChaCha8(secret).Read(data)
	for _, p := range []chunk.Params{
		{Algorithm: chunk.Rabin, Min: 4 << 10, Max: 64 << 10, Bits: 14},
		{Algorithm: chunk.AESWindow, Min: 4 << 10, Max: 64 << 10, Bits: 12},
	} {
		want := rabinEnds(t, data, pol, p)
		if p.Algorithm == chunk.AESWindow {
			want = windowEnds(t, data, key, p)
		}
		if got := chunkEnds(t, data, secret, p); !slices.Equal(got, want) || len(want) < 10 {
			t.Errorf("%v: chunks end at %v, by the specification at %v", p.Algorithm, got, want)
		}
	}
	return key, pol
}

func chunkEnds(t *testing.T, data []byte, secret [32]byte, p chunk.Params) (ends []int) {
	t.Helper()
	s := must[*chunk.Chunker](t)(chunk.New(p, secret)).NewSplitter()
	s.Reset(bytes.NewReader(data))
	for at := 0; at < len(data); {
		c := must[[]byte](t)(s.Next())
		at += len(c)
		ends = append(ends, at)
	}
	return ends
}

func rabinEnds(t *testing.T, data []byte, pol chunker.Pol, p chunk.Params) (ends []int) {
	t.Helper()
	c := chunker.NewWithBoundaries(bytes.NewReader(data), pol, uint(p.Min), uint(p.Max))
	c.SetAverageBits(int(p.Bits))
	for at := 0; at < len(data); {
		at += int(must[chunker.Chunk](t)(c.Next(nil)).Length)
		ends = append(ends, at)
	}
	return ends
}

// windowEnds is section 8, as it is written.
func windowEnds(t *testing.T, data, key []byte, p chunk.Params) (ends []int) {
	t.Helper()
	block := must[cipher.Block](t)(aes.NewCipher(key))
	low := func(i int) uint32 { // the low 32 bits of V_i: of each term its own
		var v uint32
		for term := range 4 {
			var a [16]byte
			j := i - 16*term
			block.Encrypt(a[:], data[j-15:j+1])
			v ^= binary.LittleEndian.Uint32(a[4*term:])
		}
		return v
	}
	for at, n := 0, 1; at < len(data); n++ {
		if n == p.Max || at+n == len(data) || n >= p.Min && low(at+n-1)&(1<<p.Bits-1) == 0 {
			at, n = at+n, 0
			ends = append(ends, at)
		}
	}
	return ends
}
