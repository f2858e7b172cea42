package archive

import (
	"os/user"
	"strconv"

	"vault/internal/sys"
	"vault/snapshot"
)

// stat is what a stat call tells, in the same types on every architecture.
type stat struct {
	dev, ino, nlink, rdev uint64
	size, blocks          uint64 // bytes; units of 512 bytes
	mode, uid, gid        uint32 // mode with the type, as st_mode
	mtime, ctime          snapshot.Time
}

func (s *stat) set(u *sys.Stat_t) {
	*s = stat{
		dev: uint64(u.Dev), ino: uint64(u.Ino), nlink: uint64(u.Nlink), rdev: uint64(u.Rdev),
		size: uint64(max(u.Size, 0)), blocks: uint64(max(u.Blocks, 0)),
		mode: uint32(u.Mode), uid: u.Uid, gid: u.Gid,
		mtime: snapshot.Time{Sec: int64(u.Mtim.Sec), Nsec: uint32(u.Mtim.Nsec)},
		ctime: snapshot.Time{Sec: int64(u.Ctim.Sec), Nsec: uint32(u.Ctim.Nsec)},
	}
}

// fstat fills s from a descriptor; u is room for the call.
func (s *stat) fstat(fd int, u *sys.Stat_t) error {
	for {
		err := sys.Fstat(fd, u)
		if err == nil {
			s.set(u)
			return nil
		}
		if err != sys.EINTR {
			return err
		}
	}
}

// lstat fills s from the entry name of the directory fd.
func (s *stat) lstat(fd int, name string, u *sys.Stat_t) error {
	for {
		err := sys.Fstatat(fd, name, u, sys.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			s.set(u)
			return nil
		}
		if err != sys.EINTR {
			return err
		}
	}
}

// follow fills s from what the entry name of the directory fd leads to.
func (s *stat) follow(fd int, name string, u *sys.Stat_t) error {
	for {
		err := sys.Fstatat(fd, name, u, 0)
		if err == nil {
			s.set(u)
			return nil
		}
		if err != sys.EINTR {
			return err
		}
	}
}

// kind returns the node type, and 0 for one that format 1 does not know.
func (s *stat) kind() snapshot.Type {
	switch s.mode & sys.S_IFMT {
	case sys.S_IFDIR:
		return snapshot.Directory
	case sys.S_IFREG:
		return snapshot.File
	case sys.S_IFLNK:
		return snapshot.Symlink
	case sys.S_IFIFO:
		return snapshot.FIFO
	case sys.S_IFSOCK:
		return snapshot.Socket
	case sys.S_IFCHR:
		return snapshot.CharDevice
	case sys.S_IFBLK:
		return snapshot.BlockDevice
	}
	return 0
}

// same reports whether two calls saw the same object in the same state.
func (s *stat) same(t *stat) bool {
	return s.dev == t.dev && s.ino == t.ino && s.mode == t.mode && s.size == t.size &&
		s.mtime == t.mtime && s.ctime == t.ctime
}

// fill sets the fields of n that a stat call tells, but for the device.
func (s *stat) fill(n *snapshot.Node, names *names) {
	n.Type = s.kind()
	n.Mode = s.mode & 0o7777
	n.UID, n.GID = names.ids.user(s.uid), names.ids.group(s.gid)
	n.User, n.Group = names.user(s.uid), names.group(s.gid)
	n.MTime, n.CTime = s.mtime, s.ctime
	n.Inode = s.ino
	n.Links = s.links()
	switch n.Type {
	case snapshot.File:
		n.Size = s.size
	case snapshot.CharDevice, snapshot.BlockDevice:
		n.Major, n.Minor = sys.Major(s.rdev), sys.Minor(s.rdev)
	}
}

// links returns the number of links as a node has it: 0 for a single one.
func (s *stat) links() uint64 {
	if s.nlink < 2 || s.mode&sys.S_IFMT == sys.S_IFDIR {
		return 0
	}
	return s.nlink
}

// names caches the names of users and groups. It is for one goroutine, but for ids.
type names struct {
	users, groups map[uint32]string

	// ids are those of the volume being read. Who is mapped has no name: what this
	// system calls its number is somebody else.
	ids *IDMap
}

const maxOwnerName = 256 // part of the format

func newNames() *names {
	return &names{users: map[uint32]string{}, groups: map[uint32]string{}}
}

// user returns the name of a user, "" if there is none.
func (c *names) user(id uint32) string {
	if c.ids != nil {
		return ""
	}
	name, ok := c.users[id]
	if !ok {
		if u, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil && len(u.Username) <= maxOwnerName {
			name = u.Username
		}
		c.users[id] = name
	}
	return name
}

// group returns the name of a group, "" if there is none.
func (c *names) group(id uint32) string {
	if c.ids != nil {
		return ""
	}
	name, ok := c.groups[id]
	if !ok {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil && len(g.Name) <= maxOwnerName {
			name = g.Name
		}
		c.groups[id] = name
	}
	return name
}
