package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"vault/repo"
	"vault/snapshot"
)

// Severity says what a finding means.
type Severity string

// The severities. Only problems make a verification fail.
const (
	Problem Severity = "problem" // a rule is broken: something is missing or altered
	Warning Severity = "warning" // untidy, but nothing that a user has is missing
	Note    Severity = "note"    // what was not checked, and why
)

// Finding is one thing that a check has to say.
type Finding struct {
	Check    string // ocis, orthanc-pg or sql-tail
	Rule     string // which rule, as docs/applications.md lists them
	Severity Severity
	Volume   string // the volume in which it was found
	Object   string // a path in the volume, or what else names the object
	Text     string // what is wrong, for people
}

// String returns the finding as one line, without the volume.
func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Rule, f.Object, f.Text) }

// Summary is what a check has looked at.
type Summary struct {
	Check   string
	Volume  string
	Objects uint64 // nodes, attachments, dumps
	Blobs   uint64 // files whose content was compared
	Bytes   uint64 // read for that
}

// Reader is what checks read from, and whom they tell.
type Reader struct {
	Source snapshot.Source
	Found  func(Finding) // called by one goroutine at a time
	// Workers is how many contents are compared at a time; 0 means 4.
	Workers int
	// PgRestore is the program that turns pg_dump's custom format into text; "" means
	// that of PATH.
	PgRestore string
}

func (r *Reader) workers() int {
	if r.Workers > 0 {
		return r.Workers
	}
	return 4
}

// checker is a check under way. Its methods that report may be called concurrently.
type checker struct {
	*Reader
	ctx context.Context
	sum Summary

	mu sync.Mutex // guards sum, and calls of Found
}

func (c *checker) say(s Severity, rule, object, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Found(Finding{Check: c.sum.Check, Rule: rule, Severity: s, Volume: c.sum.Volume, Object: object, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) problem(rule, object, format string, args ...any) {
	c.say(Problem, rule, object, format, args...)
}

func (c *checker) warn(rule, object, format string, args ...any) {
	c.say(Warning, rule, object, format, args...)
}

// unreadable reports what the repository could not deliver. It returns the error if
// there is no sense in going on.
func (c *checker) unreadable(object string, err error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if repo.StateOf(err) == repo.Unreachable && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.problem("unreadable", object, "%v", err)
	return nil
}

// compared counts a content that was read.
func (c *checker) compared(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Blobs++
	c.sum.Bytes += n
}

// child returns the entry of a directory; fs.ErrNotExist if there is none, or if dir is
// no directory.
func (c *checker) child(dir *snapshot.Node, name string) (*snapshot.Node, error) {
	if dir == nil || !dir.IsDir() {
		return nil, fs.ErrNotExist
	}
	return snapshot.Lookup(c.ctx, c.Source, dir.Tree, name)
}

// at returns the node at a path below a directory.
func (c *checker) at(n *snapshot.Node, path string) (*snapshot.Node, error) {
	for _, name := range strings.Split(path, "/") {
		if name == "" || name == "." {
			continue
		}
		var err error
		if n, err = c.child(n, name); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// errTooLong says that a file is longer than one of its kind can be.
var errTooLong = errors.New("the file is too long to be what its name says")

// whole returns the content of a short file.
func (c *checker) whole(n *snapshot.Node, limit uint64) ([]byte, error) {
	if n.Type != snapshot.File {
		return nil, fmt.Errorf("a %s instead of a file", n.Type)
	}
	if n.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", errTooLong, n.Size, limit)
	}
	b := make([]byte, n.Size)
	if k, err := snapshot.NewReader(c.ctx, c.Source, n).ReadAt(b, 0); k < len(b) {
		return nil, err
	}
	return b, nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
