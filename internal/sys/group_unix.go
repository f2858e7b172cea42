//go:build unix

package sys

import (
	"os/exec"
	"syscall"
)

// Credential is as whom a program runs.
type Credential = syscall.Credential

// Group puts a program that will be started into a process group of its own, as
// whom cred says; nil is who runs this process.
func Group(cmd *exec.Cmd, cred *Credential) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred}
}

// Terminate asks the process group of a program to end.
func Terminate(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }

// Kill ends it.
func Kill(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// Signalled returns the signal that ended a program, or false.
func Signalled(state any) (number int, name string, ok bool) {
	if ws, is := state.(syscall.WaitStatus); is && ws.Signaled() {
		return int(ws.Signal()), ws.Signal().String(), true
	}
	return 0, "", false
}
