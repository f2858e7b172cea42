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

	"github.com/rogpeppe/go-internal/testscript"
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
