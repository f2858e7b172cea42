package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

const childDir = "RESTORE_TEST_DIR"

// TestNormalUser runs TestNormalUserChild as another user.
func TestNormalUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	base := tempDir(t, os.TempDir())
	must(os.Chmod(base, 0o755))
	exe := filepath.Join(base, "restore.test")
	must(os.WriteFile(exe, must1(os.ReadFile(must1(os.Executable()))), 0o755))
	home := filepath.Join(base, "home")
	must(os.Mkdir(home, 0o755))
	must(os.Chown(home, 12345, 12346))
	cmd := exec.Command(exe, "-test.run=^TestNormalUserChild$", "-test.v")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), childDir+"="+home, "TMPDIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12346, Groups: []uint32{12347}}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestNormalUserChild")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNormalUserChild(t *testing.T) {
	home := os.Getenv(childDir)
	if home == "" {
		t.Skip("only by TestNormalUser")
	}
	s := newStore()
	mode := func(m uint32) func(*snapshot.Node) { return func(n *snapshot.Node) { n.Mode = m } }
	owner := func(uid, gid, m uint32) func(*snapshot.Node) {
		return func(n *snapshot.Node) { n.UID, n.GID, n.Mode = uid, gid, m }
	}
	caps := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 2}, 1<<10), 0)
	device := ent{Node: snapshot.Node{Name: "dev", Type: snapshot.CharDevice, Mode: 0o666, Major: 1, Minor: 3}}
	root := s.tree(dirOf("",
		s.fileOf("setuid-root", noise(300, 1)).with(owner(0, 0, 0o6755)),
		s.fileOf("setuid-own", noise(300, 1)).with(mode(0o4755)),
		s.fileOf("setgid-own", noise(300, 1)).with(owner(12345, 12347, 0o2755)),
		s.fileOf("setgid-other", noise(300, 1)).with(owner(12345, 0, 0o2755)),
		s.fileOf("caps", "x").with(func(n *snapshot.Node) { n.UID = 0; n.Xattrs = []snapshot.Xattr{{Name: capability, Value: caps}} }),
		s.fileOf("attrs", "x").with(func(n *snapshot.Node) {
			n.Xattrs = []snapshot.Xattr{{Name: "trusted.t", Value: []byte("x")}, {Name: "user.u", Value: []byte("u")}}
		}),
		s.fileOf("unreadable", "secret").with(mode(0)),
		device,
		dirOf("closed", s.fileOf("in", "x"), dirOf("empty").with(mode(0))).with(mode(0o500)),
		dirOf("blind", s.fileOf("in", "x").with(mode(0o444))).with(mode(0)),
		s.fileOf("h1", noise(200, 2)).with(func(n *snapshot.Node) { n.Inode, n.Links = 5, 2 }),
		s.fileOf("h2", noise(200, 2)).with(func(n *snapshot.Node) { n.Inode, n.Links = 5, 2 }),
		linkTo("link", "h1").with(owner(0, 0, 0o777)),
	))
	for i, want := range [][verbs]uint64{{Created: 16, Failed: 1}, {Unchanged: 13, Corrected: 3, Failed: 1}} { // the closed directories had to be opened
		rep := restoreTo(t, s, root, home)
		if rep.ProblemCount != 1 || rep.Problems[0].Path != "dev" {
			t.Errorf("run %d: problems %v", i, rep.Problems)
		}
		if rep.NoticeCount < 5 {
			t.Errorf("run %d: notices %v", i, rep.Notices)
		}
		if rep.Entries != want {
			t.Errorf("run %d: %v", i, rep.Entries)
			for _, n := range rep.Notices {
				t.Log(n)
			}
		}
		for name, m := range map[string]uint32{
			"setuid-root": 0o755, "setuid-own": 0o4755, "setgid-own": 0o2755, "setgid-other": 0o755, "caps": 0o644, "attrs": 0o644,
			"unreadable": 0, "closed": 0o500, "closed/in": 0o644, "closed/empty": 0, "blind": 0,
		} {
			var st unix.Stat_t
			must(unix.Lstat(filepath.Join(home, "v", name), &st))
			if st.Mode&0o7777 != m || st.Mtim.Sec != someTime.Sec {
				t.Errorf("run %d: %s has mode %o, want %o", i, name, st.Mode&0o7777, m)
			}
		}
		if got := listXattrs(filepath.Join(home, "v/attrs")); len(got) != 1 || got[0] != "user.u" {
			t.Errorf("attributes %q", got)
		}
		a, b := must1(os.Stat(filepath.Join(home, "v/h1"))), must1(os.Stat(filepath.Join(home, "v/h2")))
		if !os.SameFile(a, b) {
			t.Error("hard link lost")
		}
	}
	// Over it once more, rewriting: closed directories are opened up and closed.
	rep := restoreTo(t, s, root, home, func(o *Options) { o.Overwrite = Always })
	if rep.ProblemCount != 1 {
		t.Errorf("%v", rep.Problems)
	}
	if st := must1(os.Stat(filepath.Join(home, "v/blind"))); st.Mode().Perm() != 0 {
		t.Errorf("blind is %v", st.Mode())
	}
	os.Chmod(filepath.Join(home, "v/blind"), 0o700)
	if read(filepath.Join(home, "v/blind/in")) != "x" {
		t.Error("blind/in")
	}
}

// TestSetuidLast: at no moment is a file setuid with the wrong owner or
// content. The order of calls is that of strace's record, if there is one.
func TestSetuidLast(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs strace and root")
	}
	if os.Getenv(childDir) != "" {
		s := newStore()
		acl := []snapshot.Xattr{{Name: "user.x", Value: []byte("x")}}
		root := s.tree(dirOf("", s.fileOf("su", noise(300, 1)).with(func(n *snapshot.Node) { n.UID, n.GID, n.Mode, n.Xattrs = 33, 33, 0o6755, acl })))
		must1(Run(context.Background(), Options{Source: s, Target: os.Getenv(childDir)}, volumeOf(root, os.Getenv("RESTORE_TEST_VOLUME"))))
		return
	}
	base := t.TempDir()
	must(os.Mkdir(filepath.Join(base, "old"), 0o755))
	for _, volume := range []string{"new", "old"} {
		record := filepath.Join(base, "record-"+volume)
		cmd := exec.Command(strace, "-f", "-y", "-o", record, "-e", "trace=openat,write,pwrite64,fchown,fchmod,fsetxattr,utimensat,renameat,renameat2,fchmodat,chmod", must1(os.Executable()), "-test.run=^TestSetuidLast$")
		cmd.Env = append(os.Environ(), childDir+"="+base, "RESTORE_TEST_VOLUME="+volume)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("%v %s", err, out)
		}
		var order []string
		dirPath := filepath.Join(base, volume)
		for line := range strings.SplitSeq(read(record), "\n") {
			_, call, _ := strings.Cut(line, " ")
			call = strings.TrimSpace(call)
			name, rest, _ := strings.Cut(call, "(")
			if strings.HasPrefix(name, "openat") && strings.Contains(rest, "O_CREAT") && strings.Contains(rest, "<"+dirPath+">") {
				if !strings.Contains(rest, "O_EXCL|O_NOFOLLOW") && !(strings.Contains(rest, "O_EXCL") && strings.Contains(rest, "O_NOFOLLOW")) || !strings.Contains(rest, "0600") {
					t.Errorf("created by %s", call)
				}
				order = append(order, "create")
			} else if fd, _, _ := strings.Cut(rest, ","); strings.Contains(fd, "<"+dirPath+"/") {
				order = append(order, name)
			} else if strings.HasPrefix(name, "rename") {
				order = append(order, "rename")
			}
		}
		want := "create pwrite64 fchown fsetxattr fchmod utimensat"
		if volume == "old" {
			want += " rename"
		}
		if got := strings.Join(order, " "); got != want {
			t.Errorf("%s: %s, want %s", volume, got, want)
		}
	}
}
