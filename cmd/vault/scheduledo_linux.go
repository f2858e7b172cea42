package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/app/config"
	"vault/internal/app/notify"
	"vault/internal/app/record"
	apprun "vault/internal/app/run"
	"vault/internal/app/schedule"
	"vault/internal/display"
	"vault/repo/check"
)

// doers do the jobs that are scheduled, by kind.
var doers = map[schedule.Kind]func(a *app, ctx context.Context, f configFlags, name string) error{
	schedule.Run: func(a *app, ctx context.Context, f configFlags, name string) error {
		return a.runApps(ctx, runFlags{configFlags: f}, []string{name})
	},
	schedule.Copy: func(a *app, ctx context.Context, f configFlags, name string) error {
		return a.runApps(ctx, runFlags{configFlags: f, copies: []string{name}}, nil)
	},
	schedule.Check: (*app).checkConfigured,
	schedule.Verify: func(a *app, ctx context.Context, f configFlags, name string) error {
		return a.verifyApp(ctx, verifyAppFlags{configFlags: f, app: name}, nil)
	},
	schedule.Rehearse: func(a *app, ctx context.Context, f configFlags, name string) error {
		return a.rehearse(ctx, rehearseFlags{configFlags: f}, []string{name})
	},
}

// scheduleDo is what units and the loop call.
func (a *app) scheduleDo(f *configFlags) *cobra.Command {
	return &cobra.Command{
		Use: "do KIND NAME", Short: "Do a scheduled job now", Hidden: true, Args: cobra.ExactArgs(2),
		Long: `Do does one job of the schedule now, as its timer would: run APP, copy NAME, check
REPOSITORY, verify APP or rehearse APP. The result goes on record and is told.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			do := doers[schedule.Kind(args[0])]
			if do == nil {
				return usagef("%s is no kind of job that this version does", display.Name(args[0]))
			}
			return do(a, cmd.Context(), *f, args[1])
		},
	}
}

// teller returns what tells of activities.
func (a *app) teller(c *config.Config) *notify.Teller {
	return notify.NewTeller(c, stateDir(), agent())
}

// recordedHost returns what the configuration calls this machine.
func recordedHost(c *config.Config, app string) string {
	if conf := c.Apps[app]; conf != nil {
		return cmp.Or(conf.Host, hostName())
	}
	return cmp.Or(c.Defaults.Host, hostName())
}

// activity does something for applications that is to be on record for each of them
// and told, and returns how it ended. The activity says what it is.
func (a *app) activity(ctx context.Context, c *config.Config, apps []string, act record.Activity, do func() error) error {
	t := a.teller(c)
	act.Host, act.Start = recordedHost(c, ""), time.Now()
	err := do()
	act.End, act.Result = time.Now(), record.Success
	if err != nil {
		act.Result, act.Error = record.Failed, err.Error()
		act.ExitCode, act.Hint = a.newAppRun(ctx, c).explain(err)
		if found := (*checkFindings)(nil); errors.As(err, &found) {
			act.Messages = found.texts
		}
	}
	var list []record.Activity
	var before *record.Series
	for _, name := range apps {
		one := act
		one.App = name
		one.Host = recordedHost(c, name)
		if r, err := t.Store.Load(name); err == nil && before == nil {
			if s := r.Get(act.Kind, act.Destination); s != nil {
				known := *s
				before = &known
			}
		}
		if err := t.Store.Add(one); err != nil {
			a.ui.warn(name, err)
		}
		list = append(list, one)
	}
	for _, text := range t.EndAll(ctx, list, before) {
		a.ui.warn(string(act.Kind), errors.New(text))
	}
	return err
}

// checkConfigured checks a repository of the configuration, and those of applications
// below it.
func (a *app) checkConfigured(ctx context.Context, f configFlags, name string) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	r := c.Repositories[name]
	if r == nil {
		return usagef("there is no repository %s in %s", display.Name(name), display.Name(c.File))
	}
	places := map[config.Destination][]string{}
	for app, conf := range c.Apps {
		if conf.To.Repo == name {
			places[*conf.To] = append(places[*conf.To], app)
		}
	}
	for _, o := range c.Copies {
		if o.To.Repo == name {
			for _, app := range copySubjects(c, o) {
				if !slices.Contains(places[*o.To], app) {
					places[*o.To] = append(places[*o.To], app)
				}
			}
		}
	}
	if len(places) == 0 {
		places[config.Destination{Repo: name}] = nil
	}
	var errs []error
	for _, d := range slices.SortedFunc(maps.Keys(places), func(x, y config.Destination) int { return len(x.Path) - len(y.Path) }) {
		slices.Sort(places[d])
		act := record.Activity{Kind: record.Check, Destination: apprun.DestinationName(d)}
		errs = append(errs, a.activity(ctx, c, places[d], act, func() error { return a.checkDestination(ctx, c, d, r.Check) }))
	}
	return errors.Join(errs...)
}

func (a *app) checkDestination(ctx context.Context, c *config.Config, d config.Destination, k *config.RepoCheck) (err error) {
	b := *a
	b.noCache = true
	r, err := b.openDestination(ctx, c, d, false)
	if err != nil {
		return fmt.Errorf("%s: %w", apprun.DestinationName(d), err)
	}
	defer closing(r, &err)
	var o check.Options
	switch {
	case k == nil || k.ReadData == "" || k.ReadData == "none":
	case k.ReadData == "all":
		o.Read = check.All
	default:
		part, err := check.ParseSubset(k.ReadData)
		if err != nil {
			return usage(err)
		}
		if o.Read, err = part.Choose(ctx, r, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))); err != nil {
			return err
		}
	}
	return b.check(ctx, r, o)
}
