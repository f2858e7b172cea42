package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/app/config"
	"vault/internal/app/schedule"
	"vault/internal/display"
	"vault/internal/location"
)

// scheduleFlags say where timers go.
type scheduleFlags struct {
	configFlags
	user, dryRun bool
	dir          string
	parallel     int
}

func (a *app) scheduleCommand() *cobra.Command {
	var f scheduleFlags
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Have applications backed up regularly",
		Long: `Schedule has done what the configuration of applications (docs/applications.md)
wants regularly: runs, copies, checks of repositories, verifications and trial
restores. With systemd, install writes timers and services; elsewhere, as in a
container, run does the same as long as it runs. Times are OnCalendar expressions
of systemd.time(7). docs/operations.md tells more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return usagef("one of install, status, remove and run is missing")
		},
	}
	f.configFlags.add(cmd.PersistentFlags())
	place := func(c *cobra.Command) *cobra.Command {
		c.Flags().BoolVar(&f.user, "user", false, "timers of this user's own systemd, rather than of the system's")
		c.Flags().StringVar(&f.dir, "unit-dir", "", "`directory` for the units; nothing is enabled (default /etc/systemd/system, or ~/.config/systemd/user)")
		c.Args = cobra.NoArgs
		return c
	}
	install := place(&cobra.Command{
		Use: "install", Short: "Write and start timers of systemd",
		Long: `Install writes a timer and a service for each job, starts the timers, and removes
those that it wrote before and that are not wanted any more. Done again it changes
nothing. Units that somebody else wrote are never touched.`,
		RunE: func(*cobra.Command, []string) error { return a.scheduleInstall(&f) },
	})
	install.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "print the units, change nothing")
	run := &cobra.Command{
		Use: "run", Short: "Do jobs when they are due, without systemd", Args: cobra.NoArgs,
		Long: `Run does the jobs of the configuration when they are due, until SIGTERM or SIGINT:
then jobs that are at work are told to end, and waited for. What was missed while
it did not run is caught up, once. Jobs of one application queue.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.scheduleRun(cmd.Context(), &f) },
	}
	run.Flags().IntVar(&f.parallel, "max-parallel", 2, "how many jobs run at the same time at most")
	cmd.AddCommand(install,
		place(&cobra.Command{Use: "status", Short: "List jobs, when they are due and whether their timers are installed",
			RunE: func(*cobra.Command, []string) error { return a.scheduleStatus(&f) }}),
		place(&cobra.Command{Use: "remove", Short: "Stop and remove what install wrote",
			RunE: func(*cobra.Command, []string) error { return a.scheduleRemove(&f) }}),
		run, a.scheduleDo(&f.configFlags))
	return cmd
}

// place returns where units go.
func (f *scheduleFlags) place(c *config.Config) (schedule.Place, error) {
	file, err := filepath.Abs(c.File)
	p := schedule.Place{Dir: f.dir, StateDir: stateDir(), Config: file}
	switch {
	case err != nil:
		return p, err
	case p.StateDir == "":
		return p, errors.New("there is no state directory: set VAULT_STATE_DIR")
	case f.dir != "":
		p.Dir, err = filepath.Abs(f.dir)
		return p, err
	case f.user:
		home, err := os.UserConfigDir()
		if err != nil {
			return p, err
		}
		p.Dir = filepath.Join(home, "systemd", "user")
	default:
		p.Dir = "/etc/systemd/system"
	}
	p.Systemctl = func(args ...string) error {
		if f.user {
			args = append([]string{"--user"}, args...)
		}
		out, err := exec.Command("systemctl", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
		return nil
	}
	return p, nil
}

// units renders the units of the configuration.
func (a *app) units(f *scheduleFlags) (c *config.Config, p schedule.Place, jobs []schedule.Job, units []schedule.Unit, err error) {
	if c, err = f.load(a); err != nil {
		return
	}
	if p, err = f.place(c); err != nil {
		return
	}
	if jobs, err = schedule.Jobs(c); err != nil {
		return
	}
	o := schedule.UnitOptions{Config: p.Config, User: f.user, Writable: []string{p.StateDir}}
	if o.Program, err = os.Executable(); err != nil {
		return
	}
	if home, herr := os.UserHomeDir(); herr == nil && !f.user {
		o.Environment = append(o.Environment, "HOME="+home)
	}
	o.Environment = append(o.Environment, "VAULT_STATE_DIR="+p.StateDir)
	if dir := a.cache(); dir != "" {
		o.Environment, o.Writable = append(o.Environment, "VAULT_CACHE_DIR="+dir), append(o.Writable, dir)
	}
	return c, p, jobs, schedule.Units(c, jobs, o), nil
}

func (a *app) scheduleInstall(f *scheduleFlags) error {
	if err := a.refuse([]string{"limit-upload", "limit-download", "no-cache"}, func(flag string) string {
		if flag == "no-cache" {
			return "timers use a cache: --cache-dir says where"
		}
		return fmt.Sprintf("write %s at the repository or the copy, in the configuration: timers count that", flag)
	}); err != nil {
		return err
	}
	c, p, jobs, units, err := a.units(f)
	if err != nil {
		return err
	}
	if f.dryRun {
		for _, u := range units {
			a.ui.message(unitMessage{Type: "unit", Unit: u.Name, Job: u.Job, Content: u.Content})
			a.ui.result("# %s\n%s\n", filepath.Join(p.Dir, u.Name), u.Content)
		}
		return nil
	}
	file := filepath.Join(filepath.Dir(p.Config), "vault.env")
	for name, r := range c.Repositories {
		if r.PasswordEnv != "" {
			a.ui.warn(name, fmt.Errorf("timers do not know the variable %s: put it into %s, or use password-file", r.PasswordEnv, file))
		}
		if loc, err := location.Parse(r.URL); err == nil && loc.Scheme == location.S3 && r.S3ObjectLock == "" && os.Getenv(objectLockVariable) != "" {
			a.ui.warn(name, fmt.Errorf("timers do not know the variable %s, and would lock nothing: write s3-object-lock at the repository, or put the variable into %s", objectLockVariable, file))
		}
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil && p.Systemctl != nil {
		return &failure{code: exitFailure, err: errors.New("systemd does not run here"), hint: "`vault schedule run` does the same without it"}
	}
	changes, err := p.Install(units)
	a.tellUnits(changes)
	if errors.Is(err, schedule.ErrForeign) {
		return &failure{code: exitFailure, err: err, hint: "remove it, or rename the application; for another configuration: `vault schedule remove --config FILE`"}
	}
	if err != nil {
		return err
	}
	if p.Systemctl == nil {
		a.ui.info("%s: %s; nothing is enabled\n", display.Name(p.Dir), display.Count(uint64(len(units)), "unit"))
		return nil
	}
	a.ui.info("%s scheduled; `vault schedule status` shows when they are due\n", display.Count(uint64(len(jobs)), "job"))
	return nil
}

func (a *app) tellUnits(changes []schedule.Change) {
	for _, c := range changes {
		a.ui.message(unitMessage{Type: "unit", Unit: c.Unit, Action: c.Action, State: string(c.State)})
		a.ui.info("%-9s %s\n", c.Action, display.Name(c.Unit))
	}
}

func (a *app) scheduleRemove(f *scheduleFlags) error {
	path, err := f.path() // also of a configuration that has mistakes now
	if err != nil {
		return err
	}
	p, err := f.place(&config.Config{File: path})
	if err != nil {
		return err
	}
	changes, err := p.Remove()
	a.tellUnits(changes)
	if err == nil && len(changes) == 0 {
		a.ui.info("nothing was installed for %s\n", display.Name(path))
	}
	return err
}

func (a *app) scheduleStatus(f *scheduleFlags) error {
	_, p, jobs, units, err := a.units(f)
	if err != nil {
		return err
	}
	states, err := p.Status(units)
	if err != nil {
		return err
	}
	worst := map[string]schedule.UnitState{}
	t := table{{"JOB", "NEXT", "UNITS"}}
	for i, s := range states {
		if i >= len(units) { // obsolete
			a.ui.message(unitMessage{Type: "unit", Unit: s.Unit, State: string(s.State)})
			t = append(t, []string{display.Name(s.Unit), "", string(s.State)})
		} else if id := units[i].Job; worst[id] == "" || s.State != schedule.Installed {
			worst[id] = s.State
		}
	}
	now := time.Now()
	for _, j := range jobs {
		m := jobMessage{Type: "job", Kind: string(j.Kind), Name: j.Name, Schedule: []string{}, Poll: j.Poll.Seconds(), Units: string(worst[j.ID()])}
		next := ""
		for _, c := range j.Times {
			m.Schedule = append(m.Schedule, c.String())
		}
		switch at, ok := j.Times.Next(now); {
		case ok:
			next, m.Next = stamp(at), &at
		case j.Poll > 0:
			next = "every " + display.Duration(j.Poll)
		}
		a.ui.message(m)
		t = append(t, []string{string(j.Kind) + " " + j.Name, next, m.Units})
	}
	a.printTable(t, "nothing is scheduled")
	return nil
}

// scheduleRun is the loop without systemd. Each job is a process of its own: what it
// needs ends with it, and what kills it does not end the loop.
func (a *app) scheduleRun(ctx context.Context, f *scheduleFlags) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	jobs, err := schedule.Jobs(c)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	file, err := filepath.Abs(c.File)
	if err != nil {
		return err
	}
	if stateDir() == "" {
		return errors.New("there is no state directory: set VAULT_STATE_DIR")
	}
	a.ui.info("%s scheduled\n", display.Count(uint64(len(jobs)), "job"))
	return schedule.Loop(ctx, schedule.LoopOptions{Jobs: jobs, Limit: f.parallel, StateDir: stateDir(), Now: time.Now,
		Chance: func(most time.Duration) time.Duration { return rand.N(most + 1) },
		Warn:   func(err error) { a.ui.warn("schedule", err) },
		Do: func(ctx context.Context, j schedule.Job) {
			a.child(ctx, program, append([]string{"schedule", "do", "--config", file, string(j.Kind), j.Name}, a.inherited()...))
		}})
}

// inherited returns the flags of this process that are for its children as well.
func (a *app) inherited() (args []string) {
	for _, name := range []string{"json", "quiet", "verbose", "cache-dir", "no-cache", "limit-upload", "limit-download"} {
		if a.flags.Changed(name) {
			args = append(args, "--"+name+"="+a.flags.Lookup(name).Value.String())
		}
	}
	return args
}

// child runs this program once more. When ctx ends it is asked to end and waited for.
// How it ends is on record.
func (a *app) child(ctx context.Context, program string, args []string) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal of a terminal comes once, by us
	if err := cmd.Start(); err != nil {
		a.ui.warn(strings.Join(args, " "), err)
		return
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	cmd.Wait()
}
