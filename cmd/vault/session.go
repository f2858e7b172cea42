package main

import (
	"errors"
	"os"
	"syscall"

	"vault/repo"
)

// sessionDead reports whether the client of a session is known to be gone: it ran
// on this host, and there is no such process any more. Names that many machines
// have prove nothing. Taking a live one for dead, as containers can make it
// happen that share a host name and not their processes, loses no data: it is told
// when it commits, and starts over.
func sessionDead(w repo.Waiting) bool {
	switch host := hostName(); {
	case host == "" || w.Host != host || host == "localhost" || host == "localhost.localdomain":
		return false
	case w.PID == 0 || w.PID > 1<<31-1:
		return false
	}
	p, err := os.FindProcess(int(w.PID))
	if err != nil {
		return false
	}
	defer p.Release()
	err = p.Signal(syscall.Signal(0))
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}
