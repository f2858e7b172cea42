package restore

import (
	"fmt"
	"math"
	"sync/atomic"

	"vault/snapshot"
)

// A small repository can describe a tree of any size: a directory that has the
// same directory many times, level below level, or a file that has the same
// chunk again and again. But a volume's record says how many entries and bytes
// it has, and so do listings of backups. Nothing beyond that is restored, but
// for some slack: an entry can have changed while it was read.
var ( // tests alone change them
	slackEntries uint64 = 1 << 16
	slackBytes   uint64 = 1 << 30
)

const slackShare = 8 // and this part of what the record says

// SizeError reports a volume that is larger than its record says.
type SizeError struct {
	Volume   string
	What     string // "entries" or "bytes"
	Recorded uint64
}

// Error says what is too large.
func (e *SizeError) Error() string {
	return fmt.Sprintf("volume %q has many more than the %d %s that its record says: the backup is damaged or made to do harm", e.Volume, e.Recorded, e.What)
}

// budget is what a volume may still take.
type budget struct {
	volume            *snapshot.Volume
	entries, bytes    atomic.Uint64 // taken
	repeated          atomic.Uint64 // bytes that are taken once more
	entryMax, byteMax uint64
}

func newBudget(v *snapshot.Volume) *budget {
	b := &budget{volume: v}
	b.entryMax = plus(b.recorded(), slackEntries)
	b.byteMax = plus(v.BytesProcessed, slackBytes)
	return b
}

// recorded returns the number of entries that the record says.
func (b *budget) recorded() uint64 {
	n := b.volume.Others
	for _, c := range []snapshot.Counts{b.volume.Files, b.volume.Directories} {
		for _, k := range []uint64{c.New, c.Changed, c.Unmodified} {
			n = add(n, k)
		}
	}
	return n
}

func plus(n, slack uint64) uint64 { return add(add(n, n/slackShare), slack) }

// add adds without wrapping.
func add(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// entry counts an entry of the tree.
func (b *budget) entry() error {
	if b.entries.Add(1) > b.entryMax {
		return &SizeError{Volume: b.volume.Name, What: "entries", Recorded: b.recorded()}
	}
	return nil
}

// content counts the content of a file, once for all its links.
func (b *budget) content(n *snapshot.Node) error {
	if n.Type != snapshot.File {
		return nil
	}
	for {
		have := b.bytes.Load()
		now := add(have, n.Size)
		if now > add(b.byteMax, b.repeated.Load()) {
			return &SizeError{Volume: b.volume.Name, What: "bytes", Recorded: b.volume.BytesProcessed}
		}
		if b.bytes.CompareAndSwap(have, now) {
			return nil
		}
	}
}

// repeat lets the content of a file be counted once more: it has other names, of
// which the restore had to forget that they are its.
func (b *budget) repeat(size uint64) {
	for {
		have := b.repeated.Load()
		if b.repeated.CompareAndSwap(have, add(have, size)) {
			return
		}
	}
}
