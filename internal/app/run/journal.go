//go:build linux

package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vault/internal/app/config"
	"vault/internal/durable"
)

// Journal is what a run has to undo, kept in the state directory from before it does
// it until it is undone: whoever finds it, and holds the lock of the application,
// knows that the run died.
//
// It names the commands themselves: the configuration may have changed since.
type Journal struct {
	Version int       `json:"version"`
	App     string    `json:"app"`
	Kind    string    `json:"kind"` // run or restore
	Started time.Time `json:"started"`
	PID     int       `json:"pid"`
	Quiet   bool      `json:"quiet"` // enter has begun, and leave has not ended
	Leave   []command `json:"leave,omitempty"`
	Finally []command `json:"finally,omitempty"`
	Env     []string  `json:"env,omitempty"`

	Restore *Progress `json:"restore,omitempty"`
}

// Progress is how far a restore has come.
type Progress struct {
	BackupID string   `json:"backup_id"`
	Volumes  []string `json:"volumes"` // what was asked for
	Done     []string `json:"done"`    // volumes that are restored
}

// command is a config.Command in a journal.
type command struct {
	Run     []string          `json:"run,omitempty"`
	Shell   string            `json:"shell,omitempty"`
	Timeout time.Duration     `json:"timeout,omitempty"`
	Env     map[string]string `json:"environment,omitempty"`
	Dir     string            `json:"dir,omitempty"`
}

func commandsOf(list config.Steps) (out []command) {
	for _, c := range list {
		out = append(out, command{Run: c.Run, Shell: c.Shell, Timeout: time.Duration(c.Timeout), Env: c.Env, Dir: c.Dir})
	}
	return out
}

func stepsOf(list []command) (out config.Steps) {
	for _, c := range list {
		out = append(out, config.Command{Run: c.Run, Shell: c.Shell, Timeout: config.Duration(c.Timeout), Env: c.Env, Dir: c.Dir})
	}
	return out
}

const (
	journalVersion = 1
	maxJournal     = 4 << 20
)

// ErrJournal says that a journal cannot be read.
var ErrJournal = errors.New("the journal is damaged")

func journalFile(dir, app string) string { return filepath.Join(dir, "apps", app+".journal") }

// writeJournal replaces the journal durably.
func writeJournal(dir string, j *Journal) error {
	j.Version = journalVersion
	data, err := json.MarshalIndent(j, "", " ")
	if err == nil {
		err = durable.WriteFile(journalFile(dir, j.App), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("journal of %s: %w", j.App, err)
	}
	return nil
}

// removeJournal removes it durably; none is none.
func removeJournal(dir, app string) error {
	file := journalFile(dir, app)
	err := os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("journal of %s: %w", app, err)
	}
	return nil
}

// readJournal returns the journal of an application, nil if there is none.
func readJournal(dir, app string) (*Journal, error) {
	f, err := os.Open(journalFile(dir, app))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %w", app, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %w", app, err)
	}
	j, err := decodeJournal(data)
	if err == nil && j.App != app {
		err = fmt.Errorf("%w: it is that of %q", ErrJournal, j.App)
	}
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %s: %w", app, f.Name(), err)
	}
	return j, nil
}

// decodeJournal decodes strictly. Every command of what it returns can be run.
func decodeJournal(data []byte) (*Journal, error) {
	if len(data) > maxJournal {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrJournal, maxJournal)
	}
	j := new(Journal)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows it", ErrJournal)
	}
	if j.Version != journalVersion || j.Kind != kindRun && j.Kind != kindRestore || (j.Kind == kindRestore) != (j.Restore != nil) {
		return nil, fmt.Errorf("%w: version %d, kind %q", ErrJournal, j.Version, j.Kind)
	}
	for _, list := range [][]command{j.Leave, j.Finally} {
		for _, c := range list {
			if (c.Shell == "") == (len(c.Run) == 0) || len(c.Run) > 0 && c.Run[0] == "" || c.Timeout < 0 {
				return nil, fmt.Errorf("%w: a command that cannot be run", ErrJournal)
			}
		}
	}
	return j, nil
}

const (
	kindRun     = "run"
	kindRestore = "restore"
)
