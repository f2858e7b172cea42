package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend/s3/s3test"
	"vault/backend/sftp/sftptest"
	"vault/internal/netfault"
)

// TestBadNetwork takes a repository on a real server through its life while the
// network between delays, resets, half-closes, swallows and refuses, at moments
// that a seed fixes: what comes out at the end is what went in. What moves several
// megabytes is struck each time, since a trouble comes within 128 KiB; what moves
// little is done again until it was.
func TestBadNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	for _, c := range []struct {
		name  string
		start func(testing.TB) (*netfault.Proxy, map[string]string)
	}{{"sftp", badSFTP}, {"s3", badS3}} {
		t.Run(c.name, func(t *testing.T) {
			p, env := c.start(t)
			for name, value := range env {
				t.Setenv(name, value)
			}
			dir := t.TempDir()
			t.Setenv("VAULT_PASSWORD", "password")
			t.Setenv("VAULT_STATE_DIR", dir+"/state")
			t.Setenv("VAULT_CACHE_DIR", dir+"/cache")
			t.Setenv("HOME", dir)
			src := dir + "/src"
			noise := make([]byte, 6<<20)
			change := func(n byte) {
				t.Helper()
				rand.NewChaCha8([32]byte{n}).Read(noise)
				smallFiles(t, filepath.Join(src, fmt.Sprint(n)), 300)
				if err := os.WriteFile(src+"/large", noise, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			same := func(tree string) {
				t.Helper()
				if out, err := exec.Command("diff", "-r", src, tree).CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %.2000s", tree, err, out)
				}
			}
			seed := uint64(0)
			output := dir + "/output"
			// struck executes a command and returns how much trouble it had.
			struck := func(args ...string) int {
				t.Helper()
				seed++
				before := p.Stats().Troubles
				p.Trouble(seed, 4)
				n := total(requestsTo(t, output, args...))
				t.Logf("%s: %d requests; so far %+v", args[0], n, p.Stats())
				return p.Stats().Troubles - before
			}
			vault := func(args ...string) {
				t.Helper()
				if struck(args...) == 0 {
					t.Errorf("%s: nothing troubled it", args)
				}
			}
			unchanged := func() {
				t.Helper()
				for n := 0; ; n++ {
					had := struck("backup", "data="+src, "--json")
					out, err := os.ReadFile(output)
					if err != nil || !strings.Contains(string(out), `"files_new":0,`) || !strings.Contains(string(out), `"data_added":0,`) {
						t.Errorf("nothing has changed: %v: %s", err, out)
					}
					if had > 0 {
						return
					}
					if n == 50 { // two in five would come within the first 4 KiB
						t.Fatal("nothing troubles a backup without changes")
					}
				}
			}
			change(1)
			requestsOf(t, "init", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
			p.SetLatency(2500 * time.Microsecond)
			p.SetBandwidth(64 << 20)
			vault("backup", "data="+src)
			unchanged()
			change(2)
			vault("backup", "data="+src)
			vault("restore", "latest", "--target", dir+"/cached")
			same(dir + "/cached/data")
			vault("restore", "latest", "--no-cache", "--target", dir+"/uncached")
			same(dir + "/uncached/data")
			struck("forget", "--keep-last", "1") // or not: they move little
			struck("prune", "--max-unused", "0%")
			vault("check", "--read-data", "--no-cache")

			// Out of the bad network, and into it.
			remote := os.Getenv("VAULT_REPO")
			t.Setenv("VAULT_FROM_PASSWORD", "password")
			for _, way := range []struct{ name, from, to string }{{"out", remote, dir + "/copies"}, {"in", dir + "/copies", remote + "-copies"}} {
				t.Setenv("VAULT_FROM_REPO", way.from)
				t.Setenv("VAULT_REPO", way.to)
				requestsOf(t, "init", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
				vault("copy", "--no-cache")
				requestsOf(t, "check", "--read-data", "--no-cache")
				requestsOf(t, "restore", "latest", "--no-cache", "--target", dir+"/"+way.name)
				same(dir + "/" + way.name + "/data")
			}
		})
	}
}

func before(t testing.TB, addr string) *netfault.Proxy {
	p, err := netfault.New(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func badSFTP(t testing.TB) (*netfault.Proxy, map[string]string) {
	s := sftptest.Start(t, sftptest.Options{})
	p := before(t, fmt.Sprintf("127.0.0.1:%d", s.Port))
	return p, map[string]string{"VAULT_SFTP_IDENTITY": s.Client, "VAULT_SFTP_KNOWN_HOSTS": s.Known(p.Port()), "SSH_AUTH_SOCK": "",
		"VAULT_REPO": fmt.Sprintf("sftp://%s@127.0.0.1:%d%s/data/repo", s.User, p.Port(), s.Dir)}
}

func badS3(t testing.TB) (*netfault.Proxy, map[string]string) {
	s := s3test.Start(t, s3test.Options{})
	s.MakeBucket(t, "bucket", minio.MakeBucketOptions{})
	p := before(t, s.Addr)
	return p, map[string]string{"AWS_ENDPOINT_URL": "http://" + p.Addr(), "AWS_REGION": s3test.Region, "AWS_ACCESS_KEY_ID": s3test.AccessKey,
		"AWS_SECRET_ACCESS_KEY": s3test.SecretKey, "VAULT_REPO": "s3://bucket/repo"}
}
