package porttest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Keep returns a port of 127.0.0.1 that is kept until release is called, or the process
// ends.
func Keep() (port int, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("make a socket: %w", err)
	}
	port, err = bind(fd)
	if err != nil {
		unix.Close(fd)
		return 0, nil, err
	}
	return port, func() { unix.Close(fd) }, nil
}

// bind binds the socket to a port that the system chooses.
func bind(fd int) (int, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, fmt.Errorf("share a port: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("bind to a port: %w", err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("ask for the port: %w", err)
	}
	in4, ok := addr.(*unix.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("ask for the port: the address is a %T", addr)
	}
	return in4.Port, nil
}
