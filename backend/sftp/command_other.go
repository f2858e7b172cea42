//go:build !unix

package sftp

import "os/exec"

// apart starts cmd as any other program.
func apart(cmd *exec.Cmd, interactive bool) (start func() error, back func()) {
	return cmd.Start, func() {}
}

// killAll ends a program.
func killAll(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
