package archive

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"vault/internal/match"
	"vault/internal/sys"
)

// A look is what was seen of an entry: either of these, or nothing of it.
type look struct {
	st     stat
	known  bool // st was taken
	unseen bool // it is left out by its name
}

// A peek is a look at some entries of a directory, or into a directory below it,
// before the scanner comes there. It does what the scanner would do, in the same order
// and by the same descriptors. What fails is left to the scanner, which does it again and
// tells about it.
//
// Whoever takes a peek first runs it, a helper or the scanner. A helper gives it back with a
// value in done; otherwise it is the scanner's.
type peek struct {
	taken atomic.Bool
	done  chan struct{} // one value, when a helper has run it

	// The question.
	dir      *dir   // with a reference for the peek
	name     string // of the directory to look into; "" if it is dir itself
	noatime  bool
	stay     bool // it is listed only if it lies on dev
	dev      uint64
	excludes *Excludes
	patterns *match.Dir // of dir; then of what is looked into
	names    *listing   // of the directory of the entries
	from, n  int        // those to look at, at most

	// The answer.
	fd     int // of what was opened, with st; -1 if nothing was
	st     stat
	listed bool // list is complete
	chosen bool // patterns are those of fd
	list   listing
	looks  []look
	at     time.Time // when it was done

	ran bool // and is the scanner's again
}

// maxPeekText is how many bytes of names a directory may have that is listed ahead.
const maxPeekText = 32 << 10

// take reports whether the peek is the caller's to run. It is of the first one only, even
// if the channel has the peek several times, from earlier uses.
func (p *peek) take() bool { return !p.taken.Swap(true) }

// run looks. Buf and u are room for calls.
func (p *peek) run(ctx context.Context, buf []byte, u *sys.Stat_t) {
	fd := p.dir.fd
	if p.name == "" || p.open(buf, u) {
		if p.name != "" {
			fd = p.fd
		}
		p.look(ctx, fd, u)
	}
	p.at = time.Now()
}

// open opens and lists the directory. It reports whether its entries may be looked
// at.
func (p *peek) open(buf []byte, u *sys.Stat_t) bool {
	fd, err := openat(p.dir.fd, p.name, openDir, p.noatime)
	if err != nil {
		return false
	}
	if p.st.fstat(fd, u) != nil {
		sys.Close(fd)
		return false
	}
	p.fd = fd
	if p.stay && p.st.dev != p.dev {
		return false
	}
	if !p.list.readSmall(fd, buf, maxPeekText) {
		if _, err := sys.Seek(fd, 0, io.SeekStart); err != nil {
			sys.Close(fd)
			p.fd = -1
		}
		return false
	}
	p.listed = true
	if x := p.excludes; x != nil {
		if x.askedBy(&p.list) {
			return false
		}
		p.patterns, p.chosen = p.patterns.Enter(p.name), true
	}
	return true
}

// look takes the stats of the entries, in order.
func (p *peek) look(ctx context.Context, fd int, u *sys.Stat_t) {
	for i := range min(p.n, p.names.len()-p.from) {
		if i%pollEvery == 0 && ctx.Err() != nil {
			return
		}
		name := p.names.name(p.from + i)
		p.looks = append(p.looks, look{})
		l := &p.looks[i]
		if p.patterns != nil && unseen(p.patterns, name) {
			l.unseen = true
		} else {
			l.known = l.st.lstat(fd, name, u) == nil
		}
	}
}

// askedBy reports whether a directory has a file that says what of it is left out.
func (x *Excludes) askedBy(l *listing) bool {
	for _, name := range x.IgnoreFiles {
		if l.has(name) {
			return true
		}
	}
	for i := range x.Markers {
		if l.has(x.Markers[i].Name) {
			return true
		}
	}
	return false
}
