package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"vault/snapshot"
)

// stream reads a volume that is one stream of bytes.
func (r *run) stream(src Opener, parent *Parent, vol *snapshot.Volume) error {
	r.start()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	in, err := src.Open(ctx)
	if err != nil {
		if cause := context.Cause(r.ctx); cause != nil {
			return cause
		}
		r.problem(vol, ".", err)
		return nil
	}
	n := &snapshot.Node{Type: snapshot.File, Mode: 0o600, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	n.User, n.Group = r.names.user(n.UID), r.names.group(n.GID)
	err = r.own.cut.stream(ctx, &watched{Reader: in, run: r}, n)
	if err != nil {
		cancel() // it need not run to its end
	}
	closed := in.Close()
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	switch {
	case err != nil && (stops(err) || r.own.sink.err != nil):
		return err
	case err != nil:
		err = fmt.Errorf("read %v: %w", vol.Kind, err)
	case closed != nil:
		err = closed
	case n.Size == 0:
		err = fmt.Errorf("%w", errEmpty)
	}
	if err != nil {
		r.problem(vol, ".", err)
		return nil
	}
	n.MTime = snapshot.TimeOf(r.o.Now())
	n.CTime = n.MTime
	r.countStream(n, parent, vol)
	vol.Root = n
	return nil
}

var errEmpty = errors.New("wrote nothing: an empty stream is not stored")

// countStream compares the content alone: a stream has no other identity.
func (r *run) countStream(n *snapshot.Node, parent *Parent, vol *snapshot.Volume) {
	status := New
	switch {
	case parent == nil || parent.Root == nil || parent.Root.Type != snapshot.File:
		vol.Files.New++
	case parent.Root.Size == n.Size && equalContent(&n.Content, &parent.Root.Content):
		status = Unmodified
		vol.Files.Unmodified++
	default:
		status = Changed
		vol.Files.Changed++
	}
	vol.BytesProcessed = n.Size
	r.seen.files++
	if r.seen.items {
		r.seen.emit(Event{Kind: EventItem, Path: ".", Type: n.Type, Status: status, Size: n.Size})
	}
}

// watched gives signs of life as it is read.
type watched struct {
	io.Reader
	run *run
}

func (w *watched) Read(b []byte) (int, error) {
	select {
	case <-w.run.seen.ticks():
		w.run.seen.emit(Event{Kind: EventProgress, Path: "."})
	default:
	}
	return w.Reader.Read(b)
}
