package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vault/crypto"
	"vault/internal/display"
	"vault/repo"
	"vault/repo/check"
	"vault/snapshot"
)

func (a *app) checkCommand() *cobra.Command {
	var readData bool
	cmd := &cobra.Command{
		Use:     "check [ID]",
		Aliases: []string{"verify"},
		Short:   "Prove that backups can be restored",
		Long: `Check reads all records, compares packs with the index, and follows every
reference of every backup, or of the one given. With --read-data all data is
read, decrypted and compared with its name as well. It changes nothing. If it
finds problems it exits with 15.`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&readData, "read-data", false, "read all data")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		ctx := cmd.Context()
		r, err := a.open(ctx, nil)
		if err != nil {
			return err
		}
		defer closing(r, &err)
		o := check.Options{}
		if readData {
			o.Read = check.All
		}
		if len(args) > 0 {
			list, err := r.Backups(ctx)
			if err != nil {
				return err
			}
			ref, err := resolve(list, args[0], snapshot.Filter{AllowPartial: true})
			if err != nil {
				return err
			}
			o.Only = []crypto.SessionID{ref.backup.ID}
		}
		return a.check(ctx, r, o)
	}
	return cmd
}

func (a *app) check(ctx context.Context, r *repo.Repo, o check.Options) error {
	report := &checkReport{ui: a.ui, start: time.Now()}
	o.Observe = report.observe
	m := checkMessage{Type: "summary"}
	for p := range check.Run(ctx, r, o) {
		m.Errors++
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
	if m.Errors > 0 {
		return &failure{code: exitProblems, told: a.ui.json,
			err:  fmt.Errorf("the check found %s", display.Count(m.Errors, "problem")),
			hint: "restore what you need from backups that the lines above do not name, before changing anything"}
	}
	a.ui.info("no problems: %s, %s, %s read, in %s\n", display.Count(uint64(m.Packs), "pack"),
		display.Count(uint64(m.Directories), "directory"), display.Bytes(uint64(m.BytesRead)), display.Duration(time.Since(report.start)))
	return nil
}
