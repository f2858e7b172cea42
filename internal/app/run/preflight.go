//go:build linux

package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vault/internal/app/config"
	"vault/internal/display"
)

// Reasons why a run does not begin.
var (
	ErrNotMounted = errors.New("nothing is mounted there")
	ErrNoRoom     = errors.New("too little free space")
)

// preflight checks what must be so before anything is touched.
func preflight(ctx context.Context, x *executor, p *config.Preflight, dryRun bool) error {
	var errs []error
	if len(p.RequireMount) > 0 {
		for _, dir := range p.RequireMount {
			if err := mounted(dir); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(p.FreeSpace)) {
		if err := room(dir, int64(p.FreeSpace[dir])); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 || dryRun {
		return errors.Join(errs...)
	}
	return x.steps(ctx, "health", p.Health, nil)
}

// mounted reports whether something is mounted on a directory. A place of the
// automounter is looked into first, which mounts it.
func mounted(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		_, err = os.Stat(filepath.Join(real, "."))
	}
	if err != nil {
		return fmt.Errorf("require-mount %s: %w", dir, err)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("require-mount %s: %w", dir, err)
	}
	defer f.Close()
	kind, err := mountKind(f, real)
	if err != nil {
		return fmt.Errorf("require-mount %s: %w", dir, err)
	}
	if kind == "" || kind == "autofs" {
		return fmt.Errorf("require-mount %s: %w", dir, ErrNotMounted)
	}
	return nil
}

// mountKind returns the type of the file system that was mounted last on a
// directory, "" if none is (proc(5), mountinfo).
func mountKind(mountinfo io.Reader, dir string) (kind string, err error) {
	err = eachMount(mountinfo, func(at, of string) {
		if at == dir {
			kind = of
		}
	})
	return kind, err
}

// eachMount tells directory and type of all mounts, in the order of mountinfo.
func eachMount(mountinfo io.Reader, tell func(dir, kind string)) error {
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		mount, fs, ok := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(mount); ok && len(fields) > 4 {
			kind, _, _ := strings.Cut(fs, " ")
			tell(unescapeOctal(fields[4]), kind)
		}
	}
	return lines.Err()
}

// unescapeOctal undoes \040 and its kin.
func unescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// room reports whether a file system has bytes to spare for who asks.
func room(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free-space %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < uint64(need) {
		return fmt.Errorf("free-space %s: %w: %s, and %s are wanted", dir, ErrNoRoom, display.Bytes(free), display.Bytes(uint64(need)))
	}
	return nil
}
