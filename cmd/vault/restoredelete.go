package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"vault/internal/display"
	"vault/snapshot"
	"vault/snapshot/restore"
)

// guardDelete refuses --delete where it would remove everything from this system
// that a backup does not have, unless patterns or a path say what it is about. Of
// the root of a file system a backup seldom has all: a volume of listed paths has
// little, and others leave out what is mounted or excluded.
func (a *app) guardDelete(f restoreFlags, choice restore.Choice, volumes []restore.Volume) error {
	if !f.delete || choice.Below != "" || len(choice.Includes) > 0 {
		return nil
	}
	for _, v := range volumes {
		place := filepath.Join(f.target, filepath.FromSlash(v.Dir))
		switch {
		case isSystemRoot(place) && !f.dryRun:
			return &failure{code: exitUsage, err: fmt.Errorf("--delete would remove everything from %s that the volume %s does not have", display.Name(place), display.Name(v.Name)),
				hint: "say what it is about with --include or ID:VOLUME/PATH (--include '*' is everything), and look at it with --dry-run first"}
		case isSystemRoot(place), v.Name == "/" && exists(place):
			a.ui.warn(place, errDeletesRest)
		}
	}
	return nil
}

var errDeletesRest = errors.New("--delete removes all that the volume / does not have, also what was not listed, was excluded or lay on another file system")

// isSystemRoot reports whether a path leads to the root of this system.
func isSystemRoot(path string) bool {
	root, err := os.Stat("/")
	if err != nil {
		return false
	}
	at, err := os.Stat(path)
	return err == nil && os.SameFile(root, at)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// otherPlaces returns where volumes of a backup belong that are not restored:
// --delete leaves them alone.
func otherPlaces(b *snapshot.Backup, chosen []restore.Volume) (places []string) {
	restored := map[string]bool{}
	for _, v := range chosen {
		restored[v.Name] = true
	}
	for i := range b.Volumes {
		if name := b.Volumes[i].Name; !restored[name] {
			places = append(places, volumeDir(name))
		}
	}
	return places
}
