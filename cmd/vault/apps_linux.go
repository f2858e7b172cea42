package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vault/docs/examples"
	"vault/internal/app/record"
	apprun "vault/internal/app/run"
	"vault/internal/display"
)

// appCommands are the commands of configured applications.
func (a *app) appCommands() []*cobra.Command {
	return []*cobra.Command{a.runCommand(), a.rehearseCommand(), a.appsCommand(), a.scheduleCommand(), a.healthCommand()}
}

func (a *app) appsCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "apps",
		Short: "List configured applications, and check their configuration",
		Long: `Apps deals with the configuration of applications (docs/applications.md), which
vault run, restore --app and the commands around them work with. Without a
subcommand it lists the applications with what was done for them last.

The configuration is that of --config or VAULT_CONFIG, else
~/.config/vault/vault.yaml, else /etc/vault/vault.yaml.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.listApps(f) },
	}
	f.add(cmd.PersistentFlags())
	cmd.AddCommand(
		&cobra.Command{
			Use:   "check [APP...]",
			Short: "Check the configuration, and undo what a run left that died",
			Long: `Check reads the configuration and tells all mistakes in it, with line, column and
what to do. It runs nothing, with one exception: where a run of an application
died while the application was at rest, it is brought back, as the next run would
do.`,
			RunE: func(cmd *cobra.Command, args []string) error { return a.checkApps(cmd, f, args) },
		},
		&cobra.Command{
			Use:   "show APP",
			Short: "Show the configuration of an application with all defaults",
			Args:  cobra.ExactArgs(1),
			RunE:  func(_ *cobra.Command, args []string) error { return a.showApp(f, args[0]) },
		},
		&cobra.Command{
			Use:   "example [NAME]",
			Short: "Print configurations of real systems",
			Long:  "Example prints a configuration of a real system. Without a name it lists them.\n\nThey are: " + strings.Join(examples.Names(), ", ") + ".",
			Args:  cobra.MaximumNArgs(1),
			RunE:  func(_ *cobra.Command, args []string) error { return a.example(args) },
		},
	)
	return cmd
}

func (a *app) listApps(f configFlags) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	names, err := chosen(c, nil)
	if err != nil {
		return err
	}
	t := table{{"APP", "DESTINATION", "SCHEDULE", "LAST", "RESULT", "LAST SUCCESS"}}
	for _, name := range names {
		conf := c.Apps[name]
		m := appMessage{Type: "app", App: name, Description: conf.Description, Destination: apprun.DestinationName(*conf.To), Schedule: append([]string{}, conf.Schedule...)}
		row := []string{name, m.Destination, display.Line(strings.Join(conf.Schedule, "; ")), "never", "", "never"}
		r, err := record.In(stateDir()).Load(name)
		if err != nil {
			a.ui.warn(name, err)
		}
		if s := r.Get(record.Backup, m.Destination); s != nil {
			m.Result, m.Failures, m.Last = string(s.Last.Result), s.Failures, &s.Last.End
			row[3], row[4] = stamp(s.Last.End), m.Result
			if s.LastSuccess != nil {
				m.LastSuccess = &s.LastSuccess.End
				row[5] = stamp(s.LastSuccess.End)
			}
		}
		a.ui.message(m)
		t = append(t, row)
	}
	a.printTable(t, "no applications are configured")
	return nil
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

func (a *app) checkApps(cmd *cobra.Command, f configFlags, args []string) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	names, err := chosen(c, args)
	if err != nil {
		return err
	}
	r := a.newAppRun(cmd.Context(), c)
	for _, name := range names {
		did, err := apprun.Recover(cmd.Context(), r.options, name)
		if err != nil {
			return r.fail(fmt.Errorf("%s: %w", name, err))
		}
		if did {
			a.ui.info("%s: brought back from a run that died\n", name)
		}
	}
	a.ui.info("%s: %s, %s: no mistakes\n", display.Name(c.File), display.Count(uint64(len(c.Apps)), "application"), display.Count(uint64(len(c.Repositories)), "repository"))
	return nil
}

func (a *app) showApp(f configFlags, name string) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	names, err := chosen(c, []string{name})
	if err != nil {
		return err
	}
	conf := c.Apps[names[0]]
	if a.ui.json {
		b, err := conf.JSON()
		if err != nil {
			return err
		}
		a.ui.message(appConfigMessage{Type: "app_config", App: name, Config: json.RawMessage(b)})
		return nil
	}
	b, err := conf.YAML()
	if err != nil {
		return err
	}
	a.ui.result("%s", b)
	return nil
}

func (a *app) example(args []string) error {
	if len(args) == 0 {
		for _, name := range examples.Names() {
			a.ui.result("%s\n", name)
		}
		return nil
	}
	b, ok := examples.Get(args[0])
	if !ok {
		return &failure{code: exitUsage, err: fmt.Errorf("there is no example %s", display.Name(args[0])), hint: "there are: " + strings.Join(examples.Names(), ", ")}
	}
	a.ui.result("%s", b)
	return nil
}
