package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"vault/internal/app/source"
	"vault/snapshot"
)

// RestoreOptions say how keys are brought back.
type RestoreOptions struct {
	Replace bool // replace keys that exist; otherwise one of them is an error
	// Clean removes the keys that match the pattern and were not saved, when all others
	// are restored.
	Clean bool
	// Forever drops the times at which keys expire. Otherwise a key whose time has come
	// since it was saved is left out.
	Forever bool
	// Rename returns under which key a saved one is restored, "" for not at all. Nil is
	// its own.
	Rename func(key string) string
}

// RestoreReport is what became of keys.
type RestoreReport struct {
	Restored uint64
	Expired  uint64 // left out: their time has come
	Removed  uint64 // by Clean
}

// ErrExists says that a key exists and Replace is not set.
var ErrExists = errors.New("the key exists already, and replacing was not asked for")

// Restore loads a saved volume of keys. What was loaded before an error stays; keys
// that exist are looked for before the first is loaded, though somebody may make
// others meanwhile. A volume of a single key is restored under k.Key.
func (k Keys) Restore(ctx context.Context, src snapshot.Source, root *snapshot.Node, o RestoreOptions) (RestoreReport, error) {
	l, err := newLoader(ctx, k.Server, o)
	if err != nil {
		return RestoreReport{}, err
	}
	defer l.close()
	if root.Type == snapshot.File {
		if k.Key == "" {
			return l.report, errors.New("the volume is a single key: its name must be given")
		}
		err = l.node(src, k.Key, root)
		return l.report, err
	}
	if root.Type != snapshot.Directory {
		return l.report, fmt.Errorf("the volume is a %v, not keys", root.Type)
	}
	saved := map[string]bool{}
	for _, step := range []func(key string, n *snapshot.Node) error{
		func(key string, _ *snapshot.Node) error { return l.absent(key) },
		func(key string, n *snapshot.Node) error {
			to, _ := l.target(key)
			saved[to] = true
			return l.node(src, key, n)
		},
	} {
		if err := each(ctx, src, root, step); err != nil {
			return l.report, err
		}
	}
	if o.Clean && k.Pattern != "" {
		return l.report, l.clean(k.Pattern, saved)
	}
	return l.report, nil
}

// each calls step for every saved key.
func each(ctx context.Context, src snapshot.Source, root *snapshot.Node, step func(key string, n *snapshot.Node) error) error {
	for n, err := range snapshot.ReadDir(ctx, src, root.Tree) {
		var key string
		if err == nil && n.Type != snapshot.File {
			err = fmt.Errorf("%q is a %v, not a key", n.Name, n.Type)
		}
		if err == nil {
			key, err = source.UnescapeName(n.Name)
		}
		if err == nil {
			err = step(key, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clean removes the keys that match a pattern, but for those that were saved.
func (l *loader) clean(pattern string, saved map[string]bool) error {
	names, err := l.scan(pattern)
	if errors.Is(err, ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		key, err := source.UnescapeName(name)
		if err != nil {
			return err
		}
		if saved[key] {
			continue
		}
		if _, err := l.do("DEL", key); err != nil {
			return fmt.Errorf("remove key %q: %w", key, err)
		}
		l.report.Removed++
	}
	return nil
}

// RestoreValue loads one value under k.Key from a stream of the bytes that DUMP gave.
// It never expires.
func (k Keys) RestoreValue(ctx context.Context, in io.Reader, o RestoreOptions) error {
	l, err := newLoader(ctx, k.Server, o)
	if err != nil {
		return err
	}
	defer l.close()
	value, err := io.ReadAll(io.LimitReader(in, maxBulk+1))
	if err != nil {
		return fmt.Errorf("restore key %q: %w", k.Key, err)
	}
	return l.load(k.Key, value, 0)
}

// loader brings keys back.
type loader struct {
	*client
	ctx    context.Context
	o      RestoreOptions
	now    int64 // the server's time, in milliseconds since 1970
	report RestoreReport
}

func newLoader(ctx context.Context, s Server, o RestoreOptions) (*loader, error) {
	c, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	l := &loader{client: c, ctx: ctx, o: o}
	answer, err := c.do("TIME")
	if err == nil {
		l.now, err = milliseconds(answer)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("ask for the time: %w", err)
	}
	return l, nil
}

// target returns the key here, "" if it is not wanted.
func (l *loader) target(key string) (string, bool) {
	if l.o.Rename == nil {
		return key, true
	}
	to := l.o.Rename(key)
	return to, to != ""
}

// absent returns ErrExists for a key that would be in the way.
func (l *loader) absent(key string) error {
	to, wanted := l.target(key)
	if !wanted || l.o.Replace {
		return nil
	}
	n, err := l.do("EXISTS", to)
	if err == nil && n != int64(0) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("restore key %q: %w", to, err)
	}
	return nil
}

// node loads the file of a key.
func (l *loader) node(src snapshot.Source, key string, n *snapshot.Node) error {
	if n.Size > maxBulk {
		return fmt.Errorf("restore key %q: a value of %d bytes, limit %d", key, n.Size, maxBulk)
	}
	value, err := io.ReadAll(io.NewSectionReader(snapshot.NewReader(l.ctx, src, n), 0, int64(n.Size)))
	if err != nil {
		return fmt.Errorf("restore key %q: %w", key, err)
	}
	var expires int64
	for _, x := range n.Xattrs {
		if x.Name != attrExpires {
			continue
		}
		if expires, err = strconv.ParseInt(string(x.Value), 10, 64); err != nil || expires <= 0 {
			return fmt.Errorf("restore key %q: it expires at %.40q, which is no time", key, x.Value)
		}
	}
	return l.load(key, value, expires)
}

func (l *loader) load(key string, value []byte, expires int64) error {
	key, wanted := l.target(key)
	if !wanted {
		return nil
	}
	if l.o.Forever {
		expires = 0
	}
	if expires != 0 && expires <= l.now {
		l.report.Expired++
		return nil
	}
	version, err := checkValue(value)
	if err != nil {
		return fmt.Errorf("restore key %q: %w", key, err)
	}
	args := []string{"RESTORE", key, strconv.FormatInt(expires, 10), string(value)}
	if l.o.Replace {
		args = append(args, "REPLACE")
	}
	if expires != 0 {
		args = append(args, "ABSTTL")
	}
	switch _, err := l.do(args...); {
	case hasCode(err, "BUSYKEY"):
		return fmt.Errorf("restore key %q: %w", key, ErrExists)
	case hasCode(err, "ERR"): // the checksum is right, so the server does not know the encoding
		return fmt.Errorf("restore key %q: %w (the value is of RDB version %d: is the server older than the one that was saved?)", key, err, version)
	case err != nil:
		return fmt.Errorf("restore key %q: %w", key, err)
	}
	l.report.Restored++
	return nil
}
