package fidelity

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// names has a file for every byte that a name can hold, and other odd names.
func (b *builder) names(d int) error {
	for c := 1; c < 256; c++ {
		if c == '/' {
			continue
		}
		name := "n" + string([]byte{byte(c)}) + "m"
		if err := b.try(d, fmt.Sprintf("names/byte %02x", c), "", func() error { return file(d, name, []byte{byte(c)}) }); err != nil {
			return err
		}
	}
	for _, name := range []string{"...", " ", "-rf", "*", "\\", "\n\n", "a\x1b[31mred", "\xff\xfe", "cafe\u0301", "caf\u00e9", "\u202egnp.exe", "CASE", "case",
		strings.Repeat("n", 255), strings.Repeat("\xe4", 255), ".hidden", "con", "trailing ", "trailing."} {
		if err := b.try(d, fmt.Sprintf("names/%.20q", name), "", func() error { return file(d, name, []byte(name)) }); err != nil {
			return err
		}
	}
	return nil
}

// contents has files of sizes where something changes in how they are stored.
func (b *builder) contents(d int) error {
	for _, n := range []int{0, 1, 127, 128, 129, 4095, 4096, 4097, 65536, 256 << 10, 2<<20 + 1, 5 << 20} {
		if err := file(d, fmt.Sprintf("random-%d", n), b.bytes(n)); err != nil {
			return err
		}
	}
	if err := file(d, "large", b.bytes(17<<20)); err != nil { // several workers share it
		return err
	}
	if err := file(d, "text", b.text(1<<20)); err != nil {
		return err
	}
	if err := file(d, "zeros-100", make([]byte, 100)); err != nil {
		return err
	}
	// Zeros that are data, not holes.
	return file(d, "zeros", make([]byte, 6<<20))
}

// sparse has holes at the beginning, in the middle and at the end.
func (b *builder) sparse(d int) error {
	for _, f := range []struct {
		name string
		size int64
		data map[int64]int
	}{
		{"hole-only", 10 << 20, nil},
		{"hole-tail", 4 << 20, map[int64]int{0: 300 << 10}},
		{"hole-after-chunks", 15 << 20, map[int64]int{0: 9 << 20}}, // data written bit by bit, for which xfs reserves more
		{"hole-head", 4 << 20, map[int64]int{3 << 20: 1 << 20}},
		{"hole-middle", 24 << 20, map[int64]int{0: 1 << 20, 8 << 20: 4096, 20 << 20: 4 << 20}},
		{"hole-odd-end", 3<<20 + 777, map[int64]int{1 << 20: 5000}},
		{"many-holes", 40 << 20, manyRanges(100)},
	} {
		err := b.try(d, "sparse/"+f.name, f.name, func() error {
			return with(d, f.name, func(fd int) error { return b.ranges(fd, f.size, f.data) })
		})
		if err != nil {
			return err
		}
	}
	return b.try(d, "sparse/huge", "huge", func() error {
		return with(d, "huge", func(fd int) error {
			at := map[int64]int{}
			for i := range int64(4) {
				at[b.o.HugeSize/4*i&^4095] = 256 << 10
			}
			return b.ranges(fd, b.o.HugeSize, at)
		})
	})
}

func manyRanges(n int64) map[int64]int {
	at := map[int64]int{}
	for i := range n {
		at[i*(384<<10)] = 8192
	}
	return at
}

func (b *builder) ranges(fd int, size int64, data map[int64]int) error {
	if err := unix.Ftruncate(fd, size); err != nil {
		return err
	}
	offs := make([]int64, 0, len(data))
	for off := range data {
		offs = append(offs, off)
	}
	slices.Sort(offs)
	for _, off := range offs {
		if err := write(fd, b.bytes(data[off]), off); err != nil {
			return err
		}
	}
	return nil
}

// links has symlinks and hard links.
func (b *builder) links(d int) error {
	for name, target := range map[string]string{
		"dangling": "no/such/thing", "absolute": "/etc/passwd", "up": "../../..", "bytes": "\xff\xfe\n\x01", "loop": "loop", "dir": "sub1",
		"slashes": "a//b///", "long-1000": strings.Repeat("t", 1000), "long-4095": strings.Repeat("t", 4095),
	} {
		if err := b.try(d, "symlink/"+name, "", func() error { return unix.Symlinkat(target, d, "sym-"+name) }); err != nil {
			return err
		}
	}
	one, err := mkdir(d, "sub1", 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(one)
	two, err := mkdir(d, "sub2", 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(two)
	if err := file(one, "first", b.bytes(300<<10)); err != nil {
		return err
	}
	for i := range 3 {
		for _, to := range []int{one, two, d} {
			err := b.try(d, "hardlink/file", "", func() error { return unix.Linkat(one, "first", to, fmt.Sprintf("hard-%d", i), 0) })
			if err != nil {
				return err
			}
		}
	}
	if err := file(two, "empty", nil); err != nil {
		return err
	}
	if err := unix.Linkat(two, "empty", one, "empty-too", 0); err != nil {
		return err
	}
	if err := unix.Mknodat(one, "pipe", unix.S_IFIFO|0o640, 0); err != nil {
		return err
	}
	if err := unix.Symlinkat("pipe", one, "sym"); err != nil {
		return err
	}
	if err := b.try(two, "hardlink/fifo", "", func() error { return unix.Linkat(one, "pipe", two, "pipe", 0) }); err != nil {
		return err
	}
	return b.try(two, "hardlink/symlink", "", func() error { return unix.Linkat(one, "sym", two, "sym", 0) })
}

// special has a FIFO, devices and a socket.
func (b *builder) special(d int) error {
	for _, s := range []struct {
		name string
		mode uint32
		dev  uint64
	}{
		{"fifo", unix.S_IFIFO | 0o620, 0}, {"null", unix.S_IFCHR | 0o666, unix.Mkdev(1, 3)}, {"high", unix.S_IFCHR | 0o600, unix.Mkdev(511, 300_000)},
		{"disk", unix.S_IFBLK | 0o660, unix.Mkdev(7, 200)}, {"whiteout", unix.S_IFCHR, 0},
		{"socket", unix.S_IFSOCK | 0o755, 0},
	} {
		err := b.try(d, "special/"+s.name, s.name, func() error {
			if err := unix.Mknodat(d, s.name, s.mode, int(s.dev)); err != nil {
				return err
			}
			return unix.Fchmodat(d, s.name, s.mode&0o7777, 0)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// objects are one of each type, made by a feature that sets something on them.
func (b *builder) object(d int, name, kind string) error {
	switch kind {
	case "file":
		return file(d, name, []byte(name))
	case "directory":
		return unix.Mkdirat(d, name, 0o755)
	case "symlink":
		return unix.Symlinkat("to-"+name, d, name)
	case "fifo":
		return unix.Mknodat(d, name, unix.S_IFIFO|0o644, 0)
	}
	return unix.Mknodat(d, name, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5)))
}

var kinds = []string{"file", "directory", "symlink", "fifo", "device"}

// Capability is a value of security.capability: cap_net_bind_service, effective
// and permitted, in the form of revision 2 (linux/capability.h).
func Capability() []byte {
	v := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	for _, word := range []uint32{1 << 10, 0, 0, 0} {
		v = binary.LittleEndian.AppendUint32(v, word)
	}
	return v
}

// xattrs has attributes of every namespace, on every type that takes them.
func (b *builder) xattrs(d int) error {
	var every []byte
	for c := range 256 {
		every = append(every, byte(c))
	}
	for _, x := range []struct {
		label, name string
		value       []byte
	}{
		{"user", "user.text", []byte("value")}, {"binary", "user.every.byte", every}, {"empty", "user.empty", nil},
		{"odd", "user.\xff\xfe name\n", []byte{0}}, {"long-name", "user." + strings.Repeat("n", 250), []byte("x")},
		{"1024", "user.k", b.bytes(1024)}, {"1025", "user.k", b.bytes(1025)}, {"3000", "user.k", b.bytes(3000)}, {"60000", "user.k", b.bytes(60000)},
		{"trusted", "trusted.t", b.bytes(40)}, {"security", "security.vault", []byte("a\x00b")}, {"capability", "security.capability", Capability()},
	} {
		for _, kind := range kinds {
			if strings.HasPrefix(x.name, "user.") && kind != "file" && kind != "directory" {
				continue // the kernel has no such attributes: xattr(7)
			}
			name := x.label + "-" + kind
			err := b.try(d, "xattr/"+name, name, func() error {
				if err := b.object(d, name, kind); err != nil {
					return err
				}
				return unix.Lsetxattr(at(d, name), x.name, x.value, 0)
			})
			if err != nil {
				return err
			}
		}
	}
	return b.try(d, "xattr/many", "many", func() error {
		if err := file(d, "many", nil); err != nil {
			return err
		}
		for i := range 60 {
			if err := unix.Lsetxattr(at(d, "many"), fmt.Sprintf("user.%d", i), b.bytes(i), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// at names an entry for calls that know no descriptors.
func at(d int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", d, name) }

// ACLEntry is an entry of a POSIX ACL in the kernel's form.
type ACLEntry struct {
	Tag, Perm uint16
	ID        uint32
}

// The tags of acl(5), as posix_acl_xattr.h has them.
const (
	ACLUserObj, ACLUser, ACLGroupObj, ACLGroup, ACLMask, ACLOther = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

	noID = 0xffffffff
)

// ACL returns the value of an attribute that holds an ACL.
func ACL(entries ...ACLEntry) []byte {
	v := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		v = binary.LittleEndian.AppendUint16(v, e.Tag)
		v = binary.LittleEndian.AppendUint16(v, e.Perm)
		v = binary.LittleEndian.AppendUint32(v, e.ID)
	}
	return v
}

// acls has access and default ACLs.
func (b *builder) acls(d int) error {
	full := ACL(ACLEntry{ACLUserObj, 7, noID}, ACLEntry{ACLUser, 5, 1234}, ACLEntry{ACLUser, 4, 4_000_000_000}, ACLEntry{ACLGroupObj, 4, noID},
		ACLEntry{ACLGroup, 6, 4321}, ACLEntry{ACLMask, 5, noID}, ACLEntry{ACLOther, 0, noID})
	small := ACL(ACLEntry{ACLUserObj, 6, noID}, ACLEntry{ACLGroupObj, 2, noID}, ACLEntry{ACLMask, 7, noID}, ACLEntry{ACLOther, 4, noID})
	for _, x := range []struct {
		name, kind, attr string
		value            []byte
	}{
		{"file", "file", "access", full}, {"mask", "file", "access", small}, {"fifo", "fifo", "access", full},
		{"dir", "directory", "access", full}, {"dir-default", "directory", "default", full}, {"dir-small-default", "directory", "default", small},
	} {
		err := b.try(d, "acl/"+x.name, x.name, func() error {
			if err := b.object(d, x.name, x.kind); err != nil {
				return err
			}
			return unix.Lsetxattr(at(d, x.name), "system.posix_acl_"+x.attr, x.value, 0)
		})
		if err != nil {
			return err
		}
	}
	if !b.wants("acl/dir-default") || !exists(d, "dir-default") {
		return nil
	}
	in, err := openDir(d, "dir-default")
	if err != nil {
		return err
	}
	defer unix.Close(in)
	if err := file(in, "inherited", []byte("x")); err != nil {
		return err
	}
	sub, err := mkdir(in, "sub", 0o700)
	if err != nil {
		return err
	}
	unix.Close(sub)
	// What does not have the ACL that it would inherit.
	if err := file(in, "plain", []byte("x")); err != nil {
		return err
	}
	unix.Lremovexattr(at(in, "plain"), "system.posix_acl_access")
	return nil
}

func exists(d int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(d, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}
