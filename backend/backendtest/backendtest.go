// Package backendtest holds what backend drivers and their users test with:
// [Run], the contract of backend.Backend as a suite that every driver must
// pass, and [Faulty], a wrapper that counts, records and fails operations.
//
// The suite cannot see durability; drivers test that themselves.
package backendtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vault/backend"
)

// contract is what every driver must do.
var contract = []struct {
	name string
	test func(*testing.T, backend.Backend)
}{
	{"empty", testEmpty},
	{"round trip", testRoundTrip},
	{"big object", testBig},
	{"ranges", testRanges},
	{"missing", testMissing},
	{"replace", testReplace},
	{"create", testCreate},
	{"create race", testCreateRace},
	{"atomic replace", testAtomicReplace},
	{"reader keeps version", testReaderVersion},
	{"list", testList},
	{"list early stop", testListStop},
	{"list during changes", testListChanges},
	{"delete", testDelete},
	{"names", testNames},
	{"cancelled", testCancelled},
	{"data not retained", testNotRetained},
	{"bounded read", testBounded},
	{"concurrent use", testConcurrent},
	{"closed", testClosed},
}

// Run tests one driver. The function returns a fresh and empty backend each
// time it is called; Run closes it.
func Run(t *testing.T, open func(t testing.TB) backend.Backend) {
	for _, c := range contract {
		t.Run(c.name, func(t *testing.T) { c.test(t, closing(t, open(t))) })
	}
}

func closing(t *testing.T, b backend.Backend) backend.Backend {
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

const noLimit = 1 << 30

// noise returns n bytes that depend on seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	data := make([]byte, n)
	rand.NewChaCha8(key).Read(data)
	return data
}

func mustPut(t testing.TB, b backend.Backend, name string, data []byte) {
	t.Helper()
	if err := b.Put(context.Background(), name, data); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

// mustHold checks that name holds exactly want.
func mustHold(t testing.TB, b backend.Backend, name string, want []byte) {
	t.Helper()
	got, err := backend.ReadAll(context.Background(), b, name, noLimit)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: got %d bytes that differ from the %d stored", name, len(got), len(want))
	}
}

func mustBe(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// names returns the whole listing.
func names(t testing.TB, b backend.Backend, prefix string) []string {
	t.Helper()
	var list []string
	for info, err := range b.List(context.Background(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		list = append(list, info.Name)
	}
	return list
}

// readGet reads a range through Get; the error is Get's, Read's or Close's.
func readGet(b backend.Backend, name string, off, n int64) ([]byte, error) {
	r, err := b.Get(context.Background(), name, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func testEmpty(t *testing.T, b backend.Backend) {
	for _, prefix := range []string{"", "packs/", "packs/ab/"} {
		if got := names(t, b, prefix); len(got) != 0 {
			t.Errorf("list %q of an empty place: %q", prefix, got)
		}
	}
	_, err := readGet(b, "config", 0, -1)
	mustBe(t, "get in an empty place", err, fs.ErrNotExist)
	mayMiss(t, "delete in an empty place", b.Delete(context.Background(), "config"))
	if got := names(t, b, ""); len(got) != 0 {
		t.Errorf("reading made objects: %q", got)
	}
}

func testRoundTrip(t *testing.T, b backend.Backend) {
	for i, size := range []int{0, 1, 4095, 4096, 4097, 65536, 1 << 20, 1<<20 + 1} {
		data := noise(uint64(i), size)
		for _, name := range []string{"put", "create", "packs/ab/0123456789abcdef", "deep/er/and/deeper/x"} {
			store := b.Put
			if name == "create" {
				store = b.Create
			}
			name += "-" + string(rune('a'+i))
			if err := store(context.Background(), name, data); err != nil {
				t.Fatalf("store %s of %d bytes: %v", name, size, err)
			}
			mustHold(t, b, name, data)
		}
	}
	for info, err := range b.List(context.Background(), "packs/") {
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readGet(b, info.Name, 0, -1); err != nil || int64(len(got)) != info.Size {
			t.Errorf("%s is listed with %d bytes and holds %d (%v)", info.Name, info.Size, len(got), err)
		}
	}
}

func testBig(t *testing.T, b backend.Backend) {
	data := noise(1, 20<<20+17)
	mustPut(t, b, "big", data)
	mustHold(t, b, "big", data)
	dst := make([]byte, 1<<20)
	if err := backend.ReadRange(context.Background(), b, "big", 19<<20, dst); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dst, data[19<<20:][:1<<20]) {
		t.Error("a range of a big object differs")
	}
}

func testRanges(t *testing.T, b backend.Backend) {
	const size = 10_000
	data := noise(2, size)
	mustPut(t, b, "r", data)
	mustPut(t, b, "empty", nil)
	for _, c := range []struct {
		name   string
		off, n int64
		fails  bool
	}{
		{"r", 0, -1, false},
		{"r", 0, size, false},
		{"r", 1, 1, false},
		{"r", 4096, 4096, false},
		{"r", size - 1, 1, false},
		{"r", size - 1, -1, false},
		{"r", size, 0, false}, // nothing, exactly at the end
		{"r", size, -1, false},
		{"r", 17, 0, false}, // nothing, in the middle
		{"empty", 0, 0, false},
		{"empty", 0, -1, false},
		{"r", 0, size + 1, true},
		{"r", size - 1, 2, true},
		{"r", size, 1, true},
		{"r", size + 1, 0, true}, // starts past the end
		{"r", size + 1, -1, true},
		{"r", size + 1, 1, true},
		{"r", 1 << 40, 1 << 40, true},
		{"r", 1, 1<<63 - 1, true}, // off+n overflows
		{"r", -1, 1, true},
		{"empty", 0, 1, true},
		{"empty", 1, -1, true},
	} {
		got, err := readGet(b, c.name, c.off, c.n)
		if c.fails {
			if err == nil {
				t.Errorf("get %s [%d,+%d): no error, %d bytes", c.name, c.off, c.n, len(got))
			}
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, backend.ErrUnreachable) {
				t.Errorf("get %s [%d,+%d): misleading error %v", c.name, c.off, c.n, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("get %s [%d,+%d): %v", c.name, c.off, c.n, err)
			continue
		}
		want := data
		if c.name == "empty" {
			want = nil
		}
		if want = want[c.off:]; c.n >= 0 {
			want = want[:c.n]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("get %s [%d,+%d): wrong bytes", c.name, c.off, c.n)
		}
	}
	mustBe(t, "range past the end", backend.ReadRange(context.Background(), b, "r", size-3, make([]byte, 4)), io.ErrUnexpectedEOF)
}

func testMissing(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	mustPut(t, b, "packs/ab/cd", []byte("x"))
	for _, name := range []string{"packs/ab/ce", "packs/ac/cd", "other/ab/cd", "packs/ab/c", "nothing"} {
		_, err := readGet(b, name, 0, -1)
		mustBe(t, "get "+name, err, fs.ErrNotExist)
		mayMiss(t, "delete "+name, b.Delete(ctx, name))
		_, err = backend.ReadAll(ctx, b, name, 10)
		mustBe(t, "read "+name, err, fs.ErrNotExist)
		mustBe(t, "read range of "+name, backend.ReadRange(ctx, b, name, 0, make([]byte, 1)), fs.ErrNotExist)
		if errors.Is(err, backend.ErrUnreachable) {
			t.Errorf("read %s: a missing object is not unreachable: %v", name, err)
		}
	}
}

func testReplace(t *testing.T, b backend.Backend) {
	for i, size := range []int{100, 10, 0, 50_000, 1} {
		data := noise(uint64(i), size)
		mustPut(t, b, "sessions/s", data)
		mustHold(t, b, "sessions/s", data)
	}
	if got := names(t, b, ""); !slices.Equal(got, []string{"sessions/s"}) {
		t.Errorf("after replacing an object the place holds %q", got)
	}
}

// mayMiss checks the outcome of deleting what is not there: storage may tell.
func mayMiss(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want nil or %v", what, err, fs.ErrNotExist)
	}
}

func testDelete(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	for _, name := range []string{"a/b/c", "a/b/d", "e"} {
		mustPut(t, b, name, []byte(name))
	}
	for i, name := range []string{"a/b/c", "e", "a/b/d"} {
		if err := b.Delete(ctx, name); err != nil {
			t.Fatalf("delete %s: %v", name, err)
		}
		mayMiss(t, "delete again", b.Delete(ctx, name))
		_, err := readGet(b, name, 0, -1)
		mustBe(t, "get deleted", err, fs.ErrNotExist)
		if got := names(t, b, ""); len(got) != 2-i {
			t.Errorf("after %d deletions %q are left", i+1, got)
		}
	}
	if err := b.Create(ctx, "a/b/c", []byte("new")); err != nil {
		t.Errorf("create after delete: %v", err)
	}
	mustHold(t, b, "a/b/c", []byte("new"))
}

func testNames(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	for _, name := range BadNames() {
		mustBe(t, "put", b.Put(ctx, name, nil), backend.ErrName)
		mustBe(t, "create", b.Create(ctx, name, nil), backend.ErrName)
		mustBe(t, "delete", b.Delete(ctx, name), backend.ErrName)
		_, err := readGet(b, name, 0, -1)
		mustBe(t, "get", err, backend.ErrName)
	}
	for _, prefix := range []string{"a", "/", "../", "a//", "a/../", "A/", "./"} {
		for _, err := range b.List(ctx, prefix) {
			mustBe(t, "list "+prefix, err, backend.ErrName)
		}
	}
	if got := names(t, b, ""); len(got) != 0 {
		t.Errorf("refused names made objects: %q", got)
	}
	long := strings.Repeat("a", 255) + "/" + strings.Repeat("b", 200)
	mustPut(t, b, long, []byte("long"))
	mustHold(t, b, long, []byte("long"))
}

// BadNames returns names that every driver must refuse.
func BadNames() []string {
	return []string{
		"", ".", "..", "/", "a/", "/a", "a//b", "a/./b", "a/../b", "../a", "a/..",
		".hidden", "a/.tmp-x", "A", "a b", "a\x00b", "a\nb", "a\\b", "ä", "a\xff", "a:b", "lost+found",
		strings.Repeat("a", 256), strings.Repeat("a/", 300) + "a",
	}
}

func testBounded(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	mustPut(t, b, "ten", []byte("0123456789"))
	for _, limit := range []int64{10, 11, 1 << 40, 1<<63 - 4096} {
		if got, err := backend.ReadAll(ctx, b, "ten", limit); err != nil || string(got) != "0123456789" {
			t.Errorf("limit %d: got %q, %v", limit, got, err)
		}
	}
	for _, limit := range []int64{0, 9} {
		_, err := backend.ReadAll(ctx, b, "ten", limit)
		mustBe(t, "read over the limit", err, backend.ErrTooLarge)
	}
	if _, err := backend.ReadAll(ctx, b, "ten", -1); err == nil {
		t.Error("a negative limit is taken")
	}
}

func testNotRetained(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	want := noise(3, 5000)
	data := bytes.Clone(want)
	mustPut(t, b, "put", data)
	if err := b.Create(ctx, "create", data); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Error("the caller's data was changed")
	}
	clear(data)
	mustHold(t, b, "put", want)
	mustHold(t, b, "create", want)
	got, err := backend.ReadAll(ctx, b, "put", noLimit)
	if err != nil {
		t.Fatal(err)
	}
	clear(got) // what a reader returns is the reader's
	mustHold(t, b, "put", want)
}

func testReaderVersion(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	old, young := noise(4, 300_000), noise(5, 200_000)
	for _, change := range []func() error{
		func() error { return b.Put(ctx, "v", young) },
		func() error { return b.Delete(ctx, "v") },
	} {
		mustPut(t, b, "v", old)
		r, err := b.Get(ctx, "v", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 1000)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(append(head, rest...), old) {
			t.Error("a reader mixes two versions of an object")
		}
		r.Close()
	}
}

func testCancelled(t *testing.T, b backend.Backend) {
	mustPut(t, b, "old", []byte("old"))
	ctx, cancel := context.WithCancel(context.Background())
	r, err := b.Get(ctx, "old", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	mustBe(t, "put", b.Put(ctx, "new", nil), context.Canceled)
	mustBe(t, "create", b.Create(ctx, "new", nil), context.Canceled)
	mustBe(t, "delete", b.Delete(ctx, "old"), context.Canceled)
	_, err = b.Get(ctx, "old", 0, -1)
	mustBe(t, "get", err, context.Canceled)
	steps := 0
	for _, err := range b.List(ctx, "") {
		mustBe(t, "list", err, context.Canceled)
		steps++
	}
	if steps != 1 {
		t.Errorf("a cancelled listing took %d steps, want one with the error", steps)
	}
	if got := names(t, b, ""); !slices.Equal(got, []string{"old"}) {
		t.Errorf("cancelled operations left %q", got)
	}
}

func testClosed(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	mustPut(t, b, "x", []byte("x"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "put", b.Put(ctx, "y", nil), fs.ErrClosed)
	mustBe(t, "create", b.Create(ctx, "y", nil), fs.ErrClosed)
	mustBe(t, "delete", b.Delete(ctx, "x"), fs.ErrClosed)
	_, err := b.Get(ctx, "x", 0, -1)
	mustBe(t, "get", err, fs.ErrClosed)
	steps := 0
	for _, err := range b.List(ctx, "") {
		mustBe(t, "list", err, fs.ErrClosed)
		steps++
	}
	if steps != 1 {
		t.Errorf("a closed backend's listing took %d steps, want one with the error", steps)
	}
}
