package match

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Marker is a file by which a directory says that its contents are not worth a
// backup. The directory itself and the marker are kept, everything else in it is
// left out, so that a restored directory says the same.
type Marker struct {
	Name   string
	Header string // the file begins with it; empty if its presence is enough
}

// CacheTag is the Marker of the Cache Directory Tagging Specification,
// https://bford.info/cachedir/.
var CacheTag = Marker{Name: "CACHEDIR.TAG", Header: "Signature: 8a477f597d28d172789f06886806bc55"}

var errMarkerName = errors.New("want FILENAME or FILENAME:HEADER, without a slash in FILENAME")

// ParseMarker parses FILENAME or FILENAME:HEADER, as --exclude-if-present takes
// them. The first colon is the separator.
func ParseMarker(s string) (Marker, error) {
	name, header, _ := strings.Cut(s, ":")
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return Marker{}, fmt.Errorf("marker %.80q: %w", s, errMarkerName)
	}
	return Marker{Name: name, Header: header}, nil
}

// NeedsContent reports whether it takes the file's first bytes to tell, and how
// many. If not, an entry of any kind with the name is a marker; if so, only a
// regular file is, and no symbolic link to one.
func (m Marker) NeedsContent() (n int, needed bool) { return len(m.Header), m.Header != "" }

// Marks reports whether a regular file that begins with head, of at least as many
// bytes as NeedsContent says unless the file is shorter, is a marker.
func (m Marker) Marks(head []byte) bool { return bytes.HasPrefix(head, []byte(m.Header)) }
