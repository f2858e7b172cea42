package restore

import (
	queue "container/list"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"

	"vault/snapshot"
)

// links knows the files of a volume that have several names and that have not all
// been restored yet. The first name writes the file; the others become links to that
// inode, as long as their content is the same.
//
// How many there are is up to the backup, so only those in use and the latest are in
// memory. The others are in a file without a name in the volume's directory, where
// there is room for a restore, with 8 bytes of memory each (see spill). What cannot
// be put there - the disk is full, there are millions - is forgotten, with a notice:
// its other names become files of their own. So no content depends on that file.
type links struct {
	mu     sync.Mutex // guards what follows, and the fields of each link that say so
	near   map[linkKey]*link
	idle   queue.List // of *link: those in near that nobody uses, the oldest first
	weight int        // names that these know
	far    spill
	root   *dir            // of the volume, once something was put into far
	found  map[string]*dir // directories by path, that came back with links

	flags []lateFlags // for when all links are made
}

// linksKept is how many names stay in memory of links that nobody uses. Each takes a
// few hundred bytes, and its directory, with a path of up to maxPathKept. Tests alone
// change it.
var linksKept = 8192

// namesKept is how many names that were found in place one link knows.
const namesKept = 8192

// lateKept is how many files with several names can wait for flags that keep a file
// from getting more.
const lateKept = 16384

var (
	errManyNames = errors.New("too many of its names were in place already")
	errNotPlaced = errors.New("none of its names could be restored")
	errManyLate  = errors.New("too many files with several names have some that keep files from being changed")
)

type linkKey struct{ device, inode uint64 }

// link is one file with several names.
type link struct {
	key    linkKey
	digest [sha256.Size]byte // of type and content
	size   uint64

	// Guarded by links.mu.
	users  int
	idle   *queue.Element // in links.idle
	weight int            // names counted in links.weight
	place  uint64         // of the record in links.far that it was read from, or 0
	room   int            // for that

	mu   sync.Mutex // held while the file is written or linked; guards what follows
	seen uint64     // names
	done bool       // all names are seen
	out  outcome
	at   location
	// earlier are names that were found in place, so that their inode is not
	// of this run and no source for links. If a later name has to be written,
	// they become links to that.
	earlier []location
	more    bool // and there are others
}

type location struct {
	dir  *dir
	name string
}

func newLinks() links { return links{near: make(map[linkKey]*link), found: make(map[string]*dir)} }

// take returns the link of a file, for the caller to use until letGo. It is fresh if
// no other name of the file is known. An error says that there was one, which cannot
// be read back.
func (ls *links) take(key linkKey, digest [sha256.Size]byte, size uint64) (l *link, fresh bool, err error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l = ls.near[key]; l == nil {
		var b []byte
		var place uint64
		if b, place, err = ls.far.take(key); b != nil {
			if l, err = ls.decode(key, b); l != nil {
				l.place, l.room = place, len(b)
			}
		}
		if l == nil {
			l, fresh = &link{key: key, digest: digest, size: size}, true
		}
		ls.near[key] = l
	}
	if l.idle != nil {
		ls.rouse(l)
	}
	l.users++
	return l, fresh, err
}

// rouse takes a link out of those that nobody uses.
func (ls *links) rouse(l *link) {
	ls.idle.Remove(l.idle)
	ls.weight -= l.weight
	l.idle = nil
}

// letGo ends the use of a link. That may be one too many to stay in memory: the
// oldest that could not be put aside is returned then, with the reason. Open makes
// the file for the others.
func (ls *links) letGo(l *link, open func(root *dir) (file, error)) (forgotten *link, why error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.users--; l.users > 0 {
		return nil, nil
	}
	if l.done {
		delete(ls.near, l.key)
		return nil, nil
	}
	l.idle, l.weight = ls.idle.PushBack(l), 1+len(l.earlier)
	ls.weight += l.weight
	for ls.weight > linksKept && forgotten == nil {
		old := ls.idle.Front().Value.(*link)
		ls.rouse(old)
		delete(ls.near, old.key)
		if why = ls.aside(old, open); why != nil {
			forgotten = old
		}
	}
	return forgotten, why
}

// aside puts a link into the file.
func (ls *links) aside(l *link, open func(root *dir) (file, error)) error {
	if !l.out.known {
		return errNotPlaced
	}
	b, err := ls.encode(l)
	if err != nil {
		return err
	}
	if !ls.far.opened {
		ls.root = l.at.dir.volumeRoot()
		ls.far.start(func() (file, error) { return open(ls.root) })
	}
	return ls.far.put(l.key, b, l.place, l.room)
}

// later has flags set when all links are made, if there is room for it.
func (ls *links) later(f lateFlags) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.flags) >= lateKept {
		return false
	}
	ls.flags = append(ls.flags, f)
	return true
}

// volumeRoot returns the root of d's volume, or the directory that holds a root
// that is none.
func (d *dir) volumeRoot() *dir {
	for !d.isRoot() {
		d = d.parent
	}
	return d
}

// again returns a directory that was restored, by its path. Those on the way to it
// are whatever is there now, but for symlinks; it is itself what it was, or cannot be
// opened.
func (ls *links) again(path string, made bool, id identity, stamp string) *dir {
	if path == "" {
		return ls.root
	}
	d := ls.found[path]
	if d == nil {
		if len(ls.found) >= 256 {
			clear(ls.found)
		}
		d = ls.root
		for end := 0; end < len(path); end++ {
			start := end
			if i := strings.IndexByte(path[start:], '/'); i >= 0 {
				end = start + i
			} else {
				end = len(path)
			}
			c := ls.found[path[:end]]
			if c == nil {
				c = newDir(d, path[start:end], ls.root.volume, &snapshot.Node{Type: snapshot.Directory})
				c.path, c.ready, c.unchecked = path[:end], true, true
				c.finished.Store(true)
				ls.found[path[:end]] = c
			}
			d = c
		}
	}
	if d.unchecked {
		d = newDir(d.parent, d.name, d.volume, d.node)
		d.path, d.ready, d.made, d.had.id, d.stamp = path, true, made, id, stamp
		d.finished.Store(true)
		ls.found[path] = d
	}
	return d
}
