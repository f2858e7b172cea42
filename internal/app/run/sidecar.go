//go:build linux

package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"vault/backend"
	"vault/internal/app/config"
)

// Sidecar is what can be read beside a repository of its own without its key: the
// object PATH.vault.json of the storage in which it lies. It is for lists, not for
// decisions: nobody vouches for it.
type Sidecar struct {
	Version  int       `json:"version"`
	App      string    `json:"app"`
	Host     string    `json:"host"`
	Time     time.Time `json:"time"`
	BackupID string    `json:"backup_id"` // the newest stored backup; empty before the first
	State    string    `json:"state"`     // complete or partial
}

const sidecarEnd = ".vault.json"

// SidecarName returns the name of the object beside the repository of a destination.
func SidecarName(d config.Destination) string { return d.Path + sidecarEnd }

func (o *Options) writeSidecar(ctx context.Context, d config.Destination, s Sidecar) error {
	be, err := o.Storage(ctx, d.Repo)
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	defer be.Close()
	s.Version = 1
	data, err := json.Marshal(s)
	if err == nil {
		err = be.Put(ctx, SidecarName(d), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	return nil
}

// MakeParents makes the directories in which a repository of its own is to lie. A
// store makes the parents of what is put into it, so something is put and deleted. A
// bucket that holds whatever is stored keeps that, too.
func MakeParents(ctx context.Context, be backend.Backend, d config.Destination) error {
	dir := path.Dir(d.Path)
	if dir == "." {
		return nil
	}
	name := path.Join(dir, "vault-was-here")
	if err := be.Put(ctx, name, nil); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := be.Delete(ctx, name); err != nil && !errors.Is(err, backend.ErrLocked) {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}
