package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"vault/backend"
	"vault/crypto"
	"vault/internal/wire"
	"vault/pack"
	"vault/snapshot"
)

// The records of the commit protocol: docs/format.md section 11 has their
// layouts. The commit itself is snapshot's, since it describes a backup.

const (
	maxName    = 256
	maxProgram = 64
	maxList    = 1 << 22 // members of a list in a plan or done
)

// session announces a writer before it reads or stores anything else.
type session struct {
	Generation uint64
	Counter    uint64 // grows with every sign of life
	Started    snapshot.Time
	Host       string
	PID        uint64
	Program    string
}

func (s session) encode() []byte {
	b := wire.AppendUvarint([]byte{1}, s.Generation)
	b = wire.AppendUvarint(b, s.Counter)
	b = appendTime(b, s.Started)
	b = wire.AppendString(b, s.Host)
	b = wire.AppendUvarint(b, s.PID)
	return wire.AppendString(b, s.Program)
}

func decodeSession(b []byte) (s session, err error) {
	r := wire.NewReader(b)
	recordVersion(r)
	s.Generation = r.Uvarint(^uint64(0))
	s.Counter = r.Uvarint(^uint64(0))
	s.Started = readTime(r)
	s.Host = r.String(maxName)
	s.PID = r.Uvarint(^uint64(0))
	s.Program = r.String(maxProgram)
	return s, r.Done()
}

func recordVersion(r *wire.Reader) {
	if v := r.U8(); v != 1 {
		r.Fail("record version %d", v)
	}
}

// plan says what a collection intends to remove.
type plan struct {
	N              uint64
	Done           [32]byte // hash of the newest done when it was made
	Condemned      []pack.ID
	OrphanPacks    []pack.ID
	OrphanSegments [][32]byte
	Dropped        []crypto.SessionID
	Signature      []byte // reserved
}

func (p plan) encode() []byte {
	b := wire.AppendUvarint([]byte{1}, p.N)
	b = append(b, p.Done[:]...)
	b = appendList(b, p.Condemned)
	b = appendList(b, p.OrphanPacks)
	b = appendList(b, p.OrphanSegments)
	b = appendSIDs(b, p.Dropped)
	return wire.AppendBytes(b, p.Signature)
}

func decodePlan(b []byte) (p plan, err error) {
	r := wire.NewReader(b)
	recordVersion(r)
	p.N = r.Uvarint(^uint64(0))
	r.Copy(p.Done[:])
	p.Condemned = readList[pack.ID](r)
	p.OrphanPacks = readList[pack.ID](r)
	p.OrphanSegments = readList[[32]byte](r)
	p.Dropped = readSIDs(r)
	p.Signature = bytes.Clone(r.Bytes(4096))
	return p, r.Done()
}

// done closes a generation: the index, the commits that live, what may go.
type done struct {
	N              uint64
	Previous       [32]byte
	Index          [][32]byte
	Live           []crypto.SessionID
	DeletePacks    []pack.ID
	DeleteSegments [][32]byte
	Signature      []byte // reserved
}

func (d done) encode() []byte {
	b := wire.AppendUvarint([]byte{1}, d.N)
	b = append(b, d.Previous[:]...)
	b = appendList(b, d.Index)
	b = appendSIDs(b, d.Live)
	b = appendList(b, d.DeletePacks)
	b = appendList(b, d.DeleteSegments)
	return wire.AppendBytes(b, d.Signature)
}

func decodeDone(b []byte) (d done, err error) {
	r := wire.NewReader(b)
	recordVersion(r)
	d.N = r.Uvarint(^uint64(0))
	r.Copy(d.Previous[:])
	d.Index = readList[[32]byte](r)
	d.Live = readSIDs(r)
	d.DeletePacks = readList[pack.ID](r)
	d.DeleteSegments = readList[[32]byte](r)
	d.Signature = bytes.Clone(r.Bytes(4096))
	return d, r.Done()
}

// lists reports whether the commit is in the list of those that live.
func (d done) lists(id crypto.SessionID) bool {
	_, found := slices.BinarySearchFunc(d.Live, id, crypto.SessionID.Compare)
	return found
}

// EventKind says what happens to a backup after its commit.
type EventKind uint8

const (
	EventForget    EventKind = 1
	EventUnforget  EventKind = 2
	EventCollected EventKind = 3
	EventTags      EventKind = 4
	EventNote      EventKind = 5
)

// TagChange sets or removes one tag.
type TagChange struct {
	Remove     bool
	Key, Value string
}

// Event is one thing that happened to a backup later.
type Event struct {
	Kind       EventKind
	Time       snapshot.Time
	Host, User string
	Tags       []TagChange // EventTags
	Key        string      // EventNote
	Value      []byte      // EventNote
}

func (e Event) encode() []byte {
	b := appendTime([]byte{1}, e.Time)
	b = wire.AppendString(b, e.Host)
	b = wire.AppendString(b, e.User)
	b = append(b, uint8(e.Kind))
	switch e.Kind {
	case EventTags:
		b = wire.AppendUvarint(b, uint64(len(e.Tags)))
		for _, t := range e.Tags {
			b = append(b, 1)
			if t.Remove {
				b[len(b)-1] = 2
			}
			b = wire.AppendString(wire.AppendString(b, t.Key), t.Value)
		}
	case EventNote:
		b = wire.AppendBytes(wire.AppendString(b, e.Key), e.Value)
	}
	return b
}

func decodeEvent(b []byte) (e Event, err error) {
	r := wire.NewReader(b)
	recordVersion(r)
	e.Time = readTime(r)
	e.Host = r.String(maxName)
	e.User = r.String(maxName)
	e.Kind = EventKind(r.U8())
	switch e.Kind {
	case EventForget, EventUnforget, EventCollected:
	case EventTags:
		for range r.Count(1024, 3) {
			how := r.U8()
			if how != 1 && how != 2 {
				r.Fail("tag change %d", how)
			}
			e.Tags = append(e.Tags, TagChange{Remove: how == 2, Key: r.String(maxName), Value: r.String(4096)})
		}
	case EventNote:
		e.Key = r.String(maxName)
		e.Value = bytes.Clone(r.Bytes(65536))
	default:
		r.Fail("event kind %d", e.Kind)
	}
	return e, r.Done()
}

// appendList writes hashes in ascending order, each once.
func appendList[T ~[32]byte](b []byte, list []T) []byte {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(x, y T) int { return compare32([32]byte(x), [32]byte(y)) })
	sorted = slices.Compact(sorted)
	b = wire.AppendUvarint(b, uint64(len(sorted)))
	for _, id := range sorted {
		h := [32]byte(id)
		b = append(b, h[:]...)
	}
	return b
}

func readList[T ~[32]byte](r *wire.Reader) []T {
	n := r.Count(maxList, 32)
	if n == 0 {
		return nil
	}
	list := make([]T, n)
	for i := range list {
		list[i] = T(r.Fixed(32))
		if i > 0 && compare32([32]byte(list[i-1]), [32]byte(list[i])) >= 0 {
			r.Fail("list is not sorted")
			return nil
		}
	}
	return list
}

func appendSIDs(b []byte, list []crypto.SessionID) []byte {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, crypto.SessionID.Compare)
	sorted = slices.Compact(sorted)
	b = wire.AppendUvarint(b, uint64(len(sorted)))
	for _, id := range sorted {
		b = append(b, id[:]...)
	}
	return b
}

func readSIDs(r *wire.Reader) []crypto.SessionID {
	n := r.Count(maxList, 16)
	if n == 0 {
		return nil
	}
	list := make([]crypto.SessionID, n)
	for i := range list {
		r.Copy(list[i][:])
		if i > 0 && list[i-1].Compare(list[i]) >= 0 {
			r.Fail("list is not sorted")
			return nil
		}
	}
	return list
}

func compare32(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }

// fetch reads and opens a record. Missing is fs.ErrNotExist; anything wrong
// with the bytes is damage that names the object. Of commits and events, which may
// come from copies, there is no object.
func (r *Repo) fetch(ctx context.Context, kind crypto.Kind, name string) (payload, object []byte, err error) {
	digested := r.inDigest(kind)
	if digested {
		if payload, ok := r.digested(name); ok {
			return payload, nil, nil
		}
		defer func() {
			if err == nil {
				r.addDigest(name, payload)
			}
		}()
	}
	cached := digested && r.env.CacheObjects
	if cached {
		if object, ok := r.cache.Get(name); ok {
			if payload, _, err = r.keys.OpenEnvelope(kind, name, object); err == nil {
				return payload, object, nil
			}
			r.cache.Drop(name)
		}
	}
	object, err = backend.ReadAll(ctx, r.be, name, int64(kind.MaxSize()))
	if errors.Is(err, backend.ErrTooLarge) {
		return nil, nil, damaged(name, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	ad := name
	if kind == crypto.KindIndex {
		ad = ""
	}
	payload, _, err = r.keys.OpenEnvelope(kind, ad, object)
	if err != nil {
		return nil, nil, damaged(name, err)
	}
	if cached {
		r.cache.Put(name, object)
	}
	return payload, object, nil
}

// tries is how often a create is repeated whose outcome is not known.
const tries = 3

// errTaken says that a record of that name exists and is someone else's.
var errTaken = errors.New("the record exists and is another's")

// create seals payload and creates the object called name with it. It returns
// nil when the record is there and is this one; errTaken when another one is;
// anything else means that it may yet appear.
func (r *Repo) create(ctx context.Context, kind crypto.Kind, sid crypto.SessionID, name string, payload []byte) (object []byte, err error) {
	object, err = r.keys.SealEnvelope(kind, sid, name, payload, r.env.Rand)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	for range tries {
		err = r.be.Create(ctx, name, object)
		if err == nil {
			return object, nil
		}
		if errors.Is(err, fs.ErrExist) {
			return object, r.whose(ctx, kind, name, object)
		}
		if ctx.Err() != nil || errors.Is(err, backend.ErrPermission) || errors.Is(err, backend.ErrNoSpace) {
			break
		}
	}
	return object, fmt.Errorf("create %s: %w", name, err)
}

// whose tells whether the existing record is the one that was to be created:
// its salt makes the bytes unique, so equal bytes are an earlier try's. A record that
// is gone before it is read was another's, too: nobody removes one of a session
// that works. Creating it once more would bring back what a collection has given up.
func (r *Repo) whose(ctx context.Context, kind crypto.Kind, name string, object []byte) error {
	there, err := backend.ReadAll(ctx, r.be, name, int64(kind.MaxSize()))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create %s: %w, and collected by now", name, errTaken)
	}
	if err != nil {
		return fmt.Errorf("create %s: it exists, and reading it: %w", name, err)
	}
	if bytes.Equal(there, object) {
		return nil
	}
	return fmt.Errorf("create %s: %w", name, errTaken)
}
