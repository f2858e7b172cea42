//go:build linux

package bucket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend/s3"
	"vault/backend/s3/s3test"
	"vault/internal/app/apptest"
	"vault/internal/save"
	"vault/snapshot"
	"vault/snapshot/archive"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

func TestPaths(t *testing.T) {
	for key, want := range map[string]string{
		"a": "a", "a/b": "a/b", "a/": "a/%", "/a": "%/a", "a//b": "a/%/b", "./x": "%2E/x", "../../etc": "%2E%2E/%2E%2E/etc", "/": "%/%",
		"100%": "100%25", "a/%self": "a/%25self", "%": "%25", "nul\x00": "nul%00", "caf\xe9/ü": "caf\xe9/ü",
	} {
		if got := pathOf(key); got != want {
			t.Errorf("%q is at %q, want %q", key, got, want)
		}
		for _, path := range []string{want, want + "/%self"} {
			if got, err := keyOf(path); err != nil || got != key {
				t.Errorf("%q is of the key %q (%v), want %q", path, got, err, key)
			}
		}
	}
	for _, path := range []string{"", "a/../b", ".", "a/%self/b", "%self", "a/%2e", "a//b"} {
		if key, err := keyOf(path); err == nil {
			t.Errorf("%q is of the key %q", path, key)
		}
	}
}

func FuzzPaths(f *testing.F) {
	f.Add("a", "a/b", "a/")
	f.Add("a/%self", "a//", "..")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		keys := map[string]bool{a: true, b: true, c: true}
		var list []object
		for k := range keys {
			list = append(list, object{path: pathOf(k)})
		}
		arrange(list)
		for i, o := range list {
			key, err := keyOf(o.path)
			if err != nil || !keys[key] {
				t.Fatalf("%q comes back as %q (%v)", o.path, key, err)
			}
			delete(keys, key)
			if i > 0 && archive.ComparePaths(list[i-1].path, o.path) >= 0 || i > 0 && strings.HasPrefix(o.path, list[i-1].path+"/") {
				t.Fatalf("%q after %q", o.path, list[i-1].path)
			}
		}
		if len(keys) > 0 {
			t.Fatalf("lost: %v", keys)
		}
	})
}

// The paths of any keys can be walked: no file is a directory, and every order of the
// store gives the same.
func TestArrange(t *testing.T) {
	keys := []string{"a", "a/", "a/b", "a-b", "a/b/c", "a0", "x//y", "x/", "x"}
	want := []string{"a/%", "a/%self", "a/b/%self", "a/b/c", "a-b", "a0", "x/%/y", "x/%", "x/%self"}
	want[6], want[7] = "x/%/%self", "x/%/y" // "x/" is a directory too
	for range 20 {
		rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		var list []object
		for _, k := range keys {
			list = append(list, object{path: pathOf(k)})
		}
		arrange(list)
		var got []string
		for _, o := range list {
			got = append(got, o.path)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

var buckets atomic.Int64

// place is a bucket on a real server.
type place struct {
	Bucket
	client *minio.Client
}

func newPlace(t *testing.T, s *s3test.Server) place {
	t.Helper()
	p := place{client: s.Client(t)}
	p.Config = s3.Config{Endpoint: s.Endpoint(), Region: s3test.Region, Bucket: fmt.Sprintf("data-%d", buckets.Add(1)), Style: s3.StylePath,
		Credentials: s3.Credentials{AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey}, Retry: s3.Retry{Base: time.Millisecond, Max: time.Millisecond}}
	s.MakeBucket(t, p.Config.Bucket, minio.MakeBucketOptions{})
	return p
}

func (p place) put(t *testing.T, key, text string, o minio.PutObjectOptions) {
	t.Helper()
	if _, err := p.client.PutObject(t.Context(), p.Config.Bucket, key, strings.NewReader(text), int64(len(text)), o); err != nil {
		t.Fatal(err)
	}
}

// objects returns content and headers of what is in the bucket.
func (p place) objects(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for o := range p.client.ListObjectsIter(t.Context(), p.Config.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		in, err := p.client.GetObject(t.Context(), p.Config.Bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		st, err := in.Stat()
		if err != nil {
			t.Fatal(err)
		}
		out[o.Key] = fmt.Sprintf("%s|%s|%v|%s", st.ContentType, st.Metadata.Get("Content-Encoding"), st.UserMetadata, b)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	srv := s3test.Start(t, s3test.Options{})
	p := newPlace(t, srv)
	for i := range 300 {
		p.put(t, fmt.Sprintf("space/%02x/f-%d", i%23, i), strings.Repeat(fmt.Sprint(i), i), minio.PutObjectOptions{})
	}
	p.put(t, "page.html", "<p>", minio.PutObjectOptions{ContentType: "text/html; charset=utf-8", ContentEncoding: "identity", UserMetadata: map[string]string{"Owner": "ann", "Long": strings.Repeat("x", 1500)}})
	p.put(t, "100%/caf\u00e9 ü", "text", minio.PutObjectOptions{})
	p.put(t, "empty", "", minio.PutObjectOptions{})
	large := make([]byte, 9<<20)
	for i := range large {
		large[i] = byte(rand.Uint32())
	}
	p.put(t, "large", string(large), minio.PutObjectOptions{})
	if err := p.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := p.objects(t)
	if !strings.Contains(before["page.html"], "ann") {
		t.Fatalf("the server does not keep metadata: %.200s", before["page.html"])
	}

	var gets atomic.Int64
	p.Config.Trace = func(op string) {
		if op == s3.OpGet {
			gets.Add(1)
		}
	}
	r := apptest.NewRepo(t)
	first := r.MustSave(t, p.Bucket)
	if int(first.Files.New) != len(before) || int(gets.Load()) != len(before) || first.Source != "s3://"+p.Config.Bucket {
		t.Errorf("%+v with %d requests for %d objects", first, gets.Load(), len(before))
	}
	// Nothing that is unchanged is read again.
	gets.Store(0)
	p.put(t, "empty", "no more", minio.PutObjectOptions{})
	p.put(t, "new", "n", minio.PutObjectOptions{})
	if err := p.client.RemoveObject(t.Context(), p.Config.Bucket, "page.html", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	second := r.MustSave(t, p.Bucket)
	if gets.Load() != 2 || second.Files.New != 1 || second.Files.Changed != 1 || int(second.Files.Unmodified) != len(before)-2 {
		t.Errorf("%d requests, %+v", gets.Load(), second.Files)
	}

	// Back to the first: what is the same stays, what is too much goes if asked for.
	report, err := p.Restore(t.Context(), r, first.Root, RestoreOptions{Clean: true})
	if err != nil || report.Written != 2 || report.Removed != 1 || int(report.Kept) != len(before)-2 {
		t.Errorf("%+v, %v", report, err)
	}
	if after := p.objects(t); !maps.Equal(after, before) {
		t.Error("restored otherwise")
	}
	// Into another, empty bucket, below a prefix.
	q := newPlace(t, srv)
	q.Config.Prefix = "copies/one"
	report, err = q.Restore(t.Context(), r, first.Root, RestoreOptions{})
	if err != nil || int(report.Written) != len(before) {
		t.Fatalf("%+v, %v", report, err)
	}
	after := q.objects(t)
	if len(after) != len(before) {
		t.Errorf("%d objects, want %d", len(after), len(before))
	}
	for key, want := range before {
		if got := after["copies/one/"+key]; got != want {
			t.Errorf("%s: %.200q, want %.200q", key, got, want)
		}
	}
	// And from below the prefix it is the same tree, but for the times.
	third := r.MustSave(t, q.Bucket)
	if third.Files.Total() != first.Files.Total() {
		t.Errorf("%+v", third.Files)
	}
}

// front is a server before a real one that may answer otherwise.
func front(t *testing.T, s *s3test.Server, answer func(w http.ResponseWriter, req *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	direct := proxy.Director
	proxy.Director = func(req *http.Request) {
		host := req.Host // which is signed
		direct(req)
		req.Host = host
	}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !answer(w, req) {
			proxy.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(h.Close)
	return h.URL
}

func TestWhatGoesWrong(t *testing.T) {
	srv := s3test.Start(t, s3test.Options{})
	p := newPlace(t, srv)
	for _, key := range []string{"a", "gone", "z"} {
		p.put(t, key, strings.Repeat(key, 100), minio.PutObjectOptions{})
	}
	missing := func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, "/gone") {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
		return true
	}
	refused := func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, "/gone") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>")
		return true
	}
	change := func(f func(b *Bucket)) Bucket {
		b := p.Bucket
		f(&b)
		return b
	}
	empty := newPlace(t, srv)
	for name, c := range map[string]struct {
		b         Bucket
		state     snapshot.State
		want      string // of the problem
		preflight string
	}{
		"vanishes":       {change(func(b *Bucket) { b.Config.Endpoint = front(t, srv, missing) }), snapshot.Complete, "", ""},
		"is refused":     {change(func(b *Bucket) { b.Config.Endpoint = front(t, srv, refused) }), snapshot.Partial, "AccessDenied", ""},
		"wrong key":      {change(func(b *Bucket) { b.Config.Credentials.SecretKey = "wrong" }), snapshot.Failed, "SignatureDoesNotMatch", "SignatureDoesNotMatch"},
		"no such bucket": {change(func(b *Bucket) { b.Config.Bucket = "missing" }), snapshot.Failed, "NoSuchBucket", "NoSuchBucket"},
		"server down":    {change(func(b *Bucket) { b.Config.Endpoint = "http://127.0.0.1:1" }), snapshot.Failed, "connection refused", "connection refused"},
		"empty":          {empty.Bucket, snapshot.Failed, ErrEmpty.Error(), ""},
		"bad name":       {change(func(b *Bucket) { b.Config.Bucket = "A B" }), snapshot.Failed, "bucket", "bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.b.Preflight(t.Context()); (err == nil) != (c.preflight == "") || err != nil && !strings.Contains(err.Error(), c.preflight) {
				t.Errorf("preflight: %v", err)
			}
			got := apptest.NewRepo(t).Save(t, archive.Volume{Name: "v", Source: c.b})
			v := got.Backup.Volumes[0]
			if v.State != c.state || (got.Outcome == save.Committed) != (c.state != snapshot.Failed) {
				t.Fatalf("%v, %v: %v", got.Outcome, v.State, v.Problems)
			}
			if c.want != "" && (len(v.Problems) == 0 || !strings.Contains(v.Problems[0].Message, c.want)) {
				t.Errorf("problems: %v", v.Problems)
			}
			if c.state == snapshot.Complete && v.Files.New != 2 {
				t.Errorf("files: %+v", v.Files)
			}
		})
	}
}

// A backup can set no headers that an object does not keep, such as those that grant
// rights.
func TestHostileAttributes(t *testing.T) {
	srv := s3test.Start(t, s3test.Options{})
	p := newPlace(t, srv)
	r := apptest.NewRepo(t)
	v := r.MustSave(t, hostile{})
	if report, err := p.Restore(t.Context(), r, v.Root, RestoreOptions{}); err == nil || report.Written != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := p.Restore(t.Context(), r, &snapshot.Node{Type: snapshot.File}, RestoreOptions{}); err == nil {
		t.Error("a file is restored as a bucket")
	}
}

// hostile is a tree with an attribute that says who may read the object.
type hostile struct{}

func (hostile) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumePath, "hostile" }

func (hostile) Entries(context.Context) iter.Seq2[archive.Entry, error] {
	return func(yield func(archive.Entry, error) bool) {
		yield(archive.Entry{Path: "x", Node: snapshot.Node{Type: snapshot.File}, Open: func(_ context.Context, n *snapshot.Node) (io.ReadCloser, error) {
			n.Xattrs = []snapshot.Xattr{{Name: "user.s3.x-amz-acl", Value: []byte("public-read")}}
			return io.NopCloser(bytes.NewReader([]byte("x"))), nil
		}}, nil)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{"s3://b": "b|", "s3://b/": "b|", "s3://b/p/q/": "b|p/q", "s3:b": "", "b": "", "s3:///x": "", "s3://key:secret@b/x": ""} {
		b, p, err := Parse(text)
		if got := b + "|" + p; (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}
