package restore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"vault/crypto"
	"vault/snapshot"
)

// Policy says what happens to entries that the target has already. Directories
// are always entered; what is said here decides about everything else, and
// about what is in the way of a directory.
type Policy uint8

const (
	// IfChanged leaves the content of a file alone whose type, size and time of
	// modification are those of the backup, and corrects its metadata.
	IfChanged Policy = iota
	// Always writes every file.
	Always
	// IfNewer replaces what is older than the backup has it, and leaves the
	// rest alone.
	IfNewer
	// Never leaves alone whatever exists, the metadata of directories included.
	Never
)

var policyNames = [...]string{IfChanged: "if-changed", Always: "always", IfNewer: "if-newer", Never: "never"}

// String returns the policy as ParsePolicy takes it.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// ParsePolicy returns the policy of a name: if-changed, always, if-newer or
// never.
func ParsePolicy(name string) (Policy, error) {
	for p, s := range policyNames {
		if s == name {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("unknown overwrite policy %q (if-changed, always, if-newer, never)", name)
}

// Volume is one volume and the place to which it goes.
type Volume struct {
	*snapshot.Volume
	// Dir is the place, relative to the target, with slashes: "db", or
	// "usr/share" for a volume named by an absolute path. A directory is
	// restored as TARGET/Dir, a single file as the file TARGET/Dir. "." is the
	// target itself. Directories on the way that are missing are made, with
	// mode 0700.
	Dir string
}

// Namer names blobs. With one, content that exists already is compared by name,
// without fetching it from the repository. crypto.Keys is one.
type Namer interface {
	BlobID(kind crypto.BlobKind, data []byte) crypto.ID
}

// Options say what to restore and how. Source and Target are required.
type Options struct {
	// Source has the blobs. It is used by several goroutines at once.
	Source snapshot.Source
	// Namer, if nil, is the Source where that is a Namer, and none elsewhere.
	Namer Namer
	// Target is the directory under which everything goes. It is made, with
	// its parents and mode 0700, if it is missing. Symlinks in this path are
	// followed: it is the caller's own.
	Target string

	Overwrite Policy
	// Delete removes what the target has and the backup does not, inside the
	// directories of the volumes, as far as Select selects it. It does not
	// cross into other file systems.
	Delete bool
	// Spare are places, in the form of Volume.Dir, that Delete leaves alone, with
	// all that is in them, as it does the volumes' own.
	Spare []string
	// Repository is the directory that Source reads, if that is on this machine; "" if
	// it is not. Nothing is restored into it, wherever it lies, and Delete leaves it alone.
	Repository string
	// Verify reads back the content of every file, also of those left as they
	// were. One of the latter that differs is written again; one that differs
	// after it was written is a Problem.
	Verify bool
	// DryRun touches nothing: events and report say what would be done.
	DryRun bool
	// NumericIDs restores owners by number even where the backup has names.
	NumericIDs bool
	// Owners map owners of the backup to owners here.
	Owners []OwnerRule
	// Sparse makes holes of all blocks of zeros. Otherwise holes are what were
	// holes in the source, and zeros that it held as data are written: a file
	// for swapping, or one that reserves its space, needs them.
	Sparse bool
	// Workers is the number of goroutines that write; 0 is a good default.
	// Each holds a blob or two in memory.
	Workers int

	// Select chooses entries by volume name, path below the volume's root
	// ("a/b", never empty) and node, which is valid during the call only; nil
	// is everything. It is not asked about the roots of volumes. Directories
	// that hold selected entries are made with their metadata. For Delete it is
	// asked with nodes that have no more than name, type, owner, mode, size and
	// time. It is called by one goroutine at a time per directory.
	Select func(volume, path string, n *snapshot.Node) bool
	// Descend says whether a directory that Select did not choose can hold
	// anything chosen; nil is yes, which reads the whole tree.
	Descend func(volume, path string, n *snapshot.Node) bool
	// Xattr chooses the extended attributes to restore by name; nil is all.
	Xattr func(name string) bool
	// Observe is told what happens, by several goroutines at once. It should be
	// quick.
	Observe func(Event)
}

// Verb says what happened to an entry.
type Verb uint8

const (
	Created   Verb = iota // did not exist
	Replaced              // something else was there
	Updated               // content was corrected in place
	Corrected             // only metadata was
	Unchanged             // nothing had to be done
	Skipped               // left alone by policy, or a socket
	Deleted               // the backup does not have it
	Failed                // see the Problem
	Wrote                 // part of the content of a large file is in place
	verbs
)

var verbNames = [verbs]string{"created", "replaced", "updated", "corrected", "unchanged", "skipped", "deleted", "failed", "wrote"}

// String returns the verb in the past tense.
func (v Verb) String() string {
	if v < verbs {
		return verbNames[v]
	}
	return fmt.Sprintf("verb %d", uint8(v))
}

// Event is one thing that happened. In a dry run it would have.
type Event struct {
	Verb   Verb
	Volume string // name of the volume
	Path   string // below its root; empty for the root
	Type   snapshot.Type
	// Bytes of content for which this event stands: those of all events of a
	// file add up to its size, unless it failed or was skipped.
	Bytes uint64
}

// Problem is something that is not as the backup has it.
type Problem struct {
	Volume string
	Path   string // below the volume's root; empty for the root
	Err    error
}

// Error returns volume, path and cause.
func (p Problem) Error() string { return fmt.Sprintf("%s: %q: %v", p.Volume, p.Path, p.Err) }

// Unwrap returns the cause.
func (p Problem) Unwrap() error { return p.Err }

// MaxProblems is how many problems, and how many notices, a Report lists.
const MaxProblems = 1000

const maxOfKind = MaxProblems / 8

// Report is what a run did.
type Report struct {
	Entries [verbs]uint64 // entries by Verb; Wrote is always 0

	Directories, Files, Symlinks, HardLinks, Others uint64 // of those created, replaced, updated, corrected or unchanged

	BytesWritten  uint64 // content written
	BytesKept     uint64 // content found in place, in files that were updated or verified
	BytesVerified uint64 // content read back and found right

	// Problems are contents, entries and metadata that are not as they should
	// be: ProblemCount of them, of which the first ones are listed.
	Problems     []Problem
	ProblemCount uint64
	// Notices are metadata that this user may not set or the target's file
	// system does not know.
	Notices     []Problem
	NoticeCount uint64
	// NoticeKinds counts them: owner, group, mode, time, attribute, capability,
	// flags, link. Of one kind, MaxProblems/8 are listed.
	NoticeKinds map[string]uint64
}

// Run restores volumes, one after another. Problems with single entries are in
// the report; the error says what stopped everything: the target cannot be
// opened, the context is done, the storage is unreachable, or a volume is larger
// than its record says (a *SizeError). The report is valid even then. What was not finished is removed or is recognisably incomplete, so
// the same call again goes on from there.
func Run(ctx context.Context, opts Options, volumes []Volume) (Report, error) {
	if err := check(&opts, volumes); err != nil {
		return Report{}, fmt.Errorf("restore: %w", err)
	}
	r := newRun(ctx, opts)
	err := r.all(volumes)
	return r.report(), err
}

func check(opts *Options, volumes []Volume) error {
	if opts.Source == nil || opts.Target == "" {
		return errors.New("source and target are required")
	}
	if opts.Overwrite > Never {
		return fmt.Errorf("unknown overwrite %v", opts.Overwrite)
	}
	if opts.Namer == nil {
		opts.Namer, _ = opts.Source.(Namer)
	}
	if opts.Workers <= 0 {
		opts.Workers = min(max(4, 2*runtime.GOMAXPROCS(0)), 32)
	}
	seen := make(map[string]string)
	for _, v := range volumes {
		if v.Volume == nil {
			return errors.New("volume without a description")
		}
		parts, err := splitDir(v.Dir)
		if err != nil {
			return fmt.Errorf("volume %q: %w", v.Name, err)
		}
		dir := strings.Join(parts, "/")
		if other, ok := seen[dir]; ok {
			return fmt.Errorf("volumes %q and %q both go to %q", other, v.Name, v.Dir)
		}
		seen[dir] = v.Name
	}
	return nil
}

// splitDir returns the components of a volume's place; none for the target
// itself.
func splitDir(dir string) ([]string, error) {
	if strings.HasPrefix(dir, "/") || filepath.IsAbs(dir) {
		return nil, fmt.Errorf("directory %q is not relative to the target", dir)
	}
	var parts []string
	for p := range strings.SplitSeq(dir, "/") {
		if p == "" || p == "." {
			continue
		}
		if err := checkName(p); err != nil {
			return nil, fmt.Errorf("directory %q: %w", dir, err)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// checkName returns an error unless name can be one entry of a directory here.
// Trees are checked when they are read; what is written is checked again.
func checkName(name string) error {
	if err := snapshot.CheckName(name); err != nil {
		return err
	}
	if runtime.GOOS == "windows" && !filepath.IsLocal(name) || strings.ContainsRune(name, filepath.Separator) {
		return fmt.Errorf("entry name %q is not possible on this system", name)
	}
	return nil
}
