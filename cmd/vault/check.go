package main

import (
	"context"
	"math/rand/v2"
	"path"
	"time"

	"github.com/spf13/cobra"

	"vault/crypto"
	"vault/internal/display"
	"vault/internal/location"
	"vault/repo"
	"vault/repo/check"
	"vault/snapshot"
)

func (a *app) checkCommand() *cobra.Command {
	var readData bool
	var subset string
	cmd := &cobra.Command{
		Use:     "check [ID...]",
		Aliases: []string{"verify"},
		Short:   "Prove that backups can be restored",
		Long: `Check reads all records, compares packs with the index, and follows every
reference of every backup, or of those given. With --read-data all data of the
repository is read, decrypted and compared with its name as well, whichever
backups are given; repair --read-data --dry-run names the files that are damaged.
It changes nothing, and reads from the repository itself, never from the cache. If
it finds problems it exits with 15; with 14 if all it found is that something could
not be read, as without a network.

--read-data-subset reads a part of the data: 2/7 is the second of seven parts
that together are all of it, 5% and 1G are another random choice every time.`,
	}
	cmd.Flags().BoolVar(&readData, "read-data", false, "read all data")
	cmd.Flags().StringVar(&subset, "read-data-subset", "", "read a `PART` of the data: n/t, a share as 5%, or a size as 1G")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		ctx := cmd.Context()
		var part check.Subset
		if subset != "" {
			if part, err = check.ParseSubset(subset); err != nil {
				return usage(err)
			}
			if readData {
				return usagef("--read-data and --read-data-subset are both given: which one is meant?")
			}
		}
		a.noCache = true
		r, err := a.open(ctx, nil)
		if err != nil {
			return err
		}
		defer closing(r, &err)
		o := check.Options{}
		if loc, err := a.location(); err == nil && loc.Scheme != location.Local {
			o.Workers = distantWorkers
		}
		switch {
		case readData:
			o.Read = check.All
		case subset != "":
			if o.Read, err = part.Choose(ctx, r, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))); err != nil {
				return err
			}
		}
		if o.Only, err = a.chosen(ctx, r, args); err != nil {
			return err
		}
		return a.check(ctx, r, o)
	}
	return a.withVerifyApp(cmd)
}

// distantWorkers is how many goroutines check a distant repository: they wait for
// the network rather than for a processor, and each holds a pack.
const distantWorkers = 4

// chosen returns the backups that the arguments name; nil if there are none.
func (a *app) chosen(ctx context.Context, r *repo.Repo, args []string) (ids []crypto.SessionID, err error) {
	if len(args) == 0 {
		return nil, nil
	}
	c, err := a.catalogue(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, arg := range args {
		ref, err := c.resolve(arg, snapshot.Filter{AllowPartial: true})
		if err != nil {
			return nil, err
		}
		ids = append(ids, ref.backup.ID)
	}
	return ids, nil
}

// checkFindings is the error of a check that found something.
type checkFindings struct {
	count  uint64
	unread uint64   // of these: what could not be asked, which proves nothing
	texts  []string // of the first ones
}

const maxFindingTexts = 20

func (f *checkFindings) add(p check.Problem) {
	if repo.StateOf(p.Err) == repo.Unreachable {
		f.unread++
	}
	if f.count++; len(f.texts) >= maxFindingTexts {
		return
	}
	about := p.Object
	if p.Backup != (crypto.SessionID{}) {
		about = "backup " + p.Backup.Short()
		if p.Volume != "" {
			about += ": " + path.Join(p.Volume, p.Path)
		}
	}
	f.texts = append(f.texts, about+": "+oneLine(p.Err.Error()))
}

// Error says how many there are.
func (f *checkFindings) Error() string {
	if f.proveNothing() {
		return "the check could not read everything: " + display.Count(f.count, "problem")
	}
	return "the check found " + display.Count(f.count, "problem")
}

// proveNothing reports whether all there is is what could not be asked.
func (f *checkFindings) proveNothing() bool { return f.unread == f.count }

func (a *app) check(ctx context.Context, r *repo.Repo, o check.Options) error {
	report := &checkReport{ui: a.ui, start: time.Now()}
	o.Observe = report.observe
	m := checkMessage{Type: "summary"}
	found := &checkFindings{}
	for p := range check.Run(ctx, r, o) {
		m.Errors++
		found.add(p)
		msg := problemMessage{During: "check", Object: p.Object, Volume: p.Volume, Item: p.Path, Error: problemText{p.Err.Error()}}
		if p.Backup != (crypto.SessionID{}) {
			msg.BackupID = p.Backup.String()
		}
		a.ui.problem(msg)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	last := report.last()
	m.Packs, m.BytesRead, m.Directories, m.Duration = last.Packs, last.Bytes, last.Directories, time.Since(report.start).Seconds()
	a.ui.message(m)
	if m.Errors > 0 && found.proveNothing() {
		return &failure{code: exitUnreachable, err: found, hint: "check the mount, the network and the credentials, and check again: nothing is known to be wrong"}
	}
	if m.Errors > 0 {
		repair := "vault repair"
		if o.Read != nil {
			repair += " --read-data"
		}
		return &failure{code: exitProblems, told: a.ui.json,
			err:  found,
			hint: "`" + repair + " --dry-run` names the files and backups that have lost something; restore what you need before `" + repair + "` changes anything"}
	}
	a.ui.info("no problems: %s, %s, %s read, in %s\n", display.Count(uint64(m.Packs), "pack"),
		display.Count(uint64(m.Directories), "directory"), display.Bytes(uint64(m.BytesRead)), display.Duration(time.Since(report.start)))
	return nil
}
