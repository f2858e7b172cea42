// Package s3test starts a real S3 server for tests: versitygw, over a directory
// of the test's own, on a loopback port.
//
// The server is a Go tool of a module of its own (backend/s3/testserver), so
// that what it needs stays out of this module. The first build takes a minute
// or more; afterwards the Go build cache has it. Where it cannot be built, tests
// are skipped, but not where CI is "true".
package s3test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"vault/internal/porttest"
)

// The administrator of every server.
const (
	AccessKey = "vault-test"
	SecretKey = "vault-test-secret"
	Region    = "us-east-1"
)

// startTime bounds the start of a server, which takes a second on a machine that is
// not busy.
const startTime = 3 * time.Minute

// Options of a server. The zero value is one without versions and users.
type Options struct {
	Root       string // directory of the buckets; "" is a temporary one
	Versioning bool   // buckets can have versions and object lock
	Users      bool   // others than the administrator can be made
	Region     string // "" is the constant
}

// Server is a running S3 server. It is stopped when its test ends.
type Server struct {
	Addr string // host:port, the same after a restart
	Root string // the directory that holds a directory for each bucket

	path   string
	region string
	args   []string
	cmd    *exec.Cmd
	log    *os.File
}

// Endpoint returns the server's address as a URL.
func (s *Server) Endpoint() string { return "http://" + s.Addr }

// tool finds or builds the server, once in a process.
var tool = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	dir := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "backend", "s3", "testserver")
	cmd := exec.Command("go", "-C", dir, "tool", "-n", "versitygw")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOOS=", "GOARCH=", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the S3 test server: %w: %s", err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
})

// Start starts a server.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	path, err := tool()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	s := &Server{Root: o.Root, path: path, region: cmp.Or(o.Region, Region), Addr: fmt.Sprintf("127.0.0.1:%d", porttest.For(t))}
	if s.Root == "" {
		s.Root = mkdir(t, dir, "root")
	}
	s.args = []string{"--port", s.Addr, "--keep-alive", "--quiet", "--region", s.region}
	if o.Users {
		s.args = append(s.args, "--iam-dir", mkdir(t, dir, "iam"))
	}
	s.args = append(s.args, "posix")
	if o.Versioning {
		s.args = append(s.args, "--versioning-dir", mkdir(t, dir, "versions"))
	}
	s.args = append(s.args, s.Root)
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if text, _ := os.ReadFile(s.log.Name()); t.Failed() && len(text) > 0 {
			t.Logf("the server's log ends: %s", text[max(0, len(text)-2000):])
		}
		s.log.Close()
	})
	s.Restart(t)
	return s
}

// Kill kills the server with SIGKILL and waits for its end. Nothing happens if
// it is not running.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

// Restart starts a server that has been killed, at the same address over the
// same data, and returns when it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	cmd := exec.Command(s.path, s.args...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the S3 server: %v", err)
	}
	s.cmd = cmd
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		if resp, err := http.Get(s.Endpoint()); err == nil {
			resp.Body.Close()
			return
		}
	}
	t.Fatal("the S3 server does not answer")
}

// Client returns the administrator's client.
func (s *Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := minio.New(s.Addr, &minio.Options{Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: s.region})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// MakeBucket makes a bucket.
func (s *Server) MakeBucket(t testing.TB, name string, o minio.MakeBucketOptions) {
	t.Helper()
	o.Region = s.region
	if err := s.Client(t).MakeBucket(context.Background(), name, o); err != nil {
		t.Fatalf("make bucket %s: %v", name, err)
	}
}

// MakeUser makes a user of a server with Users, who may do only what the
// policies of buckets say.
func (s *Server) MakeUser(t testing.TB, access, secret string) {
	t.Helper()
	cmd := exec.Command(s.path, "admin", "--access", AccessKey, "--secret", SecretKey, "--region", s.region, "--endpoint-url", s.Endpoint(),
		"create-user", "--access", access, "--secret", secret, "--role", "user")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make user %s: %v: %s", access, err, out)
	}
}

func mkdir(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
