package verify

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"vault/internal/app/source"
	"vault/snapshot"
)

// Dump is a volume that is a dump, or holds some.
type Dump struct {
	Volume string
	Root   *snapshot.Node
	Expect string // what must stand near its end; "" goes by its kind
}

// kinds are the kinds of dumps: what stands in their first lines, and the line that
// the program writes last. That need not be the last line: pg_dump may write an
// \unrestrict after it.
var kinds = []struct{ head, tail string }{
	{"-- PostgreSQL database dump\n", source.TailPostgres},
	{"-- PostgreSQL database cluster dump\n", source.TailPostgresGlobals},
	{"-- MySQL dump ", source.TailMySQL},
	{"-- MariaDB dump ", source.TailMySQL},
}

// headBytes is how much of the beginning tells the kind.
const headBytes = 1024

// SQLTail checks that dumps end as those of their kind do.
func SQLTail(ctx context.Context, r *Reader, d Dump) (Summary, error) {
	c := &checker{Reader: r, ctx: ctx, sum: Summary{Check: "sql-tail", Volume: d.Volume}}
	list, err := c.dumps(d.Root)
	if err != nil {
		return c.sum, err
	}
	if len(list) == 0 {
		c.problem("dump-missing", d.Volume, "the volume holds no file whose name ends in %s", strings.Join(dumpSuffixes, ", "))
	}
	for _, f := range list {
		c.sum.Objects++
		err := c.tail(f, d.Expect)
		var lost failed
		switch {
		case err == nil:
			c.compared(f.node.Size)
		case ctx.Err() != nil:
			return c.sum, context.Cause(ctx)
		case errors.Is(err, ErrNoPgRestore):
			c.say(Note, "dump-format", f.path, "%v", err)
		case errors.As(err, &lost):
			if err := c.unreadable(f.path, lost.error); err != nil {
				return c.sum, err
			}
		default:
			c.problem("dump-end", f.path, "%v", err)
		}
	}
	return c.sum, nil
}

// tail returns an error if a dump does not end as it must.
func (c *checker) tail(f dumpFile, expect string) error {
	return c.text(f.node, nil, func(r *bufio.Reader, custom bool) error {
		begin, err := r.Peek(headBytes)
		if err != nil && err != io.EOF {
			return err
		}
		if len(begin) == 0 {
			return errors.New("the dump is empty")
		}
		begin = bytes.Clone(begin)
		last := &lastBytes{}
		if _, err := io.Copy(last, r); err != nil {
			return fmt.Errorf("it cannot be read to its end: %w", err)
		}
		if expect != "" {
			if !bytes.Contains(last.b, []byte(expect)) {
				return fmt.Errorf("%q is missing in the last %d of its bytes: it stopped early", expect, source.TailBytes)
			}
			return nil
		}
		for _, k := range kinds {
			if bytes.Contains(begin, []byte(k.head)) {
				return endsWith(last.b, k.tail)
			}
		}
		return errors.New("it does not begin as a dump of PostgreSQL, MySQL or MariaDB does; sql-tail.expect says how another one ends")
	})
}

// endsWith returns an error unless the last line that is neither empty nor a comment
// of the end is the marker.
func endsWith(last []byte, marker string) error {
	lines := strings.Split(string(last), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		switch line := strings.TrimRight(lines[i], "\r"); {
		case line == marker, marker == source.TailMySQL && strings.HasPrefix(line, marker):
			if i == len(lines)-1 {
				return fmt.Errorf("its last line, %q, has no end: it stopped early", line)
			}
			return nil
		case line == "", line == "--", strings.HasPrefix(line, `\unrestrict `):
		default:
			return fmt.Errorf("the line %q is missing at its end: it stopped early", marker)
		}
	}
	return fmt.Errorf("the line %q is missing at its end: it stopped early", marker)
}

// lastBytes keeps the last source.TailBytes bytes that are written.
type lastBytes struct{ b []byte }

func (l *lastBytes) Write(b []byte) (int, error) {
	l.b = append(l.b, b[max(0, len(b)-source.TailBytes):]...)
	if over := len(l.b) - source.TailBytes; over > 0 {
		l.b = l.b[:copy(l.b, l.b[over:])]
	}
	return len(b), nil
}
