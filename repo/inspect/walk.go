package inspect

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"vault/crypto"
	"vault/internal/wire"
)

// walker reads bytes from front to back and notes every field that it reads.
//
// A value that is out of its range makes its field bad, and the walk goes on.
// What cannot be read at all ends the walk: the field then covers all that
// remains, and further calls do nothing. They return a field that nobody sees,
// so a caller need not ask. A field that is returned is to be changed before the
// next call only.
type walker struct {
	r    *wire.Reader
	b    []byte
	base int      // offset of b in the object
	out  *[]Field // where fields go
}

// walker returns a walker of b, which lies at base, for the top of the report.
func (o *object) walker(b []byte, base int) *walker {
	return &walker{r: wire.NewReader(b), b: b, base: base, out: &o.Fields}
}

// inside returns a walker of b that notes its fields where w does.
func (w *walker) inside(b []byte, base int) *walker {
	return &walker{r: wire.NewReader(b), b: b, base: base, out: w.out}
}

func (w *walker) ok() bool { return w.r.Err() == nil }

// at is where the next field begins.
func (w *walker) at() int { return w.base + w.r.Offset() }

func (w *walker) note(f Field) *Field {
	*w.out = append(*w.out, f)
	return &(*w.out)[len(*w.out)-1]
}

// leaf notes what read consumes.
func (w *walker) leaf(name string, read func() string) *Field {
	if !w.ok() {
		return &Field{}
	}
	f := Field{Offset: w.at(), Name: name}
	start := w.r.Offset()
	f.Value = read()
	f.Bytes = w.b[start:w.r.Offset()]
	if err := w.r.Err(); err != nil {
		f.Bytes, f.Value, f.Bad = w.b[start:], "", err.Error()
	}
	f.Length = len(f.Bytes)
	return w.note(f)
}

// group notes the fields that body reads as one.
func (w *walker) group(name string, body func()) *Field {
	if !w.ok() {
		return &Field{}
	}
	f := Field{Offset: w.at(), Name: name}
	outer := w.out
	w.out = &f.Children
	body()
	w.out = outer
	f.Length = w.at() - f.Offset
	if !w.ok() {
		f.Length = w.base + len(w.b) - f.Offset
	}
	return w.note(f)
}

// rest notes everything that is left, unless that is nothing.
func (w *walker) rest(name string) *Field {
	if !w.ok() || w.r.Len() == 0 {
		return &Field{}
	}
	return w.fixed(name, w.r.Len())
}

// end makes whatever is left bad.
func (w *walker) end() { w.rest("trailing bytes").Bad = "nothing belongs here" }

func (w *walker) u8(name string) (v uint8, f *Field) {
	f = w.leaf(name, func() string { v = w.r.U8(); return strconv.Itoa(int(v)) })
	return v, f
}

func (w *walker) u16(name string) (v uint16, f *Field) {
	f = w.leaf(name, func() string { v = w.r.U16(); return strconv.Itoa(int(v)) })
	return v, f
}

func (w *walker) u32(name string) (v uint32, f *Field) {
	f = w.leaf(name, func() string { v = w.r.U32(); return strconv.FormatUint(uint64(v), 10) })
	return v, f
}

func (w *walker) u64(name string) (v uint64, f *Field) {
	f = w.leaf(name, func() string { v = w.r.U64(); return strconv.FormatUint(v, 10) })
	return v, f
}

// uv reads an integer; it is bad outside min..max.
func (w *walker) uv(name string, min, max uint64) (v uint64, f *Field) {
	f = w.leaf(name, func() string { v = w.r.Uvarint(math.MaxUint64); return strconv.FormatUint(v, 10) })
	if w.ok() && (v < min || v > max) {
		f.Bad = fmt.Sprintf("not in %d..%d", min, max)
	}
	return v, f
}

// any64 reads an integer that may be any.
func (w *walker) any64(name string) (uint64, *Field) { return w.uv(name, 0, math.MaxUint64) }

// enum reads a byte that must be one of the named values.
func (w *walker) enum(name string, names map[uint8]string) (uint8, *Field) {
	v, f := w.u8(name)
	if text, known := names[v]; known {
		f.Value += " " + text
	} else if w.ok() {
		f.Bad = "unknown"
	}
	return v, f
}

// version reads the byte that begins structures of format 1.
func (w *walker) version() {
	if v, f := w.u8("version"); w.ok() && v != 1 {
		f.Bad = "known is 1"
	}
}

// reserved reads a field of n bytes that must be zero.
func (w *walker) reserved(name string, n int) {
	if f := w.fixed(name, n); w.ok() && !zeros(f.Bytes) {
		f.Bad = "not zero"
	}
}

func (w *walker) fixed(name string, n int) *Field {
	return w.leaf(name, func() string { return hexValue(w.r.Fixed(n)) })
}

// padding notes all that is left, which must be zero.
func (w *walker) padding() {
	n := w.r.Len()
	if f := w.rest("padding"); zeros(f.Bytes) && w.ok() {
		f.Value = fmt.Sprintf("%d zero bytes", n)
	} else if f.Bad == "" {
		f.Bad = "not zero"
	}
}

// hash reads 32 bytes of which none at all may mean that there is no such thing.
func (w *walker) hash(name string) *Field {
	f := w.fixed(name, 32)
	if w.ok() && zeros(f.Bytes) {
		f.Value, f.Note = "0", "none"
	}
	return f
}

func (w *walker) repoID(name string) *Field { return w.fixed(name, len(crypto.RepoID{})) }

// sid reads a session id.
func (w *walker) sid(name string) (id crypto.SessionID, f *Field) {
	f = w.leaf(name, func() string { w.r.Copy(id[:]); return id.String() })
	switch {
	case !w.ok():
	case id.IsZero():
		f.Value, f.Note = "0", "none"
	default:
		f.Note = id.Time().Format(timeForm)
	}
	return id, f
}

const timeForm = "2006-01-02 15:04:05.999999999 UTC"

func (w *walker) time(name string) *Field {
	return w.leaf(name, func() string {
		sec, nsec := w.r.Varint(), w.r.Uvarint(999_999_999)
		text := fmt.Sprintf("%d s, %d ns", sec, nsec)
		if sec > -1<<36 && sec < 1<<36 {
			text = fmt.Sprintf("%s (%s)", time.Unix(sec, int64(nsec)).UTC().Format(timeForm), text)
		}
		return text
	})
}

// str reads a string of min to max bytes, shown as a Go string.
func (w *walker) str(name string, min, max int) (s string, f *Field) {
	f = w.leaf(name, func() string { s = w.r.String(w.r.Len()); return strconv.Quote(s) })
	if w.ok() && (len(s) < min || len(s) > max) {
		f.Bad = fmt.Sprintf("%d bytes, not %d..%d", len(s), min, max)
	}
	return s, f
}

// bytes reads a length of at most max and that many bytes.
func (w *walker) bytes(name string, max int) *Field {
	var b []byte
	f := w.leaf(name, func() string { b = w.r.Bytes(w.r.Len()); return hexValue(b) })
	if w.ok() && len(b) > max {
		f.Bad = fmt.Sprintf("%d bytes, limit %d", len(b), max)
	}
	return f
}

// list reads a count of at most max and the members, each by one call.
func (w *walker) list(name string, max uint64, member func(i int)) (n uint64, f *Field) {
	f = w.group(name, func() {
		var count *Field
		n, count = w.uv("count", 0, max)
		if w.ok() && n > uint64(w.r.Len()) {
			count.Bad = fmt.Sprintf("only %d bytes are left", w.r.Len())
		}
		w.members(n, member)
	})
	return n, f
}

// members reads n members of a list, and explains the first of them.
func (w *walker) members(n uint64, member func(i int)) {
	outer := w.out
	var more Field
	for i := uint64(0); i < n && w.ok(); i++ {
		if i == Shown {
			more = Field{Offset: w.at(), Name: fmt.Sprintf("%d more", n-i), Note: "not explained"}
		}
		if i >= Shown {
			w.out = new([]Field)
		}
		before := w.r.Offset()
		member(int(i))
		if w.r.Offset() == before {
			break // nothing is left that a member could be made of
		}
	}
	w.out = outer
	if more.Name != "" {
		more.Length = w.at() - more.Offset
		w.note(more)
	}
}

// sorted returns a function to which the members of a list are given one after
// another, with their fields.
func sorted() func(member string, f *Field) {
	last, first := "", true
	return func(member string, f *Field) {
		if !first && member <= last && f.Bad == "" {
			f.Bad = "not after the one before"
		}
		last, first = member, false
	}
}

// hashes reads a sorted list of values of n bytes.
func (w *walker) hashes(name string, max uint64) {
	order := sorted()
	w.list(name, max, func(i int) {
		f := w.fixed(item(i), 32)
		order(string(f.Bytes), f)
	})
}

func (w *walker) sids(name string, max uint64) {
	order := sorted()
	w.list(name, max, func(i int) {
		id, f := w.sid(item(i))
		order(string(id[:]), f)
	})
}

// item names member i of a list.
func item(i int) string { return "[" + strconv.Itoa(i) + "]" }

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// hexValue shows bytes, or how many there are.
func hexValue(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%d bytes", len(b))
	}
	return fmt.Sprintf("%x", b)
}
