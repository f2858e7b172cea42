package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"vault/internal/display"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// volumes turns the arguments of backup into volumes: paths, with a name or
// without, what lists name, commands, and standard input.
func (f *backupFlags) volumes(paths []string) ([]archive.Volume, error) {
	var list []archive.Volume
	var errs []error
	add := func(v archive.Volume, err error) {
		list, errs = append(list, v), append(errs, err)
	}
	for _, arg := range paths {
		add(pathVolume(arg))
	}
	readers := f.lists.usesStdin()
	if f.stdin != "" {
		readers++
	}
	if readers > 1 {
		return nil, usagef("standard input can be read only once")
	}
	if f.lists.given() {
		add(f.lists.volume(os.Stdin))
	}
	for _, arg := range f.commands {
		add(commandVolume(arg))
	}
	if f.stdin != "" {
		var err error
		if !isVolumeName(f.stdin) {
			err = badName("--stdin", f.stdin)
		}
		add(archive.Volume{Name: f.stdin, Source: archive.Stream{Reader: os.Stdin, Label: "stdin"}}, err)
	}
	if len(list) == 0 {
		return nil, usage(errors.New("nothing to back up: give paths, --files-from, --command or --stdin"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usage(err)
	}
	return list, distinct(list)
}

// pathVolume parses [NAME=]PATH. A path without a name is named by itself,
// absolute and clean. A slash at the end, which means what a link points to,
// is kept for the source.
func pathVolume(arg string) (archive.Volume, error) {
	name, path, named := strings.Cut(arg, "=")
	if !named || !isVolumeName(name) {
		name, path = "", arg
	}
	if path == "" {
		return archive.Volume{}, fmt.Errorf("volume %q: the path is empty", arg)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return archive.Volume{}, fmt.Errorf("volume %q: %w", arg, err)
	}
	if name == "" {
		name = filepath.ToSlash(abs)
	}
	if strings.HasSuffix(path, "/") && !strings.HasSuffix(abs, "/") {
		abs += "/"
	}
	return archive.Volume{Name: name, Source: archive.Path{Path: abs}}, nil
}

// commandVolume parses NAME=COMMAND. The shell gets the command as it is, so
// quoting, pipes and variables work as they do in a script.
func commandVolume(arg string) (archive.Volume, error) {
	name, command, ok := strings.Cut(arg, "=")
	switch {
	case !ok || !isVolumeName(name):
		return archive.Volume{}, badName("--command", arg)
	case strings.TrimSpace(command) == "":
		return archive.Volume{}, fmt.Errorf("--command %s: the command is empty", name)
	}
	return archive.Volume{Name: name, Source: archive.Command{Shell: command}}, nil
}

func badName(flag, arg string) error {
	form := "NAME"
	if flag == "--command" {
		form = "NAME='command'"
	}
	return fmt.Errorf("%s %s: the form is %s, where NAME has only letters, digits, dot, underscore and minus", flag, display.Name(arg), form)
}

// isVolumeName reports whether s can be the NAME of a volume.
func isVolumeName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 255 {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// volumeDir returns where a volume goes below the target of a restore.
func volumeDir(name string) string {
	if dir := strings.Trim(name, "/"); dir != "" {
		return dir
	}
	return "."
}

// distinct refuses volumes that could not be told apart, or that would be
// restored to one place.
func distinct(list []archive.Volume) error {
	seen := map[string]string{}
	for _, v := range list {
		other, twice := seen[volumeDir(v.Name)]
		switch {
		case twice && other == v.Name:
			return usagef("two volumes are named %s: name them apart with NAME=PATH", display.Name(v.Name))
		case twice:
			return usagef("volumes %s and %s would be restored to the same place: name them apart with NAME=PATH", display.Name(other), display.Name(v.Name))
		}
		seen[volumeDir(v.Name)] = v.Name
	}
	return nil
}

// parseTags parses tags of the form KEY=VALUE, or KEY alone.
func parseTags(args []string) ([]snapshot.Tag, error) {
	var tags []snapshot.Tag
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch {
		case key == "":
			return nil, usagef("tag %q: the form is KEY=VALUE", arg)
		case !utf8.ValidString(arg):
			return nil, usagef("tag %q is not valid UTF-8", arg)
		case key == backupTag:
			return nil, usagef("tag %q: the key %s is taken", arg, backupTag)
		}
		tags = append(tags, snapshot.Tag{Key: key, Value: value})
	}
	return tags, nil
}

// backupTag is the key of the tag that every snapshot has by its nature: the
// backup to which it belongs.
const backupTag = "backup-id"
