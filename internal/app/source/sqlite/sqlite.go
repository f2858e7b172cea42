//go:build linux

package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vault/internal/app/source"
	"vault/snapshot"
)

// File is an archive.Opener of one database.
type File struct {
	Path    string
	TempDir string        // place for the copy; "" is the usual one for temporary files
	Timeout time.Duration // how long to wait for a writer; 0 is a minute
	Runner  source.Runner // the program must see the same files
}

const (
	magic        = "SQLite format 3\x00" // https://www.sqlite.org/fileformat.html, section 1.3
	program      = "sqlite3"
	copyName     = "copy.db"
	spare        = 1 << 20 // bytes that are to stay free
	usualTimeout = time.Minute
)

// Reasons not to save or restore a database.
var (
	ErrNoDatabase = errors.New("not a database of SQLite, or an encrypted one")
	ErrDamaged    = errors.New("the database is damaged")
	ErrNoSpace    = errors.New("not enough space for the copy of the database")
	ErrInUse      = errors.New("the database is in use: stop the application first")
)

// Describe implements archive.Source.
func (f File) Describe() (snapshot.VolumeKind, string) {
	return snapshot.VolumeCommand, "sqlite3 backup " + f.Path
}

// Preflight checks that the program is there, that the database can be read, and that
// there is space for the copy.
func (f File) Preflight(ctx context.Context) error {
	path, err := f.look()
	if err == nil {
		err = f.space(path)
	}
	if err == nil {
		err = f.run(ctx, f.Runner, path, "SELECT count(*) FROM sqlite_master;\n")
	}
	if err != nil {
		return fmt.Errorf("database %s: %w", f.Path, err)
	}
	return nil
}

// Open implements archive.Opener: it makes the copy, checks it, and opens it.
func (f File) Open(ctx context.Context) (io.ReadCloser, error) {
	in, err := f.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", f.Path, err)
	}
	return in, nil
}

func (f File) open(ctx context.Context) (io.ReadCloser, error) {
	path, err := f.look()
	if err != nil {
		return nil, err
	}
	private, err := source.MakePrivate(f.TempDir, f.Runner.As)
	if err != nil {
		return nil, err
	}
	in, err := f.copy(ctx, path, private)
	if err != nil {
		return nil, errors.Join(err, private.Remove())
	}
	return &copied{File: in, private: private}, nil
}

// copied is the copy while it is read.
type copied struct {
	*os.File
	private *source.Private
}

func (c *copied) Close() error { return errors.Join(c.File.Close(), c.private.Remove()) }

// look returns the absolute path of the database and makes sure that it is one.
func (f File) look() (string, error) {
	path, err := filepath.Abs(f.Path)
	if err != nil {
		return "", err
	}
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil || !st.Mode().IsRegular() {
		return "", errors.Join(ErrNoDatabase, err)
	}
	return path, checkMagic(in)
}

func checkMagic(in io.ReaderAt) error {
	head := make([]byte, len(magic))
	n, err := in.ReadAt(head, 0)
	switch {
	case err != nil && err != io.EOF:
		return err
	case n == 0:
		return fmt.Errorf("%w: the file is empty", ErrNoDatabase) // to SQLite a database into which nobody has ever written
	case string(head[:n]) != magic:
		return ErrNoDatabase
	}
	return nil
}

// space makes sure that there is room for the copy.
func (f File) space(path string) error {
	var need uint64 = spare
	for _, part := range []string{path, path + "-wal"} {
		if st, err := os.Stat(part); err == nil {
			need += uint64(st.Size())
		}
	}
	place := f.TempDir
	if place == "" {
		place = os.TempDir()
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(place, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: place, Err: err}
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < need {
		return fmt.Errorf("%w: %d bytes are needed in %s, %d are free", ErrNoSpace, need, place, free)
	}
	return nil
}

// copy makes the copy in the private directory, checks it and opens it.
func (f File) copy(ctx context.Context, path string, private *source.Private) (*os.File, error) {
	if err := f.space(path); err != nil {
		return nil, err
	}
	run := f.Runner
	run.Dir = private.Path
	// The transaction begins with its first statement that reads. With it the copy need
	// not begin again whenever somebody writes.
	script := "BEGIN;\nSELECT count(*) FROM sqlite_master;\n.backup main " + copyName + "\nCOMMIT;\n"
	if err := f.run(ctx, run, path, script); err != nil {
		return nil, fmt.Errorf("copy: %w", err)
	}
	if err := verify(ctx, run, copyName); err != nil {
		return nil, err
	}
	in, err := os.Open(filepath.Join(private.Path, copyName))
	if err != nil {
		return nil, fmt.Errorf("copy: %w", err)
	}
	if err := checkMagic(in); err != nil {
		in.Close()
		return nil, fmt.Errorf("copy: %w", err)
	}
	return in, nil
}

// run executes a script on a database that it only reads.
func (f File) run(ctx context.Context, run source.Runner, path, script string) error {
	timeout := f.Timeout
	if timeout <= 0 {
		timeout = usualTimeout
	}
	argv, err := run.Argv([]string{program}, "-batch", "-bail", "-readonly", "-init", "/dev/null",
		"-cmd", ".timeout "+strconv.FormatInt(timeout.Milliseconds(), 10), path)
	if err != nil {
		return err
	}
	said, err := run.Feed(ctx, strings.NewReader(script), argv)
	if err == nil && said != "" {
		err = errors.New(said) // it goes on after some errors
	}
	return err
}

// verify has the program check all of a database that nobody else uses.
func verify(ctx context.Context, run source.Runner, path string) error {
	argv, err := run.Argv([]string{program}, "-batch", "-bail", "-readonly", "-init", "/dev/null", immutable(path), "PRAGMA integrity_check(10);")
	if err != nil {
		return err
	}
	out, err := run.Output(ctx, argv)
	var failed *source.ProgramError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return err
	}
	if text := string(bytes.TrimSpace(out)); text != "ok" {
		return fmt.Errorf("%w: %.1000s", ErrDamaged, text)
	}
	return nil
}

// immutable returns the URI of a database beside which nothing is looked for or made
// (https://www.sqlite.org/uri.html).
func immutable(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) + "?immutable=1"
}
