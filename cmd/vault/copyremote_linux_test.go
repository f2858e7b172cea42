package main

import (
	"context"
	"io"
	"log"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/rogpeppe/go-internal/testscript"

	"vault/backend/s3/s3test"
)

// A gate before an S3 server lets a number of bytes through, of all answers
// together, and holds back the rest until it is set anew.
type gate struct {
	*httptest.Server
	mu   sync.Mutex // guards left and anew
	left int64
	anew chan struct{} // closed when left is set
}

func newGate(t *testing.T, endpoint string) *gate {
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{left: math.MaxInt64, anew: make(chan struct{})}
	g.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host // which is signed
		},
		ModifyResponse: func(r *http.Response) error {
			r.Body = &gated{ReadCloser: r.Body, ctx: r.Request.Context(), gate: g}
			return nil
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // of clients that go away
	})
	t.Cleanup(g.Close)
	return g
}

func (g *gate) set(left int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = left
	close(g.anew)
	g.anew = make(chan struct{})
}

// pass returns when n bytes may pass, or with the context's error.
func (g *gate) pass(ctx context.Context, n int64) error {
	for {
		g.mu.Lock()
		anew := g.anew
		if g.left >= n {
			g.left -= n
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-anew:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gated is an answer behind a gate.
type gated struct {
	io.ReadCloser
	ctx  context.Context
	gate *gate
}

func (b *gated) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if perr := b.gate.pass(b.ctx, int64(n)); perr != nil {
		return 0, perr
	}
	return n, err
}

// TestRemoteCopy runs the script testdata/remote/copy.txtar: from a directory to
// an SSH server, from there to a bucket, and back. The repositories are LOCAL,
// SFTP, S3, and GATED, which is the latter behind a gate. Beyond the commands of
// TestScripts it has
//
//	gate BYTES|open            so many bytes more come from GATED, or all
func TestRemoteCopy(t *testing.T) {
	t.Parallel()
	sftp, s3 := startSFTP(t), startS3(t)
	p := scriptParams()
	p.Dir, p.Files = "", []string{filepath.Join("testdata", "remote", "copy.txtar")}
	g := newGate(t, s3.env["AWS_ENDPOINT_URL"])
	p.Cmds["gate"] = func(ts *testscript.TestScript, neg bool, args []string) {
		left := int64(math.MaxInt64)
		if args[0] != "open" {
			var err error
			left, err = strconv.ParseInt(args[0], 10, 64)
			ts.Check(err)
		}
		g.set(left)
	}
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		if err := setup(e); err != nil {
			return err
		}
		all := maps.Clone(sftp.env)
		maps.Copy(all, s3.env)
		for name, value := range all {
			e.Setenv(name, value)
		}
		e.Setenv("LOCAL", filepath.Join(e.WorkDir, "repo"))
		e.Setenv("SFTP", sftp.env["VAULT_REPO"])
		e.Setenv("S3", s3.env["VAULT_REPO"])
		e.Setenv("GATED", "s3:"+g.URL+"/bucket/some/repo")
		e.Setenv("VAULT_CACHE_DIR", filepath.Join(e.WorkDir, "cache"))
		return nil
	}
	testscript.Run(t, p)
}

// TestCopyBetweenStores runs the script testdata/remote/copystores.txtar: from one
// S3 server to another, in another region, where bucket and path have the same
// names. The stores are HERE and THERE, their regions HERE_REGION and THERE_REGION.
// Beyond the commands of TestScripts it has
//
//	end here|there             ends a server
func TestCopyBetweenStores(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	t.Parallel()
	const elsewhere = "elsewhere-1"
	here, there := s3test.Start(t, s3test.Options{}), s3test.Start(t, s3test.Options{Region: elsewhere})
	for _, s := range []*s3test.Server{here, there} {
		s.MakeBucket(t, "bucket", minio.MakeBucketOptions{})
	}
	p := scriptParams()
	p.Dir, p.Files = "", []string{filepath.Join("testdata", "remote", "copystores.txtar")}
	p.Cmds["end"] = func(ts *testscript.TestScript, neg bool, args []string) {
		map[string]*s3test.Server{"here": here, "there": there}[args[0]].Kill()
	}
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		if err := setup(e); err != nil {
			return err
		}
		for name, value := range s3Env(here, "") {
			e.Setenv(name, value)
		}
		for name, value := range map[string]string{"HERE": here.Endpoint(), "HERE_REGION": s3test.Region, "THERE": there.Endpoint(), "THERE_REGION": elsewhere,
			"AWS_ENDPOINT_URL": "", "AWS_REGION": "", "VAULT_CACHE_DIR": filepath.Join(e.WorkDir, "cache")} {
			e.Setenv(name, value)
		}
		return nil
	}
	testscript.Run(t, p)
}
