package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/internal/durable"
)

var ctx = context.Background()

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func listed(t testing.TB, s *Store, prefix string) (names []string) {
	t.Helper()
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

// must stops a test whose preparations fail.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	backendtest.Run(t, func(t testing.TB) backend.Backend { return mustOpen(t, t.TempDir()+"/repo") })
}

// TestContractNamed runs the suite as on a file system that has neither
// unnamed temporary files nor RENAME_NOREPLACE.
func TestContractNamed(t *testing.T) {
	backendtest.Run(t, func(t testing.TB) backend.Backend {
		s, err := open(t.TempDir(), func(step durable.Step, _ string) error {
			switch step {
			case durable.StepTemp:
				if runtime.GOOS == "linux" {
					return syscall.EOPNOTSUPP
				}
			case durable.StepRenameNew:
				return syscall.EINVAL
			}
			return nil
		})
		must(t, err)
		return s
	})
}

// TestMissingPlace: a place that is not there reads as empty, nothing makes it
// but a write, and that makes only the last component.
func TestMissingPlace(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "repo")
	s := mustOpen(t, dir+"/")
	defer s.Close()
	if _, err := s.Get(ctx, "config", 0, -1); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("get: %v", err)
	}
	if err := s.Delete(ctx, "config"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("delete: %v", err)
	}
	if got := listed(t, s, ""); len(got) != 0 {
		t.Errorf("list: %q", got)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading made the place: %v", err)
	}
	other := mustOpen(t, dir) // will see what s makes
	defer other.Close()
	must(t, s.Create(ctx, "keys/1", []byte("key")))
	if got := listed(t, other, ""); !slices.Equal(got, []string{"keys/1"}) {
		t.Errorf("another process lists %q", got)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, dir + "/keys": 0o700 | fs.ModeDir, dir + "/keys/1": 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s has mode %v (%v), want %v", path, st.Mode(), err, want)
		}
	}

	deep := mustOpen(t, filepath.Join(base, "late"))
	defer deep.Close()
	must(t, os.Rename(base, base+"-away"))
	defer os.RemoveAll(base + "-away")
	for _, err := range []error{deep.Put(ctx, "config", nil), deep.Create(ctx, "config", nil), deep.Delete(ctx, "config")} {
		if !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the parent went away: %v", err)
		}
	}
	if _, err := os.Stat(base); err == nil {
		t.Error("a missing parent was made")
	}
}

// TestUnreachable: what is not evidence of absence is unreachable.
func TestUnreachable(t *testing.T) {
	base := t.TempDir()
	must(t,
		os.WriteFile(base+"/file", nil, 0o600),
		os.Symlink(base+"/nowhere", base+"/dangling"),
		os.Symlink("loop", base+"/loop"),
		os.Mkdir(base+"/real", 0o700),
		os.Symlink("real", base+"/link"))
	for _, c := range []struct{ dir, hint string }{
		{base + "/none/repo", "is it mounted?"},
		{base + "/file", ""},
		{base + "/file/repo", ""},
		{base + "/dangling", "mounted?"},
		{base + "/loop", ""},
		{base + "/" + strings.Repeat("x", 300), ""},
	} {
		s, err := Open(c.dir)
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", c.dir)
			continue
		}
		if !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v is not plainly unreachable", c.dir, err)
		}
		if !strings.Contains(backend.Hint(err), c.hint) {
			t.Errorf("%s: hint %q, want %q", c.dir, backend.Hint(err), c.hint)
		}
	}
	s := mustOpen(t, base+"/link") // the repository's own path may be a link
	defer s.Close()
	must(t, s.Put(ctx, "config", nil))
	if _, err := os.Stat(base + "/real/config"); err != nil {
		t.Error(err)
	}
	if _, err := Open(""); err == nil {
		t.Error("an empty path was opened")
	}
}

// TestRemovedWhileOpen: writing into a directory that is gone is no "not
// exist", which would mean the object.
func TestRemovedWhileOpen(t *testing.T) {
	dir := t.TempDir() + "/repo"
	s := mustOpen(t, dir)
	defer s.Close()
	must(t, s.Put(ctx, "packs/ab/x", nil), os.RemoveAll(dir))
	for _, name := range []string{"config", "packs/ab/y", "new/x"} {
		if err := s.Put(ctx, name, nil); !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("put %s: %v", name, err)
		}
	}
	if got := listed(t, s, ""); len(got) != 0 {
		t.Errorf("list: %q", got)
	}
}

// TestStrangers: what others left in the place is shown as it is or, where it
// cannot be an object, not at all; nothing of it stops a listing.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	defer s.Close()
	must(t, s.Put(ctx, "config", nil),
		os.Mkdir(dir+"/lost+found", 0), // not even readable, for all but root
		os.MkdirAll(dir+"/.snapshot/hourly/keys", 0o700),
		os.MkdirAll(dir+"/Photos/2020", 0o700),
		os.MkdirAll(dir+"/empty/dir", 0o700),
		os.WriteFile(dir+"/Photos/2020/x.jpg", nil, 0o600),
		os.WriteFile(dir+"/.snapshot/hourly/config", nil, 0o600),
		os.WriteFile(dir+"/.tmp-left", nil, 0o600),
		os.WriteFile(dir+"/README.txt", []byte("hello"), 0o600),
		os.WriteFile(dir+"/notes", nil, 0o600),
		os.Symlink("config", dir+"/alias"))
	if got, want := listed(t, s, ""), []string{"README.txt", "config", "notes"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if _, err := s.Get(ctx, "empty", 0, -1); err == nil || errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("get of a directory: %v", err)
	}
}

// TestListLazy: directories are read when the loop comes to them.
func TestListLazy(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Close()
	for _, name := range []string{"packs/00/a", "packs/01/a", "packs/02/a"} {
		must(t, s.Put(ctx, name, nil))
	}
	var got []string
	for info, err := range s.List(ctx, "") {
		must(t, err)
		if len(got) == 0 {
			must(t, s.Delete(ctx, "packs/01/a"), s.Put(ctx, "packs/02/b", nil))
		}
		got = append(got, info.Name)
	}
	if want := []string{"packs/00/a", "packs/02/a", "packs/02/b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range s.List(ctx, "packs/") { // closing within a loop neither hangs nor breaks it
		s.Close()
	}
}

// steps records what a store does, without the names of objects in it.
type steps struct {
	mu   sync.Mutex
	list []string
	fail func(durable.Step, string) error // or nil
}

func (r *steps) hook(s durable.Step, path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, string(s)+" "+path)
	if r.fail != nil {
		return r.fail(s, path)
	}
	return nil
}

func (r *steps) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.Join(r.list, " | ")
	r.list = nil
	return text
}

// TestFirstSeenDirectories: an object is durable only when the entries of all
// directories above it are, whoever made those.
func TestFirstSeenDirectories(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the steps are those of Linux")
	}
	dir := t.TempDir() + "/repo"
	var r steps
	s, err := open(dir, r.hook)
	must(t, err)
	defer s.Close()
	file := func(dir, name string) string {
		return "temp " + dir + " | write " + name + " | fsync " + name + " | link " + name + " | fsyncdir " + dir
	}
	if !strings.HasPrefix(stepsOf(t, &r, s, "x"), "mkdir repo | fsyncdir . | temp .") {
		t.Skip("not the steps of unnamed temporary files")
	}
	for _, c := range []struct{ name, want string }{
		{"config", file(".", "config")},
		{"packs/ab/1", "mkdir packs | fsyncdir . | mkdir packs/ab | fsyncdir packs | " + file("packs/ab", "packs/ab/1")},
		{"packs/ab/2", file("packs/ab", "packs/ab/2")}, // no mkdir, nothing twice
		{"packs/ac/1", "mkdir packs/ac | fsyncdir packs | " + file("packs/ac", "packs/ac/1")},
	} {
		if got := stepsOf(t, &r, s, c.name); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	other, err := open(dir, r.hook) // another process finds them, synced or not
	must(t, err)
	defer other.Close()
	// The first sync is of the place's parent, which is "." as well.
	want := "fsyncdir . | fsyncdir . | fsyncdir packs | " + file("packs/ab", "packs/ab/3")
	if got := stepsOf(t, &r, other, "packs/ab/3"); got != want {
		t.Errorf("another process:\n got %s\nwant %s", got, want)
	}
	if got := stepsOf(t, &r, other, "packs/ab/4"); got != file("packs/ab", "packs/ab/4") {
		t.Errorf("another process, again: %s", got)
	}
}

func stepsOf(t *testing.T, r *steps, s *Store, name string) string {
	t.Helper()
	r.take()
	must(t, s.Put(ctx, name, []byte("data")))
	return r.take()
}

// TestFailedSync: a failed fsync fails the Put and keeps the old object; a
// directory that failed to sync is synced before the next object in it counts.
func TestFailedSync(t *testing.T) {
	var r steps
	s, err := open(t.TempDir(), r.hook)
	must(t, err)
	defer s.Close()
	must(t, s.Put(ctx, "x", []byte("old")))
	fail := func(step durable.Step, path string) {
		r.fail = func(s durable.Step, p string) error {
			if s == step && p == path {
				return syscall.EIO
			}
			return nil
		}
	}
	fail(durable.StepSync, "x")
	if err := s.Put(ctx, "x", []byte("new")); !errors.Is(err, syscall.EIO) || !errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("put with failing fsync: %v", err)
	}
	if got, err := backend.ReadAll(ctx, s, "x", 10); string(got) != "old" {
		t.Errorf("after a failed put: %q, %v", got, err)
	}
	fail(durable.StepSyncDir, ".")
	if err := s.Put(ctx, "packs/y", nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("put below a new directory that failed to sync: %v", err)
	}
	r.fail = nil
	if got := stepsOf(t, &r, s, "packs/y"); !strings.HasPrefix(got, "fsyncdir . | ") {
		t.Errorf("the directory was not synced after a failure: %s", got)
	}
	r.fail = func(s durable.Step, _ string) error {
		if s == durable.StepWrite {
			return syscall.ENOSPC
		}
		return nil
	}
	if err := s.Create(ctx, "z", nil); !errors.Is(err, backend.ErrNoSpace) || errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("create on a full disk: %v", err)
	}
}

func TestClassify(t *testing.T) {
	s := &Store{path: "/repo"}
	for errno, want := range map[syscall.Errno]error{
		syscall.ENOSPC: backend.ErrNoSpace, syscall.EDQUOT: backend.ErrNoSpace,
		syscall.EACCES: backend.ErrPermission, syscall.EROFS: backend.ErrPermission, syscall.EPERM: backend.ErrPermission,
		syscall.EIO: backend.ErrUnreachable, syscall.ESTALE: backend.ErrUnreachable, syscall.ENOTCONN: backend.ErrUnreachable,
		syscall.ENOENT: fs.ErrNotExist, syscall.EEXIST: fs.ErrExist,
	} {
		err := s.failed("get", "x", &fs.PathError{Op: "open", Path: "x", Err: errno})
		for _, kind := range []error{backend.ErrNoSpace, backend.ErrPermission, backend.ErrUnreachable, fs.ErrNotExist, fs.ErrExist} {
			is := kind == want || kind == backend.ErrUnreachable && want == backend.ErrPermission
			if errors.Is(err, kind) != is {
				t.Errorf("%v: is %v: %v, want %v", err, kind, !is, is)
			}
		}
		if !errors.Is(err, errno) {
			t.Errorf("%v lost its errno", err)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ELOOP, syscall.EISDIR, syscall.EINVAL} {
		if kind, _ := classify(errno); kind != nil {
			t.Errorf("%v: kind %v", errno, kind)
		}
	}
}

// TestListedIsDurable: an entry that another client has not synced yet is synced
// before it is shown.
func TestListedIsDurable(t *testing.T) {
	var r steps
	s, err := open(t.TempDir(), r.hook)
	must(t, err)
	defer s.Close()
	must(t, s.Put(ctx, "commits/1", []byte("data")))
	r.take()
	for info, err := range s.List(ctx, "commits/") {
		must(t, err)
		if got := r.take(); info.Name == "commits/1" && got != "fsyncdir commits" {
			t.Errorf("before %s was shown: %q", info.Name, got)
		}
	}
	r.fail = func(step durable.Step, _ string) error {
		if step == durable.StepSyncDir {
			return errors.New("no")
		}
		return nil
	}
	for info, err := range s.List(ctx, "commits/") {
		if err == nil {
			t.Errorf("%s was shown, and could not be synced", info.Name)
		}
	}
}
