package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vault/backend"
	"vault/crypto"
	"vault/internal/display"
	"vault/repo"
	"vault/repo/inspect"
	"vault/snapshot"
)

// kindDirs says where the objects of a kind lie, and how their names end.
var kindDirs = map[string]struct{ dir, end string }{
	"key": {"keys/", ""}, "pack": {"packs/", ""}, "index": {"index/", ""}, "session": {"sessions/", ""}, "commit": {"commits/", ""},
	"event": {"events/", ""}, "plan": {"gc/", ".plan"}, "done": {"gc/", ".done"},
}

const kinds = "key, config, pack, index, session, commit, event, plan, done or tree"

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect KIND [NAME|FILE]",
		Short: "Explain a stored object byte by byte",
		Long: `Inspect shows what every byte of an object means, and what is wrong with it. KIND
is ` + kinds + `.

NAME is the object's name, or the beginning of its id, which is not needed where
there is one object of the kind; or a FILE, such as one saved from a damaged
repository. A tree is named by the id of a page, or as BACKUP:VOLUME[/PATH].

It changes nothing and goes on as far as it can: without the right passphrase, or
where the config is damaged, it shows what is plain. If something is wrong with
the object it exits with 15.`,
		Example: `  vault inspect config
  vault inspect commit 01kaw3x5
  vault inspect tree latest:html/config`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "config" && args[0] != "tree" && kindDirs[args[0]].dir == "" {
				return usagef("inspect %q: want %s", args[0], kinds)
			}
			name := ""
			if len(args) > 1 {
				name = args[1]
			}
			return a.inspect(cmd.Context(), args[0], name)
		},
	}
}

func (a *app) inspect(ctx context.Context, kind, name string) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	be, err := a.storage(ctx, p)
	if err != nil {
		return p.wrap("open", err)
	}
	var pass []byte
	a.learn = func(b []byte) { pass = slices.Clone(b) }
	a.noCache = true
	defer func() { clear(pass) }()
	r, openErr := repo.Open(ctx, be, repo.OpenOptions{Passphrase: func() ([]byte, error) { return a.passphrase(ctx, false) }, Env: a.env(p)})
	if openErr == nil {
		defer r.Close()
	} else {
		defer be.Close()
	}
	if kind == "tree" {
		if openErr != nil {
			return p.wrap("open", openErr)
		}
		return a.inspectTree(ctx, r, name)
	}
	object, data, err := findObject(ctx, be, kind, name)
	if err != nil {
		return err
	}
	var report inspect.Report
	switch {
	case kind == "key":
		report = inspectSlot(object, data, pass)
	case openErr != nil:
		a.ui.warn(p.loc.String(), fmt.Errorf("only what is plain is shown: %w", openErr))
		report = inspect.Object(object, data, nil)
	default:
		report = inspect.Object(object, data, r.Keys())
	}
	return a.tellInspection(report)
}

// inspectSlot opens the slot with the passphrase, if it is the slot's.
func inspectSlot(object string, data, pass []byte) inspect.Report {
	if slot, err := crypto.ParseSlot(data); err == nil && len(pass) > 0 {
		if opened, err := slot.Open(pass); err == nil {
			defer clear(opened.Master[:])
			return inspect.Slot(object, data, opened)
		}
	}
	return inspect.Object(object, data, nil)
}

func (a *app) tellInspection(report inspect.Report) error {
	write := inspect.Text
	if a.ui.json {
		write = inspect.JSON
	}
	if err := write(a.ui.stdout, report); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	wrong := uint64(0)
	for range report.Bad() {
		wrong++
	}
	if report.Verdict != "" && wrong == 0 {
		wrong = 1
	}
	if wrong > 0 {
		return &failure{code: exitProblems, told: a.ui.json, err: fmt.Errorf("%s: %s", report.Name, display.Count(wrong, "thing")+" not as it should be"),
			hint: "the lines marked with !! say what; `vault check` tells what depends on it"}
	}
	return nil
}

// inspectTree explains a page: by its id, or the top page of a directory.
func (a *app) inspectTree(ctx context.Context, r *repo.Repo, name string) error {
	if name == "" {
		return usagef("inspect tree: name a page by its id, or a directory as BACKUP:VOLUME[/PATH]")
	}
	id, err := crypto.ParseID(name)
	if b, herr := hex.DecodeString(name); err != nil && herr == nil && len(b) == len(id) {
		id, err = crypto.ID(b), nil
	}
	if err != nil {
		if id, err = a.treeOf(ctx, r, name); err != nil {
			return err
		}
	}
	page, err := r.Get(ctx, crypto.BlobTree, id, nil)
	if err != nil {
		return fmt.Errorf("inspect tree %s: %w", id, err)
	}
	return a.tellInspection(inspect.Object("tree/"+id.String(), page, r.Keys()))
}

func (a *app) treeOf(ctx context.Context, r *repo.Repo, name string) (id crypto.ID, err error) {
	c, err := a.catalogue(ctx, r)
	if err != nil {
		return id, err
	}
	ref, err := c.resolve(name, snapshot.Filter{AllowPartial: true})
	if err != nil {
		return id, err
	}
	if ref.volume == nil {
		if len(ref.backup.Volumes) != 1 {
			return id, usagef("inspect tree %s: name one of its volumes: %s", name, strings.Join(volumeNames(ref.backup), ", "))
		}
		ref.volume = &ref.backup.Volumes[0]
	}
	n, err := ref.node(ctx, r)
	switch {
	case err != nil:
		return id, err
	case n.IsDir():
		return n.Tree, nil
	case !n.Content.List.IsZero():
		return n.Content.List, nil
	}
	return id, &failure{code: exitFailure, err: fmt.Errorf("%s is a %s that has no pages of its own", display.Name(name), n.Type),
		hint: "look at the directory that holds it"}
}

// maxInspected is more than any object of format 1 has, in bytes.
const maxInspected = 1 << 30

// findObject reads the object, or the file, that is meant.
func findObject(ctx context.Context, be backend.Backend, kind, name string) (string, []byte, error) {
	object, err := objectName(ctx, be, kind, name)
	if err == nil {
		data, err := backend.ReadAll(ctx, be, object, maxInspected)
		if err != nil {
			return object, nil, fmt.Errorf("inspect %s: %w", object, err)
		}
		return object, data, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || name == "" {
		return "", nil, err
	}
	data, ferr := os.ReadFile(name)
	if ferr != nil {
		if errors.Is(ferr, fs.ErrNotExist) {
			ferr = err
		}
		return "", nil, ferr
	}
	return nameOfFile(kind, name), data, nil
}

// nameOfFile is the name of the object that a file holds: as much of its path
// as looks like one.
func nameOfFile(kind, file string) string {
	parts := strings.Split(file, "/")
	for i := range parts {
		if object := strings.Join(parts[i:], "/"); repo.OwnName(object) {
			return object
		}
	}
	base := baseName(file)
	if object := "packs/" + base[:min(2, len(base))] + "/" + base; kind == "pack" && repo.OwnName(object) {
		return object
	}
	return kindDirs[kind].dir + base
}

func baseName(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// objectName finds the one object of a kind whose name, or whose id, begins so.
func objectName(ctx context.Context, be backend.Backend, kind, name string) (string, error) {
	if kind == "config" {
		if name != "" && name != "config" {
			return "", fmt.Errorf("config %s: %w", name, fs.ErrNotExist)
		}
		return "config", nil
	}
	k := kindDirs[kind]
	prefix := strings.ToLower(strings.TrimPrefix(name, k.dir))
	var found []string
	for info, err := range be.List(ctx, k.dir) {
		if err != nil {
			return "", fmt.Errorf("list %s: %w", k.dir, err)
		}
		if !repo.OwnName(info.Name) || !strings.HasSuffix(info.Name, k.end) {
			continue
		}
		rest := info.Name[len(k.dir):]
		if strings.HasPrefix(rest, prefix) || strings.HasPrefix(baseName(rest), prefix) || kind == "plan" || kind == "done" {
			if (kind == "plan" || kind == "done") && !strings.HasPrefix(strings.TrimLeft(rest, "0"), strings.TrimLeft(prefix, "0")) {
				continue
			}
			found = append(found, info.Name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return "", &failure{code: exitFailure, err: fmt.Errorf("there is no %s %q: %w", kind, name, fs.ErrNotExist), hint: "the objects of this kind lie in " + k.dir}
	}
	shown := strings.Join(found[:min(len(found), 8)], ", ")
	if n := len(found) - 8; n > 0 {
		shown += fmt.Sprintf(", and %d more", n)
	}
	return "", &failure{code: exitUsage, err: fmt.Errorf("which %s? there are %s", kind, shown), hint: "give the beginning of its id"}
}
