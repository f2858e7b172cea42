package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"vault/internal/match"
	"vault/snapshot"
	"vault/snapshot/restore"
)

// TestGuardDelete: --delete at the root of this system needs to be told what it is
// about. Nothing is restored here, so nothing can be lost.
func TestGuardDelete(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no single root")
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	here := filepath.Dir(link)
	some := restore.Choice{Includes: []*match.List{{}}}
	for _, c := range []struct {
		name, target, volume, dir string
		choice                    restore.Choice
		keep, dry                 bool
		refused, warned           bool
	}{
		{name: "listed paths", target: "/", volume: "/", dir: ".", refused: true},
		{name: "a link to the root", target: link, volume: "/", dir: ".", refused: true},
		{name: "a way back to the root", target: here + strings.Repeat("/..", 30), volume: "/", dir: ".", refused: true},
		{name: "any volume there", target: "/", volume: "data", dir: ".", refused: true},
		{name: "only excludes", target: "/", volume: "/", dir: ".", choice: restore.Choice{Excludes: some.Includes}, refused: true},
		{name: "a dry run", target: "/", volume: "/", dir: ".", dry: true, warned: true},
		{name: "includes", target: "/", volume: "/", dir: ".", choice: some},
		{name: "a path", target: "/", volume: "/", dir: ".", choice: restore.Choice{Below: "etc/app"}},
		{name: "without --delete", target: "/", volume: "/", dir: ".", keep: true},
		{name: "a volume's own place", target: "/", volume: "/etc", dir: "etc"},
		{name: "listed paths elsewhere", target: here, volume: "/", dir: ".", warned: true},
		{name: "listed paths in a new place", target: filepath.Join(here, "new"), volume: "/", dir: "."},
	} {
		var stderr bytes.Buffer
		a := &app{ui: &ui{stdout: &stderr, stderr: &stderr, line: &statusLine{}}}
		f := restoreFlags{target: c.target, delete: !c.keep, dryRun: c.dry}
		err := a.guardDelete(f, c.choice, []restore.Volume{{Volume: &snapshot.Volume{Name: c.volume}, Dir: c.dir}})
		var refusal *failure
		if got := errors.As(err, &refusal) && refusal.code == exitUsage; got != c.refused || (err != nil) != c.refused {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := strings.Contains(stderr.String(), "warning"); got != c.warned {
			t.Errorf("%s: warned %q", c.name, stderr.String())
		}
	}
}
