//go:build linux

package run

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"vault/crypto"
	"vault/repo/transfer"
	"vault/snapshot"
)

// dayOf is a backup of the given day of March, the Nth made.
func dayOf(day int, n byte) *snapshot.Backup {
	at := snapshot.TimeOf(time.Date(2026, 3, day, 3, int(n), 0, 0, time.Local))
	return &snapshot.Backup{ID: crypto.SessionID{n}, Host: "h", Group: "web", Time: at, Started: at,
		Volumes: []snapshot.Volume{{Name: "v", State: snapshot.Complete, Root: &snapshot.Node{Type: snapshot.Directory}}}}
}

func ids(list []*snapshot.Backup) (text string) {
	for _, b := range list {
		text += fmt.Sprintf("%d ", b.ID[0])
	}
	return text
}

// TestChoice: what the target's own retention would not keep is not copied; what was
// damaged is made up for by what else there is.
func TestChoice(t *testing.T) {
	source := crypto.RepoID{9}
	list := []*snapshot.Backup{dayOf(1, 1), dayOf(1, 2), dayOf(2, 3), dayOf(3, 4), dayOf(3, 5)}
	copied := func(n int, id byte) *snapshot.Backup {
		b := *list[n]
		b.ID, b.Origin = crypto.SessionID{id}, &snapshot.Origin{Repo: source, ID: list[n].ID}
		return &b
	}
	stranger := dayOf(3, 77) // newer than all, and of no other repository
	for name, c := range map[string]struct {
		policy snapshot.Retention
		there  []*snapshot.Backup
		bad    []byte   // damaged in the source
		want   []string // one transfer after another
		err    error
	}{
		"all without a policy":               {want: []string{"1 2 3 4 5 "}},
		"all, some damaged":                  {bad: []byte{2}, want: []string{"1 2 3 4 5 "}},
		"the last":                           {policy: snapshot.Retention{Last: 1}, want: []string{"5 "}},
		"one a day":                          {policy: snapshot.Retention{Daily: 2}, want: []string{"3 5 "}},
		"the last is damaged":                {policy: snapshot.Retention{Last: 1}, bad: []byte{5, 4}, want: []string{"5 ", "4 ", "3 "}},
		"all are damaged":                    {policy: snapshot.Retention{Daily: 9}, bad: []byte{1, 2, 3, 4, 5}, want: []string{"2 3 5 ", "1 4 "}},
		"there are copies already":           {policy: snapshot.Retention{Daily: 9}, there: []*snapshot.Backup{copied(0, 50), copied(4, 51)}, want: []string{"1 2 3 5 "}},
		"an older copy does not count twice": {policy: snapshot.Retention{Last: 2}, there: []*snapshot.Backup{copied(3, 50)}, want: []string{"4 5 "}},
		"others of its name are there":       {policy: snapshot.Retention{Last: 1}, there: []*snapshot.Backup{stranger}, want: nil},
		"a policy that keeps nothing":        {policy: snapshot.Retention{Tags: []snapshot.Tag{{Key: "no"}}}, err: ErrKeepsNothing},
	} {
		k := choice{policy: c.policy, now: time.Date(2026, 3, 4, 0, 0, 0, 0, time.Local), source: source}
		there := c.there
		var got []string
		var err error
		for range len(list) + 2 {
			var next []*snapshot.Backup
			if next, err = k.next("web", list, there); err != nil || len(next) == 0 {
				break
			}
			got = append(got, ids(next))
			var copies []transfer.Copy
			for _, b := range next {
				outcome := transfer.Copied
				for _, bad := range c.bad {
					if b.ID[0] == bad {
						outcome = transfer.Damaged
					}
				}
				if outcome == transfer.Copied {
					made := *b
					made.ID, made.Origin = crypto.SessionID{100 + b.ID[0]}, &snapshot.Origin{Repo: source, ID: b.ID}
					there = append(there, &made)
				}
				copies = append(copies, transfer.Copy{Backup: b, Outcome: outcome})
			}
			k.take(copies)
		}
		// That all were damaged ends with a policy that has nothing left, which is no mistake of it.
		if !errors.Is(err, c.err) || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, %v; want %v, %v", name, got, err, c.want, c.err)
		}
	}
}
