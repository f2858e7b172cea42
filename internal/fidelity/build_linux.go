package fidelity

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Options say what kind of tree to build.
type Options struct {
	Seed    uint64   // of contents and attribute values
	Without []string // features to leave out, as patterns of path.Match
	// HugeSize is the size of the large sparse file "huge", which holds 1 MiB of
	// data; 0 means 1 TB.
	HugeSize int64
}

// Omission is a feature that a tree does not have, and why.
type Omission struct {
	Feature string
	Err     error
}

// String returns feature and cause.
func (o Omission) String() string { return fmt.Sprintf("%s (%v)", o.Feature, o.Err) }

// Names returns the features of a list, sorted.
func Names(list []Omission) []string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Feature
	}
	slices.Sort(names)
	return names
}

// errNotHeld says that a call succeeded, and yet the file system has not kept
// what was asked of it.
var errNotHeld = errors.New("accepted, but not held")

// builder builds one tree.
type builder struct {
	o    Options
	rng  *rand.Rand
	left []Omission
}

// Build makes a tree in dir, which must exist and be empty. It returns what it
// left out because the file system or this user cannot hold it; features of
// Options.Without are not listed. Any other failure is an error.
func Build(dir string, o Options) ([]Omission, error) {
	if o.HugeSize == 0 {
		o.HugeSize = 1e12
	}
	b := &builder{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x766175))}
	top, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return nil, fmt.Errorf("build tree in %s: %w", dir, err)
	}
	defer unix.Close(top)
	for _, part := range []struct {
		name string
		make func(d int) error
	}{
		{"names", b.names}, {"contents", b.contents}, {"sparse", b.sparse}, {"links", b.links}, {"special", b.special},
		{"xattrs", b.xattrs}, {"acls", b.acls}, {"modes", b.modes}, {"owners", b.owners}, {"times", b.times},
		{"flags", b.flags}, {"dirs", b.dirs}, {"deep", b.deep}, {"long", b.long},
	} {
		d, err := mkdir(top, part.name, 0o755)
		if err == nil {
			err = part.make(d)
			unix.Close(d)
		}
		if err != nil {
			return nil, fmt.Errorf("build tree in %s: %s: %w", dir, part.name, err)
		}
	}
	// Directories got new times with every entry.
	for i, name := range []string{"names", "special", "xattrs", "flags", "."} {
		if err := setTime(top, name, unix.Timespec{Sec: 1_000_000_000 + int64(i), Nsec: 987_654_321}); err != nil {
			return nil, fmt.Errorf("build tree in %s: %w", dir, err)
		}
	}
	return b.left, nil
}

// wants reports whether a feature is to be built.
func (b *builder) wants(feature string) bool {
	return !slices.ContainsFunc(b.o.Without, func(p string) bool { ok, _ := path.Match(p, feature); return ok })
}

// cannot reports whether an error says that this file system or this user
// cannot hold something.
func cannot(err error) bool {
	return errors.Is(err, errNotHeld) || slices.ContainsFunc([]error{unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOTTY,
		unix.ENOSYS, unix.ENOSPC, unix.E2BIG, unix.EFBIG, unix.EILSEQ, unix.ENAMETOOLONG, unix.ERANGE, unix.EMLINK, unix.EXDEV, unix.ENXIO},
		func(e error) bool { return errors.Is(err, e) })
}

// try builds one feature. If it cannot be had, what undo names is removed from
// the directory d and the feature is noted as left out.
func (b *builder) try(d int, feature string, undo string, build func() error) error {
	if !b.wants(feature) {
		return nil
	}
	err := build()
	if err == nil {
		return nil
	}
	if !cannot(err) {
		return fmt.Errorf("%s: %w", feature, err)
	}
	b.left = append(b.left, Omission{feature, err})
	if undo == "" {
		return nil
	}
	if err := unix.Unlinkat(d, undo, 0); err == unix.EISDIR || err == unix.EPERM {
		unix.Unlinkat(d, undo, unix.AT_REMOVEDIR)
	}
	return nil
}

// bytes returns n bytes that do not compress.
func (b *builder) bytes(n int) []byte {
	out := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := b.rng.Uint64()
		for j := i; j < min(i+8, n); j++ {
			out[j] = byte(v)
			v >>= 8
		}
	}
	return out
}

// text returns n bytes that compress well.
func (b *builder) text(n int) []byte {
	words := strings.Fields("a file system keeps what it is given until the day it does not and then a backup is what remains of it")
	var out []byte
	for len(out) < n {
		out = append(append(out, words[b.rng.IntN(len(words))]...), ' ')
	}
	return out[:n]
}

func openDir(d int, name string) (int, error) {
	fd, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// mkdir makes and opens a directory.
func mkdir(d int, name string, mode uint32) (int, error) {
	if err := unix.Mkdirat(d, name, 0o700); err != nil {
		return -1, &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	fd, err := openDir(d, name)
	if err != nil {
		return -1, err
	}
	return fd, unix.Fchmod(fd, mode)
}

// file makes a file with these bytes.
func file(d int, name string, data []byte) error {
	return with(d, name, func(fd int) error { return write(fd, data, 0) })
}

// with makes a file if it is missing and calls fn with it.
func with(d int, name string, fn func(fd int) error) error {
	fd, err := unix.Openat(d, name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if err := fn(fd); err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

func write(fd int, data []byte, off int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, off)
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

func setTime(d int, name string, t unix.Timespec) error {
	return unix.UtimesNanoAt(d, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}
