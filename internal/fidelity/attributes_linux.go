package fidelity

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// modes has every special bit, and modes that shut the owner out.
func (b *builder) modes(d int) error {
	for _, m := range []uint32{0, 0o1, 0o400, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777, 0o4000, 0o2640} {
		for _, kind := range []string{"file", "directory"} {
			name := fmt.Sprintf("%s-%04o", kind, m)
			err := b.try(d, "mode/"+name, name, func() error {
				if err := b.object(d, name, kind); err != nil {
					return err
				}
				if err := unix.Fchmodat(d, name, m, 0); err != nil {
					return err
				}
				var st unix.Stat_t
				if err := unix.Fstatat(d, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
					return err
				}
				if uint32(st.Mode)&0o7777 != m {
					return errNotHeld
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// owners has owners with and without names, on every type.
func (b *builder) owners(d int) error {
	for _, o := range [][2]int{{0, 0}, {65534, 65534}, {12345, 54321}, {1, 2}, {2147483653, 4294967294}} {
		for _, kind := range kinds {
			name := fmt.Sprintf("%d-%d-%s", o[0], o[1], kind)
			err := b.try(d, "owner/"+name, name, func() error {
				if err := b.object(d, name, kind); err != nil {
					return err
				}
				return unix.Fchownat(d, name, o[0], o[1], unix.AT_SYMLINK_NOFOLLOW)
			})
			if err != nil {
				return err
			}
		}
	}
	return b.try(d, "owner/setuid", "setuid", func() error {
		if err := file(d, "setuid", []byte("#!")); err != nil {
			return err
		}
		if err := unix.Fchownat(d, "setuid", 12345, 54321, 0); err != nil {
			return err
		}
		return unix.Fchmodat(d, "setuid", 0o6755, 0)
	})
}

// times has times to the nanosecond, before 1970 and far away.
func (b *builder) times(d int) error {
	for label, t := range map[string]unix.Timespec{
		"ns": {Sec: 1_700_000_000, Nsec: 123_456_789}, "last-ns": {Sec: 1_700_000_000, Nsec: 999_999_999}, "epoch": {}, "epoch+1ns": {Nsec: 1},
		"1969": {Sec: -1, Nsec: 999_999_999}, "1903": {Sec: -2_100_000_000, Nsec: 1}, "2100": {Sec: 4_102_444_800, Nsec: 5}, "2400": {Sec: 13_569_465_600},
		"1700": {Sec: -8_520_336_000}, "3000": {Sec: 32_503_680_000},
	} {
		for _, kind := range kinds {
			name := label + "-" + kind
			err := b.try(d, "time/"+name, name, func() error {
				if err := b.object(d, name, kind); err != nil {
					return err
				}
				if err := setTime(d, name, t); err != nil {
					return err
				}
				return heldTime(d, name, t)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func heldTime(d int, name string, t unix.Timespec) error {
	var st unix.Stat_t
	if err := unix.Fstatat(d, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mtim != t {
		return errNotHeld
	}
	return nil
}

// Flag is an inode flag that chattr(1) sets.
type Flag struct {
	Name   string
	Bit    uint32 // of FS_IOC_SETFLAGS
	Letter byte   // of chattr
}

// Flags are the inode flags that a user can set and expect back. Encryption,
// verity, inline data, extents and the like describe how a file is kept.
var Flags = []Flag{
	{"compress", 0x4, 'c'}, {"sync", 0x8, 'S'}, {"immutable", 0x10, 'i'}, {"append", 0x20, 'a'}, {"nodump", 0x40, 'd'}, {"noatime", 0x80, 'A'},
	{"nocompress", 0x400, 'm'}, {"journal", 0x4000, 'j'}, {"dirsync", 0x10000, 'D'}, {"topdir", 0x20000, 'T'}, {"nocow", 0x800000, 'C'},
	{"dax", 0x2000000, 'x'}, {"project", 0x20000000, 'P'},
}

// flags has every inode flag on a file and on a directory.
func (b *builder) flags(d int) error {
	for _, f := range Flags {
		for _, kind := range []string{"file", "directory"} {
			name := f.Name + "-" + kind
			err := b.try(d, "flag/"+name, name, func() error { return b.flagged(d, name, kind, f.Bit) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) flagged(d int, name, kind string, bit uint32) error {
	if kind == "directory" {
		if err := unix.Mkdirat(d, name, 0o755); err != nil {
			return err
		}
	} else if err := file(d, name, nil); err != nil {
		return err
	}
	fd, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	set := func() error {
		have, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(have|bit)); err != nil {
			return err
		}
		if have, err = unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && have&bit == 0 {
			err = errNotHeld
		}
		return err
	}
	if bit == 0x800000 { // no copy on write: while the file is empty
		if err := set(); err != nil {
			return err
		}
	}
	if kind == "directory" {
		// Entries of a directory inherit some flags, those made before do not.
		if err := file(fd, "before", []byte("x")); err != nil {
			return err
		}
	} else if err := with(d, name, func(fd int) error { return write(fd, b.bytes(5000), 0) }); err != nil {
		return err
	}
	if err := setTime(d, name, unix.Timespec{Sec: 1_111_111_111, Nsec: 111}); err != nil {
		return err
	}
	if err := set(); err != nil {
		if kind == "directory" {
			unix.Unlinkat(fd, "before", 0)
		}
		return err
	}
	if kind == "directory" && bit&0x10 == 0 {
		if err := file(fd, "after", []byte("x")); err != nil {
			return err
		}
	}
	return nil
}

// dirs has an empty directory and a wide one.
func (b *builder) dirs(d int) error {
	empty, err := mkdir(d, "empty", 0o750)
	if err != nil {
		return err
	}
	unix.Close(empty)
	wide, err := mkdir(d, "wide", 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(wide)
	for i := range 3000 {
		if err := file(wide, fmt.Sprintf("f%05d", i), b.text(i%300)); err != nil {
			return err
		}
	}
	return setTime(d, "wide", unix.Timespec{Sec: -5, Nsec: 5})
}

// deep has a directory in a directory, 1000 times.
func (b *builder) deep(d int) error { return b.nest(d, 1000, "d") }

// long has a path of 8000 bytes: longer than PATH_MAX.
func (b *builder) long(d int) error {
	name := ""
	for range 200 {
		name += "l"
	}
	return b.nest(d, 40, name)
}

func (b *builder) nest(d, levels int, name string) error {
	fd, err := unix.Dup(d)
	for i := range levels {
		if err != nil {
			return err
		}
		var next int
		next, err = mkdir(fd, name, 0o755)
		if err == nil && i%100 == 99 || i == levels-1 {
			err = file(next, "file", b.text(500))
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	return err
}

// Clear removes what is in dir, whatever it is. Immutable entries lose that flag
// first.
func Clear(dir string) error {
	d, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return err
	}
	defer unix.Close(d)
	return clearDir(d)
}

func clearDir(d int) error {
	dropFlags(d)
	unix.Fchmod(d, 0o700)
	names, err := list(d)
	if err != nil {
		return err
	}
	for _, name := range names {
		if unix.Unlinkat(d, name, 0) == nil {
			continue
		}
		fd, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == unix.EACCES {
			unix.Fchmodat(d, name, 0o700, 0)
			fd, err = unix.Openat(d, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			return &os.PathError{Op: "remove", Path: name, Err: err}
		}
		dropFlags(fd)
		var st unix.Stat_t
		how := 0
		err = unix.Fstat(fd, &st)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			how, err = unix.AT_REMOVEDIR, clearDir(fd)
		}
		unix.Close(fd)
		if err == nil {
			err = unix.Unlinkat(d, name, how)
		}
		if err != nil {
			return &os.PathError{Op: "remove", Path: name, Err: err}
		}
	}
	return nil
}

func dropFlags(fd int) {
	if have, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && have&0x30 != 0 {
		unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(have&^0x30))
	}
}
