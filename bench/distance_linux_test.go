package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend/s3/s3test"
	"vault/backend/sftp/sftptest"
	"vault/internal/netfault"
)

// far is a repository behind a network with latency.
type far struct {
	env   []string
	proxy *netfault.Proxy // or nil
}

// BenchmarkDistance runs the real program with repositories in a directory and
// behind a network on which a round trip takes 50 ms, on real servers: a first
// backup of 100,000 small files (DISTANCE_FILES), the same again, and a restore
// without a cache. It prints how many times the local time each takes. The ratio
// of the first backup is to be at most 2.
func BenchmarkDistance(b *testing.B) {
	n := 100_000
	if text := os.Getenv("DISTANCE_FILES"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	program := filepath.Join(b.TempDir(), "vault")
	if out, err := exec.Command("go", "build", "-o", program, "vault/cmd/vault").CombinedOutput(); err != nil {
		b.Fatalf("build: %v: %s", err, out)
	}
	source := b.TempDir()
	if _, err := SmallFiles(source, 1, n); err != nil {
		b.Fatal(err)
	}
	restored := b.TempDir() // to the end: ext4 makes files slowly where many were removed a moment ago
	local := map[string]time.Duration{}
	for _, c := range []struct {
		name string
		open func(testing.TB) far
	}{
		{"local", nearby}, {"sftp", overSFTP}, {"s3", overS3},
	} {
		b.Run(c.name, func(b *testing.B) {
			for n := range b.N {
				f, state := c.open(b), b.TempDir()
				run := func(args ...string) time.Duration {
					cmd := exec.Command(program, args...)
					cmd.Env = append(append(os.Environ(), f.env...), "VAULT_PASSWORD=benchmark", "VAULT_STATE_DIR="+state, "VAULT_CACHE_DIR="+state+"/cache")
					start := time.Now()
					if out, err := cmd.CombinedOutput(); err != nil {
						b.Fatalf("%s: %v: %s", args, err, out)
					}
					return time.Since(start)
				}
				run("init", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
				if f.proxy != nil {
					f.proxy.SetLatency(25 * time.Millisecond)
				}
				for _, step := range []struct {
					name string
					args []string
				}{
					{"first", []string{"backup", "--json", "tree=" + source}}, {"unchanged", []string{"backup", "--json", "tree=" + source}},
					{"restore", []string{"restore", "latest", "--no-cache", "--json", "--target", fmt.Sprintf("%s/%s%d", restored, c.name, n)}},
				} {
					took := run(step.args...)
					b.ReportMetric(took.Seconds(), step.name+"-s")
					if f.proxy == nil {
						local[step.name] = took
					} else if local[step.name] > 0 {
						b.ReportMetric(float64(took)/float64(local[step.name]), step.name+"-x-local")
					}
				}
			}
		})
	}
}

func nearby(t testing.TB) far {
	return far{env: []string{"VAULT_REPO=" + filepath.Join(t.TempDir(), "repo")}}
}

func behind(t testing.TB, addr string) *netfault.Proxy {
	p, err := netfault.New(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func overSFTP(t testing.TB) far {
	s := sftptest.Start(t, sftptest.Options{})
	p := behind(t, fmt.Sprintf("127.0.0.1:%d", s.Port))
	return far{proxy: p, env: []string{"VAULT_SFTP_IDENTITY=" + s.Client, "VAULT_SFTP_KNOWN_HOSTS=" + s.Known(p.Port()), "SSH_AUTH_SOCK=",
		fmt.Sprintf("VAULT_REPO=sftp://%s@127.0.0.1:%d%s/data/repo", s.User, p.Port(), s.Dir)}}
}

func overS3(t testing.TB) far {
	s := s3test.Start(t, s3test.Options{})
	s.MakeBucket(t, "bucket", minio.MakeBucketOptions{})
	p := behind(t, s.Addr)
	return far{proxy: p, env: []string{"AWS_ENDPOINT_URL=http://" + p.Addr(), "AWS_REGION=" + s3test.Region, "AWS_ACCESS_KEY_ID=" + s3test.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + s3test.SecretKey, "VAULT_REPO=s3://bucket/repo"}}
}
