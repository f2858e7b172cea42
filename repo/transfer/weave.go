package transfer

import (
	"context"
	"fmt"

	"vault/crypto"
	"vault/repo"
	"vault/snapshot"
)

// A weaver builds the trees of the target out of steps, which come in the order
// of a walk through the source. Steps wait in a batch until the blobs that they
// need are there: so these are read many at a time, in the order in which they
// lie in the source's packs, while the next batch is gathered. Its memory is that
// of two batches, of one page a level of each open directory, and of the names
// that it remembers.
//
// Add, data and the others are for one goroutine.
type weaver struct {
	src   *source
	dst   *repo.Repo
	o     *Options
	moved func() // called when a blob is stored, by any goroutine

	w       *repo.Writer
	lane    *repo.Lane   // for pages
	lanes   []*repo.Lane // for data, one a worker
	session int          // what was seen to be stored in an earlier one must be looked up again

	blobs *names // of data
	trees *names // of directories, by their top pages
	lists *names // of contents, by theirs
	notes *notes // of data, what an interrupted run has named

	gathering *batch
	reading   *batch // nil: none
	woven     int    // number of the last batch whose steps were taken

	open    []*directory
	spare   []*directory
	content *snapshot.ContentWriter
	file    *snapshot.Node // whose content is being woven
	result  *snapshot.Node // the root, when all is woven
}

// Sizes of what is remembered and gathered.
const (
	rememberBlobs = 1 << 17
	rememberTrees = 1 << 16

	batchBlobs  = 8 << 10   // wanted blobs of a batch
	batchBytes  = 128 << 20 // their bytes
	batchWeight = 8 << 20   // memory of its steps, about
)

type stepKind uint8

const (
	stepEntry stepKind = iota + 1 // an entry that is complete when its holes are filled
	stepEnter                     // a directory begins
	stepLeave                     // it ends
	stepFile                      // a file with a long content begins
	stepItems                     // some of its items
	stepEnd                       // it ends
)

type step struct {
	kind  stepKind
	node  *snapshot.Node
	items []snapshot.Item
	holes []hole
	tree  *promise  // stepEnter: what the directory becomes
	list  crypto.ID // stepEnd: the name of its list in the source, or zero
}

// hole is a name that is filled in when the blob is stored.
type hole struct {
	at *crypto.ID
	of *promise
}

// batch is steps, and the blobs that they wait for.
type batch struct {
	number   int
	steps    []step
	want     []crypto.ID
	promises []*promise // of want
	bytes    uint64
	weight   int

	done chan struct{} // closed when all of want is stored, or err is set
	err  error
}

// full reports whether it is time to read.
func (b *batch) full(o *Options) bool {
	return len(b.want) >= batchBlobs || b.bytes >= o.batchBytes() || b.weight >= batchWeight
}

// batchBytes is the size of a batch, which is not larger than what may be lost.
func (o *Options) batchBytes() uint64 {
	if o.Checkpoint > 0 {
		return min(batchBytes, uint64(o.Checkpoint))
	}
	return batchBytes
}

// directory is one that is being woven.
type directory struct {
	writer *snapshot.DirWriter
	node   *snapshot.Node
	tree   *promise
}

func newWeaver(dst *repo.Repo, src *source, o *Options) *weaver {
	v := &weaver{dst: dst, src: src, o: o, blobs: newNames(rememberBlobs), trees: newNames(rememberTrees), lists: newNames(rememberTrees), notes: newNotes(dst, src.repo)}
	v.content = snapshot.NewContentWriter(v, dst.Params().Trees)
	v.gathering = &batch{number: 1}
	return v
}

// use makes the weaver store by w. Unless nothing can have gone since the last
// one, what was stored then is looked up before it is used.
func (v *weaver) use(w *repo.Writer, unchanged bool) {
	v.w, v.lane, v.lanes = w, w.Lane(), nil
	for range v.o.Workers {
		v.lanes = append(v.lanes, w.Lane())
	}
	if !unchanged {
		v.distrust()
	}
}

// distrust makes sure that nothing is relied upon that was seen to be stored.
func (v *weaver) distrust() {
	v.session++
	v.trees.clear()
	v.lists.clear()
}

// Put implements snapshot.Sink.
func (v *weaver) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id, _, err := v.lane.Put(ctx, kind, data)
	return id, err
}

// ready reports whether what the promise says may be read.
func (v *weaver) ready(p *promise) bool { return p.batch <= v.woven }

// data returns what a data blob of the source is called in the target, and sees
// to it that it is stored there.
func (v *weaver) data(id crypto.ID, length uint64) *promise {
	if p := v.blobs.get(id); p != nil {
		if !v.ready(p) || p.session == v.session {
			return p
		}
		if v.lane.Has(crypto.BlobData, p.id) {
			p.session = v.session
			return p
		}
	}
	if dst, ok := v.notes.find(id); ok && v.lane.Has(crypto.BlobData, dst) {
		p := &promise{id: dst, known: true, session: v.session}
		v.blobs.put(id, p)
		return p
	}
	p := &promise{batch: v.gathering.number}
	v.blobs.put(id, p)
	b := v.gathering
	b.want, b.promises = append(b.want, id), append(b.promises, p)
	b.bytes += length
	b.weight += 128
	return p
}

// learn notes the name of a blob that a trusted backup of the target holds.
func (v *weaver) learn(in *names, src, dst crypto.ID) {
	if p := in.get(src); p == nil || v.ready(p) && p.session != v.session {
		in.put(src, &promise{id: dst, known: true, session: v.session})
	}
}

// fill sets a name now, or when it is known.
func (v *weaver) fill(s *step, at *crypto.ID, p *promise) {
	if v.ready(p) && p.known {
		*at = p.id
		return
	}
	s.holes = append(s.holes, hole{at, p})
}

// add appends a step, and takes those of an earlier batch when this one is full.
func (v *weaver) add(ctx context.Context, s step) error {
	b := v.gathering
	b.steps = append(b.steps, s)
	b.weight += 128 + 48*(len(s.items)+len(s.holes))
	if s.node != nil {
		b.weight += 320 + len(s.node.Name) + len(s.node.Content.Inline) + 48*len(s.node.Content.Items)
		for i := range s.node.Xattrs {
			b.weight += 96 + len(s.node.Xattrs[i].Value)
		}
	}
	if !b.full(v.o) {
		return nil
	}
	return v.turn(ctx)
}

// turn waits for the batch that is being read, takes its steps, and begins to
// read the one that was gathered.
func (v *weaver) turn(ctx context.Context) error {
	if err := v.take(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b := v.gathering
	v.reading, v.gathering = b, &batch{number: b.number + 1}
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		b.err = v.read(ctx, b, v.lanes)
		v.notes.add(b)
	}()
	return nil
}

// finish takes all steps.
func (v *weaver) finish(ctx context.Context) (*snapshot.Node, error) {
	for v.reading != nil || len(v.gathering.steps) > 0 {
		if err := v.turn(ctx); err != nil {
			return nil, err
		}
		if len(v.gathering.steps) == 0 {
			if err := v.take(ctx); err != nil {
				return nil, err
			}
		}
	}
	root := v.result
	v.result = nil
	return root, nil
}

// abandon forgets all steps, and what they had promised. What is stored already
// stays stored.
func (v *weaver) abandon() {
	if v.reading != nil {
		<-v.reading.done
	}
	for _, b := range []*batch{v.reading, v.gathering} {
		if b == nil {
			continue
		}
		for _, id := range b.want {
			v.blobs.remove(id)
		}
	}
	v.trees.clear() // some may be unfinished
	v.reading, v.gathering = nil, &batch{number: v.gathering.number + 1}
	v.open, v.file, v.result = nil, nil, nil
	v.content.Reset()
}

// read stores the blobs that a batch wants.
func (v *weaver) read(ctx context.Context, b *batch, lanes []*repo.Lane) error {
	session := v.session
	return v.src.repo.GetMany(ctx, len(lanes), crypto.BlobData, b.want, func(worker, i int, data []byte, err error) error {
		if err != nil {
			return ofSource(err)
		}
		id, _, err := lanes[worker].Put(ctx, crypto.BlobData, data)
		if err != nil {
			return err
		}
		p := b.promises[i]
		p.id, p.known, p.session = id, true, session
		v.src.blobs.Add(1)
		v.src.read.Add(int64(len(data)))
		v.moved()
		return nil
	})
}

// take waits for the batch that is being read, and takes its steps.
func (v *weaver) take(ctx context.Context) error {
	b := v.reading
	if b == nil {
		return nil
	}
	<-b.done
	if b.err != nil {
		return b.err
	}
	v.reading, v.woven = nil, b.number
	for i := range b.steps {
		if err := v.step(ctx, &b.steps[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v *weaver) step(ctx context.Context, s *step) error {
	for _, h := range s.holes {
		if !h.of.known { // only a tree that contains itself would make this so
			return ofSource(fmt.Errorf("entry %q: %w", v.name(s), errCycle))
		}
		*h.at = h.of.id
	}
	switch s.kind {
	case stepEntry:
		return v.entry(ctx, s.node)
	case stepEnter:
		v.enter(s)
	case stepLeave:
		return v.leave(ctx)
	case stepFile:
		v.file = s.node
	case stepItems:
		for _, it := range s.items {
			if err := v.content.Add(ctx, it); err != nil {
				return err
			}
		}
	case stepEnd:
		return v.endFile(ctx, s.list)
	}
	return nil
}

func (v *weaver) name(s *step) string {
	if s.node == nil {
		return ""
	}
	return s.node.Name
}

func (v *weaver) enter(s *step) {
	d := &directory{}
	if n := len(v.spare); n > 0 {
		d, v.spare = v.spare[n-1], v.spare[:n-1]
	} else {
		d.writer = snapshot.NewDirWriter(v, v.dst, v.dst.Params().Trees)
	}
	d.node, d.tree = s.node, s.tree
	v.open = append(v.open, d)
}

func (v *weaver) leave(ctx context.Context) error {
	d := v.open[len(v.open)-1]
	v.open = v.open[:len(v.open)-1]
	id, err := d.writer.Finish(ctx)
	if err != nil {
		return err
	}
	v.spare = append(v.spare, d)
	d.tree.id, d.tree.known, d.tree.session = id, true, v.session
	d.node.Tree = id
	return v.entry(ctx, d.node)
}

func (v *weaver) endFile(ctx context.Context, list crypto.ID) (err error) {
	n := v.file
	if n.Content, err = v.content.Finish(ctx); err != nil {
		return err
	}
	if !list.IsZero() && !n.Content.List.IsZero() {
		v.learn(v.lists, list, n.Content.List)
	}
	return v.entry(ctx, n)
}

// entry adds a node to the directory around it.
func (v *weaver) entry(ctx context.Context, n *snapshot.Node) error {
	if len(v.open) == 0 {
		v.result = n
		return nil
	}
	return v.open[len(v.open)-1].writer.Add(ctx, n)
}
