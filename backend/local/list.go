package local

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"vault/backend"
	"vault/internal/durable"
)

// List implements [backend.Backend]. It reads a directory when it comes to it.
// Only regular files are objects. Directories whose names cannot be part of an
// object's ("lost+found", ".snapshot") are strangers' and are not entered.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		err := s.list(ctx, prefix, func(info backend.Info) bool { return yield(info, nil) })
		switch {
		case err == nil, err == errStop:
			return
		case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
			err = s.failed("list", prefix, err)
		}
		yield(backend.Info{}, err)
	}
}

// errStop says that the loop over a listing ended early.
var errStop = errors.New("stopped")

func (s *Store) list(ctx context.Context, prefix string, yield func(backend.Info) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := backend.CheckPrefix(prefix); err != nil {
		return err
	}
	root, err := s.acquire()
	if err == errMissing {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.release()
	if prefix == "" {
		return walk(ctx, root, "", yield)
	}
	return enter(ctx, root, strings.TrimSuffix(prefix, "/"), prefix, yield)
}

// enter walks the directory at path below d. One that is gone is empty.
func enter(ctx context.Context, d *durable.Dir, path, prefix string, yield func(backend.Info) bool) error {
	sub, err := d.OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	return walk(ctx, sub, prefix, yield)
}

// walk yields the objects in d and below, whose names begin with prefix.
func walk(ctx context.Context, d *durable.Dir, prefix string, yield func(backend.Info) bool) error {
	list, err := d.Entries()
	if err != nil {
		return err
	}
	// An entry is visible before the client that made it has synced the
	// directory. Whoever sees it acts upon it, so it must not go in a power cut.
	if err := d.Sync(); err != nil {
		return err
	}
	// The names below a directory "a" begin with "a/", and "a-b" < "a/" < "a0".
	slices.SortFunc(list, func(x, y durable.Entry) int { return strings.Compare(sortKey(x), sortKey(y)) })
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := prefix + e.Name
		switch {
		case e.Kind == durable.Directory && backend.Check(name) == nil:
			if err := enter(ctx, d, e.Name, name+"/", yield); err != nil {
				return err
			}
		case e.Kind == durable.File && !durable.IsTemp(e.Name):
			size, err := d.Size(e.Name)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
				continue // deleted meanwhile, or made into something else
			}
			if err != nil {
				return err
			}
			if !yield(backend.Info{Name: name, Size: size}) {
				return errStop
			}
		}
	}
	return nil
}

func sortKey(e durable.Entry) string {
	if e.Kind == durable.Directory {
		return e.Name + "/"
	}
	return e.Name
}
