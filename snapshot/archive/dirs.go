package archive

import (
	"vault/internal/sys"
)

const (
	openDir  = sys.O_RDONLY | sys.O_DIRECTORY | sys.O_NOFOLLOW | sys.O_CLOEXEC | sys.O_NONBLOCK
	openFile = sys.O_RDONLY | sys.O_NOFOLLOW | sys.O_CLOEXEC | sys.O_NONBLOCK | sys.O_NOCTTY
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
		sys.Close(n.fd)
	}
}

// closeAll closes what is left, whoever has references.
func (d dirs) closeAll() {
	for n := range d {
		sys.Close(n.fd)
		delete(d, n)
	}
}

// openat opens an entry of a directory. noatime asks to leave the access time
// alone; who may not ask for it does without.
func openat(fd int, name string, flags int, noatime bool) (int, error) {
	if noatime {
		flags |= sys.O_NOATIME
	}
	for {
		n, err := sys.Openat(fd, name, flags, 0)
		switch {
		case err == nil:
			return n, nil
		case err == sys.EPERM && flags&sys.O_NOATIME != 0:
			flags &^= sys.O_NOATIME
		case err != sys.EINTR:
			return -1, err
		}
	}
}
