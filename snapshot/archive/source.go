package archive

import (
	"context"
	"errors"
	"io"
	"time"

	"vault/snapshot"
)

// Source is what a volume is read from: a Path, a List, a Tree or an Opener.
type Source interface {
	// Describe returns the kind and the text by which the backup records it.
	Describe() (kind snapshot.VolumeKind, source string)
}

// Opener is a Source of one stream of bytes, which becomes a volume whose root
// is a file.
type Opener interface {
	Source
	// Open starts the stream. Reads should end soon after ctx does. Close is
	// called exactly once, after the last Read; its error says that what was read
	// is not good, and fails the volume. A stream without bytes fails it as well.
	Open(ctx context.Context) (io.ReadCloser, error)
}

// Path is a file, a directory with everything below it, or another entry of a
// file system. A symbolic link is stored as the link that it is, as tar and rsync
// do, and a notice says so; a path that ends in a slash means what the link
// points to.
type Path struct {
	Path string
}

// Describe implements Source.
func (p Path) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumePath, p.Path }

// Stream is an Opener over a Reader: standard input, for instance.
//
// When the context of the run ends, the Reader is given a read deadline in the
// past if it takes one (as *os.File and net.Conn do), else it is closed if it is an io.Closer;
// otherwise the run ends when its Read returns.
type Stream struct {
	Reader io.Reader
	Label  string // recorded as the source, for people
}

// Describe implements Source.
func (s Stream) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumeStdin, s.Label }

// Open implements Opener.
func (s Stream) Open(ctx context.Context) (io.ReadCloser, error) {
	if s.Reader == nil {
		return nil, errors.New("stream without a reader")
	}
	stop := context.AfterFunc(ctx, s.interrupt)
	return &openStream{Reader: s.Reader, stop: stop}, nil
}

func (s Stream) interrupt() {
	if d, ok := s.Reader.(interface{ SetReadDeadline(time.Time) error }); ok {
		if d.SetReadDeadline(time.Unix(1, 0)) == nil {
			return
		}
	}
	if c, ok := s.Reader.(io.Closer); ok {
		c.Close()
	}
}

// openStream leaves the Reader open: it belongs to the caller.
type openStream struct {
	io.Reader
	stop func() bool
}

func (o *openStream) Close() error {
	o.stop()
	return nil
}
