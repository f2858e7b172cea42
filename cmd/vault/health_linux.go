package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/app/config"
	"vault/internal/app/health"
	"vault/internal/app/record"
	"vault/internal/display"
)

func (a *app) healthCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "health [APP...]",
		Short: "Tell whether configured applications are well kept",
		Long: `Health tells for each application how old the last complete backup is, the last
check of its repository, the last verification and trial restore, and how far
copies lag behind, each against its schedule and a grace, or against the limits of
health in the configuration. It exits with 15 if something is late or missing, or
the last check, verification or trial restore has failed.

It reads what is on record on this machine: it needs no key and opens no
repository, and may be asked every minute.`,
		RunE: func(_ *cobra.Command, args []string) error { return a.health(f, args) },
	}
	f.add(cmd.Flags())
	return cmd
}

func copySubjects(c *config.Config, o *config.Copy) []string { return health.Subjects(c, o) }

func (a *app) health(f configFlags, args []string) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	names := health.Names(c)
	for _, name := range args {
		if !slices.Contains(names, name) {
			return &failure{code: exitUsage, err: fmt.Errorf("nothing is to be said of %s in %s", display.Name(name), display.Name(c.File)), hint: "there are: " + strings.Join(names, ", ")}
		}
	}
	if len(args) > 0 {
		names = slices.Compact(slices.Clone(args))
	}
	now, ill := time.Now(), 0
	t := table{{"APP", "WHAT", "STATE", "AGE", "LAST SUCCESS", ""}}
	for _, name := range names {
		r, damage := record.In(stateDir()).Load(name)
		one := health.Of(c, name, &r, damage, now)
		m := healthMessage{Type: "health", App: name, Healthy: one.Healthy(), Aspects: []healthAspect{}}
		if !m.Healthy {
			ill++
		}
		for _, s := range one.Aspects {
			row := healthAspect{Kind: string(s.Kind), Name: s.Name, State: string(s.State), Failures: s.Failures, Message: s.Error}
			last, age := "never", ""
			if !s.Last.IsZero() {
				at, seconds := s.Last, s.Age.Seconds()
				row.LastSuccess, row.Age = &at, &seconds
				last, age = stamp(at), display.Duration(s.Age.Round(time.Second))
			}
			if !s.Due.IsZero() {
				due := s.Due
				row.Due = &due
			}
			m.Aspects = append(m.Aspects, row)
			t = append(t, []string{name, strings.TrimSpace(row.Kind + " " + s.Name), row.State, age, last, display.Line(s.Text())})
		}
		a.ui.message(m)
	}
	a.printTable(t, "no applications are configured")
	if ill > 0 {
		return &failure{code: exitProblems, told: a.ui.json, err: fmt.Errorf("%d of %s not well kept", ill, display.Count(uint64(len(names)), "application")),
			hint: "`vault run APP` shows what is wrong with a backup; `vault schedule status` whether somebody makes them"}
	}
	return nil
}
