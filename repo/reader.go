package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"vault/backend"
	"vault/crypto"
	"vault/index"
	"vault/internal/cache"
	"vault/pack"
)

// BlobError says that a blob cannot be had: where it should lie, and why that
// did not work.
type BlobError struct {
	ID   crypto.ID
	Kind crypto.BlobKind
	Err  error // one error per location tried, joined; or that there is none
}

// Error names the blob and the reasons.
func (e *BlobError) Error() string { return fmt.Sprintf("%s blob %s: %v", e.Kind, e.ID, e.Err) }

// Unwrap returns the reasons.
func (e *BlobError) Unwrap() error { return e.Err }

var errNoLocation = errors.New("the index does not know it")

// Get appends the plain blob to dst[:0] and returns it; its name has been
// checked, and its memory belongs to the caller. Several goroutines may call it at once. Small blobs are served from a cache
// of decoded segments, so that reading in the order of writing decodes each
// segment once.
func (r *Repo) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	b, err := r.get(ctx, v, kind, id, dst[:0])
	if err == nil || !isMissing(err) && !errors.Is(err, errNoLocation) {
		return b, err
	}
	// A collection may have moved the blob: look at the newest state, and call
	// it damage only if nothing has moved.
	now, rerr := r.refresh(ctx)
	if rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	if now.gc == v.gc && now.index.Len() == v.index.Len() {
		return nil, err
	}
	return r.get(ctx, now, kind, id, dst[:0])
}

func (r *Repo) get(ctx context.Context, v *view, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	var failed []error
	for loc := range v.index.Lookup(id) {
		if loc.Kind != kind {
			continue
		}
		b, err := r.reader.blob(ctx, loc, id, dst)
		if err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if StateOf(err) == Unreachable {
			return nil, err
		}
		failed = append(failed, err)
	}
	if failed == nil {
		failed = append(failed, errNoLocation)
	}
	return nil, &BlobError{ID: id, Kind: kind, Err: errors.Join(failed...)}
}

// Sizes of the reader's caches. Together they bound its memory.
const (
	cachedSegments = 48      // decoded segments of up to cacheableRaw bytes
	cacheableRaw   = 1 << 20 // a segment larger than this is one blob or a rarity
	cachedObjects  = 1024    // packs whose derived key is kept
	wholePacks     = 2       // packs of tree pages that are fetched at once
)

// reader fetches, opens and decodes segments.
type reader struct {
	be      backend.Backend
	keys    *crypto.Keys
	copies  *cache.Cache // of tree packs; nil for none
	windows *windows     // how a distant store is read; nil for one at hand

	tools sync.Pool // *tools
	turns [wholePacks]sync.Mutex

	mu      sync.Mutex // guards what follows
	objects map[pack.ID]*crypto.Object
	cache   map[segmentKey]*cached
	asked   uint64 // how often for any of them
}

type segmentKey struct {
	pack    pack.ID
	ordinal uint32
}

// cached is a decoded segment. While users > 0 its bytes stay as they are.
type cached struct {
	key   segmentKey
	users int
	asked uint64 // when it was last asked for, in reader.asked
	once  sync.Once
	plain []byte
	err   error
}

// tools is what one goroutine needs to open a segment.
type tools struct {
	coder  *pack.Coder
	sealed []byte
	plain  []byte
}

func newReader(be backend.Backend, keys *crypto.Keys) *reader {
	rd := &reader{be: be, keys: keys, objects: map[pack.ID]*crypto.Object{}, cache: map[segmentKey]*cached{}}
	rd.tools.New = func() any { return &tools{coder: pack.NewCoder(pack.LevelNone)} }
	return rd
}

// blob reads one blob and checks its name.
func (rd *reader) blob(ctx context.Context, loc index.Location, id crypto.ID, dst []byte) ([]byte, error) {
	start := len(dst)
	dst, err := rd.copyBlob(ctx, loc, dst)
	if err != nil {
		return nil, err
	}
	if rd.keys.BlobID(loc.Kind, dst[start:]) != id {
		return nil, damaged(loc.Pack.Path(), fmt.Errorf("segment %d at offset %d holds another blob than %s", loc.Ordinal, loc.Offset, id))
	}
	return dst, nil
}

func (rd *reader) copyBlob(ctx context.Context, loc index.Location, dst []byte) ([]byte, error) {
	if loc.Raw > cacheableRaw || loc.Offset == 0 && loc.Length == loc.Raw {
		t := rd.tools.Get().(*tools)
		defer rd.tools.Put(t)
		if loc.Offset == 0 && loc.Length == loc.Raw {
			return rd.segment(ctx, t, loc, dst)
		}
		plain, err := rd.segment(ctx, t, loc, t.plain[:0])
		if err != nil {
			return nil, err
		}
		t.plain = plain
		return append(dst, plain[loc.Offset:loc.Offset+loc.Length]...), nil
	}
	c := rd.acquire(segmentKey{loc.Pack, loc.Ordinal})
	defer rd.release(c)
	c.once.Do(func() {
		t := rd.tools.Get().(*tools)
		defer rd.tools.Put(t)
		c.plain, c.err = rd.segment(ctx, t, loc, c.plain[:0])
	})
	if c.err != nil {
		return nil, c.err
	}
	return append(dst, c.plain[loc.Offset:loc.Offset+loc.Length]...), nil
}

// segment fetches, opens and decodes the whole segment, appending to dst.
func (rd *reader) segment(ctx context.Context, t *tools, loc index.Location, dst []byte) ([]byte, error) {
	object, err := rd.object(loc)
	if err != nil {
		return nil, damaged(loc.Pack.Path(), err)
	}
	t.sealed = slices.Grow(t.sealed[:0], int(loc.Stored))[:loc.Stored]
	name := loc.Pack.Path()
	if rd.copies != nil && loc.Kind == crypto.BlobTree {
		if plain, ok := rd.copied(object, t, &loc, dst); ok {
			return plain, nil
		}
		// Readers of one pack wait for the first of them; and few packs are in
		// memory at once.
		turn := &rd.turns[loc.Pack[0]%wholePacks]
		turn.Lock()
		defer turn.Unlock()
		if plain, ok := rd.copied(object, t, &loc, dst); ok {
			return plain, nil
		}
	}
	if err := rd.fetch(ctx, loc, t.sealed); err != nil {
		return nil, readError(name, err)
	}
	plain, err := pack.OpenSegment(object, t.coder, loc.Segment(), t.sealed, dst)
	if err != nil {
		return nil, damaged(name, err)
	}
	return roomy(plain, dst), nil
}

// roomy returns plain with all the room of dst, if that is where it lies: a
// decoder cuts off what it does not need, but the next segment may need it.
func roomy(plain, dst []byte) []byte {
	if len(plain) > 0 && cap(dst) > cap(plain) && &dst[:1][0] == &plain[0] {
		return dst[:len(plain)]
	}
	return plain
}

// copied opens a segment of a local copy. One that is not what was stored is
// dropped: the store is asked.
func (rd *reader) copied(object *crypto.Object, t *tools, loc *index.Location, dst []byte) ([]byte, bool) {
	name := loc.Pack.Path()
	if !rd.copies.ReadAt(name, t.sealed, int64(loc.SegmentOffset)) {
		return nil, false
	}
	plain, err := pack.OpenSegment(object, t.coder, loc.Segment(), t.sealed, dst)
	if err != nil {
		rd.copies.Drop(name)
		return nil, false
	}
	return roomy(plain, dst), true
}

// fetch reads the sealed segment from the store. A pack of tree pages is taken
// whole where copies are kept: more of it will be wanted.
func (rd *reader) fetch(ctx context.Context, loc index.Location, sealed []byte) error {
	name := loc.Pack.Path()
	switch {
	case rd.copies != nil && loc.Kind == crypto.BlobTree:
	case rd.windows != nil:
		return rd.windows.read(ctx, spanOf(&loc), segmentKey{loc.Pack, loc.Ordinal}, sealed)
	default:
		return backend.ReadRange(ctx, rd.be, name, int64(loc.SegmentOffset), sealed)
	}
	whole := make([]byte, loc.PackSize)
	if err := backend.ReadRange(ctx, rd.be, name, 0, whole); err != nil {
		return err
	}
	copy(sealed, whole[loc.SegmentOffset:])
	rd.copies.Put(name, whole)
	return nil
}

func spanOf(loc *index.Location) span {
	return span{pack: loc.Pack, packSize: loc.PackSize, off: loc.SegmentOffset, length: loc.Stored}
}

// hint appends the segment of loc to those that will be read, unless it is at
// hand.
func (rd *reader) hint(hints []hint, loc *index.Location) []hint {
	key := segmentKey{loc.Pack, loc.Ordinal}
	if n := len(hints); n > 0 && hints[n-1].key == key {
		return hints
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if rd.cache[key] != nil {
		return hints
	}
	return append(hints, hint{spanOf(loc), key})
}

// object returns the pack's key, derived from the header that the index pins.
func (rd *reader) object(loc index.Location) (*crypto.Object, error) {
	rd.mu.Lock()
	o := rd.objects[loc.Pack]
	rd.mu.Unlock()
	if o != nil {
		return o, nil
	}
	o, err := rd.keys.OpenObject(crypto.KindPack, loc.Header)
	if err != nil {
		return nil, err
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if len(rd.objects) >= cachedObjects {
		clear(rd.objects)
	}
	rd.objects[loc.Pack] = o
	return o, nil
}

// acquire returns the cache's place for a segment, made when there is none.
// The buffer of the place that it displaces is used again.
func (rd *reader) acquire(key segmentKey) *cached {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	c := rd.cache[key]
	if c == nil {
		c = &cached{key: key}
		if old := rd.displaced(); old != nil {
			delete(rd.cache, old.key)
			c.plain = old.plain
		}
		rd.cache[key] = c
	}
	rd.asked++
	c.asked = rd.asked
	c.users++
	return c
}

// displaced returns the place that nobody uses, and has not for longest, if one
// has to go.
func (rd *reader) displaced() (oldest *cached) {
	if len(rd.cache) < cachedSegments {
		return nil
	}
	for _, c := range rd.cache {
		if c.users == 0 && (oldest == nil || c.asked < oldest.asked) {
			oldest = c
		}
	}
	return oldest
}

// release gives a place back. One that failed is forgotten, so that the next
// reader asks the store again.
func (rd *reader) release(c *cached) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	c.users--
	if c.err != nil && rd.cache[c.key] == c {
		delete(rd.cache, c.key)
	}
}

// readError makes damage of a missing or short pack; other errors of the
// storage stay what they are.
func readError(name string, err error) error {
	switch {
	case isMissing(err), isShort(err):
		return damaged(name, err)
	}
	return err
}
