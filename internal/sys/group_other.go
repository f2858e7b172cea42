//go:build !unix

package sys

import "os/exec"

// Credential is as whom a program runs, where programs have such owners.
type Credential struct {
	Uid, Gid    uint32
	Groups      []uint32
	NoSetGroups bool
}

// Group does nothing for a program of this user. With a Credential the program
// will not start: that cannot be done here.
func Group(cmd *exec.Cmd, cred *Credential) {
	if cred != nil {
		cmd.Err = ErrUnsupported
	}
}

// Terminate ends a program at once: there is no polite way, and what it started
// is not reached.
func Terminate(cmd *exec.Cmd) { cmd.Process.Kill() }

// Kill ends a program.
func Kill(cmd *exec.Cmd) { cmd.Process.Kill() }

// Signalled returns false: programs are not ended by signals here.
func Signalled(any) (number int, name string, ok bool) { return 0, "", false }
