package index

import (
	"bytes"
	"fmt"

	"vault/crypto"
	"vault/pack"
)

// minPackTail is the least that follows the segments of a pack: a sealed directory
// of one segment with one blob, and the footer.
const minPackTail = 3 + 4 + 33 + pack.Overhead + 16 + pack.Overhead

// checkPacks verifies the pack rows: ascending names, known kinds, sizes that a
// pack can have, headers one after another through the whole heap.
func (s *Segment) checkPacks() error {
	heap := 0
	for i := range s.NumPacks() {
		p := s.packs[i*packSize:][:packSize]
		if i > 0 && bytes.Compare(s.packs[(i-1)*packSize:][:32], p[:32]) >= 0 {
			return fmt.Errorf("pack %d is out of order", i)
		}
		if size := le.Uint32(p[32:]); size > pack.MaxSize || crypto.PaddedSize(int(size)) != int(size) {
			return fmt.Errorf("pack %d: %d bytes is no size of a pack", i, size)
		}
		if kind := crypto.BlobKind(p[36]); kind != crypto.BlobData && kind != crypto.BlobTree {
			return fmt.Errorf("pack %d: unknown kind of blobs %d", i, kind)
		}
		if p[37] != 0 || le.Uint32(p[44:]) != 0 {
			return fmt.Errorf("pack %d: reserved field is not zero", i)
		}
		n := int(le.Uint16(p[38:]))
		if n < crypto.HeaderSize || n > maxHeader || int(le.Uint32(p[40:])) != heap || n > len(s.heap)-heap {
			return fmt.Errorf("pack %d: header of %d bytes at %d is not in its place", i, n, le.Uint32(p[40:]))
		}
		heap += n
	}
	if heap != len(s.heap) {
		return fmt.Errorf("headers of %d bytes in a heap of %d", heap, len(s.heap))
	}
	return nil
}

// checkSegments verifies the segment rows: grouped by pack, in every pack one after
// another from the header on, with room for the directory behind them.
func (s *Segment) checkSegments() error {
	current, ordinal := -1, uint32(0)
	var at, end uint64
	for i := 0; i < len(s.segments)/segmentSize; i++ {
		g := s.segments[i*segmentSize:][:segmentSize]
		if number := le.Uint32(g); current < 0 || number != uint32(current) {
			// Every pack has a segment, so the next one is the next number.
			if uint64(number) != uint64(current+1) || int(number) >= s.NumPacks() {
				return fmt.Errorf("segment %d is of pack %d, after %d", i, number, current)
			}
			current, ordinal = int(number), 0
			p := s.packs[current*packSize:][:packSize]
			at = uint64(le.Uint16(p[38:]))
			end = uint64(le.Uint32(p[32:]))
		}
		info := pack.SegmentInfo{
			Offset: le.Uint32(g[4:]), Stored: le.Uint32(g[8:]), Raw: le.Uint32(g[12:]),
			Ordinal: le.Uint32(g[16:]) & 0xffffff, Codec: pack.Codec(g[19]),
		}
		if err := info.Check(); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
		if info.Ordinal != ordinal || ordinal >= pack.MaxSegments || uint64(info.Offset) != at {
			return fmt.Errorf("segment %d: ordinal %d at %d, want %d at %d", i, info.Ordinal, info.Offset, ordinal, at)
		}
		at += uint64(info.Stored)
		if at+minPackTail > end {
			return fmt.Errorf("segment %d ends at %d in a pack of %d bytes", i, at, end)
		}
		ordinal++
	}
	if current+1 != s.NumPacks() {
		return fmt.Errorf("%d of %d packs have segments", current+1, s.NumPacks())
	}
	return nil
}

// checkRows verifies the blob rows: ascending, each within its segment, and the
// blobs of every segment together exactly as long as it is.
func (s *Segment) checkRows() error {
	left := make([]uint32, len(s.segments)/segmentSize)
	for i := range left {
		left[i] = le.Uint32(s.segments[i*segmentSize+12:])
	}
	var last []byte
	for i := range s.n {
		row := s.rows[i*rowSize:][:rowSize]
		if last != nil && compareRows(last, row) >= 0 {
			return fmt.Errorf("row %d is out of order", i)
		}
		last = row
		segment, offset, length := le.Uint32(row[32:]), le.Uint32(row[36:]), le.Uint32(row[40:])
		if uint64(segment) >= uint64(len(left)) {
			return fmt.Errorf("row %d: no segment %d", i, segment)
		}
		raw := le.Uint32(s.segments[int(segment)*segmentSize+12:])
		if length == 0 || uint64(offset)+uint64(length) > uint64(raw) {
			return fmt.Errorf("row %d: %d bytes at %d in a segment of %d", i, length, offset, raw)
		}
		if length > left[segment] {
			return fmt.Errorf("row %d: blobs exceed segment %d of %d bytes", i, segment, raw)
		}
		left[segment] -= length
	}
	for i, n := range left {
		if n != 0 {
			return fmt.Errorf("blobs of segment %d are %d bytes short", i, n)
		}
	}
	return nil
}
