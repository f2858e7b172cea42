//go:build !linux

package main

import "github.com/spf13/cobra"

// withVerifyApp would teach check to verify applications.
func (a *app) withVerifyApp(cmd *cobra.Command) *cobra.Command { return cmd }
