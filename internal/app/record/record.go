// Package record keeps the results of what was done for applications: backups,
// copies, checks, verifications, trial restores. Who reports - metrics, health,
// notifications - reads it and needs no repository.
//
// The idea. There is one small JSON file an application in the state directory,
// apps/NAME.json: for each kind of activity and destination the last result, the
// last success and the failures since, and a bounded history of all, in which none
// crowds out the others. A file is
// replaced durably and in one step, and changed under a lock, so that activities of
// one application may end at the same time. Decoding is strict and bounded.
//
// Caveats. The times are those of the clock of this machine. The record is what
// this machine knows: what another one did for the same application is not in it.
// A file that is damaged is put aside and begun anew when the next result comes; until
// then it is an error, and nobody takes it for "never backed up".
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vault/internal/durable"
)

// Kind is what was done.
type Kind string

// The kinds.
const (
	Backup    Kind = "backup"
	Copy      Kind = "copy"
	Check     Kind = "check"
	Verify    Kind = "verify"
	Rehearsal Kind = "rehearsal"
	Retention Kind = "retention"
	Restore   Kind = "restore"
)

// Result is how it ended.
type Result string

// The results.
const (
	Success Result = "success"
	Partial Result = "partial" // stored, but something is missing
	Failed  Result = "failed"
	Skipped Result = "skipped" // a hook said that there is nothing to do
)

// Activity is one thing that was done, and how it ended.
type Activity struct {
	App         string    `json:"app"`
	Kind        Kind      `json:"kind"`
	Destination string    `json:"destination,omitempty"` // name of a repository, with the path in it, or of a copy
	Result      Result    `json:"result"`
	ExitCode    int       `json:"exit_code"`
	Host        string    `json:"host,omitempty"`
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Quiet       float64   `json:"quiet_seconds"` // how long the application was at rest
	BackupID    string    `json:"backup_id,omitempty"`
	Volumes     []Volume  `json:"volumes,omitempty"`
	BytesAdded  uint64    `json:"bytes_added"`  // of new data, plain
	BytesStored uint64    `json:"bytes_stored"` // of new data, as stored
	Error       string    `json:"error,omitempty"`
	Hint        string    `json:"hint,omitempty"`
	Messages    []string  `json:"messages,omitempty"` // what else somebody should know
	Idle        bool      `json:"idle,omitempty"`     // a success for which there was nothing to do
	Polled      bool      `json:"polled,omitempty"`   // begun every few minutes, in case that there is something to do
}

// Volume is what became of one volume.
type Volume struct {
	Name    string `json:"name"`
	Class   string `json:"class,omitempty"`
	State   string `json:"state"` // complete, partial, failed or missing
	Bytes   uint64 `json:"bytes"`
	Files   uint64 `json:"files"`
	Message string `json:"message,omitempty"`
}

// Series is what is known of one kind of activity on one destination.
type Series struct {
	Kind        Kind      `json:"kind"`
	Destination string    `json:"destination,omitempty"`
	Last        Activity  `json:"last"`
	LastSuccess *Activity `json:"last_success,omitempty"` // complete; a partial one is none
	LastStored  *Activity `json:"last_stored,omitempty"`  // complete or partial, or stored before something failed
	Failures    int       `json:"failures"`               // since the last success; skipped ones do not count
}

// Record is all that is known of an application.
type Record struct {
	Version int        `json:"version"`
	App     string     `json:"app"`
	Since   time.Time  `json:"since,omitzero"` // when the first thing on record began
	Series  []Series   `json:"series"`         // by kind, then destination
	History []Activity `json:"history"`        // oldest first, at most MaxHistory
}

// Bounds of a record.
const (
	MaxHistory  = 100
	MaxSeries   = 200
	maxVolumes  = 1000
	maxMessages = 50
	maxText     = 4096
	maxFile     = 16 << 20
	version     = 1
)

// ErrDamaged says that a file is not a record that this program wrote.
var ErrDamaged = errors.New("the record is damaged")

// ErrNewer says that a newer program wrote the record.
var ErrNewer = errors.New("the record was written by a newer version of vault")

// Get returns the series of a kind and destination, or nil.
func (r *Record) Get(k Kind, destination string) *Series {
	for i := range r.Series {
		if s := &r.Series[i]; s.Kind == k && s.Destination == destination {
			return s
		}
	}
	return nil
}

// Add takes a result into the record.
func (r *Record) Add(a Activity) {
	a.limit()
	if r.Since.IsZero() {
		r.Since = a.Start
		if len(r.History) > 0 { // of a version that did not keep it
			r.Since = r.History[0].Start
		}
	}
	s := r.Get(a.Kind, a.Destination)
	if s == nil {
		r.Series = append(r.Series, Series{Kind: a.Kind, Destination: a.Destination})
		s = &r.Series[len(r.Series)-1]
	}
	s.Last = a
	switch a.Result {
	case Success:
		s.LastSuccess, s.LastStored, s.Failures = &a, &a, 0
	case Partial:
		s.LastStored = &a
		s.Failures++
	case Failed:
		s.Failures++
		if a.BackupID != "" && a.Kind == Backup { // what failed came after the commit
			s.LastStored = &a
		}
	}
	r.remember(a)
	if len(r.Series) > MaxSeries { // destinations that are long gone
		slices.SortFunc(r.Series, func(a, b Series) int { return b.Last.End.Compare(a.Last.End) })
		r.Series = r.Series[:MaxSeries]
	}
	slices.SortFunc(r.Series, func(a, b Series) int {
		if n := strings.Compare(string(a.Kind), string(b.Kind)); n != 0 {
			return n
		}
		return strings.Compare(a.Destination, b.Destination)
	})
}

// limit cuts what could grow without bounds.
func (a *Activity) limit() {
	cut := func(s *string) {
		if len(*s) > maxText {
			*s = strings.ToValidUTF8((*s)[:maxText], "") + "..."
		}
	}
	a.Volumes = slices.Clone(a.Volumes[:min(len(a.Volumes), maxVolumes)])
	a.Messages = slices.Clone(a.Messages[:min(len(a.Messages), maxMessages)])
	cut(&a.Error)
	cut(&a.Hint)
	for i := range a.Volumes {
		cut(&a.Volumes[i].Message)
	}
	for i := range a.Messages {
		cut(&a.Messages[i])
	}
	a.Start, a.End = a.Start.UTC().Round(time.Millisecond), a.End.UTC().Round(time.Millisecond)
}

// Store is the records of all applications below a state directory, which need not
// exist.
type Store struct{ dir string }

// In returns the store in a state directory.
func In(stateDir string) Store { return Store{dir: filepath.Join(stateDir, "apps")} }

func (s Store) file(app string) (string, error) {
	if app == "" || app[0] == '.' || strings.ContainsAny(app, "/\\\x00") || len(app) > 200 {
		return "", fmt.Errorf("record of %q: this cannot be the name of an application", app)
	}
	return filepath.Join(s.dir, app+".json"), nil
}

// Load returns the record of an application; one without activities if there is
// none. ErrDamaged and ErrNewer say that there is something else.
func (s Store) Load(app string) (Record, error) {
	name, err := s.file(app)
	if err != nil {
		return Record{}, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{Version: version, App: app}, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("record of %s: %w", app, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Record{}, fmt.Errorf("record of %s: %w", app, err)
	}
	r, err := Decode(data)
	if err == nil && r.App != app {
		err = fmt.Errorf("%w: it is that of %q", ErrDamaged, r.App)
	}
	if err != nil {
		return Record{}, fmt.Errorf("record of %s: %s: %w", app, name, err)
	}
	return r, nil
}

// Add takes a result into the record of its application. When it returns nil the
// record is durable. If the record was damaged the result is kept nevertheless,
// in a new one, and the error is ErrDamaged.
func (s Store) Add(a Activity) error {
	name, err := s.file(a.App)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("record of %s: %w", a.App, err)
	}
	unlock, err := lock(filepath.Join(s.dir, ".record.lock"))
	if err != nil {
		return fmt.Errorf("record of %s: %w", a.App, err)
	}
	defer unlock()
	r, damage := s.Load(a.App)
	switch {
	case errors.Is(damage, ErrDamaged):
		if err := os.Rename(name, name+".damaged"); err != nil {
			return fmt.Errorf("record of %s: %w", a.App, err)
		}
		r = Record{Version: version, App: a.App}
	case damage != nil:
		return damage
	}
	r.Add(a)
	data, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = durable.WriteFile(name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("record of %s: %w", a.App, err)
	}
	return damage
}

// Apps returns the names of the applications that have a record, sorted.
func (s Store) Apps() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("records: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && name != "" && name[0] != '.' && e.Type().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

// Decode decodes a record strictly: it knows every field, ends where the data ends,
// and keeps to the bounds. Anything else is ErrDamaged, or ErrNewer.
func Decode(data []byte) (Record, error) {
	if len(data) > maxFile {
		return Record{}, fmt.Errorf("%w: more than %d bytes", ErrDamaged, maxFile)
	}
	var head struct{ Version int }
	if err := json.Unmarshal(data, &head); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if head.Version > version {
		return Record{}, ErrNewer
	}
	var r Record
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, r.check()
}

func (r *Record) check() error {
	if r.Version != version || len(r.Series) > MaxSeries || len(r.History) > MaxHistory {
		return fmt.Errorf("%w: version %d, %d series, %d results", ErrDamaged, r.Version, len(r.Series), len(r.History))
	}
	all := slices.Clone(r.History)
	for _, s := range r.Series {
		if s.Kind != s.Last.Kind || s.Destination != s.Last.Destination || s.Failures < 0 {
			return fmt.Errorf("%w: the series %s %q is of another kind than its last result", ErrDamaged, s.Kind, s.Destination)
		}
		all = append(all, s.Last)
		for _, a := range []*Activity{s.LastSuccess, s.LastStored} {
			if a != nil {
				all = append(all, *a)
			}
		}
	}
	for _, a := range all {
		switch {
		case a.App != r.App:
			return fmt.Errorf("%w: a result of %q", ErrDamaged, a.App)
		case len(a.Volumes) > maxVolumes, len(a.Messages) > maxMessages:
			return fmt.Errorf("%w: %d volumes, %d messages", ErrDamaged, len(a.Volumes), len(a.Messages))
		case !slices.Contains([]Kind{Backup, Copy, Check, Verify, Rehearsal, Retention, Restore}, a.Kind),
			!slices.Contains([]Result{Success, Partial, Failed, Skipped}, a.Result):
			return fmt.Errorf("%w: kind %q, result %q", ErrDamaged, a.Kind, a.Result)
		}
	}
	return nil
}
