package fidelity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMove: from xfs to ext4 everything comes along that both can hold.
func TestMove(t *testing.T) {
	t.Parallel()
	from, to := mounted(t, "xfs"), mounted(t, "ext4")
	probe := to.mkdir(t, "probe")
	left, err := Build(probe, Options{Seed: 3})
	must(t, err)
	must(t, Clear(probe))
	without := Names(left)
	t.Logf("ext4 cannot hold %s", strings.Join(without, ", "))
	src := from.mkdir(t, "src")
	left, err = Build(src, Options{Seed: 3, Without: without})
	must(t, err)
	t.Logf("nor can xfs hold %s", strings.Join(Names(left), ", "))
	want := scan(t, src)
	r := newRepository(t, nil)
	r.vault(t, 0, "backup", "-q", "tree="+src)
	sum := r.vault(t, 0, "restore", "latest", "--target", to.dir, "--volume", "tree=out", "--json").summary(t)
	if sum.Notices > 0 || sum.Errors > 0 {
		t.Errorf("%d notices, %d errors", sum.Notices, sum.Errors)
	}
	same(t, want, scan(t, filepath.Join(to.dir, "out")))
	rsync(t, src, filepath.Join(to.dir, "out"))
}

// TestNormalUser: what a normal user has comes back whole.
func TestNormalUser(t *testing.T) {
	t.Parallel()
	p := mounted(t, "ext4")
	home := p.mkdir(t, "home")
	must(t, os.Chown(home, int(user.Uid), int(user.Gid)))
	src := filepath.Join(home, "src")
	must(t, os.Mkdir(src, 0o755))
	must(t, os.Chown(src, int(user.Uid), int(user.Gid)))
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childTask+"=build "+src)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var left []string
	must(t, json.Unmarshal(out, &left))
	t.Logf("a normal user cannot make %s", strings.Join(left, ", "))
	for _, f := range []string{"flag/immutable-file", "special/null", "xattr/trusted-file", "owner/0-0-file"} {
		if !slices.Contains(left, f) {
			t.Errorf("a normal user should not be able to make %s", f)
		}
	}
	for _, f := range []string{"flag/nodump-file", "special/fifo", "xattr/user-file", "acl/file", "mode/file-6711", "time/1969-symlink"} {
		if slices.Contains(left, f) {
			t.Errorf("a normal user should be able to make %s", f)
		}
	}
	want := scan(t, src)
	r := newRepository(t, user)
	r.vault(t, 0, "backup", "-q", "tree="+src)
	sum := r.vault(t, 0, "restore", "latest", "--target", home, "--volume", "tree=out", "--json").summary(t)
	if sum.Notices > 0 || sum.Errors > 0 {
		t.Errorf("%d notices, %d errors", sum.Notices, sum.Errors)
	}
	same(t, want, scan(t, filepath.Join(home, "out")))
	rsync(t, src, filepath.Join(home, "out"))
}

// TestRootsTreeByUser: a normal user who restores root's tree gets everything
// but what takes root, and is told each thing that is missing.
func TestRootsTreeByUser(t *testing.T) {
	t.Parallel()
	p := mounted(t, "ext4")
	src := p.mkdir(t, "src")
	_, err := Build(src, Options{Seed: 4, Without: []string{"flag/journal-*"}})
	must(t, err)
	tree := scan(t, src)
	r := newRepository(t, nil)
	r.vault(t, 0, "backup", "-q", "tree="+src)
	chownAll(t, r.dir, user)
	r.as = user
	home := p.mkdir(t, "home")
	must(t, os.Chown(home, int(user.Uid), int(user.Gid)))
	got := r.vault(t, 1, "restore", "latest", "--target", home, "--volume", "tree=out", "--json", "-v")

	want, missing := forUser(tree)
	same(t, want, scan(t, filepath.Join(home, "out")))
	told := told(t, got.stderr)
	for _, what := range slices.Sorted(maps.Keys(missing)) {
		t.Logf("a normal user cannot restore %s, %d times", what, missing[what])
	}
	const most = 125 // of each kind are listed
	count := uint64(0)
	for what, n := range missing {
		if what != "device" {
			count += uint64(n)
		}
		missing[what] = min(n, most)
	}
	if !maps.Equal(told, missing) {
		t.Errorf("told: %v\nwant: %v", told, missing)
	}
	sum := got.summary(t)
	if sum.Notices != count {
		t.Errorf("%d notices, want %d", sum.Notices, count)
	}
	for _, n := range sum.Kinds {
		count -= n
	}
	if count != 0 || sum.Kinds["owner"] == 0 || sum.Kinds["capability"] == 0 || sum.Kinds["attribute"] == 0 || sum.Kinds["flags"] == 0 {
		t.Errorf("notices by kind: %v", sum.Kinds)
	}
}

// forUser turns a tree of root into what a normal user can make of it, and
// counts what is missing.
func forUser(tree Tree) (Tree, map[string]int) {
	out, missing := Tree{}, map[string]int{}
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		e := *tree[p]
		if e.Type == unix.S_IFBLK || e.Type == unix.S_IFCHR && e.Rdev != 0 {
			missing["device"]++
			continue
		}
		if e.UID != user.Uid {
			missing["owner"]++
			e.Mode &^= 0o4000
		}
		if e.GID != user.Gid && !slices.Contains(user.Groups, e.GID) {
			missing["group"]++
			e.Mode &^= 0o2000
			e.GID = user.Gid
		}
		if e.First != "" && e.First != p { // a further link: nothing is set
			if e.UID != user.Uid {
				missing["owner"]--
			}
			missing["group"]--
		}
		if e.Xattrs != nil {
			e.Xattrs = maps.Clone(e.Xattrs)
		}
		for name := range e.Xattrs {
			switch {
			case name == "security.capability":
				missing["capability"]++
			case strings.HasPrefix(name, "trusted."), strings.HasPrefix(name, "security."):
				missing["attribute "+name]++
			default:
				continue
			}
			delete(e.Xattrs, name)
		}
		if e.Flags&0x30 != 0 {
			missing["flags"]++
			e.Flags &^= 0x30
		}
		e.UID = user.Uid
		out[p] = &e
	}
	return out, missing
}

var (
	ownerNotice = regexp.MustCompile(`^owner \d+: `)
	groupNotice = regexp.MustCompile(`^group \d+: `)
	attrNotice  = regexp.MustCompile(`^extended attribute (\S+): `)
)

// told counts what the messages of a restore say is missing.
func told(t *testing.T, stderr string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for line := range strings.Lines(stderr) {
		var m struct {
			Type    string          `json:"message_type"`
			Message string          `json:"message"`
			Error   json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		text := m.Message
		switch m.Type {
		case "exit_error":
			continue
		case "error":
			var e struct{ Message string }
			must(t, json.Unmarshal(m.Error, &e))
			text = e.Message
		}
		switch {
		case ownerNotice.MatchString(text):
			count["owner"]++
		case groupNotice.MatchString(text):
			count["group"]++
		case strings.HasPrefix(text, "file capabilities"):
			count["capability"]++
		case attrNotice.MatchString(text):
			count["attribute "+attrNotice.FindStringSubmatch(text)[1]]++
		case strings.HasPrefix(text, "inode flags"):
			count["flags"]++
		case m.Type == "error" && strings.Contains(text, "device"):
			count["device"]++
		default:
			count[fmt.Sprintf("%s: %s", m.Type, text)]++
		}
	}
	return count
}

func chownAll(t *testing.T, dir string, to *syscall.Credential) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(to.Uid), int(to.Gid))
	}))
}
