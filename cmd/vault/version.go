package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the program's version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			m := versionMessage{Type: "version", Version: programVersion(), GoVersion: runtime.Version(),
				System: runtime.GOOS, Arch: runtime.GOARCH, Format: 1}
			a.ui.message(m)
			a.ui.result("vault %s, repository format %d, %s, %s/%s\n", m.Version, m.Format, m.GoVersion, m.System, m.Arch)
			return nil
		},
	}
}
