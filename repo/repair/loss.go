package repair

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"

	"vault/crypto"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// Loss is what backups refer to and is not to be had.
type Loss struct {
	Data, Trees []crypto.ID // blobs, by name; of unreadable pages what is below them is not known
	Places      []Place     // by volume and path
	Backups     []crypto.SessionID
	Cut         bool // there are more places than MaxPlaces
}

// Place is an entry of a volume that does not restore, and in which backups.
type Place struct {
	Volume, Path string // the path below the volume's root, "" for the root, byte-exact
	Directory    bool   // its list of entries is lost, or the rest of it: those missing are not known
	Blobs        []crypto.ID
	Backups      []crypto.SessionID
}

// MaxPlaces bounds the list of places.
const MaxPlaces = 1 << 20

// maxNote bounds the value of a note, in bytes.
const maxNote = 4096

// note is one to be made.
type note struct {
	backup crypto.SessionID
	value  []byte
}

// losses lists what is lost, and the notes that do not say so yet.
func (g *graph) losses(ctx context.Context, c *repo.Collection) (loss Loss, notes []note, err error) {
	for b := range g.lost {
		if b.kind == crypto.BlobData {
			loss.Data = append(loss.Data, b.id)
		} else {
			loss.Trees = append(loss.Trees, b.id)
		}
	}
	slices.SortFunc(loss.Data, crypto.ID.Compare)
	slices.SortFunc(loss.Trees, crypto.ID.Compare)
	t := &tracer{ctx: ctx, c: c, g: g, places: map[placeKey]*Place{}}
	for _, b := range c.Saved() {
		t.backup, t.mine = b.ID, nil
		for i := range b.Volumes {
			if v := &b.Volumes[i]; v.Root != nil && !g.whole() {
				t.volume = v.Name
				if err := t.node(v.Root, ""); err != nil {
					return loss, nil, err
				}
			}
		}
		if len(t.mine) > 0 {
			loss.Backups = append(loss.Backups, b.ID)
		}
		if value := encodeNote(t.mine); !bytes.Equal(value, c.LostNote(b.ID)) {
			notes = append(notes, note{b.ID, value})
		}
	}
	loss.Cut = t.cut
	for _, key := range slices.SortedFunc(maps.Keys(t.places), placeKey.compare) {
		loss.Places = append(loss.Places, *t.places[key])
	}
	return loss, notes, nil
}

type placeKey struct{ volume, path string }

func (k placeKey) compare(l placeKey) int {
	return cmp.Or(cmp.Compare(k.volume, l.volume), cmp.Compare(k.path, l.path))
}

// tracer walks one backup after another, but only where something is lost.
type tracer struct {
	ctx    context.Context
	c      *repo.Collection
	g      *graph
	places map[placeKey]*Place
	cut    bool

	backup crypto.SessionID
	volume string
	mine   []placeKey // of this backup, in the order of the walk
}

// Get implements snapshot.Source for what is left.
func (t *tracer) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	if _, lost := t.g.lost[blob{kind, id}]; lost {
		return nil, &repo.BlobError{ID: id, Kind: kind, Err: errNowhere}
	}
	return getBlob(ctx, t.c, t.c.Sources(), kind, id, dst, func(pack.ID) bool { return true })
}

// node notes what is lost of an entry itself, and goes on below a directory.
func (t *tracer) node(n *snapshot.Node, path string) error {
	var blobs []crypto.ID
	below := crypto.ID{}
	for ref := range snapshot.RefsOf(n) {
		_, lost := t.g.lost[blob{ref.Kind, ref.ID}]
		switch {
		case ref.Kind == crypto.BlobData && lost:
			blobs = append(blobs, ref.ID)
		case ref.Kind == crypto.BlobTree && t.g.lossy(ref.ID) && ref.Page == snapshot.DirLeaf:
			below = ref.ID
		case ref.Kind == crypto.BlobTree && t.g.lossy(ref.ID):
			blobs = t.g.collect(ref.ID, blobs)
		}
	}
	if len(blobs) > 0 {
		t.place(path, blobs, false)
	}
	if below == (crypto.ID{}) {
		return nil
	}
	return t.directory(below, path)
}

func (t *tracer) directory(top crypto.ID, path string) error {
	reader := snapshot.NewDirReader(t.ctx, t, top)
	for {
		n, err := reader.Next()
		var lost *repo.BlobError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &lost):
			t.place(path, []crypto.ID{lost.ID}, true)
			return nil
		case err != nil:
			if t.ctx.Err() != nil || repo.StateOf(err) != repo.Unknown {
				return err
			}
			t.place(path, []crypto.ID{top}, true) // pages that do not fit together
			return nil
		}
		below := n.Name
		if path != "" {
			below = path + "/" + n.Name
		}
		if err := t.node(n, string([]byte(below))); err != nil {
			return err
		}
	}
}

func (t *tracer) place(path string, blobs []crypto.ID, directory bool) {
	key := placeKey{t.volume, path}
	p := t.places[key]
	if p == nil {
		if len(t.places) >= MaxPlaces {
			t.cut = true
			t.mine = append(t.mine, key)
			return
		}
		p = &Place{Volume: t.volume, Path: path}
		t.places[key] = p
	}
	p.Directory = p.Directory || directory
	p.Blobs = append(p.Blobs, blobs...)
	slices.SortFunc(p.Blobs, crypto.ID.Compare)
	p.Blobs = slices.Compact(p.Blobs)
	if !slices.Contains(p.Backups, t.backup) {
		p.Backups = append(p.Backups, t.backup)
	}
	t.mine = append(t.mine, key)
}

// collect appends the lost blobs at and below a page.
func (g *graph) collect(id crypto.ID, blobs []crypto.ID) []crypto.ID {
	p := g.pages[id]
	if p == nil || !g.lossy(id) {
		return blobs
	}
	if p.gone {
		blobs = append(blobs, id)
	}
	blobs = append(blobs, p.data...)
	for _, below := range p.below {
		blobs = g.collect(below, blobs)
	}
	return blobs
}

// encodeNote is the value of a note: the number of places, in decimal digits,
// then volume and path of as many as there is room for, each ended by NUL,
// which neither can contain. Nothing lost is the empty value.
func encodeNote(places []placeKey) []byte {
	if len(places) == 0 {
		return nil
	}
	value := append(strconv.AppendInt(nil, int64(len(places)), 10), 0)
	for _, p := range places {
		if len(value)+len(p.volume)+len(p.path)+2 > maxNote {
			break
		}
		value = append(append(value, p.volume...), 0)
		value = append(append(value, p.path...), 0)
	}
	return value
}

// ParseNote returns the number of places that a note tells of, and those that
// it names. Nothing lost is 0.
func ParseNote(value []byte) (count int, places []Place, err error) {
	if len(value) == 0 {
		return 0, nil, nil
	}
	fields := bytes.Split(value, []byte{0})
	last := len(fields) - 1
	if last < 1 || len(fields[last]) > 0 || last%2 != 1 {
		return 0, nil, errors.New("parse note of losses: not as a repair writes it")
	}
	if count, err = strconv.Atoi(string(fields[0])); err != nil || count < last/2 || count < 1 || strconv.Itoa(count) != string(fields[0]) {
		return 0, nil, errors.New("parse note of losses: the number of places is wrong")
	}
	for i := 1; i < last; i += 2 {
		places = append(places, Place{Volume: string(fields[i]), Path: string(fields[i+1])})
	}
	return count, places, nil
}
