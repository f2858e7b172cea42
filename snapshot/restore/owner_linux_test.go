package restore

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

func TestParseOwnerRule(t *testing.T) {
	for text, want := range map[string]OwnerRule{
		"uid:1000=2000": {ID: 1000, To: 2000}, "gid:0=5": {Group: true, To: 5}, "user:alice=root": {Name: "alice"},
		"group:staff=root": {Group: true, Name: "staff"}, "user:a=b=7": {Name: "a=b", To: 7}, "uid:1=root": {ID: 1}, "user:1000=3": {Name: "1000", To: 3},
	} {
		if got, err := ParseOwnerRule(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "uid", "uid:", "uid:5", "uid:5=", "uid:=5", "uid:x=5", "uid:5=nobody-at-all", "uid:-1=5", "uid:4294967295=1", "uid:1=4294967295",
		"uid:4294967296=1", "owner:1=2", "1000=2000", "User:a=1", "gid:staff=1"} {
		if got, err := ParseOwnerRule(text); err == nil {
			t.Errorf("%q was accepted: %+v", text, got)
		}
	}
}

func aclOf(lines ...aclLine) []byte {
	b := []byte{2, 0, 0, 0}
	for _, l := range lines {
		b = l.append(b)
	}
	return b
}

const none = 0xffffffff

// TestOwnerRules: rules apply to owners and inside ACLs, before names and
// numbers do.
func TestOwnerRules(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	base := aclLine{1, 7, none}
	acl := aclOf(base, aclLine{2, 7, 100}, aclLine{2, 5, 200}, aclLine{2, 4, 300}, aclLine{4, 5, none}, aclLine{8, 6, 50}, aclLine{8, 6, 60}, aclLine{16, 7, none}, aclLine{32, 0, none})
	node := func(uid, gid uint32, user, group string) func(n *snapshot.Node) {
		return func(n *snapshot.Node) { n.UID, n.GID, n.User, n.Group, n.Mode = uid, gid, user, group, 0o770 }
	}
	withACL := func(n *snapshot.Node) {
		n.Xattrs = []snapshot.Xattr{{Name: aclAccess, Value: acl}}
	}
	s := newStore()
	in := dirOf("d", s.fileOf("f", "x").with(node(200, 60, "carol", "")).with(withACL)).with(node(300, 50, "dave", "staff"))
	in = in.with(func(n *snapshot.Node) {
		n.Xattrs = []snapshot.Xattr{{Name: aclAccess, Value: acl}, {Name: aclDefault, Value: acl}}
	})
	root := s.tree(dirOf("", in, s.fileOf("plain", "x").with(node(100, 7, "", "")), s.fileOf("other", "x").with(node(9, 9, "no-such-user", "no-such-group"))))
	rules := func(texts ...string) (list []OwnerRule) {
		for _, text := range texts {
			list = append(list, must1(ParseOwnerRule(text)))
		}
		return list
	}
	type owner struct{ uid, gid uint32 }
	for name, c := range map[string]struct {
		rules         []OwnerRule
		f, d, plain   owner
		users, groups []aclLine // of f
	}{
		"none": {nil, owner{200, 60}, owner{300, 50}, owner{100, 7},
			[]aclLine{{2, 7, 100}, {2, 5, 200}, {2, 4, 300}}, []aclLine{{8, 6, 50}, {8, 6, 60}}},
		"numbers": {rules("uid:100=1000", "gid:50=10", "uid:7=8"), owner{200, 60}, owner{300, 10}, owner{1000, 7},
			[]aclLine{{2, 5, 200}, {2, 4, 300}, {2, 7, 1000}}, []aclLine{{8, 6, 10}, {8, 6, 60}}},
		"names": {rules("user:carol=5", "user:dave=6", "group:staff=0"), owner{5, 60}, owner{6, 0}, owner{100, 7},
			[]aclLine{{2, 5, 5}, {2, 4, 6}, {2, 7, 100}}, []aclLine{{8, 6, 0}, {8, 6, 60}}},
		"the first": {rules("uid:200=1", "user:carol=2"), owner{1, 60}, owner{300, 50}, owner{100, 7},
			[]aclLine{{2, 5, 1}, {2, 7, 100}, {2, 4, 300}}, []aclLine{{8, 6, 50}, {8, 6, 60}}},
		"two become one": {rules("uid:100=300"), owner{200, 60}, owner{300, 50}, owner{300, 7},
			[]aclLine{{2, 5, 200}, {2, 4, 300}}, []aclLine{{8, 6, 50}, {8, 6, 60}}},
	} {
		target := t.TempDir()
		for i := range 2 {
			rep := restoreTo(t, s, root, target, func(o *Options) { o.Owners = c.rules })
			noProblems(t, rep)
			if i == 1 && rep.Entries[Unchanged] != 5 {
				t.Errorf("%s: again: %v", name, rep.Entries)
			}
		}
		for path, want := range map[string]owner{"d/f": c.f, "d": c.d, "plain": c.plain, "other": {9, 9}} {
			var st unix.Stat_t
			must(unix.Lstat(filepath.Join(target, "v", path), &st))
			if got := (owner{st.Uid, st.Gid}); got != want {
				t.Errorf("%s: %s belongs to %v, want %v", name, path, got, want)
			}
		}
		lines := append([]aclLine{base}, c.users...)
		lines = append(append(append(lines, aclLine{4, 5, none}), c.groups...), aclLine{16, 7, none}, aclLine{32, 0, none})
		want := string(aclOf(lines...))
		if got := getXattr(filepath.Join(target, "v/d/f"), aclAccess); got != want {
			t.Errorf("%s: f has the ACL %x, want %x", name, got, want)
		}
		for _, attr := range []string{aclAccess, aclDefault} { // carol is not known above f
			if got := getXattr(filepath.Join(target, "v/d"), attr); (got == want) != (name != "names") {
				t.Errorf("%s: d has the %s %x", name, attr, got)
			}
		}
	}
}

func getXattr(path, name string) string {
	b := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, name, b)
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

// TestACLOfXFS: the second form of an ACL that XFS shows is not set, since it holds the
// owners of before.
func TestACLOfXFS(t *testing.T) {
	s := newStore()
	for _, which := range []string{"FILE", "DEFAULT"} {
		target := t.TempDir()
		root := s.tree(dirOf("", s.fileOf("f", "x").with(func(n *snapshot.Node) {
			n.Xattrs = []snapshot.Xattr{{Name: xfsACL + which, Value: []byte("x")}}
		})))
		rep := restoreTo(t, s, root, target)
		noProblems(t, rep)
		if got := listXattrs(filepath.Join(target, "v/f")); len(got) > 0 || rep.NoticeCount > 0 {
			t.Errorf("%s: attributes %q, notices %v", which, got, rep.Notices)
		}
	}
}

// TestMapOddACL: what is no ACL is passed on as it is, for the system to refuse.
func TestMapOddACL(t *testing.T) {
	w := &worker{run: &run{owners: newOwners(true, []OwnerRule{{ID: 1, To: 2}})}}
	m := metadata{node: &snapshot.Node{}}
	for _, acl := range []string{"", "\x02", "\x02\x00\x00\x00", "\x02\x00\x00\x00\x02\x00\x07\x00\x01\x00\x00", "\x02\x00\x00\x00\x02\x00\x07\x00\x05\x00\x00\x00"} {
		if got := w.mapACL([]byte(acl), m); string(got) != acl {
			t.Errorf("%x became %x", acl, got)
		}
	}
}

// TestOwnerRange: a rule for a range gives each number its own.
func TestOwnerRange(t *testing.T) {
	o := newOwners(true, []OwnerRule{{ID: 0, To: 1001}, {ID: 1, Count: 65535, To: 200000}, {Group: true, ID: 10, Count: 5, To: 4294967290}, {ID: 70000, Count: 1 << 31, To: 65534, Same: true}})
	for id, want := range map[uint32]uint32{0: 1001, 1: 200000, 33: 200032, 65535: 265534, 65536: 65536, 70000: 65534, 99999: 65534, none: none} {
		if got := o.user("", id); got != want {
			t.Errorf("user %d becomes %d, want %d", id, got, want)
		}
	}
	for id, want := range map[uint32]uint32{9: 9, 10: 4294967290, 14: 4294967294, 15: 15} {
		if got := o.group("", id); got != want {
			t.Errorf("group %d becomes %d, want %d", id, got, want)
		}
	}
}
