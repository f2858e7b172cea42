package backendtest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"vault/backend"
	. "vault/backend/backendtest"
	"vault/backend/mem"
)

var ctx = context.Background()

func TestFaultyContract(t *testing.T) {
	Run(t, func(testing.TB) backend.Backend { return NewFaulty(mem.New()) })
}

// script does one operation of each kind and returns their errors in order.
func script(b backend.Backend) []error {
	var errs []error
	errs = append(errs, b.Put(ctx, "a", []byte("a")), b.Create(ctx, "b", []byte("b")))
	_, err := backend.ReadAll(ctx, b, "a", 10)
	errs = append(errs, err)
	err = nil
	for _, e := range b.List(ctx, "") {
		err = e
	}
	return append(errs, err, b.Delete(ctx, "a"))
}

var all = []Op{{Put, "a"}, {Create, "b"}, {Get, "a"}, {List, ""}, {Delete, "a"}}

func exists(t *testing.T, b backend.Backend, name string) bool {
	_, err := backend.ReadAll(ctx, b, name, 10)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestRecord(t *testing.T) {
	f := NewFaulty(mem.New())
	if err := errors.Join(script(f)...); err != nil {
		t.Fatal(err)
	}
	if got := f.Ops(); !slices.Equal(got, all) || f.Count() != len(all) {
		t.Errorf("recorded %v, want %v", got, all)
	}
}

// TestEveryFault fails, and then crashes at, each operation on either side.
func TestEveryFault(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for _, when := range []When{Before, After} {
			for n := 1; n <= len(all); n++ {
				t.Run(fmt.Sprintf("crash=%v when=%d n=%d", crash, when, n), func(t *testing.T) {
					m := mem.New()
					f := NewFaulty(m)
					want := ErrInjected
					if crash {
						f.CrashAt(n, when)
						want = ErrCrashed
					} else {
						f.FailAt(n, when, nil)
					}
					for i, err := range script(f) {
						switch {
						case i+1 == n && !errors.Is(err, want), i+1 < n && err != nil, crash && i+1 > n && !errors.Is(err, ErrCrashed):
							t.Errorf("operation %d: %v", i+1, err)
						}
					}
					if f.Crashed() != crash {
						t.Errorf("crashed: %v", f.Crashed())
					}
					applied := func(i int) bool { return i < n || i == n && when == After || i > n && !crash }
					// b was stored by operation 2; a by 1, and deleted by 5.
					if got := exists(t, m, "b"); got != applied(2) {
						t.Errorf("b exists: %v", got)
					}
					if got := exists(t, m, "a"); got != (applied(1) && !applied(5)) {
						t.Errorf("a exists: %v", got)
					}
					f.Revive()
					if err := f.Put(ctx, "c", nil); err != nil || f.Count() != 1 {
						t.Errorf("after Revive: %v, %d operations", err, f.Count())
					}
				})
			}
		}
	}
}

func TestMatch(t *testing.T) {
	f := NewFaulty(mem.New())
	mine := errors.New("mine")
	f.Inject(Fault{At: 2, Match: Op.Writes, Err: mine})
	f.Inject(Fault{At: 1, Match: func(o Op) bool { return o.Kind == Get }, Err: mine})
	for i, err := range script(f) {
		if want := i == 1 || i == 2; errors.Is(err, mine) != want {
			t.Errorf("%v: %v", all[i], err)
		}
	}
}

// TestCrashStopsReaders: what is open when the crash comes yields no more.
func TestCrashStopsReaders(t *testing.T) {
	f := NewFaulty(mem.New())
	for _, name := range []string{"a", "b", "c"} {
		if err := f.Put(ctx, name, []byte("data")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := f.Get(ctx, "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	steps := 0
	for _, err := range f.List(ctx, "") {
		f.Crash()
		last, steps = err, steps+1
	}
	if steps != 2 || !errors.Is(last, ErrCrashed) {
		t.Errorf("a listing went on for %d steps after the crash, %v", steps-1, last)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrCrashed) {
		t.Errorf("read: %v", err)
	}
}
