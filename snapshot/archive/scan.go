package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vault/internal/match"
	"vault/internal/sys"
	"vault/snapshot"
)

const (
	maxHeld   = 24 << 20 // bytes of nodes that wait; see the package comment
	slotCost  = 512      // what a slot with its node takes, without its content
	maxWide   = 4096     // entries looked at before the directories among them are entered
	pollEvery = 16       // entries between looks at what the workers have done

	batchFiles = 64
	batchBytes = 1 << 20
	batchDirs  = 8
)

// scan is the state of one path volume. It belongs to the scanner.
type scan struct {
	*run
	vol      *snapshot.Volume
	parent   *Parent
	excludes *Excludes     // nil if there are none
	patterns match.Set     // of excludes
	leftOut  uint64        // entries excluded
	found    uint64        // listed paths that there are; see List
	safe     snapshot.Time // files of the parent that changed after this are read again

	root    *slot
	top     *frame // the directory being scanned
	devices map[uint64]*device
	links   map[inode]*link

	batch    *batch   // being filled
	inflight int      // batches with the workers
	free     []*batch // for reuse
	held     int      // bytes of slots in queues
	stuck    int      // those of them behind directories not yet entered
	entries  uint     // looked at

	stat    sys.Stat_t // room for calls
	dirents []byte
	target  []byte
	lists   []listing // for reuse
	writers []*snapshot.DirWriter
	direct  slot // of an entry that goes into its directory at once
	ahead   ahead
}

func newScan(r *run, parent *Parent, vol *snapshot.Volume) *scan {
	s := &scan{run: r, vol: vol, parent: parent, devices: map[uint64]*device{}, links: map[inode]*link{},
		batch: &batch{}, dirents: make([]byte, direntBytes)}
	if parent != nil {
		s.safe = parent.ScanStarted
		s.safe.Sec -= racySeconds
	}
	return s
}

// loop scans the directories from the top one down, and waits for the workers.
func (s *scan) loop() error {
	for s.top != nil {
		if s.entries++; s.entries%pollEvery == 0 {
			if err := s.poll(); err != nil {
				return err
			}
		}
		for s.held >= maxHeld && (s.inflight > 0 || len(s.batch.tasks) > 0) {
			if err := s.wait(); err != nil {
				return err
			}
		}
		if err := s.step(s.top); err != nil {
			return err
		}
	}
	for s.inflight > 0 || len(s.batch.tasks) > 0 {
		if err := s.wait(); err != nil {
			return err
		}
	}
	return context.Cause(s.ctx)
}

// step looks at the next entry of a directory, or enters one below it, or leaves
// it. Files come first, so that they lie together; but what comes after the first
// directory has to wait for it, so there is a limit.
func (s *scan) step(f *frame) error {
	more := f.next < f.list.len() && !f.closed
	full := len(f.subs) > 0 && (f.wide >= maxWide || s.stuck >= maxHeld/2)
	switch {
	case more && !full:
		return s.entry(f)
	case len(f.subs) > 0:
		if !more {
			s.dropLooks(f)
		}
		sub, p := f.subs[0], f.nextPeek()
		if f.subs = f.subs[1:]; len(f.subs) == 0 {
			f.subs, f.wide = nil, 0
		}
		s.peekInto(f)
		return s.enter(sub, p)
	case more:
		return nil
	}
	return s.leave(f)
}

// entry looks at the next name of a directory.
func (s *scan) entry(f *frame) error {
	if f.next%lookAtOnce == 0 {
		s.peekAt(f, f.next)
	}
	name, seen := f.list.name(f.next), s.saw(f, f.next)
	f.next++
	if len(f.subs) > 0 {
		f.wide++
	}
	old, gap, err := f.old.seek(name)
	f.gap = f.gap || gap
	if err != nil {
		if err := s.lostParent(f, err); err != nil {
			return err
		}
	}
	if f.patterns != nil && (seen == nil && unseen(f.patterns, name) || seen != nil && seen.unseen) {
		s.exclude(f, name, old)
		return nil
	}
	var st stat
	switch {
	case seen != nil:
		st, err = seen.st, nil
	case f.way != nil:
		err = s.look(f, name, &st)
	default:
		if err = st.lstat(f.dir.fd, name, &s.stat); err != nil {
			err = fmt.Errorf("stat: %w", err)
		}
	}
	if err != nil {
		s.skip(f, name, old, err)
		return nil
	}
	kind := st.kind()
	switch {
	case (f.patterns != nil || s.o.Select != nil) && s.excluded(f, name, &st, kind):
		s.exclude(f, name, old)
		return nil
	case kind == snapshot.Directory && s.home.is(&st):
		s.exclude(f, name, old)
		s.notice(f.path(name), noticeHome)
		return nil
	case kind == 0:
		s.skip(f, name, old, fmt.Errorf("unknown file type %#o", st.mode&sys.S_IFMT))
		return nil
	case kind == snapshot.Socket:
		f.gap = f.gap || old != nil
		s.notice(f.path(name), "socket, not stored")
		return nil
	}
	dev := s.device(st.dev)
	switch {
	case kind == snapshot.Directory:
		e := &slot{frame: f, node: s.node(strings.Clone(name), &st), old: s.keep(old)}
		s.push(f, e)
		f.subs = append(f.subs, e)
		return nil
	case old != nil && s.unchanged(&st, dev, old):
		if ok, err := s.known(old); ok || err != nil {
			if err != nil {
				return err
			}
			return s.take(f, &st, old)
		}
	}
	if kind == snapshot.File {
		return s.file(f, strings.Clone(name), &st, dev, old)
	}
	return s.other(f, strings.Clone(name), &st, dev, old)
}

// lostParent goes on without the parent's directory, after an error.
func (s *scan) lostParent(f *frame, err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return cause
	}
	f.gap = true
	s.notice(f.where(), "parent backup is unreadable here, everything is read again: "+err.Error())
	return nil
}

// skip leaves out an entry that could not be looked at.
func (s *scan) skip(f *frame, name string, old *snapshot.Node, err error) {
	f.gap = f.gap || old != nil
	if vanished(err) {
		s.notice(f.path(name), noticeVanished)
		return
	}
	s.problem(s.vol, f.path(name), err)
}

// node returns a node with what a stat tells.
func (s *scan) node(name string, st *stat) *snapshot.Node {
	n := &snapshot.Node{Name: name}
	st.fill(n, s.names)
	if d := s.devices[st.dev]; d != nil {
		n.Device = d.number
	}
	return n
}

// keep copies what must outlive the next read of the parent.
func (s *scan) keep(old *snapshot.Node) *snapshot.Node {
	if old == nil {
		return nil
	}
	return old.Clone()
}

// device returns the device of a stat, numbering it when it is new.
func (s *scan) device(dev uint64) *device {
	d := s.devices[dev]
	if d == nil {
		d = &device{number: uint64(len(s.devices))}
		s.devices[dev] = d
	}
	return d
}

// other stores what is neither a file nor a directory. It is not opened.
func (s *scan) other(f *frame, name string, st *stat, dev *device, old *snapshot.Node) error {
	n, at := s.node(name, st), sys.AT_FDCWD
	if f != nil {
		at = f.dir.fd
	} else {
		n.Name = ""
	}
	if n.Type == snapshot.Symlink {
		target, err := s.readlink(at, name)
		if err != nil {
			if f == nil {
				return err
			}
			s.skip(f, name, old, fmt.Errorf("read link: %w", err))
			return nil
		}
		n.Target = target
	}
	if err := s.own.attrs.read(s.ctx, targetAt(at, name), dev, n, &s.own.sink, s.o.Thresholds.InlineXattr); err != nil {
		switch {
		case stops(err):
			return err
		case vanished(err): // the entry, or /proc is not mounted
			s.notice(f.path(name), "extended attributes were not read")
		default:
			s.problem(s.vol, f.path(name), err)
		}
	}
	return s.settle(f, n, old)
}

func (s *scan) readlink(fd int, name string) (string, error) {
	if s.target == nil {
		s.target = make([]byte, snapshot.MaxTarget+1)
	}
	for {
		n, err := sys.Readlinkat(fd, name, s.target)
		switch {
		case err == sys.EINTR:
		case err != nil:
			return "", err
		case n == 0 || n > snapshot.MaxTarget:
			return "", errors.New("target is empty or too long")
		default:
			return string(s.target[:n]), nil
		}
	}
}

// settle puts a finished node into its directory, now or when what comes before it
// is finished. It takes over n.
func (s *scan) settle(f *frame, n *snapshot.Node, old *snapshot.Node) error {
	e := &slot{frame: f, node: n, old: old, done: true}
	s.compare(e)
	if f == nil {
		s.root = e
		return nil
	}
	if e.gap, f.gap = f.gap, false; !f.waiting() {
		return s.place(f, e)
	}
	e.old = s.keep(old)
	s.pushDone(f, e)
	return nil
}

// compare sets the status of a finished entry.
func (s *scan) compare(e *slot) {
	switch {
	case e.old == nil || e.old.Type != e.node.Type:
		e.status = New
	case !equal(e.node, e.old):
		e.status = Changed
	default:
		e.status = Unmodified
		e.same = s.parent.Trusted
	}
}

func (s *scan) push(f *frame, e *slot) {
	e.gap, f.gap = f.gap, false
	s.pushDone(f, e)
}

func (s *scan) pushDone(f *frame, e *slot) {
	e.cost = slotCost
	s.held += e.cost
	if len(f.subs) > 0 {
		e.stuck = true
		s.stuck += e.cost
	}
	f.push(e)
}
