//go:build linux

package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vault/backend"
	"vault/internal/app/config"
	"vault/internal/durable"
	"vault/repo"
	"vault/repo/gc"
)

// Store is what there is to know about the storage of a repository, beyond what it
// is asked for. The zero value is a directory.
type Store struct {
	Remote  bool          // on another machine: before each prune it has to show that it still creates exclusively
	Lock    string        // how new objects are locked, as it is configured; "": they are not
	LockFor time.Duration // for how long
}

// storeOf returns what there is to know about the storage of a destination.
func (o *Options) storeOf(d config.Destination) (Store, error) {
	if o.Store == nil {
		return Store{}, nil
	}
	return o.Store(d)
}

// prune removes what only forgotten backups needed, where backups were forgotten and
// the configuration wants that.
func (o *Options) prune(ctx context.Context, app string, r *repo.Repo, d config.Destination, forgotten int) error {
	if forgotten == 0 || o.Config.Repositories[d.Repo].Prune != config.PruneForgotten {
		return nil
	}
	s, err := o.storeOf(d)
	if err != nil {
		return err
	}
	o.tell(app, "prune", "")
	p := gc.PruneOptions{Prove: s.Remote, Options: gc.Options{Limits: gc.DefaultLimits(r.Params().PackSize), Dead: o.Dead}}
	if _, err := gc.Prune(ctx, r, p); err != nil {
		return fmt.Errorf("prune %s: %w", DestinationName(d), err)
	}
	return nil
}

// Locks are extended again after a part of the time for which they are, and at least
// once a day: a little less, so that a daily run finds them due each time.
const (
	lockParts = 8
	lockMost  = 20 * time.Hour
)

// extended is the file that says when this machine has extended the locks of a
// repository last.
type extended struct {
	Version int       `json:"version"`
	Lock    string    `json:"lock"` // as it was configured then
	At      time.Time `json:"at"`
}

// maxExtended bounds that file.
const maxExtended = 4096

func (o *Options) extendedFile(r *repo.Repo) string {
	return filepath.Join(o.StateDir, "locks", r.ID().String()+".json")
}

// lockDue reports whether the locks of a repository are to be extended. In doubt they
// are: it costs a request for each object, and nothing else.
func (o *Options) lockDue(r *repo.Repo, s Store) bool {
	if s.Lock == "" {
		return false
	}
	info, err := os.Stat(o.extendedFile(r))
	if err != nil || info.Size() > maxExtended {
		return true
	}
	data, err := os.ReadFile(o.extendedFile(r))
	var last extended
	if err != nil || json.Unmarshal(data, &last) != nil || last.Version != 1 || last.Lock != s.Lock {
		return true
	}
	ago := o.now().Sub(last.At)
	return ago < 0 || ago >= min(s.LockFor/lockParts, lockMost)
}

// extend makes the store hold everything that a restore needs for as long as new
// objects, if that is due. It does not depend on whether anything was forgotten: what
// no prune has touched for long is what is unlocked first. It returns how many objects
// are held now.
func (o *Options) extend(ctx context.Context, app string, r *repo.Repo, d config.Destination) (n int, err error) {
	s, err := o.storeOf(d)
	if err != nil || ctx.Err() != nil || !o.lockDue(r, s) {
		return 0, err
	}
	o.tell(app, "lock", s.Lock)
	began := o.now()
	if n, err = gc.ExtendLocks(ctx, r); err != nil {
		return n, fmt.Errorf("%s: %w", DestinationName(d), err)
	}
	data, err := json.Marshal(extended{Version: 1, Lock: s.Lock, At: began.UTC()})
	if err == nil {
		err = os.MkdirAll(filepath.Join(o.StateDir, "locks"), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(o.extendedFile(r), append(data, '\n'), 0o600)
	}
	if err != nil {
		o.warn(app, fmt.Sprintf("the locks are extended, and will be again by the next run: %v", err))
	}
	return n, nil
}

// answers reports whether it makes sense to ask a store more after err.
func answers(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, backend.ErrUnreachable)
}
