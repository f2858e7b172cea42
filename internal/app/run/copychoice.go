//go:build linux

package run

import (
	"fmt"
	"slices"
	"time"

	"vault/crypto"
	"vault/repo/transfer"
	"vault/snapshot"
)

// choice decides which backups of the source a copy transfers: not those that its own
// retention would forget in the target at once.
type choice struct {
	policy snapshot.Retention
	now    time.Time
	source crypto.RepoID

	asked map[crypto.SessionID]bool // handed to a transfer
	out   map[crypto.SessionID]bool // of these: not in the target all the same
}

// next returns what is to be handed to the next transfer, given what the target has;
// nothing if all is done. Backups whose copies the target has are among it, once: that
// costs nothing, and they are counted.
func (c *choice) next(app string, list, there []*snapshot.Backup) ([]*snapshot.Backup, error) {
	if c.asked == nil {
		c.asked, c.out = map[crypto.SessionID]bool{}, map[crypto.SessionID]bool{}
	}
	wanted := map[*snapshot.Backup]bool{}
	if c.policy.IsZero() || app == "" {
		for _, b := range list {
			wanted[b] = true
		}
	} else {
		have := map[snapshot.Origin]bool{}
		all := snapshot.Select(there, snapshot.Filter{Group: app})
		for _, b := range all {
			if b.Origin != nil {
				have[*b.Origin] = true
			}
		}
		for _, b := range list {
			switch {
			case have[c.origin(b)]:
				wanted[b] = true
			case !c.out[b.ID]:
				all = append(all, b)
			}
		}
		kept := 0
		for _, d := range c.policy.Apply(all, c.now, time.Local) {
			if d.Keep() {
				kept++
				wanted[d.Backup] = true
			}
		}
		if kept == 0 && len(all) > 0 {
			return nil, fmt.Errorf("retention of %s: %w", app, ErrKeepsNothing)
		}
	}
	var out []*snapshot.Backup
	for _, b := range list {
		if wanted[b] && !c.asked[b.ID] {
			c.asked[b.ID] = true
			out = append(out, b)
		}
	}
	return slices.Clip(out), nil
}

// origin says where a copy of a backup of the source comes from.
func (c *choice) origin(b *snapshot.Backup) snapshot.Origin {
	if b.Origin != nil {
		return *b.Origin
	}
	return snapshot.Origin{Repo: c.source, ID: b.ID}
}

// take learns what became of what was handed out.
func (c *choice) take(copies []transfer.Copy) {
	for _, k := range copies {
		switch k.Outcome {
		case transfer.Copied, transfer.Present, transfer.Pending:
		default:
			c.out[k.Backup.ID] = true
		}
	}
}
