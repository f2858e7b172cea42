//go:build !linux && !windows

package local

import "syscall"

func classifySystem(syscall.Errno) (kind error, hint string) { return nil, "" }
