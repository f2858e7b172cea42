package snapshot

import (
	"fmt"
	"time"

	"vault/crypto"
)

// CommitKind says what a commit record is. The numbers are part of the format.
type CommitKind uint8

const (
	CommitBackup     CommitKind = 1
	CommitKilled     CommitKind = 2 // the session's right to commit is gone
	CommitCheckpoint CommitKind = 3 // holds what an unfinished backup has stored
)

// String returns the kind's name.
func (k CommitKind) String() string {
	switch k {
	case CommitBackup:
		return "backup"
	case CommitKilled:
		return "killed"
	case CommitCheckpoint:
		return "checkpoint"
	}
	return fmt.Sprintf("commit kind %d", uint8(k))
}

// Commit is the record commits/<sid>.
type Commit struct {
	Kind       CommitKind
	Generation uint64  // the newest generation when the session began
	Backup     *Backup // nil for CommitKilled only
}

// Backup is one backup: volumes that were saved together and become visible
// together.
type Backup struct {
	ID         crypto.SessionID // the sid of its commit; not part of the record
	NewestDone [32]byte         // hash of the newest done seen; zero if none
	Origin     *Origin          // nil unless this is a copy

	Time     Time // what --time sets; orders "latest" and retention
	Started  Time
	Finished Time
	Host     string
	User     string
	Program  string
	Group    string
	Tags     []Tag
	Parents  []crypto.SessionID // the backups that it was compared with
	Index    [][32]byte         // the index segments that its session has put
	Volumes  []Volume           // by name
}

// Origin says which backup of which repository a copy comes from: of a copy's
// copy, the one that the first was made of.
type Origin struct {
	Repo crypto.RepoID
	ID   crypto.SessionID
}

// Tag is a label of a backup. A key may have several values.
type Tag struct{ Key, Value string }

// VolumeKind says where a volume came from. The numbers are part of the format.
type VolumeKind uint8

const (
	VolumePath    VolumeKind = 1
	VolumeCommand VolumeKind = 2 // a command's output
	VolumeStdin   VolumeKind = 3
)

// String returns the kind's name.
func (k VolumeKind) String() string {
	switch k {
	case VolumePath:
		return "path"
	case VolumeCommand:
		return "command"
	case VolumeStdin:
		return "stdin"
	}
	return fmt.Sprintf("volume kind %d", uint8(k))
}

// State says how much of a volume was saved. The numbers are part of the format.
type State uint8

const (
	Complete State = 1
	Partial  State = 2 // some of it could not be read
	Failed   State = 3 // nothing was saved: there is no root
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Complete:
		return "complete"
	case Partial:
		return "partial"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Volume is one saved tree of a backup: its snapshot.
type Volume struct {
	Name        string // the absolute path, unless another was given
	Kind        VolumeKind
	Source      string // path or command
	State       State
	ScanStarted Time

	Files          Counts
	Directories    Counts
	Others         uint64 // entries that are neither
	BytesProcessed uint64 // of content, whether new or not
	BytesAdded     uint64 // of new blobs, plain
	BytesStored    uint64 // of new blobs, as stored

	ProblemCount uint64    // how many things went wrong
	Problems     []Problem // the first of them, at most MaxProblems

	Root *Node // without a name; nil exactly if State is Failed
}

// MaxProblems is the number of problems that a volume's record may list.
const MaxProblems = 64

// Counts compares a volume with its parent.
type Counts struct{ New, Changed, Unmodified uint64 }

// Total returns the sum.
func (c Counts) Total() uint64 { return c.New + c.Changed + c.Unmodified }

// Problem is something that could not be saved, and why.
type Problem struct{ Path, Message string }

// Complete reports whether all volumes are complete; otherwise the backup is
// partial.
func (b *Backup) Complete() bool {
	for i := range b.Volumes {
		if b.Volumes[i].State != Complete {
			return false
		}
	}
	return len(b.Volumes) > 0
}

// State returns Complete or Partial.
func (b *Backup) State() State {
	if b.Complete() {
		return Complete
	}
	return Partial
}

// Duration returns how long the backup took, by the writer's clock.
func (b *Backup) Duration() time.Duration { return b.Finished.Std().Sub(b.Started.Std()) }

// Volume returns the volume called name, or nil.
func (b *Backup) Volume(name string) *Volume {
	for i := range b.Volumes {
		if b.Volumes[i].Name == name {
			return &b.Volumes[i]
		}
	}
	return nil
}

// HasTag reports whether b is labelled with t.
func (b *Backup) HasTag(t Tag) bool {
	for _, u := range b.Tags {
		if t == u {
			return true
		}
	}
	return false
}

// Compare orders backups by Time, then by ID: -1, 0 or 1.
func (b *Backup) Compare(c *Backup) int {
	if d := b.Time.Compare(c.Time); d != 0 {
		return d
	}
	return b.ID.Compare(c.ID)
}

// ID names the snapshot of one volume in one backup.
type ID [16]byte

// VolumeID returns the snapshot id of the volume called name in a backup
// (docs/format.md, section 2).
func VolumeID(backup crypto.SessionID, name string) ID {
	b := make([]byte, 0, 64+len(name))
	b = append(b, "vault/1/snapshot\x00"...)
	b = append(b, backup[:]...)
	b = append(b, name...)
	h := crypto.FileHash(b)
	return ID(h[:16])
}

// SnapshotID returns the id of v's snapshot in the backup b.
func (v *Volume) SnapshotID(b *Backup) ID { return VolumeID(b.ID, v.Name) }

// String returns 26 digits of base 32, as for a Backup ID.
func (id ID) String() string { return crypto.SessionID(id).String() }

// Short returns the first 12 digits, which programs show.
func (id ID) Short() string { return crypto.SessionID(id).Short() }
