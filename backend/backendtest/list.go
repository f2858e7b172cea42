package backendtest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"vault/backend"
)

func testList(t *testing.T, b backend.Backend) {
	// "-" and "." sort before "/", digits and letters after it: the order of
	// whole names is not the order of a directory walk.
	all := []string{
		"a-b", "a-b-c/x", "a.b", "a/b", "a/b-c", "a/c/d", "a0", "a_b", "aa/x",
		"config", "keys/1", "packs/00/aa", "packs/00/ab", "packs/01/00", "packs/ff/ff", "packs-x",
	}
	slices.Sort(all)
	for i, name := range slices.Backward(all) {
		mustPut(t, b, name, make([]byte, i))
	}
	for _, c := range []struct {
		prefix string
		want   []string
	}{
		{"", all},
		{"a/", []string{"a/b", "a/b-c", "a/c/d"}},
		{"a-b-c/", []string{"a-b-c/x"}},
		{"packs/", []string{"packs/00/aa", "packs/00/ab", "packs/01/00", "packs/ff/ff"}},
		{"packs/00/", []string{"packs/00/aa", "packs/00/ab"}},
		{"packs/02/", nil},
		{"pack/", nil}, // a prefix of a name, but of no object "pack/..."
		{"none/at/all/", nil},
	} {
		if got := names(t, b, c.prefix); !slices.Equal(got, c.want) {
			t.Errorf("list %q:\n got %q\nwant %q", c.prefix, got, c.want)
		}
	}
	for info, err := range b.List(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.Index(all, info.Name); info.Size != int64(want) {
			t.Errorf("%s is listed with %d bytes, want %d", info.Name, info.Size, want)
		}
	}
}

func testListStop(t *testing.T, b backend.Backend) {
	for i := range 100 {
		mustPut(t, b, fmt.Sprintf("packs/%02d/x", i), nil)
	}
	for stop := range 4 {
		seen := 0
		for info, err := range b.List(context.Background(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("packs/%02d/x", seen); info.Name != want {
				t.Fatalf("step %d: got %s, want %s", seen, info.Name, want)
			}
			if seen++; seen > stop {
				break
			}
		}
		if seen != stop+1 {
			t.Fatalf("stopped after %d steps, want %d", seen, stop+1)
		}
	}
	seq := b.List(context.Background(), "packs/")
	for range 2 { // a sequence can be used again
		n := 0
		for range seq {
			n++
		}
		if n != 100 {
			t.Errorf("the listing has %d objects, want 100", n)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, last := 0, error(nil)
	for _, err := range b.List(ctx, "") {
		cancel()
		n, last = n+1, err
	}
	mustBe(t, "cancelled during the loop", last, context.Canceled)
	if n == 100 {
		t.Error("a cancelled listing went on to the end")
	}
}

// testListChanges replaces, creates and deletes objects beside a stable set:
// no listing may miss or repeat what was there before it began. Signs of life
// of a session are such replacements, and collectors act on listings.
func testListChanges(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	var stable []string
	for i := range 40 {
		name := fmt.Sprintf("sessions/s%02d", i)
		stable = append(stable, name)
		mustPut(t, b, name, []byte("first"))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				var err error
				switch name := fmt.Sprintf("sessions/x%d-%d", g, i/3); i % 3 {
				case 0:
					err = b.Create(ctx, name, []byte("x"))
				case 1:
					err = b.Put(ctx, stable[(7*i+g)%len(stable)], bytes.Repeat([]byte("y"), i%9))
				case 2:
					err = b.Delete(ctx, name)
				}
				if err != nil {
					t.Errorf("change %d: %v", i, err)
					return
				}
			}
		})
	}
	for range 100 {
		var got []string
		for _, name := range names(t, b, "sessions/") {
			if name[len("sessions/")] == 's' {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, stable) {
			t.Errorf("a listing beside changes has %d of %d stable names: %q", len(got), len(stable), got)
			break
		}
	}
	close(stop)
	wg.Wait()
}
