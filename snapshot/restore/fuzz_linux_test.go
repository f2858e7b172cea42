package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/crypto"
	"vault/snapshot"
)

// hostileStore has a few blobs with names that anybody can compute, so that pages
// can refer to each other, and to themselves, as no honest repository could.
type hostileStore [][]byte

func hostileID(i int) crypto.ID { return crypto.ID(bytes.Repeat([]byte{byte(i + 1)}, 32)) }

func (s hostileStore) Get(_ context.Context, _ crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	i := int(id[0]) - 1
	if i < 0 || i >= len(s) || id != hostileID(i) {
		return nil, errLost
	}
	return append(dst[:0], s[i]...), nil
}

// pack and unpack are the form of blobs as fuzz input: u16 length, bytes, and so
// on.
func packBlobs(blobs [][]byte) (b []byte) {
	for _, x := range blobs {
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(x))), x...)
	}
	return b
}

func unpackBlobs(b []byte) (s hostileStore) {
	for len(b) >= 2 && len(s) < 32 {
		n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2)
		s, b = append(s, b[2:2+n]), b[2+n:]
	}
	return s
}

// fuzzSeed is a tree of one of everything, with the names of hostileStore; blob 0
// is the root's page.
func fuzzSeed() []byte {
	s := newStore()
	linked := func(n *snapshot.Node) { n.Links, n.Inode = 2, 5 }
	file := s.fileOf("file", noise(3000, 1))
	acl := aclOf(aclLine{1, 7, none}, aclLine{2, 5, 5}, aclLine{4, 5, none}, aclLine{16, 5, none}, aclLine{32, 0, none})
	attrs := func(n *snapshot.Node) {
		n.Xattrs = []snapshot.Xattr{{Name: "system.posix_acl_access", Value: acl}, {Name: "user.x", Value: []byte("x")}}
	}
	fifo := ent{Node: snapshot.Node{Name: "pipe", Type: snapshot.FIFO, Mode: 0o600}}
	root := s.save(dirOf("",
		dirOf("a", file.with(linked), linkTo("out", "/"), dirOf("deeper", s.fileOf("x", "inline"))), dirOf("b", file.with(linked)).with(attrs),
		fifo, s.fileOf("inline", "text").with(attrs), s.fileOf("zeros", string(make([]byte, 5000))), linkTo("link", "../../x"),
		s.fileOf("suid", "x").with(func(n *snapshot.Node) { n.Mode = 0o6755 })))
	// Give the blobs their new names.
	ids, blobs := []crypto.ID{root.Tree}, [][]byte{s.blobs[root.Tree]}
	for id, b := range s.blobs {
		if id != root.Tree {
			ids, blobs = append(ids, id), append(blobs, b)
		}
	}
	for i := range blobs {
		for j, id := range ids {
			fresh := hostileID(j)
			blobs[i] = bytes.ReplaceAll(blobs[i], id[:], fresh[:])
		}
	}
	return packBlobs(blobs)
}

// FuzzRestore restores whatever the blobs say, twice and over what is there. No
// byte beside the target changes, nothing is followed out of it, it ends, and it
// does not panic.
func FuzzRestore(f *testing.F) {
	seed := fuzzSeed()
	f.Add(seed, uint8(0))
	f.Add(seed, uint8(7))
	cycle := newStore()
	loop := dirOf("loop")
	loop.Tree = hostileID(0)
	f.Add(packBlobs([][]byte{cycle.blobs[cycle.rawDir(loop)]}), uint8(2))
	entries, bytes := slackEntries, slackBytes
	slackEntries, slackBytes = 200, 4<<20
	f.Cleanup(func() { slackEntries, slackBytes = entries, bytes })
	base := f.TempDir()
	must(os.WriteFile(filepath.Join(base, "canary"), []byte("precious"), 0o640))
	n := 0
	f.Fuzz(func(t *testing.T, data []byte, how uint8) {
		s := unpackBlobs(data)
		n++
		box := filepath.Join(base, fmt.Sprint(n))
		target := filepath.Join(box, "target")
		must(os.MkdirAll(filepath.Join(target, "v/a"), 0o755))
		must(os.Symlink(base, filepath.Join(target, "v/file")))
		must(os.Symlink(filepath.Join(base, "canary"), filepath.Join(target, "v/a/file")))
		before := outside(base, box)
		root := &snapshot.Node{Type: snapshot.Directory, Mode: 0o755, Tree: hostileID(0)}
		v := &snapshot.Volume{Name: "v", State: snapshot.Complete, Root: root}
		o := Options{Source: s, Target: target, Overwrite: Policy(how % 4), Delete: how&4 != 0, Verify: how&8 != 0, Sparse: how&16 != 0, Workers: 2,
			Xattr: func(name string) bool { return name != "security.capability" }}
		for range 2 {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			rep, err := Run(ctx, o, []Volume{{Volume: v, Dir: "v"}})
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				t.Error("it does not end")
			}
			if rep.Entries[Created] > slackEntries+10 {
				t.Errorf("%d entries made", rep.Entries[Created])
			}
		}
		if after := outside(base, box); after != before {
			t.Errorf("beside the target: %s, was %s", after, before)
		}
		if got := list(box); len(got) == 0 || got[0] != "target" {
			t.Errorf("the target is gone: %q", got)
		}
		for _, name := range must1(os.ReadDir(box)) {
			if name.Name() != "target" {
				t.Errorf("%q beside the target", name.Name())
			}
		}
		unlock(box)
		if err := os.RemoveAll(box); err != nil {
			exec.Command("rm", "-rf", box).Run()
		}
	})
}

// outside describes what is in base beside box.
func outside(base, box string) string {
	text := ""
	for _, e := range must1(os.ReadDir(base)) {
		if p := filepath.Join(base, e.Name()); p != box {
			st := must1(os.Lstat(p))
			text += fmt.Sprintf("%s %v %d %v;", e.Name(), st.Mode(), st.Size(), st.ModTime())
		}
	}
	return text + read(filepath.Join(base, "canary"))
}

// unlock lets a tree be removed.
func unlock(dir string) {
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d == nil || !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil
		}
		defer unix.Close(fd)
		if have, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && have&0x30 != 0 {
			unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(have&^0x30))
		}
		return nil
	})
}

// TestHostileMemory runs everything hostile in a process of its own and looks at
// the most memory that it had.
func TestHostileMemory(t *testing.T) {
	const most = 256 << 20
	if raceDetector {
		t.Skip("the race detector multiplies memory")
	}
	cmd := exec.Command(must1(os.Executable()), "-test.run=^(TestHostileNames|TestHostileAttributes|TestLyingLengths|TestEntryBomb|TestByteBomb|TestTreeCycle|TestDuplicateNames|TestDeep|TestManySymlinks|FuzzRestore)$")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	used := int64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) << 10
	t.Logf("%d MiB", used>>20)
	if used > most {
		t.Errorf("%d MiB, want at most %d", used>>20, most>>20)
	}
}
