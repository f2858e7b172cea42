package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vault/crypto"
	"vault/snapshot"
)

// skipUnless skips a test where the system refuses what it needs.
func skipUnless(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EACCES) {
		t.Skipf("not possible here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	skipUnless(t, unix.Mknod(filepath.Join(dir, "chr"), unix.S_IFCHR|0o620, int(unix.Mkdev(5, 70000))))
	skipUnless(t, unix.Mknod(filepath.Join(dir, "blk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 3))))
	m := newMemory()
	o := options(t, m)
	v, _ := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	got := tree(t, m, v.Root)
	if n := got["chr"]; n.Type != snapshot.CharDevice || n.Major != 5 || n.Minor != 70000 || n.Mode != 0o620&^umask() {
		t.Errorf("chr: %+v", n)
	}
	if n := got["blk"]; n.Type != snapshot.BlockDevice || n.Major != 259 || n.Minor != 3 {
		t.Errorf("blk: %+v", n)
	}
	v2, _ := archiveDir(t, o, dir, trusted(v))
	if v2.Root.Tree != v.Root.Tree || v2.Others != 2 {
		t.Errorf("with a parent: %+v", v2)
	}
}

func umask() uint32 {
	old := unix.Umask(0)
	unix.Umask(old)
	return uint32(old)
}

// acl is a POSIX ACL in the form of the attribute system.posix_acl_access.
func acl(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

func TestXattrs(t *testing.T) {
	for name, dir := range places(t) {
		t.Run(name, func(t *testing.T) { testXattrs(t, dir) })
	}
}

// places are directories on the kinds of file systems that are at hand.
func places(t testing.TB) map[string]string {
	out := map[string]string{"tmp": t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "archive-test-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		out["shm"] = dir
	}
	return out
}

func testXattrs(t *testing.T, dir string) {
	file, link := filepath.Join(dir, "f"), filepath.Join(dir, "l")
	write(t, file, []byte("x"))
	mkdir(t, filepath.Join(dir, "d"))
	if err := os.Symlink("f", link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "p"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := noise(5, 1025)
	access := acl([3]uint32{1, 6, ^uint32(0)}, [3]uint32{2, 4, 12345}, [3]uint32{4, 4, ^uint32(0)}, [3]uint32{16, 4, ^uint32(0)}, [3]uint32{32, 0, ^uint32(0)})
	binaryValue := []byte("a\x00b\xff\n")
	set := func(path, name string, value []byte) { t.Helper(); skipUnless(t, unix.Lsetxattr(path, name, value, 0)) }
	set(file, "trusted.t", binaryValue)
	set(file, "system.posix_acl_access", access)
	set(filepath.Join(dir, "d"), "system.posix_acl_default", access)
	set(filepath.Join(dir, "d"), "trusted.empty", nil)
	set(link, xfsACL+"OTHER", []byte("left out"))
	set(link, "trusted.onlink", []byte("of the link"))
	set(filepath.Join(dir, "p"), "trusted.onpipe", []byte("of the pipe"))
	user := unix.Setxattr(file, "user.long", long, 0) == nil && unix.Setxattr(file, "user.edge", long[:1024], 0) == nil

	m := newMemory()
	o := options(t, m)
	v, notices := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	if len(notices) > 0 {
		t.Errorf("notices %v", notices)
	}
	got := tree(t, m, v.Root)
	want := map[string]map[string][]byte{
		"f": {"trusted.t": binaryValue, "system.posix_acl_access": access},
		"d": {"system.posix_acl_default": access, "trusted.empty": {}},
		"l": {"trusted.onlink": []byte("of the link")},
		"p": {"trusted.onpipe": []byte("of the pipe")},
	}
	if user {
		want["f"]["user.edge"] = long[:1024]
		want["f"]["user.long"] = long
	}
	for path, attrs := range want {
		have := map[string][]byte{}
		for _, x := range got[path].Xattrs {
			value := x.Value
			if x.Length > 0 {
				if x.Name != "user.long" {
					t.Errorf("%s: %s is a blob", path, x.Name)
				}
				value = m.blobs[x.Blob]
			}
			have[x.Name] = value
		}
		for name, value := range attrs {
			if !bytes.Equal(have[name], value) {
				t.Errorf("%s: %s is %q, want %q", path, name, have[name], value)
			}
			delete(have, name)
		}
		for name := range have {
			if !strings.HasPrefix(name, "security.") {
				t.Errorf("%s: unexpected attribute %s", path, name)
			}
		}
	}
	m.resetCounts()
	if v2, _ := archiveDir(t, o, dir, trusted(v)); v2.Root.Tree != v.Root.Tree || m.puts[crypto.BlobTree] != 0 {
		t.Error("attributes were not taken over")
	}
	set(link, "trusted.onlink", []byte("new"))
	v3, _ := archiveDir(t, o, dir, trusted(v))
	if x := tree(t, m, v3.Root)["l"].Xattrs; len(x) == 0 || string(x[len(x)-1].Value) != "new" {
		t.Errorf("changed attribute of a link: %v", x)
	}
}

func TestInodeFlags(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), []byte("x"))
	mkdir(t, filepath.Join(dir, "d"))
	for name, flags := range map[string]uint32{"f": 0x40 | 0x80, "d": 0x40} { // NODUMP, NOATIME
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		skipUnless(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags)))
		f.Close()
	}
	m := newMemory()
	v, _ := archiveDir(t, options(t, m), dir, nil)
	got := tree(t, m, v.Root)
	if got["f"].Flags != 0xc0 || got["d"].Flags != 0x40 {
		t.Errorf("flags %#x and %#x", got["f"].Flags, got["d"].Flags)
	}
	v2, _ := archiveDir(t, options(t, m), dir, trusted(v))
	if v2.Root.Tree != v.Root.Tree {
		t.Error("flags were not taken over")
	}
}

func TestHardLinksAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	mkdir(t, filepath.Join(dir, "a"))
	mkdir(t, filepath.Join(dir, "z/y"))
	data := noise(1, 50_000)
	write(t, filepath.Join(dir, "a/first"), data)
	for _, l := range []string{"a/second", "m", "z/y/last"} {
		if err := os.Link(filepath.Join(dir, "a/first"), filepath.Join(dir, l)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "other"), noise(2, 900))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Link(filepath.Join(dir, "other"), outside); err != nil {
		t.Fatal(err)
	}
	for range 20 { // waiting for a read and coming after it are both met
		m := newMemory()
		o := options(t, m)
		v, _ := archiveDir(t, o, dir, nil)
		mustComplete(t, v)
		compareTree(t, m, v.Root, dir)
		if want := len(tree(t, m, v.Root)["m"].Content.Items) + 1; m.puts[crypto.BlobData] != want {
			t.Fatalf("%d puts for %d chunks", m.puts[crypto.BlobData], want)
		}
		if v.BytesProcessed != 50_900 || v.Files.New != 5 {
			t.Errorf("processed %d, files %+v", v.BytesProcessed, v.Files)
		}
	}
}

func TestManyHardLinksAcrossBatches(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		d := filepath.Join(dir, fmt.Sprintf("d%02d", i))
		mkdir(t, d)
		for j := range 40 {
			first := filepath.Join(dir, "d00", fmt.Sprint(j))
			if i == 0 {
				write(t, first, noise(byte(j), 2000+j))
			} else if err := os.Link(first, filepath.Join(d, fmt.Sprint(j))); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := newMemory()
	v, _ := archiveDir(t, options(t, m), dir, nil)
	mustComplete(t, v)
	compareTree(t, m, v.Root, dir)
	if v.BytesProcessed != 40*2000+39*20 {
		t.Errorf("processed %d", v.BytesProcessed)
	}
}

// bytesRead returns how many bytes this process has read so far, as the system counts
// them; always 0 where it does not.
func bytesRead(t *testing.T) (n uint64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Log(err)
		return 0
	}
	if _, err := fmt.Sscanf(string(text), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSparse(t *testing.T) {
	const tb = 1 << 40
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	skip := func(err error) {
		if err != nil {
			t.Skipf("no file of that size here: %v", err)
		}
	}
	skip(f.Truncate(tb))
	a, b := noise(1, 20_000), noise(2, 10_000)
	for off, data := range map[int64][]byte{1 << 30: a, 1<<30 + 40_960: b, tb - 4096: a[:4096]} {
		_, err := f.WriteAt(data, off)
		skip(err)
	}
	m := newMemory()
	o := options(t, m)
	before := bytesRead(t)
	v, _ := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	if n := bytesRead(t) - before; n > 16<<20 { // and not the zeros
		t.Errorf("%d bytes were read", n)
	}
	n := tree(t, m, v.Root)["disk"]
	if n.Size != tb || v.BytesProcessed != tb {
		t.Fatalf("size %d", n.Size)
	}
	type run struct {
		kind   snapshot.ItemKind
		length uint64
	}
	var runs []run // data and zeros together
	for it, err := range snapshot.Items(t.Context(), m, n.Content, n.Size) {
		if err != nil {
			t.Fatal(err)
		}
		kind := it.Kind
		if kind == snapshot.ItemZero {
			kind = snapshot.ItemData
		}
		if k := len(runs); k > 0 && runs[k-1].kind == kind {
			runs[k-1].length += it.Length
			continue
		}
		runs = append(runs, run{kind, it.Length})
	}
	// The hole of 20,480 bytes between the two writes is too short to be one.
	const middle = 40_960 + 12_288
	want := []run{{snapshot.ItemHole, 1 << 30}, {snapshot.ItemData, middle},
		{snapshot.ItemHole, tb - 4096 - 1<<30 - middle}, {snapshot.ItemData, 4096}}
	if fmt.Sprint(runs) != fmt.Sprint(want) {
		t.Errorf("items %v, want %v", runs, want)
	}
	v2, _ := archiveDir(t, o, dir, trusted(v))
	if v2.Root.Tree != v.Root.Tree || v2.Files.Unmodified != 1 {
		t.Errorf("with a parent: %+v", v2.Files)
	}
}

func TestSparseEnds(t *testing.T) {
	for _, c := range []struct {
		size  int64
		data  []int64 // where a block of 4096 is written
		items string
	}{
		{1 << 20, nil, "hole 1048576"},
		{1<<20 + 100, nil, "hole 1048576, zero 100"},
		{64 << 10, nil, "hole 65536"},
		{64<<10 - 1, nil, "zero"},
		{200_000, []int64{0}, "data 4096, hole 192512, zero 3392"},
		{1 << 20, []int64{1<<20 - 4096}, "hole 1044480, data 4096"},
	} {
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(c.size); err != nil {
			t.Fatal(err)
		}
		for _, off := range c.data {
			if _, err := f.WriteAt(bytes.Repeat([]byte("0123456789abcdef"), 256), off); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
		m := newMemory()
		o := options(t, m)
		o.Chunker = defaultChunker(t, m)
		v, _ := archiveDir(t, o, dir, nil)
		mustComplete(t, v)
		compareTree(t, m, v.Root, dir)
		var got []string
		for _, it := range tree(t, m, v.Root)["f"].Content.Items {
			got = append(got, fmt.Sprintf("%s %d", [...]string{1: "data", 2: "zero", 3: "hole"}[it.Kind], it.Length))
		}
		if s := strings.Join(got, ", "); !strings.HasPrefix(s, c.items) {
			t.Errorf("%d with %v: %s, want %s", c.size, c.data, s, c.items)
		}
	}
}

func TestDeviceNumbers(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "b", "c/d"} {
		mkdir(t, filepath.Join(dir, d))
	}
	for _, d := range []string{"b", "c/d"} {
		path := filepath.Join(dir, d)
		skipUnless(t, unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m"))
		t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
		write(t, filepath.Join(path, "f"), []byte("x"))
		mkdir(t, filepath.Join(path, "sub"))
	}
	m := newMemory()
	o := options(t, m)
	v, _ := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	got := tree(t, m, v.Root)
	for path, want := range map[string]uint64{".": 0, "a": 0, "b": 1, "b/f": 1, "b/sub": 1, "c": 0, "c/d": 2, "c/d/f": 2} {
		if got[path] == nil || got[path].Device != want {
			t.Errorf("%s: %+v, want device %d", path, got[path], want)
		}
	}
	if v2, _ := archiveDir(t, o, dir, trusted(v)); v2.Root.Tree != v.Root.Tree {
		t.Error("another tree with a parent")
	}
	o.OneFileSystem = true
	v, _ = archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	got = tree(t, m, v.Root)
	if got["b"] == nil || got["c/d"] == nil || got["b/f"] != nil || got["c/d/sub"] != nil || got["a"] == nil {
		t.Error("one file system: wrong entries")
	}
}

// TestUnreadable runs itself as another user, for whom modes count.
func TestUnreadable(t *testing.T) {
	if dir := os.Getenv("ARCHIVE_TEST_UNREADABLE"); dir != "" {
		unreadableChild(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	dir, err := os.MkdirTemp("", "archive-unreadable-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "test")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, self, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	for _, d := range []string{"open", "shut/in", "blind"} {
		mkdir(t, filepath.Join(data, d))
	}
	for _, f := range []string{"ok", "secret", "open/ok", "shut/in/f", "blind/f"} {
		write(t, filepath.Join(data, f), noise(1, 500))
	}
	for path, mode := range map[string]os.FileMode{"": 0o755, "data": 0o755, "data/secret": 0, "data/shut": 0o700, "data/blind": 0o744} {
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	skipUnless(t, os.Chown(filepath.Join(data, "ok"), nobody, nobody))
	cmd := exec.Command(exe, "-test.run=^TestUnreadable$", "-test.v")
	cmd.Env = append(os.Environ(), "ARCHIVE_TEST_UNREADABLE="+data)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("child: %v\n%s", err, out)
	}
}

func unreadableChild(t *testing.T, dir string) {
	m := newMemory()
	v, _ := archiveDir(t, options(t, m), dir, nil)
	if v.State != snapshot.Partial || v.ProblemCount != 3 {
		t.Fatalf("%v, problems %v", v.State, v.Problems)
	}
	want := map[string]bool{"secret": true, "shut": true, "blind/f": true}
	for _, p := range v.Problems {
		if !want[p.Path] || !strings.Contains(p.Message, "permission denied") {
			t.Errorf("problem %v", p)
		}
	}
	got := tree(t, m, v.Root)
	for path, stored := range map[string]bool{"ok": true, "secret": false, "open/ok": true, "shut": true, "shut/in": false, "blind": true, "blind/f": false} {
		if (got[path] != nil) != stored {
			t.Errorf("%s: stored %v", path, !stored)
		}
	}
	if v, _ := archiveDir(t, options(t, m), filepath.Join(dir, "shut"), nil); v.State != snapshot.Failed {
		t.Errorf("unreadable root directory: %v", v.State)
	}
	if v, _ := archiveDir(t, options(t, m), filepath.Join(dir, "secret"), nil); v.State != snapshot.Failed || v.Root != nil {
		t.Errorf("unreadable root file: %v", v.State)
	}
}
