package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend"
	"vault/backend/s3/s3test"
	"vault/internal/netfault"
	"vault/internal/porttest"
)

// TestStates: each way in which a place cannot be asked is its own kind, with
// advice, and never looks like an empty place.
func TestStates(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{Users: true})
	srv.MakeBucket(t, "bucket", bucketOptions)
	srv.MakeUser(t, "nobody", "nobody-secret")
	if err := mustOpen(t, config(srv, "bucket")).Put(bg, "config", []byte("x")); err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	gone := porttest.For(t)
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = quiet
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	hole, err := netfault.New(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hole.Close() })
	hole.SetBlackHole(true)

	for _, c := range []struct {
		name   string
		change func(*Config)
		kind   error
		hint   string
	}{
		{"missing bucket", func(c *Config) { c.Bucket = "missing" }, backend.ErrUnreachable, "bucket"},
		{"unknown key", func(c *Config) { c.Credentials.AccessKey = "unknown" }, backend.ErrPermission, "access key"},
		{"wrong secret", func(c *Config) { c.Credentials.SecretKey = "wrong" }, backend.ErrPermission, "secret key"},
		{"anonymous", func(c *Config) { c.Credentials = Credentials{Anonymous: true} }, backend.ErrPermission, "policy"},
		{"no permission", func(c *Config) { c.Credentials = Credentials{AccessKey: "nobody", SecretKey: "nobody-secret"} }, backend.ErrPermission, "policy"},
		{"refused connection", func(c *Config) { c.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", gone) }, backend.ErrUnreachable, "listens"},
		{"unknown host", func(c *Config) { c.Endpoint = "http://s3.invalid" }, backend.ErrUnreachable, "endpoint"},
		{"no S3 server", func(c *Config) { c.Endpoint = page.URL }, backend.ErrUnreachable, "S3 store"},
		{"no S3 server, region unknown", func(c *Config) { c.Endpoint, c.Region = page.URL, "" }, backend.ErrUnreachable, "S3 store"},
		{"no TLS", func(c *Config) { c.Endpoint = strings.Replace(c.Endpoint, "http:", "https:", 1) }, backend.ErrUnreachable, "http://"},
		{"strange certificate", func(c *Config) { c.Endpoint = tlsServer.URL }, backend.ErrUnreachable, "certificate"},
		{"black hole", func(c *Config) { c.Endpoint, c.Stall = "http://"+hole.Addr(), 100*time.Millisecond }, backend.ErrUnreachable, "network"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(srv, "bucket")
			c.change(&cfg)
			var count counter
			cfg.Trace = count.trace
			s := mustOpen(t, cfg)
			if _, err := s.Get(bg, "config", 0, -1); err == nil {
				t.Error("get: no error")
			}
			if n := count.take(); n[OpGet] > firstTries {
				t.Errorf("a place that never answered was asked %d times", n[OpGet])
			}
			_, lerr := first(s)
			_, gerr := s.Get(bg, "config", 0, -1)
			_, herr := s.Get(bg, "none", 0, 0)
			for what, err := range map[string]error{
				"list": lerr, "get": gerr, "look": herr,
				"put": s.Put(bg, "config", nil), "create": s.Create(bg, "new", nil), "delete": s.Delete(bg, "config"),
			} {
				if !errors.Is(err, c.kind) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v, want %v", what, err, c.kind)
				}
				if !strings.Contains(backend.Hint(err), c.hint) {
					t.Errorf("%s: hint %q, want one with %q", what, backend.Hint(err), c.hint)
				}
				if c.kind == backend.ErrUnreachable && errors.Is(err, backend.ErrPermission) {
					t.Errorf("%s: %v looks like a refusal", what, err)
				}
				if strings.Contains(fmt.Sprint(err), cfg.Credentials.SecretKey) && cfg.Credentials.SecretKey != "" {
					t.Errorf("%s: the error holds the secret: %v", what, err)
				}
			}
		})
	}
	mustHold(t, mustOpen(t, config(srv, "bucket")), "config", []byte("x"))
}

// TestReader: a key that may only read reads, and is refused the rest.
func TestReader(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{Users: true})
	srv.MakeBucket(t, "bucket", bucketOptions)
	srv.MakeUser(t, "reader", "reader-secret")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["reader"]},
		"Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}]}`
	if err := srv.Client(t).SetBucketPolicy(bg, "bucket", policy); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, config(srv, "bucket")).Put(bg, "x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	cfg := config(srv, "bucket")
	cfg.Credentials = Credentials{AccessKey: "reader", SecretKey: "reader-secret"}
	s := mustOpen(t, cfg)
	mustHold(t, s, "x", []byte("x"))
	if info, err := first(s); err != nil || info.Name != "x" {
		t.Errorf("list: %v, %v", info, err)
	}
	if _, err := s.Get(bg, "y", 0, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get missing: %v", err)
	}
	for what, err := range map[string]error{
		"put": s.Put(bg, "x", nil), "create": s.Create(bg, "y", nil), "delete": s.Delete(bg, "x"),
		"create existing": s.Create(bg, "x", nil),
	} {
		if !errors.Is(err, backend.ErrPermission) || backend.Hint(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRestart: the server is killed over and over; operations go on.
func TestRestart(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{})
	srv.MakeBucket(t, "bucket", bucketOptions)
	cfg := config(srv, "bucket")
	cfg.PartSize = minPartSize
	cfg.Retry = Retry{Tries: 5000, Base: 10 * time.Millisecond, Max: 100 * time.Millisecond} // minutes, as a busy machine takes to start a server
	s := mustOpen(t, cfg)
	data := noise(minPartSize + 1)
	if err := s.Put(bg, "first", nil); err != nil { // a store that has never answered is given up early
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var rounds [4]int
	for g := range rounds {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					rounds[g] = i
					return
				default:
				}
				mine := data[g*1000+i:]
				if g%2 == 0 {
					mine = mine[:200_000]
				}
				pack, commit := fmt.Sprintf("packs/%d-%d", g, i), fmt.Sprintf("commits/%d-%d", g, i)
				if err := s.Put(bg, pack, mine); err != nil {
					t.Errorf("put: %v", err)
				}
				if err := s.Create(bg, commit, mine[:100]); err != nil {
					t.Errorf("create: %v", err)
				}
				if got, err := backend.ReadAll(bg, s, pack, 1<<30); err != nil || !bytes.Equal(got, mine) {
					t.Errorf("read %d bytes: %v", len(got), err)
				}
				if err := s.Delete(bg, pack); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("delete: %v", err)
				}
			}
		})
	}
	for range 4 {
		time.Sleep(150 * time.Millisecond)
		srv.Kill()
		time.Sleep(50 * time.Millisecond)
		srv.Restart(t)
	}
	close(stop)
	wg.Wait()
	want := 0
	for g, n := range rounds {
		want += n
		for i := range n {
			mustHold(t, s, fmt.Sprintf("commits/%d-%d", g, i), data[g*1000+i:][:100])
		}
	}
	got := 0
	for _, err := range s.List(bg, "commits/") {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if got != want || want < 4 {
		t.Errorf("%d commits are listed, %d were made", got, want)
	}
}

// TestBadNetwork works through a proxy that is slow and breaks.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{})
	srv.MakeBucket(t, "bucket", bucketOptions)
	p, err := netfault.New(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.SetLatency(50 * time.Millisecond)
	cfg := config(srv, "bucket")
	cfg.Endpoint = "http://" + p.Addr()
	cfg.Retry.Tries = 100
	s := mustOpen(t, cfg)
	data := noise(300_000)

	// Requests at once do not wait for each other.
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := s.Put(bg, fmt.Sprintf("packs/%02d", i), data[i:1000+i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := p.Stats().Connections; n < 2 { // one is enough for 64 in turn; each is busy for a tenth of a second
		t.Errorf("64 puts at once went over %d connection", n)
	}

	cfg.Stall = time.Second // a busy server may be as slow, but not so often
	s = mustOpen(t, cfg)
	for name, fault := range map[string]func(){
		"reset":      func() { p.Reset() },
		"cut":        func() { p.ResetAfter(150_000) },
		"half-close": func() { p.HalfClose() },
		"hole": func() { // longer than a stall may be
			p.SetBlackHole(true)
			time.AfterFunc(1500*time.Millisecond, func() { p.SetBlackHole(false) })
		},
	} {
		for i := range 2 {
			time.AfterFunc(time.Duration(i)*60*time.Millisecond, fault)
			obj := fmt.Sprintf("packs/%s-%d", name, i)
			if err := s.Create(bg, obj, data); err != nil {
				t.Errorf("%s: create: %v", name, err)
				continue
			}
			time.AfterFunc(time.Duration(i)*60*time.Millisecond, fault)
			mustHold(t, s, obj, data)
		}
	}
}

// TestLock: what is locked cannot be deleted, locks grow and do not shrink,
// and what the repository replaces is not locked.
func TestLock(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{Versioning: true})
	srv.MakeBucket(t, "bucket", minio.MakeBucketOptions{ObjectLocking: true})
	for _, mode := range []LockMode{Compliance, Governance} {
		var count counter
		now := time.Now()
		cfg := config(srv, "bucket")
		cfg.Prefix, cfg.PartSize, cfg.Trace = string(mode), minPartSize, count.trace
		cfg.ObjectLock = ObjectLock{Mode: mode, For: 24 * time.Hour}
		cfg.Now = func() time.Time { return now }
		s := mustOpen(t, cfg)
		data := noise(minPartSize + 1)
		for _, name := range []string{"packs/one", "packs/parts", "commits/c"} {
			switch {
			case name == "commits/c":
				if err := s.Create(bg, name, []byte("commit")); err != nil {
					t.Fatal(err)
				}
			case name == "packs/parts":
				if err := s.Put(bg, name, data); err != nil {
					t.Fatal(err)
				}
			default:
				if err := s.Put(bg, name, data[:100]); err != nil {
					t.Fatal(err)
				}
			}
			h, err := s.holdOf(bg, name, "")
			if err != nil || h.mode != mode.retention() || h.until.Sub(now.Add(24*time.Hour)).Abs() > time.Second || h.legal {
				t.Errorf("%s %s is held as %+v (%v)", mode, name, h, err)
			}
			err = s.Delete(bg, name)
			if !errors.Is(err, backend.ErrLocked) || backend.Hint(err) == "" || errors.Is(err, backend.ErrUnreachable) {
				t.Errorf("delete of a locked object: %v", err)
			}
		}
		mustHold(t, s, "packs/parts", data)
		mustHold(t, s, "commits/c", []byte("commit"))
		mustStay(t, srv, s, "packs/one", data[:100])

		later := now.Add(96 * time.Hour)
		now = now.Add(72 * time.Hour)
		count.take()
		if err := s.ExtendLock(bg, "packs/one"); err != nil {
			t.Fatal(err)
		}
		mustCount(t, "extending a lock", &count, map[string]int{OpRetain: 1})
		for _, back := range []time.Duration{0, 48 * time.Hour} { // no longer than it is: fine, and nothing changes
			now = now.Add(-back)
			if err := s.ExtendLock(bg, "packs/one"); err != nil {
				t.Errorf("%s: extend from %v on: %v", mode, now, err)
			}
		}
		if h, err := s.holdOf(bg, "packs/one", ""); err != nil || h.until.Before(later) {
			t.Errorf("%s: held until %v (%v), want %v", mode, h.until, err, later)
		}
		if err := s.ExtendLock(bg, "packs/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("extend the lock of a missing object: %v", err)
		}

		for i := range 3 {
			if err := s.Put(bg, "sessions/s", []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Delete(bg, "sessions/s"); err != nil {
			t.Errorf("delete what is not locked: %v", err)
		}
		if list, err := s.versions(bg, "sessions/s"); err != nil || len(list) != 0 {
			t.Errorf("%d versions of a deleted object are left (%v)", len(list), err)
		}
	}
	// A repository that does not lock meets objects that somebody else has.
	other := config(srv, "bucket")
	other.Prefix = string(Compliance)
	for _, name := range []string{"packs/one", "commits/c"} {
		if err := mustOpen(t, other).Delete(bg, name); !errors.Is(err, backend.ErrLocked) {
			t.Errorf("delete of what another has locked: %v", err)
		}
	}
	// An older version that is held keeps the newer one in sight.
	other.Prefix = string(Governance)
	if err := mustOpen(t, other).Put(bg, "packs/one", []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, other).Delete(bg, "packs/one"); !errors.Is(err, backend.ErrLocked) {
		t.Errorf("delete over a locked version: %v", err)
	}
	mustHold(t, mustOpen(t, other), "packs/one", []byte("newer"))
	legal := minio.LegalHoldEnabled
	if err := mustOpen(t, config(srv, "bucket")).Put(bg, "held", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := srv.Client(t).PutObjectLegalHold(bg, "bucket", "held", minio.PutObjectLegalHoldOptions{Status: &legal}); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, config(srv, "bucket")).Delete(bg, "held"); !errors.Is(err, backend.ErrLocked) {
		t.Errorf("delete under a legal hold: %v", err)
	}
	plain := config(srv, "bucket")
	if err := mustOpen(t, plain).ExtendLock(bg, "x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("extend without lock: %v", err)
	}
	srv.MakeBucket(t, "unlocked", bucketOptions)
	cfg := config(srv, "unlocked")
	cfg.ObjectLock = ObjectLock{Mode: Compliance, For: 24 * time.Hour}
	if err := mustOpen(t, cfg).Put(bg, "x", nil); err == nil || backend.Hint(err) == "" {
		t.Errorf("a lock in a bucket without: %v, hint %q", err, backend.Hint(err))
	}
}

// mustStay overwrites and hides a locked object with all that its key may do.
// The version that is held stays and can be read, and is what is seen again
// once what is above it is removed.
func mustStay(t *testing.T, srv *s3test.Server, s *Store, name string, want []byte) {
	t.Helper()
	c, key := srv.Client(t), s.key(name)
	old, err := c.StatObject(bg, "bucket", key, minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(bg, "bucket", key, strings.NewReader("ransom"), 6, minio.PutObjectOptions{}); err != nil {
		t.Logf("the store refuses a version above: %v", err)
	}
	if err := c.RemoveObject(bg, "bucket", key, minio.RemoveObjectOptions{}); err != nil {
		t.Logf("the store refuses to hide it: %v", err)
	}
	opts := minio.RemoveObjectOptions{VersionID: old.VersionID}
	if err := c.RemoveObject(bg, "bucket", key, opts); err == nil {
		t.Errorf("the locked version of %s was removed", name)
	}
	got, err := c.GetObject(bg, "bucket", key, minio.GetObjectOptions{VersionID: old.VersionID})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(got); err != nil || !bytes.Equal(b, want) {
		t.Errorf("the locked version of %s reads as %d bytes, %v", name, len(b), err)
	}
	list, err := s.versions(bg, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if v.VersionID != old.VersionID {
			if err := c.RemoveObject(bg, "bucket", key, minio.RemoveObjectOptions{VersionID: v.VersionID}); err != nil {
				t.Errorf("remove what is above: %v", err)
			}
		}
	}
	mustHold(t, s, name, want)
}

// TestLockEnds: when its time is over, an object can be deleted.
func TestLockEnds(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{Versioning: true})
	srv.MakeBucket(t, "bucket", minio.MakeBucketOptions{ObjectLocking: true})
	cfg := config(srv, "bucket")
	var s *Store
	for lock := 5 * time.Second; ; lock *= 2 { // a lock that ends before its object arrives is refused
		cfg.ObjectLock = ObjectLock{Mode: Compliance, For: lock}
		s = mustOpen(t, cfg)
		err := s.Put(bg, "packs/x", []byte("x"))
		if err == nil {
			break
		}
		if lock > time.Minute {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := s.Delete(bg, "packs/x")
		if err == nil {
			break
		}
		if !errors.Is(err, backend.ErrLocked) || time.Now().After(deadline) {
			t.Fatalf("delete: %v", err)
		}
	}
	if list, err := s.versions(bg, "packs/x"); err != nil || len(list) != 0 {
		t.Errorf("%d versions of a deleted object are left (%v)", len(list), err)
	}
}

// TestHiding: a key that may not remove versions hides what it deletes.
func TestHiding(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{Versioning: true, Users: true})
	srv.MakeBucket(t, "bucket", bucketOptions)
	if err := srv.Client(t).EnableVersioning(bg, "bucket"); err != nil {
		t.Fatal(err)
	}
	srv.MakeUser(t, "writer", "writer-secret")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["writer"]},
		"Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:ListBucket"],"Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}]}`
	if err := srv.Client(t).SetBucketPolicy(bg, "bucket", policy); err != nil {
		t.Fatal(err)
	}
	var warned []string
	cfg := config(srv, "bucket")
	cfg.Credentials = Credentials{AccessKey: "writer", SecretKey: "writer-secret"}
	cfg.Warn = func(text string) { warned = append(warned, text) }
	s := mustOpen(t, cfg)
	for i := range 2 {
		name := fmt.Sprintf("packs/%d", i)
		if err := s.Put(bg, name, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(bg, name); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(bg, name); err != nil {
			t.Errorf("delete again: %v", err)
		}
	}
	if info, err := first(s); err != nil || info.Name != "" {
		t.Errorf("what is hidden is listed: %v, %v", info, err)
	}
	if len(warned) != 1 {
		t.Errorf("warnings %q", warned)
	}
}

// TestRequests: what costs how many requests.
func TestRequests(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{})
	srv.MakeBucket(t, "bucket", bucketOptions)
	var count counter
	cfg := config(srv, "bucket")
	cfg.Trace, cfg.PartSize = count.trace, minPartSize
	s := mustOpen(t, cfg)
	mustCount(t, "open", &count, map[string]int{})
	data := noise(2*minPartSize + 1)
	check := func(what string, err error, want map[string]int) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		mustCount(t, what, &count, want)
	}
	check("put", s.Put(bg, "a", data[:100]), map[string]int{OpPut: 1})
	check("put up to the part size", s.Put(bg, "b", data[:minPartSize]), map[string]int{OpPut: 1})
	check("put in parts", s.Put(bg, "packs/c", data), map[string]int{OpStart: 1, OpPart: 3, OpComplete: 1})
	check("create of any size", s.Create(bg, "d", data), map[string]int{OpCreate: 1})
	if err := s.Create(bg, "d", data[:100]); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	mustCount(t, "create existing", &count, map[string]int{OpCreate: 1})
	_, err := backend.ReadAll(bg, s, "packs/c", 1<<30)
	check("read all", err, map[string]int{OpGet: 1})
	check("read range", backend.ReadRange(bg, s, "packs/c", 17, make([]byte, 1000)), map[string]int{OpGet: 1})
	_, err = first(s)
	check("list", err, map[string]int{OpList: 1})
	check("delete", s.Delete(bg, "a"), map[string]int{OpDelete: 1})
}

// TestPages lists more than a page holds, and stops within the first.
func TestPages(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{})
	srv.MakeBucket(t, "bucket", bucketOptions)
	const n = 2100
	for _, dir := range []string{"p/packs", "p/marker"} {
		if err := os.MkdirAll(filepath.Join(srv.Root, "bucket", dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n { // what lies in the server's directory is an object
		if err := os.WriteFile(filepath.Join(srv.Root, "bucket/p/packs", fmt.Sprintf("%04d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := newFront(t, srv)
	cfg := f.config(srv, "bucket")
	cfg.Prefix = "p"
	s := mustOpen(t, cfg)
	if _, err := srv.Client(t).PutObject(bg, "bucket", "p/", strings.NewReader(""), 0, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	f.do(at(OpList, 1, fault{status: 503, code: "SlowDown"})) // the second page fails once
	seen := 0
	for info, err := range s.List(bg, "") {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("packs/%04d", seen); info.Name != want {
			t.Fatalf("number %d is %s", seen, info.Name)
		}
		seen++
	}
	if seen != n || f.count(OpList) != 4 {
		t.Errorf("listed %d of %d objects with %d requests", seen, n, f.count(OpList))
	}
	f.do(nil)
	if _, err := first(s); err != nil || f.count(OpList) != 1 {
		t.Errorf("the first of a listing took %d requests, %v", f.count(OpList), err)
	}
}

func init() {
	// The HTTP client logs what a server sends unasked, which the real one does
	// after it has refused an upload without reading it.
	log.SetOutput(io.Discard)
}

var quiet = log.New(io.Discard, "", 0)
