package s3test

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the command killed when the test's process ends without
// having stopped it, as after a panic.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
