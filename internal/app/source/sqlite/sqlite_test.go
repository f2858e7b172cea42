//go:build linux

package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"vault/internal/app/apptest"
	"vault/internal/app/source"
	"vault/internal/save"
	"vault/snapshot/archive"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

// sql runs statements in a database and returns what they print.
func sql(t *testing.T, path, statements string) string {
	t.Helper()
	apptest.Need(t, "sqlite3", "sqlite3")
	cmd := exec.Command("sqlite3", "-batch", "-bail", "-init", "/dev/null", "-cmd", ".timeout 60000", path)
	cmd.Stdin = strings.NewReader(statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", statements, err, out)
	}
	return strings.TrimSpace(string(out))
}

// plant makes a database.
func plant(t *testing.T, mode string) File {
	t.Helper()
	dir := t.TempDir()
	f := File{Path: filepath.Join(dir, "it's a [db]?.sqlite"), TempDir: t.TempDir()}
	sql(t, f.Path, "PRAGMA journal_mode="+mode+`; CREATE TABLE a (n INTEGER PRIMARY KEY, t TEXT); CREATE TABLE b (n INTEGER PRIMARY KEY, t TEXT);
		WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<2000) INSERT INTO a SELECT x, hex(randomblob(40)) FROM c;
		INSERT INTO b SELECT * FROM a;`)
	return f
}

func drain(ctx context.Context, o source.Opener) ([]byte, error) {
	in, err := o.Open(ctx)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(in)
	return out, errors.Join(err, in.Close())
}

func read(t *testing.T, f File) []byte {
	t.Helper()
	out, err := drain(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(f.TempDir); len(left) != 0 {
		t.Errorf("left in the temporary directory: %v", left)
	}
	return out
}

// user is a process that has a database open.
type user struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func open(t *testing.T, path string) *user {
	t.Helper()
	cmd := exec.Command("sqlite3", "-batch", "-init", "/dev/null", "-cmd", ".timeout 60000", path)
	u := &user{cmd: cmd}
	var err error
	if u.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if u.out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.in.Close(); cmd.Wait() })
	return u
}

// do executes statements and waits until they are done.
func (u *user) do(t *testing.T, statements string) {
	t.Helper()
	fmt.Fprintf(u.in, "%s\n.print done\n", statements)
	var said []byte
	for !bytes.HasSuffix(said, []byte("done\n")) {
		b := make([]byte, 1)
		if _, err := u.out.Read(b); err != nil {
			t.Fatalf("%s: %v after %q", statements, err, said)
		}
		said = append(said, b...)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			f := plant(t, mode)
			if err := f.Preflight(t.Context()); err != nil {
				t.Fatal(err)
			}
			// Somebody has it open; what is committed counts, what is not does not. In the
			// write-ahead log it is not in the file yet.
			u := open(t, f.Path)
			u.do(t, "INSERT INTO b VALUES (9999, 'committed');")
			if mode == "wal" {
				u.do(t, "BEGIN; INSERT INTO b VALUES (10000, 'not committed');")
			}
			const state = "SELECT count(*), sum(n), group_concat(t) FROM (SELECT * FROM b ORDER BY n);"
			first := read(t, f)
			if again := read(t, f); !bytes.Equal(first, again) {
				t.Error("two copies of the same database differ")
			}
			if mode == "wal" {
				u.do(t, "ROLLBACK;")
			}
			before := sql(t, f.Path, state)
			if !strings.HasPrefix(before, "2001|") {
				t.Fatalf("before: %.40s", before)
			}
			sql(t, f.Path, "DELETE FROM b WHERE n > 7;")
			u.in.Close()

			if err := os.Chmod(f.Path, 0o640); err != nil {
				t.Fatal(err)
			}
			restoreUnlocked(t, f, first, RestoreOptions{})
			if after := sql(t, f.Path, state); after != before {
				t.Errorf("restored: %.60s\nbefore: %.60s", after, before)
			}
			if st, err := os.Stat(f.Path); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("%v, %v", st.Mode(), err)
			}
			other := filepath.Join(filepath.Dir(f.Path), "other")
			o := RestoreOptions{Path: other, Mode: 0o604}
			if os.Geteuid() == 0 {
				o.Owner = &Owner{33, 34}
			}
			if err := f.Restore(t.Context(), bytes.NewReader(first), o); err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(other)
			if err != nil || st.Mode().Perm() != 0o604 {
				t.Errorf("%v, %v", st, err)
			}
			if sys := st.Sys().(*syscall.Stat_t); o.Owner != nil && (sys.Uid != 33 || sys.Gid != 34) {
				t.Errorf("it belongs to %d:%d", sys.Uid, sys.Gid)
			}
			if got := sql(t, other, state); got != before {
				t.Errorf("elsewhere: %.60s", got)
			}
		})
	}
}

// restoreUnlocked restores once the last user of the database is gone.
func restoreUnlocked(t *testing.T, f File, data []byte, o RestoreOptions) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		err := f.Restore(t.Context(), bytes.NewReader(data), o)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrInUse) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A copy that is made while somebody writes is of one moment.
func TestConsistentWhileWritten(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		f := plant(t, mode)
		stop, stopped := make(chan struct{}), make(chan struct{})
		u := open(t, f.Path)
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Both tables get the same, in one transaction.
				u.do(t, "BEGIN IMMEDIATE; INSERT INTO a (t) VALUES (hex(randomblob(500))); INSERT INTO b SELECT * FROM a WHERE n = last_insert_rowid(); COMMIT;")
			}
		}()
		for i := range 5 {
			data, err := drain(t.Context(), f)
			if err != nil {
				t.Error(err)
				break
			}
			made := filepath.Join(t.TempDir(), fmt.Sprint(i))
			if err := os.WriteFile(made, data, 0o600); err != nil {
				t.Error(err)
			}
			if got := sql(t, made, "SELECT count(*) FROM (SELECT * FROM a EXCEPT SELECT * FROM b); SELECT (SELECT count(*) FROM a) - (SELECT count(*) FROM b);"); got != "0\n0" {
				t.Errorf("%s: the tables differ: %s", mode, got)
			}
		}
		close(stop)
		<-stopped
	}
}

// Logs of the database that is replaced must not be played into the new one.
func TestStaleLogs(t *testing.T) {
	f := plant(t, "wal")
	data := read(t, f)
	u := open(t, f.Path)
	u.do(t, "UPDATE a SET t = 'from the old log';")
	stale := map[string][]byte{"-journal": []byte("x")}
	for _, suffix := range []string{"-wal", "-shm"} {
		b, err := os.ReadFile(f.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		stale[suffix] = b
	}
	if err := f.Restore(t.Context(), bytes.NewReader(data), RestoreOptions{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a database that is in use: %v", err)
	}
	if err := f.Restore(t.Context(), bytes.NewReader(data), RestoreOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	u.in.Close()
	u.cmd.Wait()
	for suffix, b := range stale { // as after a crash
		if err := os.WriteFile(f.Path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	restoreUnlocked(t, f, data, RestoreOptions{})
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if _, err := os.Lstat(f.Path + suffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", suffix, err)
		}
	}
	if got := sql(t, f.Path, "SELECT count(*) FROM a WHERE t LIKE 'from%';"); got != "0" {
		t.Error("the old log was played into the new database")
	}
}

func TestRefusals(t *testing.T) {
	f := plant(t, "delete")
	good := read(t, f)
	old, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(good)
	for i := 4096; i < 3*4096; i++ {
		damaged[i] ^= 0xff
	}
	broken := errors.New("the store is gone")
	for name, c := range map[string]struct {
		in   io.Reader
		want error
	}{
		"damaged":     {bytes.NewReader(damaged), ErrDamaged},
		"cut off":     {bytes.NewReader(good[:len(good)/2]), ErrDamaged},
		"no database": {strings.NewReader("hello"), ErrNoDatabase},
		"empty":       {strings.NewReader(""), ErrNoDatabase},
		"breaks off":  {io.MultiReader(bytes.NewReader(good[:5000]), iotest.ErrReader(broken)), broken},
	} {
		if err := f.Restore(t.Context(), c.in, RestoreOptions{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if now, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(now, old) {
		t.Error("a refused restore has changed the database")
	}
	if list, _ := os.ReadDir(filepath.Dir(f.Path)); len(list) != 1 {
		t.Errorf("left: %v", list)
	}

	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"damaged": {damaged, ErrDamaged}, "text": {[]byte("hello"), ErrNoDatabase}, "empty": {nil, ErrNoDatabase},
	} {
		bad := File{Path: filepath.Join(t.TempDir(), "bad"), TempDir: t.TempDir()}
		if err := os.WriteFile(bad.Path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := drain(t.Context(), bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(bad.TempDir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	for name, bad := range map[string]File{"missing": {Path: f.Path + "x"}, "directory": {Path: f.TempDir}, "no place": {Path: f.Path, TempDir: "/nonexistent"}} {
		if _, err := drain(t.Context(), bad); err == nil {
			t.Errorf("%s is saved", name)
		}
		if err := bad.Preflight(t.Context()); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := f.Preflight(t.Context()); !errors.Is(err, source.ErrNoProgram) || !strings.Contains(err.Error(), "package sqlite3") {
		t.Errorf("without the program: %v", err)
	}
}

// A full disk is told before the copy, and a copy that fails is an error and leaves
// nothing.
func TestNoSpace(t *testing.T) {
	f := plant(t, "delete")
	script := filepath.Join(t.TempDir(), "small")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nulimit -f 20\nexec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	small := f
	small.Runner.Prefix = []string{script}
	if out, err := drain(t.Context(), small); err == nil {
		t.Errorf("%d bytes are saved", len(out))
	}
	if left, _ := os.ReadDir(f.TempDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if os.Geteuid() != 0 || unix.Mount("none", f.TempDir, "tmpfs", 0, "size=128k") != nil {
		t.Skip("a small file system cannot be mounted")
	}
	defer unix.Unmount(f.TempDir, 0)
	if err := f.Preflight(t.Context()); !errors.Is(err, ErrNoSpace) {
		t.Errorf("preflight: %v", err)
	}
	if _, err := drain(t.Context(), f); !errors.Is(err, ErrNoSpace) {
		t.Errorf("copy: %v", err)
	}
}

// What a killed run has left is removed by the next; what is in use stays.
func TestLeftByAKilledRun(t *testing.T) {
	f := plant(t, "delete")
	dead := filepath.Join(f.TempDir, ".vault-private-dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, "copy.db"), []byte("secrets"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := f.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	second, err := f.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(in); err != nil {
		t.Errorf("the first copy: %v", err)
	}
	list, _ := os.ReadDir(f.TempDir)
	if len(list) != 2 {
		t.Errorf("%v", list)
	}
	for _, e := range list {
		if st, err := e.Info(); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", st, err)
		}
	}
	if err := errors.Join(in.Close(), second.Close()); err != nil {
		t.Error(err)
	}
}

func TestThroughARepository(t *testing.T) {
	f := plant(t, "wal")
	r := apptest.NewRepo(t)
	first := r.MustSave(t, f)
	if first.BytesAdded == 0 {
		t.Error("nothing was added")
	}
	if again := r.MustSave(t, f); again.Files.Unmodified != 1 || again.BytesAdded != 0 {
		t.Errorf("the second time %d bytes were added", again.BytesAdded)
	}
	f.Path += "x"
	if got := r.Save(t, archive.Volume{Name: "v", Source: f}); got.Outcome != save.Refused {
		t.Errorf("a missing database: %v", got.Outcome)
	}
}
