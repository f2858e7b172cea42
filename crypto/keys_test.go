package crypto

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/zeebo/blake3"
)

// TestBlobIDPooled compares names of pooled hashers, which have hashed other
// things before, with those of new ones.
func TestBlobIDPooled(t *testing.T) {
	k := testKeys(AESGCM)
	key := refSubkey("blob/data")
	buf := sequence(3, 300_000)
	for _, n := range []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 8191, 8192, 8193, 100, 16384, 16385, 65537, 300_000, 5, 9000, 0} {
		h, _ := blake3.NewKeyed(key)
		h.Write(buf[:n])
		if got, want := k.BlobID(BlobData, buf[:n]), ID(h.Sum(nil)); got != want {
			t.Errorf("name of %d bytes is %s, want %s", n, got, want)
		}
	}
	if !bytes.Equal(buf, sequence(3, 300_000)) {
		t.Error("BlobID changed its input")
	}
}

func TestSubkeysDiffer(t *testing.T) {
	otherMaster, otherRepo := testMaster, testRepo
	otherMaster[31] ^= 1
	otherRepo[15] ^= 1
	seen := map[[32]byte]string{}
	note := func(what string, v [32]byte) {
		if old, ok := seen[v]; ok {
			t.Errorf("%s equals %s", what, old)
		}
		seen[v] = what
	}
	for name, k := range map[string]*Keys{
		"keys":         NewKeys(testMaster, testRepo, AESGCM),
		"other master": NewKeys(otherMaster, testRepo, AESGCM),
		"other repo":   NewKeys(testMaster, otherRepo, AESGCM),
	} {
		note(name+" chunker", k.ChunkerSecret())
		note(name+" cache", k.Cache())
		note(name+" data", k.BlobID(BlobData, []byte("x")))
		note(name+" tree", k.BlobID(BlobTree, []byte("x")))
		for label, key := range k.s().objects {
			note(name+" "+label, key)
		}
	}
	a, b, c := NewKeys(testMaster, testRepo, AESGCM), NewKeys(otherMaster, otherRepo, AESGCM), NewKeys(otherMaster, testRepo, AESGCM)
	note("cache of copies", a.CacheFrom(b))
	note("of the other direction", b.CacheFrom(a))
	note("from another", a.CacheFrom(c))
	note("into another", c.CacheFrom(b))
	if a.CacheFrom(b) != NewKeys(testMaster, testRepo, AESGCM).CacheFrom(b) || a.Cache() != NewKeys(testMaster, testRepo, AESGCM).Cache() {
		t.Error("the key of a cache is not the same the next time")
	}
	k := testKeys(ChaCha20Poly1305)
	if k.Repo() != testRepo || k.AEAD() != ChaCha20Poly1305 {
		t.Error("Repo or AEAD is wrong")
	}
	if k.BlobID(BlobData, []byte("x")) != testKeys(AESGCM).BlobID(BlobData, []byte("x")) {
		t.Error("names depend on the algorithm")
	}
	if k.PageHash(0, "a") == k.PageHash(1, "a") || k.PageHash(0, "a") == k.PageHash(0, "b") {
		t.Error("page hashes are equal")
	}
}

func TestRedacted(t *testing.T) {
	k := testKeys(AESGCM)
	o, err := k.NewObject(KindPack, testSession, fixed(1))
	if err != nil {
		t.Fatal(err)
	}
	holder := struct {
		Master MasterKey
		P      *MasterKey
		keys   *Keys
		byVal  Keys
		object *Object
	}{testMaster, &testMaster, k, *k, o}
	opened := OpenedSlot{Master: testMaster}
	dataKey := refSubkey("pack")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U"} {
		for _, secret := range [][]byte{testMaster[:], dataKey, o.s().key[:]} {
			for _, v := range []any{testMaster, &testMaster, k, *k, o, *o, holder, &holder, opened, &opened, []MasterKey{testMaster}} {
				text := fmt.Sprintf(verb, v)
				for _, form := range []string{"%x", "%X", "% x", "%d", "%o", "%b", "%s", "%q", "%c", "%U", "%#v"} {
					leak := strings.Trim(fmt.Sprintf(form, secret[4:10]), "[]{}\"byte")
					if strings.Contains(text, leak) {
						t.Errorf("%s of %T shows a secret: %.300s", verb, v, text)
					}
				}
			}
		}
		if got := fmt.Sprintf(verb, testMaster); got != "crypto.MasterKey(redacted)" {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, k); got != "crypto.Keys(redacted)" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if b, err := json.Marshal(opened); err == nil || strings.Contains(string(b), hex.EncodeToString(testMaster[4:8])) {
		t.Errorf("marshalled: %s", b)
	}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools are leaky under the race detector")
	}
	k := testKeys(AESGCM)
	data := sequence(0, 70_000)
	name := strings.Repeat("n", 200)
	check := func(what string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	for _, n := range []int{0, 100, 4096, 70_000} {
		check(fmt.Sprintf("BlobID of %d", n), func() { k.BlobID(BlobData, data[:n]) })
	}
	check("PageHash", func() { k.PageHash(3, name) })
	for _, a := range bothAEADs {
		o, err := testKeys(a).NewObject(KindPack, testSession, fixed(1))
		if err != nil {
			t.Fatal(err)
		}
		sealed := make([]byte, 0, len(data)+Overhead)
		plain := make([]byte, 0, len(data))
		check("Seal with "+a.String(), func() { sealed = o.Seal(sealed[:0], NonceSegment, 7, nil, data) })
		check("Open with "+a.String(), func() {
			if _, err := o.Open(plain, NonceSegment, 7, nil, sealed); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestKeysConcurrent(t *testing.T) {
	k := testKeys(AESGCM)
	o, err := k.NewObject(KindPack, testSession, fixed(1))
	if err != nil {
		t.Fatal(err)
	}
	data := sequence(0, 20_000)
	want := k.BlobID(BlobTree, data)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if k.BlobID(BlobTree, data) != want {
					t.Error("another name")
				}
				ordinal := uint64(g*50 + i)
				sealed := o.Seal(nil, NonceSegment, ordinal, nil, data[:100])
				if plain, err := o.Open(nil, NonceSegment, ordinal, nil, sealed); err != nil || !bytes.Equal(plain, data[:100]) {
					t.Errorf("segment %d: %v", ordinal, err)
				}
				k.PageHash(1, "name")
			}
		})
	}
	wg.Wait()
}

func BenchmarkBlobID(b *testing.B) {
	k := testKeys(AESGCM)
	for _, n := range []int{100, 4 << 10, 1 << 20} {
		data := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				k.BlobID(BlobData, data)
			}
		})
	}
}

func BenchmarkPageHash(b *testing.B) {
	k := testKeys(AESGCM)
	b.ReportAllocs()
	for b.Loop() {
		k.PageHash(0, "a-name-of-usual-length.txt")
	}
}
