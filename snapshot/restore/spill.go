package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math"

	"vault/internal/wire"
)

// A record of a spill, with numbers in varints but for the first three:
//
//	| length 4 | device 8 | inode 8 | seen 8 | digest 32 | size | made 1 | more 1 | id | stamp | names ... |
//
// The first name is that of the file, the others are those found earlier; each has
// the path, id and stamp of its directory. It is read by the run that wrote it.

const (
	maxRecord = 64 << 10       // bytes of a record
	maxSpill  = math.MaxUint32 // bytes of all
	maxSlots  = 1 << 22        // of 8 bytes
)

// maxSpilled is how many links wait in a file at most. Tests alone change it.
var maxSpilled = maxSlots / 8 * 7

var (
	errManyLinks = errors.New("too many files wait for their other names")
	errManyBytes = fmt.Errorf("the names of those that wait are more than %d bytes", uint64(maxSpill))
	errFarName   = errors.New("its path is too long to be kept")
)

// spill keeps records in a file, and finds them by key. Its index has 8 bytes for
// each: 32 bits of a hash, by which they are ordered, and the place in the file. The
// record tells whether it is the right one. It is not safe for concurrent use.
type spill struct {
	opened bool
	closed func()
	err    error // why nothing more can be put
	f      file
	end    uint64 // of what is in the file
	buf    []byte // what comes after that
	seed   maphash.Seed
	slots  []uint64 // hash<<32 | place; 0 is free; a power of two
	n      int      // taken
}

// start opens the file. If that fails nothing can be put.
func (s *spill) start(open func() (file, error)) {
	s.opened = true
	s.seed = maphash.MakeSeed()
	s.slots = make([]uint64, 1<<12)
	s.buf = make([]byte, 1, 64<<10) // no place is 0
	if s.f, s.err = open(); s.err != nil {
		s.err = fmt.Errorf("make a file for those that wait: %w", s.err)
		return
	}
	s.closed = s.f.close
}

// close closes the file, which is gone then. Nothing can be put any more.
func (s *spill) close() {
	if s.closed != nil {
		s.closed()
	}
	*s = spill{opened: true, err: fs.ErrClosed}
}

func (s *spill) hash(key linkKey) uint32 { return uint32(maphash.Comparable(s.seed, key)) }

// home is where the slot of a hash is, or would be were it free.
func (s *spill) home(slot uint64) int { return int(slot >> 32 * uint64(len(s.slots)) >> 32) }

// put adds a record, which begins with its key, of which there is none. Where there
// is room for it, since an earlier one was taken from there, it goes to that place.
func (s *spill) put(key linkKey, record []byte, place uint64, room int) (err error) {
	switch {
	case s.err != nil:
		return s.err
	case s.n >= maxSpilled:
		return errManyLinks
	case place > 0 && len(record) == room:
		err = s.overwrite(place, record)
	default:
		place, err = s.add(record)
	}
	if err != nil {
		return err
	}
	if s.n >= len(s.slots)/8*7 {
		s.grow()
	}
	s.insert(uint64(s.hash(key))<<32 | place)
	s.n++
	return nil
}

// add writes a record behind all others. What fails to be written stays in memory.
func (s *spill) add(record []byte) (place uint64, err error) {
	size := 4 + len(record)
	if s.end+uint64(len(s.buf)+size) > maxSpill {
		return 0, errManyBytes
	}
	if len(s.buf)+size > cap(s.buf) {
		if s.err = s.f.writeAt(s.buf, s.end); s.err != nil {
			s.err = fmt.Errorf("write the file of those that wait: %w", s.err)
			return 0, s.err
		}
		s.end += uint64(len(s.buf))
		s.buf = s.buf[:0]
	}
	place = s.end + uint64(len(s.buf))
	s.buf = binary.LittleEndian.AppendUint32(s.buf, uint32(len(record)))
	s.buf = append(s.buf, record...)
	return place, nil
}

// overwrite puts a record in the place of one that is as long.
func (s *spill) overwrite(place uint64, record []byte) error {
	if place >= s.end {
		copy(s.buf[place-s.end+4:], record)
		return nil
	}
	return s.f.writeAt(record, place+4)
}

func (s *spill) grow() {
	old := s.slots
	s.slots = make([]uint64, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			s.insert(slot)
		}
	}
}

func (s *spill) insert(slot uint64) {
	i := s.home(slot)
	for ; s.slots[i] != 0; i = (i + 1) & (len(s.slots) - 1) {
	}
	s.slots[i] = slot
}

// take removes the record of a key and returns it with its place, or nil if there is
// none. It is valid until the next put.
func (s *spill) take(key linkKey) (record []byte, place uint64, err error) {
	if s.n == 0 {
		return nil, 0, nil
	}
	hash := s.hash(key)
	for i := s.home(uint64(hash) << 32); s.slots[i] != 0; i = (i + 1) & (len(s.slots) - 1) {
		if uint32(s.slots[i]>>32) != hash {
			continue
		}
		place = uint64(uint32(s.slots[i]))
		if record, err = s.read(place); err != nil {
			return nil, 0, fmt.Errorf("read back where its other names are: %w", err)
		}
		if keyOf(record) == key {
			s.remove(i)
			return record, place, nil
		}
	}
	return nil, 0, nil
}

// remove frees a slot and closes the gap.
func (s *spill) remove(i int) {
	mask := len(s.slots) - 1
	for j := (i + 1) & mask; s.slots[j] != 0; j = (j + 1) & mask {
		if (j-s.home(s.slots[j]))&mask >= (j-i)&mask {
			s.slots[i], i = s.slots[j], j
		}
	}
	s.slots[i] = 0
	s.n--
}

// read returns the record at a place. It may be one that is not in the file yet.
func (s *spill) read(place uint64) ([]byte, error) {
	if place >= s.end {
		b := s.buf[place-s.end:]
		return b[4 : 4+binary.LittleEndian.Uint32(b)], nil
	}
	var length [4]byte
	if err := s.f.readAt(length[:], place); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n < 16 || n > maxRecord {
		return nil, fmt.Errorf("a record of %d bytes", n)
	}
	b := make([]byte, n)
	return b, s.f.readAt(b, place+4)
}

func keyOf(record []byte) linkKey {
	return linkKey{binary.LittleEndian.Uint64(record), binary.LittleEndian.Uint64(record[8:])}
}

// encode returns the record of a link that nobody uses.
func (ls *links) encode(l *link) ([]byte, error) {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 256), l.key.device)
	b = binary.LittleEndian.AppendUint64(b, l.key.inode)
	b = binary.LittleEndian.AppendUint64(b, l.seen)
	b = append(b, l.digest[:]...)
	b = wire.AppendUvarint(b, l.size)
	b = append(b, asByte(l.out.made), asByte(l.more))
	b, _ = appendIdentity(b, l.out.id)
	b = wire.AppendString(b, l.out.stamp)
	names := append([]location{l.at}, l.earlier...)
	b = wire.AppendUvarint(b, uint64(len(names)))
	for _, at := range names {
		path := at.dir.pathOf("")
		if len(path) > maxPathKept || len(b) > maxRecord {
			return nil, errFarName
		}
		b = append(wire.AppendString(b, path), asByte(at.dir.made))
		var ok bool
		if b, ok = appendIdentity(b, at.dir.had.id); !ok {
			return nil, errUnsupported
		}
		b = wire.AppendString(wire.AppendString(b, at.dir.stamp), at.name)
	}
	if len(b) > maxRecord {
		return nil, errFarName
	}
	return b, nil
}

// decode is the inverse of encode.
func (ls *links) decode(key linkKey, b []byte) (*link, error) {
	r := wire.NewReader(b[16:])
	l := &link{key: key, seen: binary.LittleEndian.Uint64(r.Fixed(8))}
	r.Copy(l.digest[:])
	l.size = r.Uvarint(math.MaxUint64)
	l.out.known, l.out.made = true, r.U8() != 0
	l.more = r.U8() != 0
	l.out.id = readIdentity(r)
	l.out.stamp = r.String(maxRecord)
	for i := range r.Count(maxRecord, 1) {
		path := r.String(maxRecord)
		made := r.U8() != 0
		id := readIdentity(r)
		stamp := r.String(maxRecord)
		at := location{ls.again(path, made, id, stamp), r.String(maxRecord)}
		if i == 0 {
			l.at = at
		} else {
			l.earlier = append(l.earlier, at)
		}
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read back where its other names are: %w", err)
	}
	return l, nil
}

func asByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendIdentity(b []byte, id identity) ([]byte, bool) {
	dev, ino, ok := id.numbers()
	return wire.AppendUvarint(wire.AppendUvarint(b, dev), ino), ok
}

func readIdentity(r *wire.Reader) identity {
	dev := r.Uvarint(math.MaxUint64)
	return identityOf(dev, r.Uvarint(math.MaxUint64))
}
