package main

import (
	"maps"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestRemoteCopy runs the script testdata/remote/copy.txtar: from a directory to
// an SSH server, from there to a bucket, and back. The repositories are LOCAL,
// SFTP and S3.
func TestRemoteCopy(t *testing.T) {
	t.Parallel()
	sftp, s3 := startSFTP(t), startS3(t)
	p := scriptParams()
	p.Dir, p.Files = "", []string{filepath.Join("testdata", "remote", "copy.txtar")}
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
		e.Setenv("VAULT_CACHE_DIR", filepath.Join(e.WorkDir, "cache"))
		return nil
	}
	testscript.Run(t, p)
}
