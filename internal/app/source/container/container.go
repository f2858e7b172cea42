//go:build linux

package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vault/internal/app/source"
)

// Engine is podman or docker, and whose it is.
type Engine struct {
	Program string // "podman", "docker" or a path of one; "" is podman
	Args    []string
	// As is whose rootless engine it is; nil is who runs this process: rootful for root.
	As *source.Account
}

// Volume is a volume of an engine.
type Volume struct {
	Name   string
	Path   string // of its directory
	Driver string
	Labels map[string]string
	// IDs is the user namespace that the volume's owners belong to; nil if they are
	// stored as they are.
	IDs *Mapping
}

// Reasons why a volume cannot be read.
var (
	ErrNoVolume   = errors.New("no such volume")
	ErrNotMounted = errors.New("the volume is a mount that is there only while a container uses it: start one, or save what is mounted itself")
	ErrForeign    = errors.New("files of a rootless volume can be read by root or inside the user namespace only: run as root, or with podman unshare")
)

func (e Engine) program() string {
	if e.Program == "" {
		return "podman"
	}
	return e.Program
}

func (e Engine) docker() bool { return strings.HasPrefix(filepath.Base(e.program()), "docker") }

// rootless reports whether the engine has a user namespace that this process is not in.
func (e Engine) rootless() bool {
	if e.As != nil {
		return e.As.UID != 0
	}
	return !e.docker() && os.Geteuid() != 0
}

// Unshared reports whether this process runs inside the user namespace of a rootless
// podman, as podman itself tells it. There the owners are as containers see them.
func Unshared() bool { return os.Getenv("_CONTAINERS_USERNS_CONFIGURED") == "done" }

// Owns reports whether this process runs inside the user namespace of podman that
// belongs to an account.
func Owns(uid uint32) bool {
	if !Unshared() {
		return false
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	list, err := parseRanges(text)
	return err == nil && slices.ContainsFunc(list, func(r Range) bool { return r.Inside == 0 && r.Outside == uid })
}

// Unshare returns the arguments that run a command inside the user namespace of
// podman.
func (e Engine) Unshare(argv ...string) []string {
	return slices.Concat([]string{e.program()}, e.Args, []string{"unshare"}, argv)
}

// ask runs a command of the engine and returns what it prints.
func (e Engine) ask(ctx context.Context, args ...string) ([]byte, error) {
	run := source.Runner{As: e.As, Dir: "/"}
	argv, err := run.Argv([]string{e.program()}, slices.Concat(e.Args, args)...)
	if err != nil {
		return nil, err
	}
	return run.Output(ctx, argv)
}

// Preflight checks that the engine is there and answers.
func (e Engine) Preflight(ctx context.Context) error {
	_, err := e.List(ctx)
	return err
}

// List returns the names of all volumes, sorted.
func (e Engine) List(ctx context.Context) ([]string, error) {
	out, err := e.ask(ctx, "volume", "ls", "--quiet")
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	names := strings.Fields(string(out))
	slices.Sort(names)
	return names, nil
}

// Inspect returns a volume, whose directory exists. One that the engine does not have
// is ErrNoVolume.
func (e Engine) Inspect(ctx context.Context, name string) (Volume, error) {
	v, err := e.inspect(ctx, name)
	if err != nil {
		return Volume{}, fmt.Errorf("volume %q: %w", name, err)
	}
	return v, nil
}

func (e Engine) inspect(ctx context.Context, name string) (Volume, error) {
	if err := checkName(name); err != nil {
		return Volume{}, err
	}
	// The error for a volume that is not there is the same as any other.
	names, err := e.List(ctx)
	if err != nil {
		return Volume{}, err
	}
	if !slices.Contains(names, name) {
		return Volume{}, ErrNoVolume
	}
	out, err := e.ask(ctx, "volume", "inspect", name)
	if err != nil {
		return Volume{}, err
	}
	v, err := parseVolume(out, name)
	if err != nil {
		return Volume{}, err
	}
	if e.rootless() && !Unshared() {
		if v.IDs, err = e.mapping(ctx); err != nil {
			return Volume{}, err
		}
	}
	return v, nil
}

// inspected is what both engines print of a volume.
type inspected struct {
	Name, Driver, Mountpoint string
	Labels, Options          map[string]string
}

func parseVolume(text []byte, name string) (Volume, error) {
	var list []inspected
	if err := json.Unmarshal(text, &list); err != nil {
		return Volume{}, fmt.Errorf("what the engine prints: %w", err)
	}
	if len(list) != 1 || list[0].Name != name || !strings.HasPrefix(list[0].Mountpoint, "/") {
		return Volume{}, fmt.Errorf("the engine describes something else: %.200q", text)
	}
	i := list[0]
	mount := i.Driver != "local" || i.Options["device"] != ""
	if mount && !mounted(i.Mountpoint) {
		return Volume{}, ErrNotMounted
	}
	if st, err := os.Stat(i.Mountpoint); err != nil || !st.IsDir() {
		return Volume{}, errors.Join(fmt.Errorf("%s is not a directory", i.Mountpoint), err)
	}
	return Volume{Name: i.Name, Path: i.Mountpoint, Driver: i.Driver, Labels: i.Labels}, nil
}

// mounted reports whether something is mounted at a path (proc(5), mountinfo).
func mounted(path string) bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	escaped := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(path)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == escaped {
			return true
		}
	}
	return false
}

// checkName returns an error for what is no name of a volume: names are part of
// arguments and paths.
func checkName(name string) error {
	ok := name != ""
	for i, c := range name {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (plain || i > 0 && strings.ContainsRune("_.-", c))
	}
	if !ok {
		return errors.New("a volume's name has letters, digits and, but for the first, _.-")
	}
	return nil
}

// mapping asks the engine for its user namespace.
func (e Engine) mapping(ctx context.Context) (*Mapping, error) {
	m := &Mapping{}
	for _, part := range []struct {
		file string
		to   *[]Range
	}{{"/proc/self/uid_map", &m.Users}, {"/proc/self/gid_map", &m.Groups}} {
		out, err := e.ask(ctx, "unshare", "cat", part.file)
		if err == nil {
			*part.to, err = parseRanges(out)
		}
		if err != nil {
			return nil, fmt.Errorf("ask for the user namespace: %w", err)
		}
	}
	return m, nil
}

// Readable returns ErrForeign if this process cannot be sure to read what is in the
// volume.
func (v Volume) Readable() error {
	if v.IDs != nil && os.Geteuid() != 0 {
		return fmt.Errorf("volume %q: %w", v.Name, ErrForeign)
	}
	return nil
}

// Ensure returns a volume, which it makes if there is none: the target of a restore.
func (e Engine) Ensure(ctx context.Context, name string) (Volume, error) {
	v, err := e.Inspect(ctx, name)
	if !errors.Is(err, ErrNoVolume) {
		return v, err
	}
	if _, err := e.ask(ctx, "volume", "create", name); err != nil {
		return Volume{}, fmt.Errorf("make volume %q: %w", name, err)
	}
	return e.Inspect(ctx, name)
}
