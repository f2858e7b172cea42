package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"vault/internal/limit"
)

// transport carries the requests of one store. It bounds their number, counts
// them, slows their bodies down, and gives up those that make no progress.
//
// It speaks HTTP/1.1 only, so that requests under way at the same time go over
// separate connections: a front end that serialises what comes over one would
// hide a store without exclusive create.
type transport struct {
	http     *http.Transport
	slots    chan struct{} // one is held from a request's start to its answer's header
	up, down *limit.Limiter
	secure   bool
	stall    time.Duration
	trace    func(op string)

	moved     atomic.Int64 // bytes of bodies, both ways
	answered  atomic.Bool  // something that speaks HTTP has answered once
	known     atomic.Bool  // an object was put or read: whether there are versions is known
	versioned atomic.Bool  // a version id has been seen: the bucket keeps versions
}

const (
	dialTimeout     = 15 * time.Second
	continueTimeout = 3 * time.Second // then the data is sent unasked

	// What a store may make this side hold: bytes of an answer that is not an
	// object's data, and tags in a listing. A page has up to 1000 objects.
	maxAnswer   = 8 << 20
	maxTags     = 100_000
	listingHead = 1 << 10 // a listing says so within as many bytes
)

func newTransport(cfg *Config, secure bool) (*transport, error) {
	h := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: min(dialTimeout, cfg.Stall), KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   min(dialTimeout, cfg.Stall),
		MaxIdleConnsPerHost:   cfg.Connections,
		IdleConnTimeout:       time.Minute,
		ExpectContinueTimeout: min(continueTimeout, cfg.Stall),
		DisableCompression:    true, // or ranges and lengths would lie
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	if secure {
		h.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if cfg.CACert != "" {
		pem, err := os.ReadFile(cfg.CACert)
		if err != nil {
			return nil, fmt.Errorf("read the trusted certificates: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", cfg.CACert)
		}
		if secure {
			h.TLSClientConfig.RootCAs = pool
		}
	}
	return &transport{
		http:  h,
		slots: make(chan struct{}, cfg.Connections),
		up:    limit.New(cfg.LimitUpload), down: limit.New(cfg.LimitDownload),
		secure: secure,
		stall:  cfg.Stall,
		trace:  cfg.Trace,
	}, nil
}

// close drops the idle connections.
func (t *transport) close() { t.http.CloseIdleConnections() }

// errStalled is the cause of the end of a request without progress.
var errStalled = errors.New("no progress: the connection is stuck")

// netError is a failure below HTTP. It hides its cause from errors.Is, since a
// dialer's time-out matches the errors of contexts, and the errors of files
// have meanings of their own to users of a backend.
type netError struct{ err error }

func (e *netError) Error() string {
	if errors.Is(e.err, io.EOF) || errors.Is(e.err, io.ErrUnexpectedEOF) {
		return "the connection was closed" // the library replaces errors that say EOF
	}
	return e.err.Error()
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	outer := req.Context()
	select {
	case t.slots <- struct{}{}:
	case <-outer.Done():
		closeBody(req)
		return nil, outer.Err()
	}
	defer func() { <-t.slots }()
	op := opOf(req)
	if t.trace != nil {
		t.trace(op)
	}

	ctx, cancel := context.WithCancelCause(outer)
	w := &watch{outer: outer, ctx: ctx, cancel: cancel, stall: t.stall}
	w.timer = time.AfterFunc(t.stall, func() { cancel(errStalled) })
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		if ctx.Value(expectKey{}) != nil {
			req.Header = req.Header.Clone()
			req.Header.Set("Expect", "100-continue")
		}
		req.Body = &body{rc: req.Body, watch: w, limit: t.up, moved: &t.moved, keep: true}
	}
	resp, err := t.http.RoundTrip(req)
	if err != nil {
		w.end()
		return nil, w.describe(err)
	}
	t.answered.Store(true)
	w.answered.Store(true)
	w.pause()
	if resp.Header.Get("X-Amz-Version-Id") != "" {
		t.versioned.Store(true)
	}
	if resp.StatusCode/100 == 2 && (op == OpGet || op == OpStat || op == OpPut || op == OpCreate || op == OpComplete) {
		t.known.Store(true)
	}
	b := &body{rc: resp.Body, watch: w, limit: t.down, moved: &t.moved, left: maxAnswer}
	if op == OpGet && resp.StatusCode/100 == 2 {
		b.left = -1
	}
	resp.Body = b
	return checkAnswer(op, resp)
}

// checkAnswer makes sure that an answer is what the library takes it for. It
// would find an empty listing in any document, and an object in any page.
func checkAnswer(op string, resp *http.Response) (*http.Response, error) {
	if resp.StatusCode/100 != 2 {
		return resp, nil
	}
	var err error
	switch op {
	case OpGet, OpStat, OpPut, OpCreate, OpPart:
		if resp.Header.Get("Etag") == "" {
			err = errNoETag
		}
	case OpDelete:
		if resp.ContentLength > 0 { // a store has nothing to say about it
			err = errWordy
		}
	case OpList, OpVersions:
		var page []byte
		page, err = io.ReadAll(resp.Body)
		switch head := page[:min(len(page), listingHead)]; {
		case err != nil:
		case !bytes.Contains(head, []byte("<ListBucketResult")) && !bytes.Contains(head, []byte("<ListVersionsResult")):
			err = errNoListing
		case bytes.Count(page, []byte("<")) > maxTags:
			err = errTooMuch
		}
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(page))
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// watch ends a request that makes no progress. Its timer runs while the other
// side is waited for, and not while the limiter or the reader of an answer is.
type watch struct {
	outer, ctx context.Context
	cancel     context.CancelCauseFunc
	timer      *time.Timer
	stall      time.Duration
	answered   atomic.Bool // the rest of the request's body does not matter any more
}

func (w *watch) pause()  { w.timer.Stop() }
func (w *watch) resume() { w.timer.Reset(w.stall) }
func (w *watch) end()    { w.timer.Stop(); w.cancel(nil) }

// describe tells the caller's own cancellation, a stall and a broken
// connection apart.
func (w *watch) describe(err error) error {
	switch {
	case w.outer.Err() != nil:
		return w.outer.Err()
	case context.Cause(w.ctx) == errStalled:
		return &netError{errStalled}
	}
	return &netError{err}
}

// piece is how much of a body passes at a time.
const piece = 32 << 10

// body is the body of a request or an answer.
type body struct {
	rc    io.ReadCloser
	watch *watch
	limit *limit.Limiter
	moved *atomic.Int64
	left  int64 // how much of an answer is taken, if not negative
	keep  bool  // a request's: its end is not the end of the watch
}

func (b *body) Read(p []byte) (int, error) {
	p = p[:min(len(p), piece)]
	if b.keep {
		return b.send(p)
	}
	if b.left == 0 && len(p) > 0 {
		return 0, errTooMuch
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	b.watch.resume()
	n, err := b.rc.Read(p)
	b.watch.pause()
	b.moved.Add(int64(n))
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err != nil && err != io.EOF {
		return n, b.watch.describe(err)
	}
	if lerr := b.limit.Wait(b.watch.outer, n); lerr != nil {
		return n, lerr
	}
	return n, err
}

// send reads a piece of a request's body, which the connection asks for when
// it has passed on the one before.
func (b *body) send(p []byte) (int, error) {
	b.watch.pause()
	defer func() {
		if !b.watch.answered.Load() {
			b.watch.resume()
		}
	}()
	n, err := b.rc.Read(p)
	if lerr := b.limit.Wait(b.watch.ctx, n); lerr != nil {
		return 0, lerr
	}
	b.moved.Add(int64(n))
	return n, err
}

func (b *body) Close() error {
	err := b.rc.Close()
	if !b.keep {
		b.watch.end()
	}
	return err
}

// The operations that [Config].Trace is told: the requests that are made, and
// charged for. OpGet is one for an object's data, OpStat a look at one.
const (
	OpGet      = "get"
	OpStat     = "stat"
	OpPut      = "put"
	OpCreate   = "create"
	OpList     = "list"
	OpVersions = "list versions"
	OpDelete   = "delete"
	OpStart    = "multipart start"
	OpPart     = "multipart part"
	OpComplete = "multipart complete"
	OpAbort    = "multipart abort"
	OpHead     = "head"
	OpRetain   = "put retention"
	OpLock     = "object lock"
	OpLocation = "location"
	OpOther    = "other"
)

// lookKey marks the context of a request that only looks at an object.
type lookKey struct{}

// opOf tells which operation a request is.
func opOf(req *http.Request) string {
	q := req.URL.Query()
	switch m := req.Method; {
	case m == http.MethodHead:
		return OpHead
	case m == http.MethodGet && q.Has("location"):
		return OpLocation
	case m == http.MethodGet && q.Has("object-lock"):
		return OpLock
	case m == http.MethodGet && q.Has("versions"):
		return OpVersions
	case m == http.MethodGet && q.Has("list-type"):
		return OpList
	case m == http.MethodPut && q.Has("retention"):
		return OpRetain
	case m == http.MethodGet && req.Context().Value(lookKey{}) != nil:
		return OpStat
	case m == http.MethodGet:
		return OpGet
	case m == http.MethodPut && q.Has("uploadId"):
		return OpPart
	case m == http.MethodPut && req.Header.Get("If-None-Match") != "":
		return OpCreate
	case m == http.MethodPut:
		return OpPut
	case m == http.MethodPost && q.Has("uploads"):
		return OpStart
	case m == http.MethodPost && q.Has("uploadId"):
		return OpComplete
	case m == http.MethodDelete && q.Has("uploadId"):
		return OpAbort
	case m == http.MethodDelete:
		return OpDelete
	}
	return OpOther
}
