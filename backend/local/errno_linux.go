package local

import (
	"syscall"

	"vault/backend"
)

// classifySystem knows the error numbers that only Linux has.
func classifySystem(errno syscall.Errno) (kind error, hint string) {
	switch errno {
	case syscall.EREMOTEIO, syscall.ENOMEDIUM, syscall.EUCLEAN, syscall.ESHUTDOWN:
		return backend.ErrUnreachable, "the disk or file system reports errors; see the kernel's log"
	}
	return nil, ""
}
