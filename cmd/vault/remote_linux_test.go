package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/rogpeppe/go-internal/testscript"

	"vault/backend/s3/s3test"
	"vault/backend/sftp/sftptest"
)

// remote is a real server, as a script sees it.
type remote struct {
	env     map[string]string
	kill    func()
	restart func()
}

// TestRemoteScripts runs the scripts in testdata/remote: repositories on real
// servers. Life is the same everywhere; the others are about one kind of
// server. Beyond the commands of TestScripts they have
//
//	server kill|start          ends the server at once, or starts it again
func TestRemoteScripts(t *testing.T) {
	for _, c := range []struct {
		name, script string
		start        func(*testing.T) remote
	}{
		{"sftp", "life", startSFTP},
		{"sftp", "sftp", startSFTP},
		{"s3", "life", startS3},
		{"s3", "s3", startS3},
	} {
		t.Run(c.name, func(t *testing.T) {
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
	return remote{env: map[string]string{
		"VAULT_REPO":            "s3://bucket/some/repo",
		"AWS_ENDPOINT_URL":      s.Endpoint(),
		"AWS_REGION":            s3test.Region,
		"AWS_ACCESS_KEY_ID":     s3test.AccessKey,
		"AWS_SECRET_ACCESS_KEY": s3test.SecretKey,
		"ADDR":                  s.Addr,
		"DATA":                  root,
		"FULL":                  full,
	}, kill: s.Kill, restart: func() { s.Restart(t) }}
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
