// Package export writes saved trees as archives that other programs read: tar
// in the PAX format, and zip.
//
// A tar holds what a backup does: owners, times to the nanosecond, extended
// attributes under SCHILY.xattr. as GNU tar and bsdtar write them (capabilities
// among them), ACLs there and as text under SCHILY.acl., hard links, devices,
// FIFOs, names of any bytes.
// A zip holds directories, files and symbolic links with mode and time.
//
// The caveats: inode flags have no place in either. Holes are written as
// zeros, so that a huge sparse file makes a huge archive. Hard links become copies in a zip. An archive that could not be
// finished has no end mark, so that readers notice.
package export

import (
	"context"
	"fmt"
	"io"
	"path"

	"vault/crypto"
	"vault/snapshot"
)

// Member is a saved tree, or a part of one, and its name in the archive: a
// relative path, or "." for what the archive is of.
type Member struct {
	Name string
	Node *snapshot.Node
}

// Options of an archive.
type Options struct {
	// Skipped is called for entries that the archive has no place for. May be nil.
	Skipped func(name string, why error)
}

func (o Options) skipped(name string, why error) {
	if o.Skipped != nil {
		o.Skipped(name, why)
	}
}

// File writes the content of one file.
func File(ctx context.Context, src snapshot.Source, w io.Writer, n *snapshot.Node) error {
	if n.Type != snapshot.File {
		return fmt.Errorf("export: it is a %s and no file", n.Type)
	}
	r := snapshot.NewReader(ctx, src, n)
	_, err := io.CopyBuffer(plainWriter{w}, io.NewSectionReader(r, 0, r.Size()), make([]byte, 1<<20))
	return err
}

// plainWriter hides ReadFrom, so that the buffer above is used.
type plainWriter struct{ io.Writer }

// walk calls f for every entry of the members, with its name in the archive.
func walk(ctx context.Context, src snapshot.Source, members []Member, f func(name string, n *snapshot.Node) error) error {
	for _, m := range members {
		err := snapshot.Walk(ctx, src, m.Node, func(p string, n *snapshot.Node) error {
			name := path.Join(m.Name, p)
			if err := f(name, n); err != nil {
				return fmt.Errorf("export %q: %w", name, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// xattr returns the value of an attribute.
func xattr(ctx context.Context, src snapshot.Source, x *snapshot.Xattr) ([]byte, error) {
	if x.Length == 0 {
		return x.Value, nil
	}
	value, err := src.Get(ctx, crypto.BlobData, x.Blob, nil)
	if err == nil && uint64(len(value)) != x.Length {
		err = fmt.Errorf("attribute %q has %d bytes in place of %d", x.Name, len(value), x.Length)
	}
	return value, err
}
