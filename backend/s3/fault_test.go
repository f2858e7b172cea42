package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/s3/s3test"
)

// noise returns n random bytes, the same every time.
func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

func mustHold(t *testing.T, s *Store, name string, want []byte) {
	t.Helper()
	got, err := backend.ReadAll(bg, s, name, 1<<30)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: got %d bytes (%v), want %d others", name, len(got), err, len(want))
	}
}

// faulty returns a store behind a front, over a fresh bucket.
func faulty(t *testing.T, change func(*Config)) (*Store, *front) {
	t.Helper()
	srv := s3test.Start(t, s3test.Options{})
	srv.MakeBucket(t, "bucket", bucketOptions)
	f := newFront(t, srv)
	cfg := f.config(srv, "bucket")
	if change != nil {
		change(&cfg)
	}
	return mustOpen(t, cfg), f
}

// TestTemporary: after a failure that time mends, the same request succeeds.
func TestTemporary(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, nil)
	cfg := f.config(f.srv, "bucket")
	cfg.Stall, cfg.Retry.Tries = time.Second, 100 // a busy server may be as slow: so many tries are enough
	hasty := mustOpen(t, cfg)
	data := noise(50_000)
	every := []string{OpPut, OpCreate, OpGet, OpList, OpStat, OpDelete}
	for i, c := range []struct {
		fault fault
		ops   []string
	}{
		{fault{reset: true}, every},
		{fault{lose: true}, every},
		{fault{hang: true}, every},
		{fault{status: 503, code: "SlowDown"}, every},
		{fault{status: 429, code: "TooManyRequests"}, every[:1]},
		{fault{status: 500, code: "InternalError"}, every[:1]},
		{fault{status: 502, text: "<html>Bad Gateway</html>"}, every[:3]},
		{fault{status: 504}, every[:1]},
		{fault{status: 400, code: "RequestTimeout"}, every[:1]},
		{fault{status: 400, code: "BadDigest"}, every[:1]},
		{fault{status: 409, code: "OperationAborted"}, every[:2]},
	} {
		s := s
		if c.fault.hang {
			s = hasty
		}
		for _, op := range c.ops {
			dir := fmt.Sprintf("packs/%d-%s/", i, op) // where nothing is that the store of another request came to late
			name := dir + "x"
			f.do(until(op, 2, c.fault))
			store := s.Put
			if op == OpCreate {
				store = s.Create
			}
			if err := store(bg, name, data); err != nil {
				t.Errorf("%+v of %s: store: %v", c.fault, op, err)
				continue
			}
			mustHold(t, s, name, data)
			if op == OpStat {
				if _, err := s.Get(bg, name, 0, 0); err != nil {
					t.Errorf("%+v of %s: look: %v", c.fault, op, err)
				}
			}
			if info, err := firstOf(s, dir); err != nil || info.Name != name {
				t.Errorf("%+v of %s: list: %v, %v", c.fault, op, info, err)
			}
			if err := s.Delete(bg, name); err != nil {
				t.Errorf("%+v of %s: delete: %v", c.fault, op, err)
			}
			want := 3
			if op == OpCreate && (c.fault.lose || c.fault.hang) {
				want = 1 // it has taken effect, which a look tells
			}
			if n := f.count(op); n != want && !(c.fault.hang && n > want) {
				t.Errorf("%+v of %s: %d requests, want %d", c.fault, op, n, want)
			}
		}
	}
}

// TestFinal: what time cannot mend is not tried again, and has its kind.
func TestFinal(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, nil)
	if err := s.Put(bg, "x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fault fault
		kind  error
	}{
		{fault{status: 403, code: "AccessDenied"}, backend.ErrPermission},
		{fault{status: 403, code: "InvalidAccessKeyId"}, backend.ErrPermission},
		{fault{status: 403, code: "SignatureDoesNotMatch"}, backend.ErrPermission},
		{fault{status: 403, code: "RequestTimeTooSkewed"}, backend.ErrPermission},
		{fault{status: 400, code: "ExpiredToken"}, backend.ErrPermission},
		{fault{status: 401}, backend.ErrPermission},
		{fault{status: 403, code: "QuotaExceeded"}, backend.ErrNoSpace},
		{fault{status: 507, code: "InsufficientStorage"}, backend.ErrNoSpace},
		{fault{status: 507, code: "XMinioStorageFull"}, backend.ErrNoSpace},
		{fault{status: 507, text: "full"}, backend.ErrNoSpace},
		{fault{status: 404, code: "NoSuchBucket"}, backend.ErrUnreachable},
		{fault{status: 404, text: "<html><body>not found</body></html>"}, backend.ErrUnreachable},
		{fault{status: 404}, backend.ErrUnreachable},
		{fault{status: 301, code: "PermanentRedirect"}, backend.ErrUnreachable},
		{fault{status: 200, text: "<html>log in to the network here</html>"}, backend.ErrUnreachable},
		{fault{status: 400, code: "InvalidRequest"}, nil},
	} {
		f.do(until("", 100, c.fault))
		_, lerr := first(s)
		_, gerr := s.Get(bg, "x", 0, 10)
		errs := map[string]error{"list": lerr, "get": gerr, "put": s.Put(bg, "x", []byte("y")), "create": s.Create(bg, "y", []byte("y")), "delete": s.Delete(bg, "x")}
		for op, err := range errs {
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("%+v: %s: got %v, want %v", c.fault, op, err, c.kind)
			}
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
				t.Errorf("%+v: %s: misleading %v", c.fault, op, err)
			}
			if c.kind != nil && backend.Hint(err) == "" {
				t.Errorf("%+v: %s: no hint", c.fault, op)
			}
		}
		for _, op := range []string{OpList, OpGet, OpPut, OpCreate, OpDelete} {
			if n := f.count(op); n != 1 {
				t.Errorf("%+v: %d requests of %s, want 1", c.fault, n, op)
			}
		}
	}
	f.do(nil)
	mustHold(t, s, "x", []byte("x"))
}

// first returns the first object of the whole listing.
func first(s *Store) (backend.Info, error) { return firstOf(s, "") }

// firstOf returns the first object of the listing of a directory.
func firstOf(s *Store, dir string) (backend.Info, error) {
	for info, err := range s.List(bg, dir) {
		return info, err
	}
	return backend.Info{}, nil
}

// TestLostCreate: a create whose answer was lost knows its own success from
// another's, even when the data are the same.
func TestLostCreate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		size  int
		fault fault
		found fault // what happens to the look that settles it
		other bool  // somebody else has made it before
		want  error
	}{
		{name: "own", size: 100, fault: fault{lose: true}},
		{name: "own, empty", size: 0, fault: fault{lose: true}},
		{name: "own, refused after it took effect", size: 100, fault: fault{lose: true}, found: fault{status: 503, code: "SlowDown"}},
		{name: "another's", size: 100, fault: fault{lose: true}, other: true, want: fs.ErrExist},
		{name: "never made", size: 100, fault: fault{reset: true}},
		{name: "another's, never asked", size: 100, fault: fault{status: 500}, other: true, want: fs.ErrExist},
		{name: "metadata dropped", size: 100, fault: fault{lose: true}, found: fault{dropMeta: true}, want: fs.ErrExist},
		{name: "look refused", size: 100, fault: fault{lose: true}, found: fault{status: 403, code: "AccessDenied"}, want: backend.ErrPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, f := faulty(t, nil)
			data := noise(c.size)
			if c.other {
				if err := s.Create(bg, "commits/c", data); err != nil {
					t.Fatal(err)
				}
			}
			f.do(func(op string, n int) *fault {
				switch {
				case op == OpCreate && n == 0:
					return &c.fault
				case op == OpStat && n == 0 && c.found != fault{}:
					return &c.found
				}
				return nil
			})
			if err := s.Create(bg, "commits/c", data); !errors.Is(err, c.want) {
				t.Errorf("create: %v, want %v", err, c.want)
			}
			f.do(nil)
			mustHold(t, s, "commits/c", data)
		})
	}
}

// TestConflict: 409 on a conditional put means nothing but "again".
func TestConflict(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, nil)
	f.do(until(OpCreate, 3, fault{status: 409, code: "ConditionalRequestConflict"}))
	if err := s.Create(bg, "x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if n := f.count(OpCreate); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
	f.do(until(OpCreate, 99, fault{status: 501, code: "NotImplemented"}))
	if err := s.Create(bg, "y", []byte("y")); !errors.Is(err, errors.ErrUnsupported) || f.count(OpCreate) != 1 {
		t.Errorf("a store without conditional put: %v after %d requests", err, f.count(OpCreate))
	}
}

func TestUnguardedCreate(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, nil)
	s.SingleWriter()
	if err := s.Create(bg, "x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(bg, "x", []byte("y")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create again: %v", err)
	}
	mustHold(t, s, "x", []byte("x"))
	if n := f.count(OpCreate); n != 0 {
		t.Errorf("%d conditional requests", n)
	}
}

// TestRaceConnections: racing creates go over connections of their own.
func TestRaceConnections(t *testing.T) {
	t.Parallel()
	const racers = 16
	s, f := faulty(t, nil)
	for round := range 3 {
		together := newMeeting(racers)
		f.do(func(op string, _ int) *fault {
			if op != OpCreate {
				return nil
			}
			return &fault{meet: together}
		})
		var wg sync.WaitGroup
		errs := make([]error, racers)
		for i := range errs {
			wg.Go(func() { errs[i] = s.Create(bg, fmt.Sprintf("probe-%d", round), []byte{byte(i)}) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		}
		if won != 1 || len(f.conns) < racers { // more when the server has closed one with its refusal
			t.Errorf("%d of %d won over %d connections", won, racers, len(f.conns))
		}
	}
}

// TestReaderGoesOn: a reader whose connection breaks reads the rest of the
// same version, and of no other.
func TestReaderGoesOn(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, nil)
	data := noise(3 << 20)
	if err := s.Put(bg, "packs/p", data); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{-1, int64(len(data)) - 1000} {
		f.do(until(OpGet, 4, fault{cut: 400_000}))
		r, err := s.Get(bg, "packs/p", 1000, n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data[1000:]) || f.count(OpGet) != 5 {
			t.Errorf("read %d bytes over %d connections, %v", len(got), f.count(OpGet), err)
		}
		r.Close()
	}

	f.do(at(OpGet, 0, fault{cut: 400_000}))
	r, err := s.Get(bg, "packs/p", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(bg, "packs/p", noise(3<<20 + 1)[1:]); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err == nil || len(got) > 400_000 || !bytes.Equal(got, data[:len(got)]) {
		t.Errorf("a reader mixes versions: %d bytes, %v", len(got), err)
	}
	if _, again := r.Read(make([]byte, 1)); again == nil {
		t.Error("a reader that failed reads on")
	}
	r.Close()

	// It gives up in the end, and is not confused with the end of the object.
	f.do(func(op string, n int) *fault {
		if op != OpGet || n == 0 {
			return &fault{cut: 400_000}
		}
		return &fault{reset: true}
	})
	if got, err := backend.ReadAll(bg, s, "packs/p", 1<<30); !errors.Is(err, backend.ErrUnreachable) || got != nil {
		t.Errorf("read: %d bytes, %v", len(got), err)
	}
}

// TestParts: an upload in parts survives lost parts and a lost completion, and
// leaves nothing behind when it fails.
func TestParts(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, func(c *Config) { c.PartSize = minPartSize })
	data := noise(minPartSize + 17)
	for what, plan := range map[string]func(string, int) *fault{
		"parts":               until(OpPart, 2, fault{reset: true}),
		"answers of parts":    until(OpPart, 2, fault{lose: true}),
		"start":               until(OpStart, 2, fault{lose: true}),
		"completion":          until(OpComplete, 2, fault{reset: true}),
		"completion's answer": at(OpComplete, 0, fault{lose: true}),
		"internal error":      until(OpComplete, 2, fault{status: 200, code: "InternalError"}), // as Amazon answers
		"slow down":           until(OpComplete, 2, fault{status: 200, code: "SlowDown"}),
	} {
		f.do(plan)
		if err := s.Put(bg, "packs/"+what[:3]+what[len(what)-3:], data); err != nil {
			t.Errorf("lost %s: %v", what, err)
			continue
		}
		mustHold(t, s, "packs/"+what[:3]+what[len(what)-3:], data)
	}
	f.do(func(op string, n int) *fault { // as stores do that forget a completed upload
		switch {
		case op == OpComplete && n == 0:
			return &fault{lose: true}
		case op == OpComplete:
			return &fault{status: 404, code: "NoSuchUpload"}
		}
		return nil
	})
	if err := s.Put(bg, "packs/forgotten", data); err != nil {
		t.Errorf("completed, and forgotten: %v", err)
	}
	mustHold(t, s, "packs/forgotten", data)
	f.do(until(OpComplete, 1, fault{status: 404, code: "NoSuchUpload"}))
	if err := s.Put(bg, "packs/forgotten", data[1:]); err == nil {
		t.Error("an upload that is gone counts as completed")
	}
	f.do(until(OpPart, 99, fault{status: 507, code: "InsufficientStorage"}))
	if err := s.Put(bg, "packs/full", data); !errors.Is(err, backend.ErrNoSpace) {
		t.Errorf("parts on a full store: %v", err)
	}
	if n := f.count(OpAbort); n != 1 {
		t.Errorf("a failed upload was aborted %d times", n)
	}
	if _, err := s.Get(bg, "packs/full", 0, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failed upload left: %v", err)
	}
}

// TestClass: only what is bulk is of the storage class, however it goes up.
func TestClass(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, func(c *Config) { c.PartSize, c.StorageClass = minPartSize, "GLACIER_IR" })
	data := noise(minPartSize + 1)
	for _, c := range []struct {
		what string
		ctx  context.Context
		want map[string]bool
	}{
		{"trees", bg, map[string]bool{}},
		{"data", backend.Bulk(bg), map[string]bool{OpPut + " GLACIER_IR": true, OpStart + " GLACIER_IR": true}},
	} {
		f.do(nil)
		for _, n := range []int{100, len(data)} {
			if err := s.Put(c.ctx, fmt.Sprintf("packs/%s-%d", c.what, n), data[:n]); err != nil {
				t.Fatal(err)
			}
			mustHold(t, s, fmt.Sprintf("packs/%s-%d", c.what, n), data[:n])
		}
		if !maps.Equal(f.class, c.want) {
			t.Errorf("%s: requests with a class %v, want %v", c.what, f.class, c.want)
		}
	}
}

// TestStuck: a request without progress ends in time, one with slow progress
// goes on.
func TestStuck(t *testing.T) {
	t.Parallel()
	patient, f := faulty(t, nil)
	if err := patient.Put(bg, "x", noise(2<<20)); err != nil {
		t.Fatal(err)
	}
	cfg := f.config(f.srv, "bucket")
	cfg.Stall, cfg.Retry.Tries, cfg.LimitDownload = 300*time.Millisecond, 2, 1<<20
	s := mustOpen(t, cfg)
	for _, x := range []fault{{hang: true}, {swallow: true}} {
		f.do(until("", 99, x))
		start := time.Now()
		err := s.Put(bg, "y", noise(12<<20)) // it ends: nobody else does it
		if !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v: put: %v", x, err)
		}
		if took := time.Since(start); took < 300*time.Millisecond {
			t.Errorf("%+v: two tries took %v", x, took)
		}
		if _, err := s.Get(bg, "x", 0, -1); !errors.Is(err, backend.ErrUnreachable) {
			t.Errorf("%+v: get: %v", x, err)
		}
		ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
		if _, err := s.Get(ctx, "x", 0, -1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v: get: %v", x, err)
		}
		cancel()
	}
	// Slow progress takes six times as long as a stall may. A busy server may stall
	// by itself: then both are doubled.
	f.do(nil)
	for ; ; cfg.Stall *= 2 {
		cfg.LimitDownload = int64((2 << 20) / (6 * cfg.Stall).Seconds())
		s := mustOpen(t, cfg)
		start := time.Now()
		got, err := backend.ReadAll(bg, s, "x", 1<<30)
		if took := time.Since(start); err == nil && took < 4*cfg.Stall { // a quarter of a second is free
			t.Errorf("2 MiB at %d bytes a second took %v", cfg.LimitDownload, took)
		}
		if err == nil && bytes.Equal(got, noise(2<<20)) {
			break
		}
		if cfg.Stall > 10*time.Second {
			t.Fatalf("a slow download: %d bytes, %v", len(got), err)
		}
	}
}

// TestBusy: who waits for a connection that others use stops when it is told.
func TestBusy(t *testing.T) {
	t.Parallel()
	s, f := faulty(t, func(c *Config) { c.Connections, c.Retry.Tries = 1, 1 })
	f.do(until(OpPut, 1, fault{swallow: true}))
	stuck, stop := context.WithCancel(bg)
	done := make(chan error, 1)
	go func() { done <- s.Put(stuck, "x", nil) }()
	for f.count(OpPut) == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, "y", nil); !errors.Is(err, context.DeadlineExceeded) || f.count(OpPut) != 1 {
		t.Errorf("put: %v, %d requests", err, f.count(OpPut))
	}
	select {
	case err := <-done:
		t.Errorf("it gave up when there was a connection again, after %v", err)
	default:
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
}

func TestUploadLimit(t *testing.T) {
	t.Parallel()
	s, _ := faulty(t, func(c *Config) { c.LimitUpload = 2 << 20 })
	start := time.Now()
	if err := s.Put(bg, "x", noise(3<<20)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 1100*time.Millisecond {
		t.Errorf("3 MiB at 2 MiB/s took %v", took)
	}
}
