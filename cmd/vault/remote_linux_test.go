package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/rogpeppe/go-internal/testscript"

	"vault/backend/s3/s3test"
	"vault/backend/sftp/sftptest"
)

// remote is a real server, as a script sees it.
type remote struct {
	env     map[string]string
	kill    func()
	restart func()
	locks   func(least time.Duration, repo string, all bool) error
}

// TestRemoteScripts runs the scripts in testdata/remote: repositories on real
// servers. Life is the same everywhere; the others are about one kind of
// server. Beyond the commands of TestScripts they have
//
//	server kill|start          ends the server at once, or starts it again
//	locks TIME [REPO [all]]    what the repository some/repo, or REPO, needs is locked for at
//	                           least so long, and something else less; or all of it is
func TestRemoteScripts(t *testing.T) {
	for _, c := range []struct {
		name, script string
		start        func(*testing.T) remote
	}{
		{"sftp", "life", startSFTP},
		{"sftp", "sftp", startSFTP},
		{"s3", "life", startS3},
		{"s3", "s3", startS3},
		{"s3", "s3lock", startS3Lock},
		{"s3", "s3lockrun", startS3Lock},
		{"s3", "s3single", startS3Lax},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && strings.HasPrefix(c.script, "s3") && c.script != "s3" {
				t.Skip("left to the run without -short")
			}
			t.Parallel()
			r := c.start(t)
			p := scriptParams()
			p.Dir, p.Files = "", []string{filepath.Join("testdata", "remote", c.script+".txtar")}
			setup := p.Setup
			p.Setup = func(e *testscript.Env) error {
				if err := setup(e); err != nil {
					return err
				}
				e.Setenv("VAULT_CACHE_DIR", filepath.Join(e.WorkDir, "cache"))
				for name, value := range r.env {
					e.Setenv(name, value)
				}
				return nil
			}
			p.Cmds["server"] = func(ts *testscript.TestScript, neg bool, args []string) {
				switch {
				case !neg && len(args) == 1 && args[0] == "kill":
					r.kill()
				case !neg && len(args) == 1 && args[0] == "start":
					r.restart()
				default:
					ts.Fatalf("usage: server kill|start")
				}
			}
			p.Cmds["locks"] = func(ts *testscript.TestScript, neg bool, args []string) {
				least, err := time.ParseDuration(args[0])
				ts.Check(err)
				repo := "some/repo"
				if len(args) > 1 {
					repo = args[1]
				}
				ts.Check(r.locks(least, repo, len(args) > 2))
			}
			testscript.Run(t, p)
		})
	}
}

// startSFTP starts an SSH server. Its user may not do everything, not even if
// this process is root's. DATA is a directory of that user's, FULL one on a
// small file system, or empty.
func startSFTP(t *testing.T) remote {
	s := sftptest.Start(t, sftptest.Options{UID: 65534})
	data := s.Dir + "/data"
	sftptest.NewKey(t, s.Dir+"/stranger", "")
	sftptest.NewKey(t, s.Dir+"/hostchanged", "")
	full := filepath.Join(data, "full")
	if err := os.Mkdir(full, 0o777); err != nil {
		t.Fatal(err)
	}
	return remote{env: map[string]string{
		"VAULT_REPO":             fmt.Sprintf("sftp://%s@127.0.0.1:%d%s/repo", s.User, s.Port, data),
		"VAULT_SFTP_IDENTITY":    s.Client,
		"VAULT_SFTP_KNOWN_HOSTS": s.Known(s.Port),
		"SSH_AUTH_SOCK":          "",
		"SSH_USER":               s.User,
		"SSH_PORT":               fmt.Sprint(s.Port),
		"SSH_DIR":                s.Dir,
		"DATA":                   data,
		"FULL":                   mountSmall(t, full),
	}, kill: s.Kill, restart: s.Restart}
}

// startS3 starts an S3 server with a bucket on a small file system, if one can
// be mounted.
func startS3(t *testing.T) remote {
	root := t.TempDir()
	full := mountSmall(t, root)
	s := s3test.Start(t, s3test.Options{Root: root, Users: true})
	s.MakeBucket(t, "bucket", minio.MakeBucketOptions{})
	s.MakeUser(t, "nobody", "nobody-secret") // to whom no policy grants anything
	env := s3Env(s, s.Endpoint())
	env["ADDR"], env["DATA"], env["FULL"] = s.Addr, root, full
	return remote{env: env, kill: s.Kill, restart: func() { s.Restart(t) }}
}

// startS3Lock starts an S3 server with a bucket that has object lock, one that
// locks by itself whatever is stored, and one without.
func startS3Lock(t *testing.T) remote {
	s := s3test.Start(t, s3test.Options{Versioning: true})
	s.MakeBucket(t, "bucket", minio.MakeBucketOptions{ObjectLocking: true})
	s.MakeBucket(t, "plain", minio.MakeBucketOptions{})
	s.MakeBucket(t, "retains", minio.MakeBucketOptions{ObjectLocking: true})
	mode, days, unit := minio.Governance, uint(1), minio.Days
	if err := s.Client(t).SetObjectLockConfig(t.Context(), "retains", &mode, &days, &unit); err != nil {
		t.Fatal(err)
	}
	env := s3Env(s, s.Endpoint())
	env["DATA"] = s.Root
	return remote{env: env, kill: s.Kill, restart: func() { s.Restart(t) }, locks: func(least time.Duration, repo string, all bool) error { return locked(s, least, repo, all) }}
}

// locked checks that nothing that a restore of the repository needs can be
// removed sooner, and that all else was not locked for longer than it was. What
// is needed are the objects that a listing shows, but for gc's old records. With all
// there are none of these, and nothing that a prune could not delete.
func locked(s *s3test.Server, least time.Duration, repo string, all bool) error {
	c, err := minio.New(s.Addr, &minio.Options{Creds: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""), Region: s3test.Region})
	if err != nil {
		return err
	}
	long, short := 0, 0
	for o := range c.ListObjectsIter(context.Background(), "bucket", minio.ListObjectsOptions{Prefix: repo + "/", Recursive: true}) {
		if o.Err != nil {
			return o.Err
		}
		info, err := c.StatObject(context.Background(), "bucket", o.Key, minio.StatObjectOptions{})
		if err != nil {
			return err
		}
		until, _ := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		held := time.Until(until) >= least
		switch {
		case held:
			long++
		case strings.Contains(o.Key, "/events/") || strings.Contains(o.Key, "/sessions/"):
			short++
		case all:
			return fmt.Errorf("%s is held until %v", o.Key, until)
		case strings.HasSuffix(o.Key, "/config") || strings.Contains(o.Key, "/keys/") || strings.Contains(o.Key, "/index/") && until.IsZero():
			return fmt.Errorf("%s is held until %v", o.Key, until)
		default:
			short++
		}
	}
	if long < 5 || long < 6 && !all || short == 0 && !all { // config, key, commit, index, done, packs; what a prune could not delete
		return fmt.Errorf("%d objects are locked for %v and more, %d for less", long, least, short)
	}
	return nil
}

// startS3Lax starts an S3 server behind a proxy that drops the condition of
// conditional requests, and signs what is left. The file CLASSES gets a line with the
// class and key of each object that is stored with one.
func startS3Lax(t *testing.T) remote {
	s := s3test.Start(t, s3test.Options{})
	s.MakeBucket(t, "bucket", minio.MakeBucketOptions{})
	target, err := url.Parse(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	classes, err := os.Create(filepath.Join(t.TempDir(), "classes"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { classes.Close() })
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		if class := p.In.Header.Get("X-Amz-Storage-Class"); class != "" {
			fmt.Fprintln(classes, class, p.In.URL.Path) // a line is one write
		}
		p.SetURL(target)
		p.Out.Host = target.Host
		if p.Out.Header.Get("If-None-Match") != "" {
			p.Out.Header.Del("If-None-Match")
		}
		p.Out.Header.Del("Authorization")
		p.Out = signer.SignV4(*p.Out, s3test.AccessKey, s3test.SecretKey, "", s3test.Region)
	}})
	t.Cleanup(proxy.Close)
	env := s3Env(s, proxy.URL)
	env["ADDR"], env["CLASSES"] = s.Addr, classes.Name()
	return remote{env: env, kill: s.Kill, restart: func() { s.Restart(t) }}
}

func s3Env(s *s3test.Server, endpoint string) map[string]string {
	return map[string]string{
		"VAULT_REPO":            "s3://bucket/some/repo",
		"AWS_ENDPOINT_URL":      endpoint,
		"AWS_REGION":            s3test.Region,
		"AWS_ACCESS_KEY_ID":     s3test.AccessKey,
		"AWS_SECRET_ACCESS_KEY": s3test.SecretKey,
	}
}

// mountSmall mounts a file system of 24 MiB and returns its directory, or "" if
// that is not allowed.
func mountSmall(t *testing.T, dir string) string {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m,mode=777"); err != nil {
		return ""
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}
