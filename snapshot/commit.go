package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"vault/crypto"
	"vault/internal/wire"
)

// Limits of a commit; part of the format (docs/format.md, section 11).
const (
	commitVersion = 1
	maxCommit     = 64 << 20
	maxText       = 256
	maxProgram    = 64
	maxTags       = 1024
	maxTagValue   = 4096
	maxParents    = 64
	maxIndex      = 65536
	maxVolumes    = 4096
	maxVolumeName = 4096
	maxSource     = 65536
	maxProblem    = 4096

	minTag     = 2
	minVolume  = 1 + 1 + 1 + 1 + 2 + 10 + 2 + 1
	minProblem = 2
)

// EncodeCommit returns the payload of a commit record. It sorts tags, parents,
// index segments and volumes (in copies; c is not changed) and drops repeated
// tags, parents and segments. It refuses what a reader would refuse.
func EncodeCommit(c *Commit) ([]byte, error) {
	b := append(make([]byte, 0, 1024), commitVersion, byte(c.Kind))
	b = wire.AppendUvarint(b, c.Generation)
	switch c.Kind {
	case CommitKilled:
		if c.Backup != nil {
			return nil, errors.New("encode commit: killed, yet with a backup")
		}
		return b, nil
	case CommitBackup, CommitCheckpoint:
	default:
		return nil, fmt.Errorf("encode commit: unknown %v", c.Kind)
	}
	if c.Backup == nil {
		return nil, fmt.Errorf("encode commit: %v without a backup", c.Kind)
	}
	if err := c.checkVolumes(); err != nil {
		return nil, fmt.Errorf("encode commit: %w", err)
	}
	b, err := appendBackup(b, c.Backup)
	if err == nil && len(b) > maxCommit {
		err = fmt.Errorf("%d bytes, limit %d", len(b), maxCommit)
	}
	if err != nil {
		return nil, fmt.Errorf("encode commit: %w", err)
	}
	return b, nil
}

func appendBackup(b []byte, k *Backup) ([]byte, error) {
	if err := checkBackup(k); err != nil {
		return nil, err
	}
	b = append(b, k.NewestDone[:]...)
	if k.Origin == nil {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = append(b, k.Origin.Repo[:]...)
		b = append(b, k.Origin.ID[:]...)
	}
	for _, t := range []Time{k.Time, k.Started, k.Finished} {
		b = appendTime(b, t)
	}
	for _, s := range []string{k.Host, k.User, k.Program, k.Group} {
		b = wire.AppendString(b, s)
	}
	tags := slices.Compact(slices.SortedFunc(slices.Values(k.Tags), compareTags))
	b = wire.AppendUvarint(b, uint64(len(tags)))
	for _, t := range tags {
		b = wire.AppendString(wire.AppendString(b, t.Key), t.Value)
	}
	parents := slices.Compact(slices.SortedFunc(slices.Values(k.Parents), crypto.SessionID.Compare))
	b = wire.AppendUvarint(b, uint64(len(parents)))
	for _, p := range parents {
		b = append(b, p[:]...)
	}
	index := slices.Compact(slices.SortedFunc(slices.Values(k.Index), compareHashes))
	b = wire.AppendUvarint(b, uint64(len(index)))
	for _, h := range index {
		b = append(b, h[:]...)
	}
	volumes := make([]*Volume, len(k.Volumes))
	for i := range k.Volumes {
		volumes[i] = &k.Volumes[i]
	}
	slices.SortFunc(volumes, func(v, w *Volume) int { return cmp.Compare(v.Name, w.Name) })
	b = wire.AppendUvarint(b, uint64(len(volumes)))
	for i, v := range volumes {
		if i > 0 && volumes[i-1].Name == v.Name {
			return nil, fmt.Errorf("two volumes called %q", v.Name)
		}
		var err error
		if b, err = appendVolume(b, v); err != nil {
			return nil, fmt.Errorf("volume %q: %w", v.Name, err)
		}
	}
	return b, nil
}

func compareTags(t, u Tag) int {
	return cmp.Or(cmp.Compare(t.Key, u.Key), cmp.Compare(t.Value, u.Value))
}

func compareHashes(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }

// checkBackup checks lengths and counts, but for the volumes'.
// checkVolumes: a backup has volumes, a checkpoint has index segments instead.
func (c *Commit) checkVolumes() error {
	n := len(c.Backup.Volumes)
	if (c.Kind == CommitBackup) != (n > 0) || c.Kind == CommitCheckpoint && len(c.Backup.Index) == 0 {
		return fmt.Errorf("%v with %d volumes and %d index segments", c.Kind, n, len(c.Backup.Index))
	}
	return nil
}

func checkBackup(k *Backup) error {
	for _, s := range []string{k.Host, k.User, k.Group} {
		if len(s) > maxText {
			return fmt.Errorf("text %.40q is longer than %d bytes", s, maxText)
		}
	}
	for _, t := range k.Tags {
		if len(t.Key) > maxText || len(t.Value) > maxTagValue {
			return fmt.Errorf("tag %.40q=%.40q is too long", t.Key, t.Value)
		}
	}
	for _, t := range []Time{k.Time, k.Started, k.Finished} {
		if t.Nsec >= 1e9 {
			return errors.New("time with a second or more of nanoseconds")
		}
	}
	switch {
	case len(k.Program) > maxProgram:
		return fmt.Errorf("program %.40q is longer than %d bytes", k.Program, maxProgram)
	case len(k.Tags) > maxTags:
		return fmt.Errorf("%d tags, limit %d", len(k.Tags), maxTags)
	case len(k.Parents) > maxParents:
		return fmt.Errorf("%d parents, limit %d", len(k.Parents), maxParents)
	case len(k.Index) > maxIndex:
		return fmt.Errorf("%d index segments, limit %d", len(k.Index), maxIndex)
	case len(k.Volumes) > maxVolumes:
		return fmt.Errorf("%d volumes, limit %d", len(k.Volumes), maxVolumes)
	}
	return nil
}

// counters returns v's numbers in the order in which they are stored.
func (v *Volume) counters() []*uint64 {
	return []*uint64{&v.Files.New, &v.Files.Changed, &v.Files.Unmodified,
		&v.Directories.New, &v.Directories.Changed, &v.Directories.Unmodified,
		&v.Others, &v.BytesProcessed, &v.BytesAdded, &v.BytesStored}
}

func appendVolume(b []byte, v *Volume) ([]byte, error) {
	switch {
	case len(v.Name) > maxVolumeName || len(v.Source) > maxSource:
		return nil, errors.New("name or source is too long")
	case v.Kind < VolumePath || v.Kind > VolumeStdin:
		return nil, fmt.Errorf("unknown %v", v.Kind)
	case v.State < Complete || v.State > Failed:
		return nil, fmt.Errorf("unknown %v", v.State)
	case (v.State == Failed) != (v.Root == nil):
		return nil, fmt.Errorf("%v, with root: %t", v.State, v.Root != nil)
	case v.ScanStarted.Nsec >= 1e9:
		return nil, errors.New("time with a second or more of nanoseconds")
	case len(v.Problems) > MaxProblems || uint64(len(v.Problems)) > v.ProblemCount:
		return nil, fmt.Errorf("%d problems listed of %d, limit %d", len(v.Problems), v.ProblemCount, MaxProblems)
	}
	b = wire.AppendString(b, v.Name)
	b = append(b, byte(v.Kind))
	b = wire.AppendString(b, v.Source)
	b = append(b, byte(v.State))
	b = appendTime(b, v.ScanStarted)
	for _, c := range v.counters() {
		b = wire.AppendUvarint(b, *c)
	}
	b = wire.AppendUvarint(b, v.ProblemCount)
	b = wire.AppendUvarint(b, uint64(len(v.Problems)))
	for _, p := range v.Problems {
		if len(p.Path) > maxSource || len(p.Message) > maxProblem {
			return nil, fmt.Errorf("problem of %.40q is too long", p.Path)
		}
		b = wire.AppendString(wire.AppendString(b, p.Path), p.Message)
	}
	if v.Root == nil {
		return append(b, 0), nil
	}
	return AppendBody(append(b, 1), v.Root)
}

// DecodeCommit decodes the payload of the record commits/<id>. It shares no
// memory with payload.
func DecodeCommit(id crypto.SessionID, payload []byte) (*Commit, error) {
	if len(payload) > maxCommit {
		return nil, fmt.Errorf("decode commit %v: %w: %d bytes, limit %d", id, wire.ErrMalformed, len(payload), maxCommit)
	}
	r := wire.NewReader(payload)
	c := new(Commit)
	if v := r.U8(); r.Err() == nil && v != commitVersion {
		r.Fail("commit version %d, known is %d", v, commitVersion)
	}
	c.Kind = CommitKind(r.U8())
	c.Generation = r.Uvarint(math.MaxUint64)
	switch {
	case r.Err() != nil:
	case c.Kind == CommitBackup || c.Kind == CommitCheckpoint:
		c.Backup = &Backup{ID: id}
		decodeBackup(r, c.Backup)
		if err := c.checkVolumes(); err != nil {
			r.Fail("%v", err)
		}
	case c.Kind != CommitKilled:
		r.Fail("unknown %v", c.Kind)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("decode commit %v: %w", id, err)
	}
	return c, nil
}

func decodeBackup(r *wire.Reader, k *Backup) {
	r.Copy(k.NewestDone[:])
	switch origin := r.U8(); origin {
	case 0:
	case 1:
		k.Origin = new(Origin)
		r.Copy(k.Origin.Repo[:])
		r.Copy(k.Origin.ID[:])
	default:
		r.Fail("unknown origin %d", origin)
	}
	k.Time, k.Started, k.Finished = readTime(r), readTime(r), readTime(r)
	k.Host, k.User = r.String(maxText), r.String(maxText)
	k.Program, k.Group = r.String(maxProgram), r.String(maxText)
	k.Tags = readSorted(r, "tags", maxTags, minTag, compareTags, func(t *Tag) {
		t.Key, t.Value = r.String(maxText), r.String(maxTagValue)
	})
	k.Parents = readSorted(r, "parents", maxParents, len(crypto.SessionID{}), crypto.SessionID.Compare,
		func(id *crypto.SessionID) { r.Copy(id[:]) })
	k.Index = readSorted(r, "index segments", maxIndex, 32, compareHashes, func(h *[32]byte) { r.Copy(h[:]) })
	k.Volumes = readSorted(r, "volumes", maxVolumes, minVolume,
		func(v, w Volume) int { return cmp.Compare(v.Name, w.Name) }, func(v *Volume) { decodeVolume(r, v) })
}

// readSorted reads a list whose members must ascend; nil if it is empty.
func readSorted[T any](r *wire.Reader, what string, max, minSize int, compare func(a, b T) int, read func(*T)) []T {
	var list []T
	for range r.Count(max, minSize) {
		var v T
		read(&v)
		if r.Err() == nil && len(list) > 0 && compare(list[len(list)-1], v) >= 0 {
			r.Fail("%s are not sorted", what)
		}
		if r.Err() != nil {
			return nil
		}
		list = append(list, v)
	}
	return list
}

func decodeVolume(r *wire.Reader, v *Volume) {
	v.Name = r.String(maxVolumeName)
	v.Kind = VolumeKind(r.U8())
	v.Source = r.String(maxSource)
	v.State = State(r.U8())
	if r.Err() == nil && (v.Kind < VolumePath || v.Kind > VolumeStdin || v.State < Complete || v.State > Failed) {
		r.Fail("volume of unknown kind %d or state %d", v.Kind, v.State)
	}
	v.ScanStarted = readTime(r)
	for _, c := range v.counters() {
		*c = r.Uvarint(math.MaxUint64)
	}
	v.ProblemCount = r.Uvarint(math.MaxUint64)
	for range r.Count(MaxProblems, minProblem) {
		v.Problems = append(v.Problems, Problem{Path: r.String(maxSource), Message: r.String(maxProblem)})
	}
	if r.Err() == nil && uint64(len(v.Problems)) > v.ProblemCount {
		r.Fail("%d problems listed of %d", len(v.Problems), v.ProblemCount)
	}
	switch root := r.U8(); {
	case r.Err() != nil:
	case root > 1:
		r.Fail("unknown root %d", root)
	case (root == 0) != (v.State == Failed):
		r.Fail("root %d of a volume that is %v", root, v.State)
	case root == 1:
		var n Node
		decodeBody(r, &n)
		v.Root = n.Clone()
	}
}
