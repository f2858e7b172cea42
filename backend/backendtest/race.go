package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"vault/backend"
)

func testCreate(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	if err := b.Create(ctx, "commits/c", []byte("winner")); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "create again", b.Create(ctx, "commits/c", []byte("loser")), fs.ErrExist)
	mustHold(t, b, "commits/c", []byte("winner"))
	mustPut(t, b, "put", []byte("first"))
	mustBe(t, "create over put", b.Create(ctx, "put", nil), fs.ErrExist)
	mustHold(t, b, "put", []byte("first"))
	mustPut(t, b, "commits/c", []byte("replaced")) // Put may replace what Create made
	mustHold(t, b, "commits/c", []byte("replaced"))
	if err := b.Create(ctx, "void", nil); err != nil { // an empty object exists as well
		t.Fatal(err)
	}
	mustBe(t, "create over an empty object", b.Create(ctx, "void", []byte("x")), fs.ErrExist)
}

// testCreateRace has 16 writers race for one name, several times over. Each
// looks at the object while the race is on: whatever it sees must be one
// writer's whole data, always the same, and the winner's.
func testCreateRace(t *testing.T, b backend.Backend) {
	const racers = 16
	ctx := context.Background()
	for round := range 5 {
		name := fmt.Sprintf("race/%d", round)
		var (
			wg    sync.WaitGroup
			start = make(chan struct{})
			errs  [racers]error
			saw   [racers][]byte
		)
		for i := range racers {
			data := bytes.Repeat([]byte{byte('a' + i)}, 3000+i)
			wg.Go(func() {
				<-start
				errs[i] = b.Create(ctx, name, data)
				got, err := backend.ReadAll(ctx, b, name, noLimit)
				if err != nil {
					t.Errorf("read after create: %v", err)
				}
				saw[i] = got
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Errorf("round %d: %d and %d both won", round, winner, i)
			case err == nil:
				winner = i
			default:
				mustBe(t, "loser", err, fs.ErrExist)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		want := bytes.Repeat([]byte{byte('a' + winner)}, 3000+winner)
		mustHold(t, b, name, want)
		for i, got := range saw {
			if !bytes.Equal(got, want) {
				t.Errorf("round %d: racer %d saw %d bytes that are not the winner's", round, i, len(got))
			}
		}
	}
}

// testAtomicReplace reads while another goroutine replaces: a reader must see
// one version whole and never a gap.
func testAtomicReplace(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1+(i*7919)%200_000) }
	mustPut(t, b, "atomic", version(1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 60 {
			if err := b.Put(ctx, "atomic", version(i)); err != nil {
				t.Errorf("replace: %v", err)
				return
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		got, err := backend.ReadAll(ctx, b, "atomic", noLimit)
		if _, may := b.(unreliable); may && err != nil {
			continue
		}
		if err != nil {
			t.Errorf("read while replaced: %v", err)
			break
		}
		if len(got) == 0 || !bytes.Equal(got, version(int(got[0]))) {
			t.Error("a reader saw a mixture of versions")
			break
		}
	}
	<-done
}

func testConcurrent(t *testing.T, b backend.Backend) {
	ctx := context.Background()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 12 {
				own := fmt.Sprintf("own/%d/%d", g, i)
				data := noise(uint64(g*100+i), 1000*i)
				if err := b.Put(ctx, own, data); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				mustHoldQuietly(t, b, own, data)
				if err := b.Create(ctx, fmt.Sprintf("shared/%d", i), []byte("same")); err != nil && !errors.Is(err, fs.ErrExist) {
					t.Errorf("create: %v", err)
				}
				for _, err := range b.List(ctx, "own/") {
					if err != nil {
						t.Errorf("list: %v", err)
					}
				}
				if i%2 == 0 {
					if err := b.Delete(ctx, own); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if own, shared := len(names(t, b, "own/")), len(names(t, b, "shared/")); own != 8*6 || shared != 12 {
		t.Errorf("after concurrent use there are %d and %d objects, want 48 and 12", own, shared)
	}
}

// mustHoldQuietly is mustHold for goroutines, which must not call Fatal.
func mustHoldQuietly(t testing.TB, b backend.Backend, name string, want []byte) {
	got, err := backend.ReadAll(context.Background(), b, name, noLimit)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes (%v), want %d", name, len(got), err, len(want))
	}
}
