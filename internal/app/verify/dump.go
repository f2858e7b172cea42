package verify

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"

	"vault/snapshot"
	"vault/snapshot/export"
)

// ErrNoPgRestore says that a dump in pg_dump's own format cannot be read here.
var ErrNoPgRestore = errors.New("the dump is in pg_dump's custom format, and the program pg_restore that can read it is not there: install the client of PostgreSQL, or dump as plain SQL")

// magicCustom begins a dump in the custom format of pg_dump.
const magicCustom = "PGDMP"

// dumpSuffixes end the names of files that are taken for dumps in a volume of several.
var dumpSuffixes = []string{".sql", ".sql.gz", ".dump", ".pgdump"}

// dumpFile is a dump in a backup.
type dumpFile struct {
	path string // in the volume; the volume's name if that is the dump itself
	node *snapshot.Node
}

// dumps returns the dumps in a volume: the volume itself if it is a stream, else the
// files whose names end like those of dumps.
func (c *checker) dumps(root *snapshot.Node) (list []dumpFile, err error) {
	if root.Type == snapshot.File {
		return []dumpFile{{c.sum.Volume, root}}, nil
	}
	err = snapshot.Walk(c.ctx, c.Source, root, func(p string, n *snapshot.Node) error {
		for _, suffix := range dumpSuffixes {
			if n.Type == snapshot.File && strings.HasSuffix(path.Base(p), suffix) {
				list = append(list, dumpFile{p, n})
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, c.unreadable(c.sum.Volume, err)
	}
	return list, nil
}

// failed is an error of reading the repository, as opposed to one of what was read.
type failed struct{ error }

func (f failed) Unwrap() error { return f.error }

// open returns a stream of a file's content. Close ends the reading.
func (c *checker) open(n *snapshot.Node) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		err := export.File(c.ctx, c.Source, w, n)
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			err = failed{err}
		}
		w.CloseWithError(err)
	}()
	return r
}

// text calls use with the text of a dump: unpacked if it is a gzip, turned into SQL by
// pg_restore with arguments if it is in the custom format. Custom tells which.
func (c *checker) text(n *snapshot.Node, arguments []string, use func(r *bufio.Reader, custom bool) error) error {
	stream := c.open(n)
	defer stream.Close()
	in := bufio.NewReaderSize(stream, 256<<10)
	head, err := in.Peek(len(magicCustom))
	if err != nil && err != io.EOF {
		return err
	}
	if strings.HasPrefix(string(head), "\x1f\x8b") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("the dump is compressed: %w", err)
		}
		in = bufio.NewReaderSize(z, 256<<10)
		if head, err = in.Peek(len(magicCustom)); err != nil && err != io.EOF {
			return fmt.Errorf("the dump is compressed: %w", err)
		}
	}
	if string(head) != magicCustom {
		return use(in, false)
	}
	return c.custom(in, arguments, use)
}

// custom runs pg_restore over a dump.
func (c *checker) custom(in io.Reader, arguments []string, use func(r *bufio.Reader, custom bool) error) error {
	program := c.PgRestore
	if program == "" {
		program = "pg_restore"
	}
	program, err := exec.LookPath(program)
	if err != nil {
		return ErrNoPgRestore
	}
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	source := &remembering{Reader: in}
	p := exec.CommandContext(ctx, program, append([]string{"--file=-"}, arguments...)...)
	said := &head{limit: 2000}
	p.Stdin, p.Stderr = source, said
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return fmt.Errorf("pg_restore: %w", err)
	}
	used := use(bufio.NewReaderSize(out, 256<<10), true)
	if used == nil {
		_, used = io.Copy(io.Discard, out)
	} else {
		stop()
	}
	err = p.Wait()
	switch {
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case source.err != nil:
		return source.err
	case used != nil:
		return used
	case err != nil:
		return fmt.Errorf("pg_restore cannot read it: %w: %s", err, strings.TrimSpace(string(said.b)))
	}
	return nil
}

// remembering keeps the error with which a stream ended.
type remembering struct {
	io.Reader
	err error
}

func (r *remembering) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// head keeps the beginning of what is written.
type head struct {
	b     []byte
	limit int
}

func (h *head) Write(b []byte) (int, error) {
	h.b = append(h.b, b[:min(len(b), h.limit-len(h.b))]...)
	return len(b), nil
}
