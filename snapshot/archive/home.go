package archive

import (
	"errors"
	"io/fs"
	"os"

	"vault/internal/sys"
)

// home is the directory that a run is stored in. Stored with what lies around it, it
// would grow by itself with every backup, and a restore of it would be of no use: what
// opens it lies in it. It is known by its inode, whatever path leads there. The zero
// value is no directory.
type home struct {
	dev, ino uint64
	info     fs.FileInfo // on systems that the scanner does not know
}

const noticeHome = "this is the repository that is written to, and it is left out"

var errHome = errors.New("this is the repository that is written to: it cannot be backed up into itself")

// locate finds out what the directory of the repository is, if there is one.
func (r *run) locate(path string) {
	switch {
	case path == "":
	case !scans:
		r.home.info, _ = os.Stat(path) // while it is not there, nothing is it
	default:
		var st stat
		if st.follow(sys.AT_FDCWD, path, new(sys.Stat_t)) == nil {
			r.home.dev, r.home.ino = st.dev, st.ino
		}
	}
}

func (h *home) is(st *stat) bool { return h.ino != 0 && st.ino == h.ino && st.dev == h.dev }

func (h *home) same(fi fs.FileInfo) bool { return h.info != nil && os.SameFile(h.info, fi) }
