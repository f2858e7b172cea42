//go:build !linux

package main

import "github.com/spf13/cobra"

// appCommands are those of applications, which stand on what Linux has: mounts,
// process groups, container engines.
func (a *app) appCommands() []*cobra.Command { return nil }

// withApp would teach restore to bring back applications.
func (a *app) withApp(cmd *cobra.Command, _ *restoreFlags) *cobra.Command { return cmd }
