// Package archive reads sources - directory trees, outputs of commands,
// streams, trees that are no file system - and stores what they hold as the volumes of
// a backup.
//
// The idea. One goroutine per run, the scanner, walks a directory tree depth
// first in the order of names. It lists each directory once, looks at each entry
// with one system call and merges the listing with the sorted entries of a
// parent backup, so that an unchanged file is taken over without being opened
// and a directory in which nothing changed is not written at all. Files that
// must be read go in batches to workers, each of which reads, cuts, names and
// stores them without handing bytes to anybody else. The scanner puts the
// results into their directories in the order of names, whatever order they come
// back in. So the tree depends on nothing but the source: not on the number of
// workers, not on timing, not on parents.
//
// The scanner does not wait for the file system more than it must: helpers look into the
// next directories among those found, and at the next entries of a wide one, before it
// comes there. They do what it would do, by descriptors relative to the directory above and
// without following links; they decide nothing. What failed for them, and what they saw
// more than maxPeekAge before it was wanted, is done anew.
//
// # Bounds
//
// A worker holds one splitter and one buffer. The scanner holds the names, not
// more, of the directories on the way down to where it is (about 35 bytes each),
// and nodes that wait for something: for a file that is still being read, or for
// a directory that comes before them. There are at most maxHeld bytes of these
// (about 48,000 nodes); when they are reached the scanner waits for the workers.
// A directory of millions of entries is therefore never held as nodes, and one
// large file stops nothing but the end of its own directories. Ahead of the scanner there
// are at most maxPeeks looks, each of one directory's names, if they are less than
// maxPeekText bytes, and of the stats of lookAtOnce entries. Open descriptors are bounded by
// keepOpen levels, the batches in flight, two a look ahead and one a worker: deeper
// directories are closed and opened again on the way back. At most maxLinks
// files of which other hard links are still to come are remembered; beyond that
// a file is read once for each link.
//
// # What is stored
//
//   - Of all entries: permissions, owner and group with their names, modification
//     and change time, inode, file system, extended attributes of every namespace
//     that the caller may read (ACLs are such). Access and birth times are not.
//   - Sockets are not stored: they mean nothing without the process that made
//     them. Each is reported as a notice.
//   - Inode flags of files and directories: those of flagMask.
//   - Of a file at most as many bytes as it had when reading began. A file that
//     changes meanwhile is read again, and if it changes again and again it is
//     stored as it was read last and reported as a notice. Files whose size is
//     not known beforehand, as in /proc, are stored as empty.
//   - Of a directory that cannot be read, or that lies on another file system
//     when Options.OneFileSystem is set: the directory itself, empty.
//
// # What is left out
//
// Volume.Excludes and Options.Select are asked about every entry in every run,
// before the parent is: an entry that was left out and is not any more, or the
// other way round, makes its directory another one. A List is a volume of the paths
// that somebody has listed.
//
// # Caveats
//
// A file counts as unchanged if type, size, both times, inode and file system
// are what they were, and its change time lies at least two seconds before that
// backup looked: a file system with a coarse clock could hide a later change
// otherwise. A clock that is set back over such a window can still hide one.
// The package needs Linux.
package archive

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"vault/chunk"
	"vault/crypto"
	"vault/snapshot"
)

// Store takes the blobs of one goroutine.
type Store interface {
	// Put stores a blob unless it is known, and returns its name and whether it
	// was new. It does not retain data.
	Put(ctx context.Context, kind crypto.BlobKind, data []byte) (id crypto.ID, added bool, err error)
	// Has reports whether a blob is known.
	Has(kind crypto.BlobKind, id crypto.ID) bool
}

// Parent is an earlier backup of the same volume.
type Parent struct {
	Root        *snapshot.Node
	ScanStarted snapshot.Time
	// Trusted says that everything the tree refers to is known to be there, so
	// that it may be taken over as it is. Otherwise every reference taken over
	// is looked up, and what is missing is read again.
	Trusted bool
}

// Volume says what to read.
type Volume struct {
	Name     string // name within the backup
	Source   Source
	Parent   *Parent   // nil if there is none
	Excludes *Excludes // of a Path, a List or a Tree; nil if everything is stored
	IDs      *IDMap    // of a Path or a List; nil if owners are stored as they are
	// OneFileSystem is Options.OneFileSystem for this volume alone.
	OneFileSystem bool
}

// Options are the store and the manner of a run.
type Options struct {
	NewStore   func() Store    // called once for each worker and for the scanner, from one goroutine
	Reader     snapshot.Source // reads the trees of parents; may be nil if there are none
	Hasher     snapshot.Hasher
	Chunker    *chunk.Chunker
	Thresholds snapshot.Thresholds

	Workers int // goroutines that read files; 0 means min(GOMAXPROCS, 8)

	// Select reports whether an entry that is not excluded is to be stored; a
	// directory that is not is not entered. The path is relative to the volume's root, with slashes.
	// The node has what a stat tells and must not be changed or kept. Nil means
	// everything. It is called by one goroutine; the root is not asked about.
	Select func(path string, n *snapshot.Node) bool

	// OneFileSystem stores directories of other file systems than the root's as
	// empty ones. Of a List it is those of other file systems than that of the
	// listed directory above.
	OneFileSystem bool

	// Repository is the directory that the run is stored in, if that is on this
	// machine; "" if it is not. It is left out wherever it lies, with a notice, and a volume
	// that begins there fails.
	Repository string

	// Observe is told about what happens, by one goroutine at a time. It should
	// return soon. Items says whether there is an event for every entry.
	Observe func(Event)
	Items   bool

	Now func() time.Time // the clock; nil means time.Now
}

// Notice is something worth knowing that does not make a volume partial.
type Notice struct {
	Volume, Path string // Path is relative to the volume's root, "." for the root
	Message      string
}

// Report is what a run produced.
type Report struct {
	// Volumes are those asked for, in the same order, ready for the commit but
	// for BytesStored.
	Volumes []snapshot.Volume
	// Excluded counts, for each volume, the entries that were left out. A directory
	// is one, whatever is in it.
	Excluded []uint64
	Notices  []Notice // the first maxNotices
	Dropped  uint64   // notices beyond those
}

const (
	maxWorkers = 8
	maxNotices = 1000
)

var errOptions = errors.New("invalid options")

// Run reads volumes one after another and stores their trees. What is wrong with
// a source is in the Report: its volume is partial or failed. An error means that
// the whole run was stopped, by the store, by reading back a parent, or by ctx;
// then nothing of the Report may be committed. When Run returns, its goroutines
// and descriptors are gone.
func Run(ctx context.Context, o Options, volumes []Volume) (Report, error) {
	if err := o.complete(); err != nil {
		return Report{}, err
	}
	r := newRun(ctx, o)
	defer r.stop()
	r.locate(o.Repository)
	for i := range volumes {
		v, err := r.volume(&volumes[i])
		if err != nil {
			return Report{}, fmt.Errorf("archive volume %q: %w", volumes[i].Name, err)
		}
		r.report.Volumes = append(r.report.Volumes, v)
		r.report.Excluded = append(r.report.Excluded, r.excluded)
	}
	return r.report, nil
}

// complete checks o and fills in what is left to it.
func (o *Options) complete() error {
	switch {
	case o.NewStore == nil:
		return fmt.Errorf("%w: no store", errOptions)
	case o.Hasher == nil:
		return fmt.Errorf("%w: no hasher", errOptions)
	case o.Chunker == nil:
		return fmt.Errorf("%w: no chunker", errOptions)
	}
	if err := o.Thresholds.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errOptions, err)
	}
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}
