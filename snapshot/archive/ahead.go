package archive

import (
	"sync"
	"time"

	"vault/internal/sys"
	"vault/snapshot"
)

// Most of the time of a scan is the file system's. So helpers look ahead of the scanner:
// into the next of the directories that wait to be entered, and at the next entries of a
// wide one. The scanner alone decides, in the order of names, and what no helper has begun
// when it comes there it does itself.
const (
	lookers    = 4               // helpers
	maxPeeks   = 64              // at once, of all directories on the way down
	aheadDirs  = 8               // directories looked into ahead, of each on the way down
	aheadLooks = 4               // likewise, peeks at entries
	lookAtOnce = 256             // entries of a peek
	maxPeekAge = 2 * time.Second // what was seen before is looked at again
)

// ahead is what a scan has of its helpers. It belongs to the scanner, but for the
// channel and the group.
type ahead struct {
	jobs  chan *peek // a peek that the scanner took may still be in it, even used anew; see peek.take
	group sync.WaitGroup
	all   []*peek // ever made
	free  []*peek
	now   time.Time // the clock, read every now and then
}

// halt ends the helpers and closes what they have opened.
func (s *scan) halt() {
	if s.ahead.jobs == nil {
		return
	}
	for _, p := range s.ahead.all {
		p.take()
	}
	close(s.ahead.jobs)
	s.ahead.group.Wait()
	for _, p := range s.ahead.all {
		if p.fd >= 0 {
			sys.Close(p.fd)
		}
	}
	s.ahead = ahead{}
}

func (s *scan) looker() {
	defer s.ahead.group.Done()
	buf, room := make([]byte, maxPeekText), new(sys.Stat_t)
	for p := range s.ahead.jobs {
		if p.take() {
			p.run(s.ctx, buf, room)
			p.done <- struct{}{}
		}
	}
}

// newPeek returns a peek into or at a directory, nil if there are enough.
func (s *scan) newPeek(f *frame) *peek {
	a := &s.ahead
	if a.jobs == nil {
		a.jobs = make(chan *peek, maxPeeks)
		a.now = time.Now()
		for range lookers {
			a.group.Add(1)
			go s.looker()
		}
	}
	var p *peek
	switch k := len(a.free); {
	case k > 0:
		p, a.free = a.free[k-1], a.free[:k-1]
	case len(a.all) < maxPeeks:
		p = &peek{done: make(chan struct{}, 1), fd: -1}
		a.all = append(a.all, p)
	default:
		return nil
	}
	p.dir, p.patterns, p.n = f.dir, f.patterns, lookAtOnce
	p.dir.refs++
	return p
}

// send offers a peek to the helpers. Nobody waits for that: if the channel is full
// the scanner will run the peek.
func (a *ahead) send(p *peek) {
	p.taken.Store(false)
	select {
	case a.jobs <- p:
	default:
	}
}

// finishPeek has a peek run, if that was not begun yet, and waits for its end.
func (s *scan) finishPeek(p *peek) {
	if p.ran {
		return
	}
	if p.take() {
		p.run(s.ctx, s.dirents, &s.stat)
	} else {
		<-p.done
	}
	p.ran = true
	s.dirs.release(p.dir)
}

// drop gives a peek back. What it has opened is closed.
func (s *scan) drop(p *peek) {
	if !p.ran {
		if !p.take() {
			<-p.done
		}
		s.dirs.release(p.dir)
	}
	if p.fd >= 0 {
		sys.Close(p.fd)
	}
	p.reset()
	s.ahead.free = append(s.ahead.free, p)
}

// reset leaves a peek as a new one, with its buffers.
func (p *peek) reset() {
	p.dir, p.name, p.names, p.excludes, p.patterns = nil, "", nil, nil, nil
	p.fd, p.from, p.stay, p.listed, p.chosen, p.ran = -1, 0, false, false, false, false
	p.looks = p.looks[:0]
}

// stale reports whether what was seen is too old to be relied upon.
func (s *scan) stale(p *peek) bool { return s.ahead.now.Sub(p.at) > maxPeekAge }

// nextPeek returns the peek into the first of f.subs, if there is one.
func (f *frame) nextPeek() *peek {
	if len(f.into) == 0 {
		return nil
	}
	p := f.into[0]
	if f.into = f.into[1:]; len(f.into) == 0 {
		f.into = nil
	}
	return p
}

// peekInto has helpers look into the first of f.subs. The scanner is about to enter the
// one before them.
func (s *scan) peekInto(f *frame) {
	if f.closed || f.alone || f.way != nil || len(f.into) > aheadDirs/2 || f.depth+1 > snapshot.MaxDepth-2 {
		return
	}
	for len(f.into) < min(aheadDirs, len(f.subs)) {
		e := f.subs[len(f.into)]
		p := s.newPeek(f)
		if p == nil {
			return
		}
		p.name, p.noatime = e.node.Name, s.mayHide(e.node.UID)
		p.stay, p.dev, p.excludes = s.oneFS, f.dev, s.excludes
		if k := len(s.lists); k > 0 && cap(p.list.text) == 0 {
			p.list, s.lists = s.lists[k-1], s.lists[:k-1]
		}
		p.names = &p.list
		s.ahead.send(p)
		f.into = append(f.into, p)
	}
}

// enterPeek returns a peek that may stand for the opening of a directory, or nil.
func (s *scan) enterPeek(up *frame, p *peek) *peek {
	if p == nil {
		return nil
	}
	if !up.closed {
		s.finishPeek(p)
		if up.alone = s.stale(p); !up.alone && p.fd >= 0 {
			return p
		}
	}
	s.drop(p)
	return nil
}

// peekAt has helpers look at the entries of a wide directory, of which i is the
// next that the scanner looks at.
func (s *scan) peekAt(f *frame, i int) {
	if f.way != nil {
		return
	}
	next := i + lookAtOnce
	if k := len(f.at); k > 0 {
		next = f.at[k-1].from + lookAtOnce
	}
	for len(f.at) < aheadLooks && next+lookAtOnce/4 < f.list.len() {
		p := s.newPeek(f)
		if p == nil {
			return
		}
		p.names, p.from = &f.list, next
		s.ahead.send(p)
		f.at = append(f.at, p)
		next += lookAtOnce
	}
}

// saw returns what was seen of entry i of a directory, nil if that is nothing. It is valid
// until the next call.
func (s *scan) saw(f *frame, i int) *look {
	for len(f.at) > 0 {
		p := f.at[0]
		if i < p.from {
			return nil
		}
		if i < p.from+lookAtOnce {
			s.finishPeek(p)
			if i-p.from < len(p.looks) && !s.stale(p) {
				if l := &p.looks[i-p.from]; l.known || l.unseen {
					return l
				}
			}
			return nil
		}
		if f.at = f.at[1:]; len(f.at) == 0 {
			f.at = nil
		}
		s.drop(p)
	}
	return nil
}

// dropLooks drops what was seen of the entries of a directory.
func (s *scan) dropLooks(f *frame) {
	for _, p := range f.at {
		s.drop(p)
	}
	f.at = nil
}
