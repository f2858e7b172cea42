package archive

import (
	"io"
	"slices"
	"strings"

	"vault/crypto"
	"vault/internal/match"
	"vault/snapshot"
)

// A slot is the place of an entry in its directory while the entry is not
// finished, or waits for one before it that is not.
type slot struct {
	frame  *frame         // the directory; nil for the root of the volume
	node   *snapshot.Node // nil once it is known that there is nothing to store
	old    *snapshot.Node // the parent's entry of that name, if any
	status Status         // once done
	done   bool
	same   bool // the node is the parent's, entirely, and may be taken over
	gap    bool // the parent has entries just before this one that are not here
	again  bool // a further link to a file that is counted elsewhere
	stuck  bool // counted in scan.stuck
	cost   int  // counted in scan.held
}

// A frame is a directory that is being scanned, or that waits for its entries.
type frame struct {
	up       *frame
	slot     *slot // its place in up
	name     string
	dir      *dir // nil while closed
	dev, ino uint64
	depth    int
	closed   bool // the directory could not be found again: the rest is lost

	patterns *match.Dir // what is left out; nil if the volume has no Excludes
	way      *branch    // what is listed below, if the directory itself is not; else nil
	bare     bool       // opened without the right to read it
	base     uint64     // the file system that is not left; see Options.OneFileSystem

	list listing
	next int     // first name that was not looked at
	subs []*slot // directories among the names before, to be entered
	wide int     // names looked at since the first of subs

	into  []*peek // into the first of subs
	at    []*peek // at entries from about next on, in order
	alone bool    // what was seen ahead was not of use in time: nothing more is

	old oldDir
	gap bool // the parent has entries, since the last slot, that are not here

	// The entries in order, from the first that is not finished.
	queue    []*slot
	head     int
	scanned  bool // no more will come
	finished bool // all are in place, and the directory is stored

	// As long as everything is as in the parent there is nothing to write: only
	// the number of entries is kept.
	matched uint64
	lost    bool                // the parent has an entry that is not here
	writer  *snapshot.DirWriter // nil until something differs
}

// path returns the path of an entry relative to the root of the volume.
func (f *frame) path(name string) string {
	if f == nil {
		return "."
	}
	parts := []string{name}
	for g := f; g.up != nil; g = g.up {
		parts = append(parts, g.name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// where returns the path of the directory itself.
func (f *frame) where() string {
	if f.up == nil {
		return "."
	}
	return f.up.path(f.name)
}

func (s *slot) path() string {
	if s.frame == nil || s.node == nil {
		return "."
	}
	return s.frame.path(s.node.Name)
}

func (f *frame) waiting() bool { return f.head < len(f.queue) }

func (f *frame) push(s *slot) { f.queue = append(f.queue, s) }

func (f *frame) pop() *slot {
	s := f.queue[f.head]
	f.queue[f.head] = nil
	if f.head++; f.head == len(f.queue) {
		f.queue, f.head = f.queue[:0], 0
	} else if f.head >= 1024 && f.head*2 >= len(f.queue) {
		f.queue, f.head = slices.Delete(f.queue, 0, f.head), 0
	}
	return s
}

// oldDir walks through the entries of the parent's directory.
type oldDir struct {
	top    crypto.ID // zero if there is none
	reader *snapshot.DirReader
	node   *snapshot.Node // the first that is not before the name sought last
}

// seek returns the parent's entry called name, or nil. Entries before it that were
// not sought set gap. The node is valid until the next call.
func (o *oldDir) seek(name string) (n *snapshot.Node, gap bool, err error) {
	if o.reader == nil {
		return nil, false, nil
	}
	for {
		if o.node == nil {
			if o.node, err = o.reader.Next(); err != nil {
				o.node, o.reader = nil, nil
				if err == io.EOF {
					err = nil
				}
				return nil, gap, err
			}
		}
		switch c := strings.Compare(o.node.Name, name); {
		case c > 0:
			return nil, gap, nil
		case c == 0:
			n, o.node = o.node, nil
			return n, gap, nil
		}
		gap = true
		o.node = nil
	}
}

// rest reports whether there are entries after the one sought last.
func (o *oldDir) rest() (bool, error) {
	if o.reader == nil {
		return false, nil
	}
	if o.node != nil {
		return true, nil
	}
	_, err := o.reader.Next()
	o.reader = nil
	if err == io.EOF {
		return false, nil
	}
	return err == nil, err
}
