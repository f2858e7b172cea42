package transfer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"vault/crypto"
	"vault/internal/cache"
	"vault/repo"
)

// notes are what the copying host remembers of backups whose copies are not
// committed: which data blob of the source has which name in the target. So a
// run that was interrupted, or killed, is gone on with by the next one without
// reading again what is stored.
//
// They are files in the client's cache, one a batch, which are authenticated by a
// key that takes the keys of both repositories: whoever wrote one had read the
// content and named it. A pair of names is true for ever; but whether the
// target has the blob is for the Writer to say whenever a note is used. A file
// is mapped, not read into the heap, where a pair needs 16 bytes.
//
//	| name in the source 32 | name in the target 32 |   a pair; a file is some of them
//
// The name of a file is the id of the backup that was being copied, and half of
// the hash of what is in it. It is removed when that backup is committed.
//
// Use them from one goroutine at a time.
type notes struct {
	cache  *cache.Cache // nil: there is none
	of     crypto.SessionID
	loaded bool
	kept   map[crypto.SessionID]size
	files  [][]byte
	pairs  []noted // of files, those that the target had; ordered by prefix
}

// size is how much is kept of one backup.
type size struct{ files, pairs int }

// noted is where a pair is.
type noted struct {
	prefix   uint64 // of the name in the source
	file, at uint32
}

// What is kept at most: 256 MiB, which is enough for the first 1.3 TB of a backup
// if chunks are of the usual size; of what is beyond, nothing is remembered.
const (
	pairSize  = 64
	mostPairs = 4 << 20
	mostFiles = 16 << 10 // each is a mapping
)

func newNotes(dst, src *repo.Repo) *notes {
	return &notes{cache: dst.CopiesFrom(src), kept: map[crypto.SessionID]size{}}
}

func prefixOf(id []byte) uint64 { return binary.BigEndian.Uint64(id) }

// load reads what was noted about the backups that are wanted, as far as the
// target has it, and removes the rest.
func (n *notes) load(wanted func(crypto.SessionID) bool, has func(crypto.ID) bool) {
	n.loaded = true
	if n.cache == nil {
		return
	}
	n.close()
	for _, name := range n.cache.Segments() {
		of, before := crypto.SessionID(name[:16]), len(n.pairs)
		var b []byte
		if wanted(of) && len(n.files) < mostFiles {
			b, _ = n.cache.Segment(name)
		}
		if len(b)%pairSize == 0 {
			n.index(b, has)
		}
		if len(n.pairs) == before {
			n.cache.DropSegment(name)
			continue
		}
		n.files = append(n.files, b)
		n.keep(of, len(b)/pairSize)
	}
	slices.SortFunc(n.pairs, func(a, b noted) int { return cmp.Compare(a.prefix, b.prefix) })
}

// index takes the pairs of the next file whose blob the target has.
func (n *notes) index(b []byte, has func(crypto.ID) bool) {
	for at := 0; at < len(b) && len(n.pairs) < mostPairs; at += pairSize {
		if has(crypto.ID(b[at+32 : at+64])) {
			n.pairs = append(n.pairs, noted{prefixOf(b[at:]), uint32(len(n.files)), uint32(at)})
		}
	}
}

func (n *notes) keep(of crypto.SessionID, pairs int) {
	s := n.kept[of]
	n.kept[of] = size{s.files + 1, s.pairs + pairs}
}

// find returns the name in the target of a blob of the source. Whether it is
// still there is another question.
func (n *notes) find(src crypto.ID) (dst crypto.ID, ok bool) {
	prefix := prefixOf(src[:])
	i, _ := slices.BinarySearchFunc(n.pairs, prefix, func(p noted, prefix uint64) int { return cmp.Compare(p.prefix, prefix) })
	for ; i < len(n.pairs) && n.pairs[i].prefix == prefix; i++ {
		p := &n.pairs[i]
		if b := n.files[p.file][p.at:][:pairSize]; bytes.Equal(b[:32], src[:]) {
			return crypto.ID(b[32:]), true
		}
	}
	return dst, false
}

// add notes what of a batch was read and named.
func (n *notes) add(b *batch) {
	if n.cache == nil {
		return
	}
	var payload []byte
	for i, p := range b.promises {
		if p.known {
			payload = append(append(payload, b.want[i][:]...), p.id[:]...)
		}
	}
	var all size
	for _, s := range n.kept {
		all = size{all.files + s.files, all.pairs + s.pairs}
	}
	pairs := len(payload) / pairSize
	if pairs == 0 || all.files >= mostFiles || all.pairs+pairs > mostPairs {
		return
	}
	name := crypto.FileHash(payload)
	copy(name[:16], n.of[:])
	n.cache.PutSegment(name, payload)
	n.keep(n.of, pairs)
}

// done removes what was noted about a backup, which has been committed.
func (n *notes) done(of crypto.SessionID) {
	if n.kept[of] == (size{}) {
		return
	}
	delete(n.kept, of)
	for _, name := range n.cache.Segments() {
		if crypto.SessionID(name[:16]) == of {
			n.cache.DropSegment(name)
		}
	}
}

// close lets go of what was loaded.
func (n *notes) close() {
	n.files, n.pairs = nil, nil
	clear(n.kept)
	if n.cache != nil {
		_ = n.cache.Close() // a mapping that stays does no harm
	}
}
