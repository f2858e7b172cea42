package export

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"vault/snapshot"
)

// Zip writes the members as a zip. Devices and FIFOs are skipped.
func Zip(ctx context.Context, src snapshot.Source, w io.Writer, members []Member, o Options) error {
	z := zip.NewWriter(w)
	err := walk(ctx, src, members, func(name string, n *snapshot.Node) error {
		switch n.Type {
		case snapshot.Directory, snapshot.File, snapshot.Symlink:
		default:
			o.skipped(name, errors.New("a zip has no place for a "+n.Type.String()))
			return nil
		}
		if name == "." && n.IsDir() {
			return nil
		}
		h := &zip.FileHeader{Name: name, Modified: n.MTime.Std(), Method: zip.Deflate, NonUTF8: !utf8.ValidString(name)}
		h.SetMode(n.FileMode())
		if n.Type != snapshot.File {
			h.Method = zip.Store
		}
		if n.IsDir() {
			h.Name += "/"
		}
		to, err := z.CreateHeader(h)
		switch {
		case err != nil:
			return err
		case n.Type == snapshot.File:
			return File(ctx, src, to, n)
		case n.Type == snapshot.Symlink:
			_, err = io.WriteString(to, n.Target)
		}
		return err
	})
	if err != nil {
		return err
	}
	return z.Close()
}
