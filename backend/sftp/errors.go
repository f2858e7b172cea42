package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pkg/sftp"

	"vault/backend"
)

// lost says that a connection broke, or could not be made, in a way that may
// be over soon. What was asked over it may or may not have happened.
type lost struct{ err error }

func (e *lost) Error() string { return e.err.Error() }
func (e *lost) Unwrap() error { return e.err }

// temporary reports whether the same operation may succeed later.
func temporary(err error) bool {
	var l *lost
	return errors.As(err, &l)
}

// marked carries a kind and a hint from where they are known to failed.
type marked struct {
	kind error
	err  error
	hint string
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }

// errGone says that the repository's directory is not there, though its parent is.
var errGone = errors.New("no such directory")

// unreachable marks err, which says why the place cannot be asked.
func unreachable(err error) error {
	if isContext(err) {
		return err
	}
	var m *marked
	if errors.As(err, &m) && m.kind != nil && errors.Is(m.kind, backend.ErrUnreachable) {
		return err
	}
	kind, hint := classify(err)
	if kind == nil || !errors.Is(kind, backend.ErrUnreachable) {
		kind = backend.ErrUnreachable
	}
	return &marked{kind: kind, err: err, hint: hint}
}

// failed describes the failure of one operation.
func (s *Store) failed(op, name string, err error) error {
	var done *backend.Error
	if isContext(err) || errors.As(err, &done) {
		return err
	}
	e := &backend.Error{Op: op, Place: s.place, Name: name, Err: err}
	var m *marked
	switch {
	case errors.As(err, &m):
		// The cause may match fs.ErrNotExist, which callers would take for a
		// missing object.
		e.Kind, e.Hint, e.Err = m.kind, m.hint, opaque(err, m.kind)
	case err == errGone:
		e.Kind = fs.ErrNotExist
	default:
		e.Kind, e.Hint = classify(err)
	}
	return e
}

func isContext(err error) bool {
	var l *lost
	return (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && !errors.As(err, &l)
}

// opaque returns err, or an error with its text alone if it matches one with a
// meaning of its own to callers of a backend, which is not kind.
func opaque(err, kind error) error {
	for _, meaning := range []error{fs.ErrNotExist, fs.ErrExist, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, meaning) && kind != meaning {
			return errors.New(err.Error())
		}
	}
	return err
}

// classify returns the kind of failure that an answer of the server stands
// for by itself, and advice.
func classify(err error) (kind error, hint string) {
	var l *lost
	var status *sftp.StatusError
	switch {
	case errors.As(err, &l):
		return backend.ErrUnreachable, "is the server up, and the network?"
	case errors.Is(err, fs.ErrNotExist):
		return fs.ErrNotExist, ""
	case errors.Is(err, fs.ErrExist):
		return fs.ErrExist, ""
	case errors.Is(err, fs.ErrPermission):
		return backend.ErrPermission, "check the owner and mode of the repository's directory on the server"
	case errors.As(err, &status):
		switch status.FxCode() {
		case sftp.ErrSSHFxFailure:
			return nil, "the server does not say why; a quota, a read-only or a broken disk look like this"
		case sftp.ErrSSHFxOpUnsupported:
			return errors.ErrUnsupported, "the server's SFTP lacks something that is needed; OpenSSH has it"
		}
	}
	return nil, ""
}

// isFailure reports whether the server answered a bare "failure", which stands
// for most error numbers.
func isFailure(err error) bool { return hasCode(err, sftp.ErrSSHFxFailure) }

func isUnsupported(err error) bool { return hasCode(err, sftp.ErrSSHFxOpUnsupported) }

// isBadMessage reports what OpenSSH answers for EINVAL.
func isBadMessage(err error) bool { return hasCode(err, sftp.ErrSSHFxBadMessage) }

func hasCode(err error, code error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) && error(status.FxCode()) == code
}

// lowSpace is what a full file system may still claim to have left, and
// readOnly a flag of statvfs@openssh.com (PROTOCOL in the sources of OpenSSH).
const (
	lowSpace = 256 << 10
	readOnly = 1
)

// explain finds out what a bare "failure" to write at dir was about, as far as
// statvfs tells. It must be asked before what was written is removed.
func (s *Store) explain(ctx context.Context, c *conn, err error) error {
	if !isFailure(err) || !c.has.statvfs || isMarked(err) {
		return err
	}
	st, serr := call(ctx, c, func() (*sftp.StatVFS, error) { return c.client.StatVFS(s.root) })
	switch {
	case temporary(serr):
		return serr
	case serr != nil:
		return err
	case st.Flag&readOnly != 0:
		return &marked{kind: backend.ErrPermission, err: err, hint: "the server's file system is mounted read-only"}
	case st.Bavail < lowSpace/max(st.Frsize, 1) || st.Files > 0 && st.Favail == 0:
		return &marked{kind: backend.ErrNoSpace, err: fmt.Errorf("the server's disk is full: %w", err), hint: "free some space there, or raise the quota"}
	}
	return err
}

// explainWrite is explain for the refusal to take the data of a new file that
// could be made. Where the disk is neither full nor read-only, what is left is
// a quota, which statvfs does not tell of, or a disk that is breaking.
func (s *Store) explainWrite(ctx context.Context, c *conn, err error) error {
	err = s.explain(ctx, c, err)
	if !isFailure(err) || isMarked(err) || ctx.Err() != nil {
		return err
	}
	return &marked{kind: backend.ErrNoSpace, err: fmt.Errorf("the server lets files be made and not be written: %w", err),
		hint: "is a quota used up on the server? A disk that is breaking looks the same: its log tells"}
}
