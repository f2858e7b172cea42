package archive

import (
	"golang.org/x/sys/unix"
)

const (
	openDir  = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	openFile = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
)

// A dir is an open directory, closed with its last reference. References are
// counted by the scanner alone: a worker uses a directory between the scanner's
// sending of a batch and its receiving of the results.
type dir struct {
	fd   int
	refs int
}

// dirs holds the open directories of a scan, so that all can be closed when it is
// cut short.
type dirs map[*dir]struct{}

// add takes over a descriptor, with one reference.
func (d dirs) add(fd int) *dir {
	n := &dir{fd: fd, refs: 1}
	d[n] = struct{}{}
	return n
}

func (d dirs) release(n *dir) {
	if n.refs--; n.refs == 0 && n.fd >= 0 {
		delete(d, n)
		unix.Close(n.fd)
	}
}

// closeAll closes what is left, whoever has references.
func (d dirs) closeAll() {
	for n := range d {
		unix.Close(n.fd)
		delete(d, n)
	}
}

// openat opens an entry of a directory. noatime asks to leave the access time
// alone; who may not ask for it does without.
func openat(fd int, name string, flags int, noatime bool) (int, error) {
	if noatime {
		flags |= unix.O_NOATIME
	}
	for {
		n, err := unix.Openat(fd, name, flags, 0)
		switch {
		case err == nil:
			return n, nil
		case err == unix.EPERM && flags&unix.O_NOATIME != 0:
			flags &^= unix.O_NOATIME
		case err != unix.EINTR:
			return -1, err
		}
	}
}
