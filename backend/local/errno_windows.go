package local

import (
	"syscall"

	"vault/backend"
)

// classifySystem knows the system's own error numbers, from winerror.h.
func classifySystem(errno syscall.Errno) (kind error, hint string) {
	switch errno {
	case 39, 112: // ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
		return backend.ErrNoSpace, "free some space, or raise the quota"
	case 5, 19: // ERROR_ACCESS_DENIED, ERROR_WRITE_PROTECT
		return backend.ErrPermission, "check the permissions of the repository's files"
	case 21, 53, 55, 64, 67: // ERROR_NOT_READY, _BAD_NETPATH, _DEV_NOT_EXIST, _NETNAME_DELETED, _BAD_NET_NAME
		return backend.ErrUnreachable, "is the drive or share connected?"
	}
	return nil, ""
}
