package restore

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

// places returns a fresh directory on each kind of file system at hand.
func fileSystems(t *testing.T) map[string]string {
	out := map[string]string{"disk": tempDir(t, os.TempDir())}
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		out["tmpfs"] = tempDir(t, "/dev/shm")
	}
	return out
}

// tempDir is t.TempDir elsewhere; it removes what chattr protects.
func tempDir(t testing.TB, parent string) string {
	dir, err := os.MkdirTemp(parent, "restore-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(path string, de os.DirEntry, err error) error {
			if err == nil && (de.IsDir() || de.Type().IsRegular()) {
				clearFlags(path)
				if de.IsDir() {
					os.Chmod(path, 0o700)
				}
			}
			return nil
		})
		if err := exec.Command("rm", "-rf", dir).Run(); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

func clearFlags(path string) {
	if fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
		if v, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && v&0x30 != 0 {
			unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(v&^0x30))
		}
		unix.Close(fd)
	}
}

// acl encodes an ACL of the owner, user 12345, the group and the mask.
func acl(user, named, group, mask uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, user, ^uint32(0)}, {2, named, 12345}, {4, group, ^uint32(0)}, {0x10, mask, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// zoo makes a tree with one of everything.
func zoo(t *testing.T, dir string) {
	root := os.Geteuid() == 0
	p := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string, mode os.FileMode) {
		must(os.WriteFile(p(name), []byte(content), 0o600))
		must(os.Chmod(p(name), mode))
	}
	must(os.MkdirAll(p("sub/deep/er"), 0o755))
	must(os.MkdirAll(p("empty"), 0o700))
	must(os.Mkdir(p("sticky"), 0o755))
	write("none", "", 0o644)
	write("one", "x", 0o400)
	write("inline", noise(128, 1), 0o604)
	write("small", noise(5000, 2), 0o644)
	write("chunks", noise(3*testChunk+17, 3), 0o644)
	write("large", noise(largeFile+3*spanBytes+99, 4), 0o644)
	write("zeros", string(make([]byte, 5*testChunk)), 0o644)
	write("tail", noise(testChunk, 5)+string(make([]byte, testChunk)), 0o644)
	write("odd\xff\n\x1b[31mname", "y", 0o644)
	write("sub/setuid", noise(300, 6), 0o755)
	write("sub/deep/er/file", "deep", 0o000)
	f := must1(os.Create(p("sparse")))
	must1(f.WriteAt([]byte(noise(testChunk, 7)), 2<<20))
	must1(f.WriteAt([]byte(noise(testChunk, 8)), 17<<20))
	must(f.Truncate(24 << 20))
	must(f.Close())
	must(os.Link(p("small"), p("sub/hard1")))
	must(os.Link(p("small"), p("a-hard0")))
	must(os.Symlink("../nowhere/at all", p("sub/dangling")))
	must(os.Symlink("/etc", p("sub/absolute")))
	must(unix.Mkfifo(p("fifo"), 0o640))
	attrs := []struct{ name, attr, value string }{
		{"small", "user.binary", "\x00\xff\x01"}, {"small", "user.empty", ""}, {"sub", "user.on-dir", "d"},
		{"chunks", "user.long", noise(2000, 9)},
	}
	for _, a := range attrs {
		if err := unix.Lsetxattr(p(a.name), a.attr, []byte(a.value), 0); err != nil {
			t.Logf("%s: %v", a.attr, err)
		}
	}
	if root {
		must(unix.Mknod(p("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(unix.Mknod(p("disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
		must(os.Link(p("null"), p("sub/null2")))
		must(os.Link(p("sub/dangling"), p("sub/dangling2")))
		for name, owner := range map[string][2]int{"small": {1234, 5678}, "sub": {4321, 0}, "sub/dangling": {77, 88}, "fifo": {5, 6}, "sub/setuid": {33, 33}} {
			must(os.Lchown(p(name), owner[0], owner[1]))
		}
		for _, a := range []struct {
			name, attr string
			value      []byte
		}{
			{"one", capability, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 2}, 1<<10), 0)},
			{"inline", aclAccess, acl(6, 4, 0, 6)}, {"sub/deep", aclAccess, acl(7, 5, 1, 5)}, {"sub/deep", aclDefault, acl(7, 5, 5, 5)},
			{"small", "trusted.x", []byte("t")}, {"sub/dangling", "trusted.link", []byte("t")},
		} {
			if err := unix.Lsetxattr(p(a.name), a.attr, a.value, 0); err != nil {
				t.Logf("%s on %s: %v", a.attr, a.name, err)
			}
		}
	}
	must(os.Chmod(p("sub/setuid"), 0o755|os.ModeSetuid|os.ModeSetgid))
	must(os.Chmod(p("sticky"), 0o777|os.ModeSticky|os.ModeSetgid))
	stamp := func(name string, sec, nsec int64) {
		ts := []unix.Timespec{{Sec: sec, Nsec: nsec}, {Sec: sec, Nsec: nsec}}
		must(unix.UtimesNanoAt(unix.AT_FDCWD, p(name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	stamp("small", 1, 1)
	stamp("one", -100_000_000, 999_999_999)
	stamp("sub/dangling", -5, 7)
	stamp("fifo", 2_000_000_000, 5)
	stamp("sub/deep", 1_000_000_000, 123_456_789)
	stamp("empty", 7, 8)
}

func setFlagsOf(path string, flags uint32) error {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	have, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(have|flags))
}

// TestFidelity restores one of everything and compares byte by byte, then again
// over the result, with every policy.
func TestFidelity(t *testing.T) {
	for name, base := range fileSystems(t) {
		t.Run(name, func(t *testing.T) {
			src := filepath.Join(base, "src")
			must(os.Mkdir(src, 0o755))
			zoo(t, src)
			want := describe(t, src)
			s := newStore()
			root := s.tree(s.scan(src))
			target := filepath.Join(base, "out")
			rep := restoreTo(t, s, root, target+"/", func(o *Options) { o.Verify = true; o.NumericIDs = true })
			noProblems(t, rep)
			if rep.NoticeCount != 0 {
				t.Errorf("notices: %v", rep.Notices)
			}
			got := filepath.Join(target, "v")
			equalTrees(t, want, describe(t, got))
			for _, f := range []string{"sparse", "tail"} {
				if a, limit := allocated(filepath.Join(got, f)), int64(4*testChunk); a > limit {
					t.Errorf("%s takes %d bytes", f, a)
				}
			}
			if a := allocated(filepath.Join(got, "zeros")); a < 5*testChunk {
				t.Errorf("zeros take %d bytes", a)
			}
			if rep.Entries[Created] != uint64(len(want)) {
				t.Errorf("%d created, want %d", rep.Entries[Created], len(want))
			}
			if path, err := exec.LookPath("rsync"); err == nil {
				out, err := exec.Command(path, "-naciHAX", "--delete", src+"/", got+"/").CombinedOutput()
				if err != nil || len(out) != 0 {
					t.Errorf("rsync: %v\n%s", err, out)
				}
			}

			// Again: nothing to do, nothing fetched but for attributes.
			before := s.gets.Load()
			rep = restoreTo(t, s, root, target, func(o *Options) { o.NumericIDs = true })
			noProblems(t, rep)
			if rep.BytesWritten != 0 || rep.Entries[Unchanged] != uint64(len(want)) {
				t.Errorf("second run: %+v", rep)
			}
			if n := s.gets.Load() - before; n > 2 {
				t.Errorf("second run fetched %d blobs", n)
			}
			equalTrees(t, want, describe(t, got))

			for _, p := range []Policy{Always, IfNewer, Never} {
				rep = restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p; o.Verify = true; o.NumericIDs = true })
				noProblems(t, rep)
				equalTrees(t, want, describe(t, got))
				if p != Always && rep.BytesWritten != 0 {
					t.Errorf("%v wrote %d bytes", p, rep.BytesWritten)
				}
			}
		})
	}
}

// TestInodeFlags needs a file system with them, and root.
func TestInodeFlags(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	base := tempDir(t, os.TempDir())
	src := filepath.Join(base, "src")
	must(os.MkdirAll(filepath.Join(src, "dir/sub"), 0o755))
	for _, f := range []string{"file", "dir/inner", "linked"} {
		must(os.WriteFile(filepath.Join(src, f), []byte(noise(1000, 1)), 0o644))
	}
	must(os.Link(filepath.Join(src, "linked"), filepath.Join(src, "zlink")))
	for f, flags := range map[string]uint32{"file": 0x50, "dir/inner": 0x20, "linked": 0x10, "dir/sub": 0x80, "dir": 0x10} {
		if err := setFlagsOf(filepath.Join(src, f), flags); err != nil {
			t.Skip(err)
		}
	}
	s := newStore()
	root := s.tree(s.scan(src))
	for range 2 {
		rep := restoreTo(t, s, root, filepath.Join(base, "out"))
		noProblems(t, rep)
		equalTrees(t, describe(t, src), describe(t, filepath.Join(base, "out/v")))
	}
}

// TestOwnersByName: names win over numbers where this system knows them.
func TestOwnersByName(t *testing.T) {
	o := newOwners(false, nil)
	o.users.look = func(name string) (string, error) {
		if name == "ann" {
			return "4711", nil
		}
		return "", os.ErrNotExist
	}
	o.groups.look = o.users.look
	for _, c := range []struct {
		user, group string
		uid, gid    uint32
	}{{"ann", "ann", 4711, 4711}, {"bob", "ann", 1, 4711}, {"", "bob", 1, 2}} {
		uid, gid := o.of(&snapshot.Node{User: c.user, Group: c.group, UID: 1, GID: 2})
		if uid != c.uid || gid != c.gid {
			t.Errorf("%q:%q is %d:%d, want %d:%d", c.user, c.group, uid, gid, c.uid, c.gid)
		}
	}
	o.numeric = true
	if uid, gid := o.of(&snapshot.Node{User: "ann", Group: "ann", UID: 1, GID: 2}); uid != 1 || gid != 2 {
		t.Errorf("numeric: %d:%d", uid, gid)
	}
}

// TestSparse: zeros that were data are data again, unless holes are wanted.
func TestSparse(t *testing.T) {
	for _, size := range []int{5 * testChunk, largeFile + 5*testChunk} {
		s := newStore()
		content := make([]byte, size)
		copy(content[testChunk:], noise(testChunk, 1))
		root := s.tree(dirOf("", s.fileOf("f", string(content))))
		target := t.TempDir()
		f := filepath.Join(target, "v/f")
		for i, c := range []struct {
			sparse  bool
			written int
			least   int64
		}{{false, size, int64(size)}, {true, 0, int64(size)}, {true, testChunk, testChunk}, {false, size - testChunk, int64(size)}} {
			if i == 2 {
				must(os.Remove(f))
			}
			if i == 3 { // as if another time had been saved, so that it is updated
				must(os.Chtimes(f, time.Time{}, time.Unix(5, 0)))
			}
			rep := restoreTo(t, s, root, target, func(o *Options) { o.Sparse = c.sparse; o.Verify = true })
			noProblems(t, rep)
			if size < updateBytes && i == 3 {
				c.written = size // replaced
			}
			if a := allocated(f); rep.BytesWritten != uint64(c.written) || a < c.least || c.least == testChunk && a > 3*testChunk {
				t.Errorf("%d bytes, step %d: wrote %d, %d allocated", size, i, rep.BytesWritten, a)
			}
			if read(f) != string(content) {
				t.Errorf("%d bytes, step %d: wrong content", size, i)
			}
		}
	}
}

// TestLocked: what is immutable, here and in the backup, is restored and is
// immutable again. What only somebody here has locked stays as it is.
func TestLocked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	s := newStore()
	lock := func(flag uint32) func(n *snapshot.Node) { return func(n *snapshot.Node) { n.Flags = flag } }
	root := s.tree(dirOf("",
		dirOf("d", s.fileOf("f", "new"), dirOf("sub", s.fileOf("f", "new")), linkTo("l", "f")).with(lock(0x10)), s.fileOf("i", "new").with(lock(0x10)),
		s.fileOf("a", "new").with(lock(0x20)), s.fileOf("large", noise(updateBytes+5, 1)).with(lock(0x10)), s.fileOf("theirs", "new")))
	base := tempDir(t, os.TempDir())
	target := filepath.Join(base, "t")
	rep := restoreTo(t, s, root, target)
	if rep.NoticeCount > 0 {
		t.Skip(rep.Notices)
	}
	want := describe(t, filepath.Join(target, "v"))
	unlocked := func(path string, do func(path string)) {
		path = filepath.Join(target, "v", path)
		clearFlags(filepath.Dir(path))
		clearFlags(path)
		do(path)
	}
	overwrite := func(path string) { must(os.WriteFile(path, []byte("old"), 0o644)) }
	flags := func(path string, flags int) {
		f := must1(os.Open(filepath.Join(target, "v", path)))
		must(unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags))
		f.Close()
	}
	for _, p := range []Policy{IfChanged, Always} {
		for _, f := range []string{"d/f", "i", "a", "large", "theirs"} {
			unlocked(f, overwrite)
		}
		unlocked("d/extra", overwrite)
		unlocked("d/l", func(path string) { must(os.Remove(path)) })
		unlocked("d/sub", func(path string) { must(os.RemoveAll(path)) })
		flags("d", 0x10)
		flags("i", 0x10)
		flags("a", 0x20)
		flags("large", 0x10)
		flags("theirs", 0x10)
		rep := restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p; o.Delete = true })
		if rep.ProblemCount != 1 || rep.Problems[0].Path != "theirs" || rep.NoticeCount > 0 {
			t.Errorf("%v: problems %v, notices %v", p, rep.Problems, rep.Notices)
		}
		if got := read(filepath.Join(target, "v/theirs")); got != "old" {
			t.Errorf("%v: the locked file has %q", p, got)
		}
		unlocked("theirs", func(string) {})
		restoreTo(t, s, root, target)
		equalTrees(t, want, describe(t, filepath.Join(target, "v")))
	}
}
