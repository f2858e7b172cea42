package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// passphrase opens every repository made here.
const passphrase = "a passphrase for measuring"

// engine is a program and how it does each phase. A command line of several words
// is run without a shell; $R is the repository, $S the corpus, $T the target.
type engine struct {
	name    string
	program string
	through []string // a find that ends with -exec and runs the program on what it finds; nil: it runs by itself
	version string
	env     []string
	init    [][]string
	phases  map[phase][]string
	limit   bool // a tool that shows a bound, not an engine
}

// phase is what is measured.
type phase string

const (
	first     phase = "first"
	unchanged phase = "unchanged"
	changed   phase = "changed"
	restore   phase = "restore"
	checking  phase = "check"
	open      phase = "open" // and list backups: what every command pays
)

// phases are all, in their order.
var phases = []phase{first, unchanged, changed, restore, checking, open}

// found returns vault, the peers that are there, and the tools that show bounds.
func found(vault string) ([]*engine, error) {
	vault, err := filepath.Abs(vault)
	if err != nil {
		return nil, err
	}
	all := []*engine{
		{name: "vault", program: vault,
			env:  []string{"VAULT_PASSWORD=" + passphrase, "VAULT_REPO=$R", "VAULT_STATE_DIR=$R.state", "VAULT_CACHE_DIR=$R.cache"},
			init: [][]string{{"init", "-q"}},
			phases: map[phase][]string{first: {"backup", "-q", "data=$S"}, unchanged: {"backup", "-q", "data=$S"}, changed: {"backup", "-q", "data=$S"},
				restore: {"restore", "-q", "latest", "--target", "$T"}, checking: {"check", "-q", "--read-data"}, open: {"backups", "-q"}}},
		{name: "restic", program: os.Getenv("RESTIC"),
			env:  []string{"RESTIC_PASSWORD=" + passphrase, "RESTIC_REPOSITORY=$R", "RESTIC_CACHE_DIR=$R.cache"},
			init: [][]string{{"init", "-q"}},
			phases: map[phase][]string{first: {"backup", "-q", "$S"}, unchanged: {"backup", "-q", "$S"}, changed: {"backup", "-q", "$S"},
				restore: {"restore", "-q", "latest", "--target", "$T"}, checking: {"check", "-q", "--read-data"}, open: {"snapshots", "-q"}}},
		{name: "borg", program: os.Getenv("BORG"),
			env:  []string{"BORG_PASSPHRASE=" + passphrase, "BORG_REPO=$R", "BORG_BASE_DIR=$R.base"},
			init: [][]string{{"init", "-e", "repokey-blake2"}},
			phases: map[phase][]string{first: {"create", "-C", "zstd,3", "::first", "$S"}, unchanged: {"create", "-C", "zstd,3", "::unchanged", "$S"},
				changed: {"create", "-C", "zstd,3", "::changed", "$S"}, restore: {"extract", "::changed"}, checking: {"check", "--verify-data"}, open: {"list"}}},
		{name: "kopia", program: os.Getenv("KOPIA"),
			env: []string{"KOPIA_PASSWORD=" + passphrase, "KOPIA_CONFIG_PATH=$R.config", "KOPIA_CACHE_DIRECTORY=$R.cache", "KOPIA_CHECK_FOR_UPDATES=false",
				"KOPIA_LOG_DIR=$R.log"},
			// It does not compress unless it is told to.
			init: [][]string{{"repository", "create", "filesystem", "--path", "$R"}, {"policy", "set", "--global", "--compression=zstd-fastest"}},
			phases: map[phase][]string{first: {"snapshot", "create", "$S"}, unchanged: {"snapshot", "create", "$S"}, changed: {"snapshot", "create", "$S"},
				restore: {"snapshot", "restore", "$S", "$T"}, checking: {"snapshot", "verify", "--verify-files-percent=100"}, open: {"snapshot", "list"}}},
		{name: "find", limit: true, phases: map[phase][]string{unchanged: {"$S", "-printf", "%s %T@ %i\\n"}}},
		{name: "tar", limit: true, phases: map[phase][]string{restore: {"-xf", "$R.tar", "-C", "$T"}}},
		{name: "sha256sum", limit: true, through: []string{"find", "$S", "-type", "f", "-exec"}, phases: map[phase][]string{checking: {}}},
	}
	var there []*engine
	for _, e := range all {
		if e.program == "" {
			if e.program, err = exec.LookPath(e.name); errors.Is(err, exec.ErrNotFound) {
				fmt.Fprintf(os.Stderr, "%s is not on the path: left out\n", e.name)
				continue
			} else if err != nil {
				return nil, err
			}
		}
		if err := e.askVersion(); err != nil {
			return nil, err
		}
		there = append(there, e)
	}
	return there, nil
}

// askVersion notes the first line of what the program says about itself.
func (e *engine) askVersion() error {
	argument := "--version"
	if e.name == "restic" || e.name == "vault" {
		argument = "version"
	}
	out, err := exec.Command(e.program, argument).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w", e.program, argument, err)
	}
	e.version, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	return nil
}

// place is where one engine works.
type place struct{ repo, source, target string }

func (p place) expand(words []string) []string {
	r := strings.NewReplacer("$R", p.repo, "$S", p.source, "$T", p.target)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = r.Replace(w)
	}
	return out
}
