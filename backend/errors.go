package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// The kinds of failure that callers branch on. A driver decides the kind from
// the evidence that its storage gave (an errno, a status code), so that nobody
// above ever matches text. With fs.ErrNotExist and fs.ErrExist, whose meaning
// the methods of [Backend] give, these are all kinds; an error that matches
// none of them is a failure of this one request and says nothing about the
// place.
//
// "Uninitialised" is no kind of its own: a place that does not exist but whose
// parent does, and one that exists and is empty, both open without an error,
// list nothing and answer fs.ErrNotExist to every Get. Whatever cannot be told
// from evidence to be one of these two is ErrUnreachable.
var (
	// ErrUnreachable says that the place could not be asked: network,
	// credentials, a missing bucket or parent directory, a stale or absent
	// mount, an I/O error of the medium, a refused permission. It tells
	// nothing about what the place holds.
	ErrUnreachable = errors.New("storage unreachable")

	// ErrPermission says that the storage answered and refused: a file mode,
	// a policy, a read-only medium, a wrong credential. It matches
	// ErrUnreachable as well.
	ErrPermission = fmt.Errorf("%w: permission refused", ErrUnreachable)

	// ErrNoSpace says that the storage is full or a quota is used up. What
	// was stored before is intact; deleting still works.
	ErrNoSpace = errors.New("storage full")

	// ErrLocked says that an object cannot be deleted yet, because the storage
	// holds it under a retention period or a legal hold. The object is
	// untouched.
	ErrLocked = errors.New("object locked")

	// ErrName says that an object name or prefix is not valid: a bug of the
	// caller, or a name that came from a stranger's file.
	ErrName = errors.New("invalid object name")

	// ErrTooLarge says that an object holds more than its reader's limit.
	ErrTooLarge = errors.New("object too large")
)

// Error is a failed operation of a backend. Drivers return it from every
// method, except that errors of a context may come as they are.
type Error struct {
	Op    string // "open", "put", "create", "get", "read", "list", "delete"
	Place string // where the repository is, for people; never holds a secret
	Name  string // the object or prefix, or "" where the place itself is meant
	Kind  error  // one of the kinds above, fs.ErrNotExist, fs.ErrExist, or nil
	Err   error  // the cause, or nil
	Hint  string // what to do about it, or ""
}

// Error formats the operation, object, place and cause. The hint is not part
// of it; see [Hint].
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Name != "" {
		b.WriteString(" " + e.Name)
	}
	if e.Place != "" {
		b.WriteString(" at " + e.Place)
	}
	switch {
	case e.Kind == nil && e.Err == nil:
		b.WriteString(": unknown error")
	case e.Err == nil:
		b.WriteString(": " + e.Kind.Error())
	case e.Kind == nil || e.Kind == fs.ErrNotExist || e.Kind == fs.ErrExist:
		b.WriteString(": " + e.Err.Error())
	default:
		b.WriteString(": " + e.Kind.Error() + ": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the kind and the cause, so that errors.Is finds both.
func (e *Error) Unwrap() []error {
	var list []error
	if e.Kind != nil {
		list = append(list, e.Kind)
	}
	if e.Err != nil {
		list = append(list, e.Err)
	}
	return list
}

// Hint returns the advice that the outermost [Error] with one in err's tree
// gives, or "".
func Hint(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
