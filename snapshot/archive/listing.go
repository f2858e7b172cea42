package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strings"
	"unsafe"

	"vault/internal/sys"
	"vault/snapshot"
)

// A listing holds the names of a directory, sorted by bytes: the text of all, and
// four bytes for each.
type listing struct {
	text  []byte   // u16 length, name, and so on
	start []uint32 // where each begins
	bad   []string // names that cannot be stored
}

const (
	direntBytes  = 128 << 10 // read at once
	direntHeader = 19        // u64 inode, i64 offset, u16 length, u8 type; then the name, ended by NUL
	maxText      = 1<<32 - 1 - 2 - snapshot.MaxName
)

var errTooMany = errors.New("directory has more names than can be held")

// read lists the directory fd from its start. After an error the listing has what
// was read until then. buf is room for the calls.
func (l *listing) read(fd int, buf []byte) error {
	l.text, l.start, l.bad = l.text[:0], l.start[:0], nil
	err := l.readAll(fd, buf, maxText)
	l.sort()
	return err
}

// readSmall is read for a directory with few names. It reports whether it is one, of
// at most about so many bytes, and could be listed.
func (l *listing) readSmall(fd int, buf []byte, most int) bool {
	l.text, l.start, l.bad = l.text[:0], l.start[:0], nil
	if l.readAll(fd, buf, most) != nil {
		return false
	}
	l.sort()
	return true
}

func (l *listing) sort() {
	slices.SortFunc(l.start, func(a, b uint32) int { return bytes.Compare(l.at(a), l.at(b)) })
	// A directory that changes meanwhile may be listed with a name twice.
	l.start = slices.CompactFunc(l.start, func(a, b uint32) bool { return bytes.Equal(l.at(a), l.at(b)) })
}

func (l *listing) readAll(fd int, buf []byte, most int) error {
	for {
		n, err := sys.Getdents(fd, buf)
		switch {
		case err == sys.EINTR:
			continue
		case err != nil:
			return err
		case n <= 0:
			return nil
		}
		if err := l.add(buf[:n]); err != nil {
			return err
		}
		if len(l.text) > most {
			return errTooMany
		}
	}
}

// add appends the names of a block of struct linux_dirent64.
func (l *listing) add(b []byte) error {
	for len(b) >= direntHeader {
		n := int(binary.NativeEndian.Uint16(b[16:]))
		if n < direntHeader || n > len(b) {
			return sys.EIO
		}
		name := b[direntHeader:n]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		b = b[n:]
		if string(name) == "." || string(name) == ".." {
			continue
		}
		if err := l.append(text(name)); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) at(start uint32) []byte {
	n := uint32(l.text[start]) | uint32(l.text[start+1])<<8
	return l.text[start+2 : start+2+n]
}

// set makes a listing of names that come in order.
func (l *listing) set(names iter.Seq[string]) error {
	l.text, l.start, l.bad = l.text[:0], l.start[:0], nil
	for name := range names {
		if err := l.append(name); err != nil {
			return err
		}
	}
	return nil
}

// append appends a name, or notes that it is bad.
func (l *listing) append(name string) error {
	if snapshot.CheckName(name) != nil {
		l.bad = append(l.bad, strings.Clone(name))
		return nil
	}
	if len(l.text) > maxText {
		return errTooMany
	}
	l.start = append(l.start, uint32(len(l.text)))
	l.text = append(l.text, byte(len(name)), byte(len(name)>>8))
	l.text = append(l.text, name...)
	return nil
}

// has reports whether there is a name.
func (l *listing) has(name string) bool {
	_, found := slices.BinarySearchFunc(l.start, name, func(a uint32, b string) int { return strings.Compare(text(l.at(a)), b) })
	return found
}

// keep drops the names that are not wanted and returns how many they are.
func (l *listing) keep(wanted func(string) bool) int {
	n := len(l.start)
	l.start = slices.DeleteFunc(l.start, func(a uint32) bool { return !wanted(text(l.at(a))) })
	return n - len(l.start)
}

func (l *listing) len() int { return len(l.start) }

// name returns the i-th name; it shares the listing's memory.
func (l *listing) name(i int) string {
	return text(l.at(l.start[i]))
}

// text returns b as a string without copying it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
