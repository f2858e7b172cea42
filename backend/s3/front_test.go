package s3

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"vault/backend/s3/s3test"
)

// fault is what a front does to a request on its way to the real server.
type fault struct {
	status   int      // answers so, with code, and does not ask the server
	code     string   // "" is an answer without a body
	text     string   // a body instead of an error in XML
	reset    bool     // breaks the connection before the server is asked
	lose     bool     // asks the server, then breaks the connection
	cut      int64    // breaks the connection after so many bytes of the answer's body
	hang     bool     // asks the server, then never answers
	swallow  bool     // never reads the request, never answers
	meet     *meeting // waits for the others before the server is asked
	dropMeta bool     // removes metadata from the answer
}

// front is an HTTP server before the real one. The plan is asked for each
// request, with its operation and how many of that kind came before; nil passes.
type front struct {
	*httptest.Server
	srv   *s3test.Server // the real one
	mu    sync.Mutex     // guards what follows
	plan  func(op string, n int) *fault
	seen  map[string]int
	conns map[string]bool // remote addresses
	class map[string]bool // "operation class", of requests that give one
}

func newFront(t testing.TB, srv *s3test.Server) *front {
	t.Helper()
	target, err := url.Parse(srv.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	f := &front{srv: srv}
	f.do(nil)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is part of the signature
		},
		Transport:    &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { abort(w) },
	}
	stop := make(chan struct{})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := f.next(r)
		switch {
		case x == nil:
			proxy.ServeHTTP(w, r)
		case x.reset:
			abort(w)
		case x.swallow:
			<-stop
			abort(w)
		case x.status != 0:
			io.Copy(io.Discard, r.Body)
			answer(w, x)
		default:
			x.meet.wait(stop)
			proxy.ServeHTTP(&faultyWriter{ResponseWriter: w, fault: x, stop: stop}, r)
		}
	}))
	t.Cleanup(func() {
		close(stop)
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

// meeting is where requests wait until so many of them are there.
type meeting struct {
	mu   sync.Mutex
	left int
	all  chan struct{}
}

func newMeeting(n int) *meeting { return &meeting{left: n, all: make(chan struct{})} }

// wait returns when everybody is there. Those who come later go on at once; a nil
// meeting waits for nobody.
func (m *meeting) wait(stop <-chan struct{}) {
	if m == nil {
		return
	}
	m.mu.Lock()
	if m.left--; m.left == 0 {
		close(m.all)
	}
	m.mu.Unlock()
	select {
	case <-m.all:
	case <-stop:
	}
}

// do makes plan the plan and forgets what was counted.
func (f *front) do(plan func(op string, n int) *fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.seen, f.conns, f.class = plan, map[string]int{}, map[string]bool{}, map[string]bool{}
}

func (f *front) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[op]
}

func (f *front) next(r *http.Request) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	op := opOf(r)
	if op == OpGet && r.Header.Get("Range") == "bytes=0-0" {
		op = OpStat
	}
	n := f.seen[op]
	f.seen[op]++
	f.conns[r.RemoteAddr] = true
	if class := r.Header.Get("X-Amz-Storage-Class"); class != "" {
		f.class[op+" "+class] = true
	}
	if f.plan == nil {
		return nil
	}
	return f.plan(op, n)
}

// config returns the way through the front.
func (f *front) config(srv *s3test.Server, bucket string) Config {
	cfg := config(srv, bucket)
	cfg.Endpoint = f.URL
	return cfg
}

func answer(w http.ResponseWriter, x *fault) {
	body := x.text
	if x.code != "" {
		w.Header().Set("Content-Type", "application/xml")
		body = fmt.Sprintf("<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>planned</Message></Error>", x.code)
	}
	w.WriteHeader(x.status)
	io.WriteString(w, body)
}

// abort breaks the connection off, with a reset if it can.
func abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// faultyWriter passes the server's answer on, more or less.
type faultyWriter struct {
	http.ResponseWriter
	fault *fault
	stop  chan struct{}
	sent  int64
}

func (w *faultyWriter) WriteHeader(status int) {
	switch {
	case status < 200: // "100 Continue" is no answer yet
	case w.fault.lose:
		panic(http.ErrAbortHandler)
	case w.fault.hang:
		<-w.stop
		panic(http.ErrAbortHandler)
	case w.fault.dropMeta:
		w.Header().Del("X-Amz-Meta-" + tokenKey)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if cut := w.fault.cut; cut > 0 && w.sent+int64(len(p)) > cut {
		w.ResponseWriter.Write(p[:cut-w.sent])
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// at plans one fault for the n-th request of an operation, from 0.
func at(op string, n int, x fault) func(string, int) *fault {
	return func(o string, i int) *fault {
		if o == op && i == n {
			return &x
		}
		return nil
	}
}

// until plans a fault for the first n requests of an operation, or of all for "".
func until(op string, n int, x fault) func(string, int) *fault {
	return func(o string, i int) *fault {
		if (op == "" || o == op) && i < n {
			return &x
		}
		return nil
	}
}
