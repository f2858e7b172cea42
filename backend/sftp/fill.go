package sftp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"vault/internal/durable"
)

// ground is what an upload stands on: handles of its temporary file and of the
// directories that are to be made durable.
type ground struct {
	c      *conn
	file   string
	dir    string   // the file's directory, or "" if the server has no fsync
	unsure []string // sub-directories whose entries are not known to be durable
	above  []string // handles of the directories which hold those, or ""
	made   []string // directories that did not exist
}

// close lets go of all handles.
func (g *ground) close() {
	for _, handle := range append([]string{g.file, g.dir}, g.above...) {
		if handle != "" {
			g.c.closeLater(handle)
		}
	}
}

// open makes the temporary file, and opens what is to be synced. Directories that
// this store has not come across are made in the same round trip, whether they
// are there or not; that of the repository is not, see shard.
func (u *upload) open(ctx context.Context, c *conn) (*ground, error) {
	dir := u.s.dir(u.rel)
	u.temp = strings.TrimSuffix(dir, "/") + "/" + durable.TempPrefix + u.s.id + "-" + strings.ToLower(rand.Text()[:13])
	try := func() (*ground, error) {
		temp, unsure := u.temp, u.s.doubtful(c, u.rel)
		return callOr(ctx, c, func() (*ground, error) { return u.s.open(c, temp, dir, unsure) }, func(g *ground) {
			g.close()
			_ = c.client.Remove(temp)
		})
	}
	g, err := try()
	if errors.Is(err, fs.ErrNotExist) {
		if err := u.s.shard(ctx, c, u.rel); err != nil {
			u.temp = ""
			return nil, err
		}
		g, err = try()
	}
	if err != nil && !temporary(err) && ctx.Err() == nil {
		u.temp = ""
		err = u.s.explain(ctx, c, err)
	}
	return g, err
}

// open does the work of [upload.open], in one round trip. To be called in [call].
func (s *Store) open(c *conn, temp, dir string, unsure []string) (*ground, error) {
	g := &ground{c: c, unsure: unsure, above: make([]string, len(unsure))}
	f := flight{ctx: context.Background(), c: c}
	for _, rel := range slices.Backward(unsure) {
		if rel == "" {
			continue
		}
		f.send(mkdirRequest(s.dir(rel)), func(a answer) error {
			if verdictOf(a) == nil { // and if not, then what is made in it shows why
				g.made = append(g.made, s.dir(rel))
			}
			return nil
		})
	}
	f.send(openRequest(temp, toMake), func(a answer) (err error) { g.file, err = handleOf(a); return err })
	if c.has.fsync {
		f.send(openRequest(dir, toRead), func(a answer) (err error) { g.dir, err = handleOf(a); return err })
	}
	for i, rel := range unsure {
		f.send(openRequest(s.above(rel), toRead), func(a answer) (err error) {
			g.above[i], err = handleOf(a)
			return entrySynced(rel, err)
		})
	}
	if err := f.land(); err != nil {
		g.close()
		if g.file != "" {
			_, _ = c.ask(newRequest(nil, askRemove, temp)) // if that fails, Sweep will
		}
		return nil, err
	}
	return g, nil
}

// fill writes the data and makes it durable, and the entries of the directories
// above, in two round trips and what the bytes take. That requests of one file keep
// their order (draft-ietf-secsh-filexfer-02, section 3.1) would do to send the fsync
// after the last write in one; but there are servers that write with several
// threads, so that it is sent when all writes are answered.
func (u *upload) fill(ctx context.Context, c *conn, g *ground) error {
	f := flight{ctx: ctx, c: c}
	ignore := func(answer) error { return nil } // a server that knows no modes has its own ideas of access
	for _, dir := range g.made {
		f.send(newRequest(nil, askSetStat, dir).number(hasMode, dirMode), ignore)
	}
	f.send(newRequest(nil, askFsetStat, g.file).number(hasMode, fileMode), ignore)
	written := true
	data := func(what string) func(a answer) error {
		return func(a answer) error {
			err := verdictOf(a)
			if err != nil {
				written, err = false, fmt.Errorf("%s: %w", what, err)
			}
			return err
		}
	}
	for off := 0; off < len(u.data) && f.err == nil; off += chunkSize {
		room := *rooms.Get().(*[]byte) // a request may outlive this call, so that it must not hold on to the caller's memory
		f.send(writeRequest(room[:0], g.file, int64(off), u.data[off:min(len(u.data), off+chunkSize)]), data("write"))
	}
	for i, rel := range g.unsure {
		if g.above[i] != "" {
			f.send(syncRequest(g.above[i]), func(a answer) error { return entrySynced(rel, verdictOf(a)) })
		}
	}
	err := f.land()
	if err == nil && c.has.fsync {
		f.send(syncRequest(g.file), data("fsync"))
		err = f.land()
	}
	if err != nil && !written {
		return u.s.explainWrite(ctx, c, err)
	}
	if err == nil {
		u.s.sure(g.unsure)
	}
	return err
}
