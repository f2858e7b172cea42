//go:build unix

package sftp

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal lends the terminal to a program while it logs in, so that it can
// ask for a password. In a process group of its own it could not, otherwise.
type terminal struct{ tty *os.File }

// apart starts cmd in a process group of its own: an interrupt that is typed is
// for us, who have something to finish over this connection. If interactive,
// and if we have the terminal, the group has it until the returned function is
// called; it may be called twice.
func apart(cmd *exec.Cmd, interactive bool) (start func() error, back func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	nothing := func() {}
	if !interactive {
		return cmd.Start, nothing
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return cmd.Start, nothing
	}
	if front, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP); err != nil || front != unix.Getpgrp() {
		tty.Close()
		return cmd.Start, nothing
	}
	t := &terminal{tty: tty}
	cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, int(tty.Fd())
	back = sync.OnceFunc(t.take)
	return func() error {
		err := cmd.Start()
		if err != nil {
			back()
		}
		return err
	}, back
}

// take makes us the ones who have the terminal again.
func (t *terminal) take() {
	// Who asks for this from the background is stopped unless he ignores it.
	signal.Ignore(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(int(t.tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	signal.Reset(syscall.SIGTTOU)
	t.tty.Close()
}

// killAll ends a program that was started apart, and its children.
func killAll(cmd *exec.Cmd) {
	if syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) != nil {
		_ = cmd.Process.Kill()
	}
}
