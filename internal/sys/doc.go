// Package sys is the seam between the engine and the system calls by which it
// reads trees and runs commands.
//
// The calls have the names, arguments and results of golang.org/x/sys/unix. On
// Linux they are those, at no cost. On other systems calls on files return
// ErrUnsupported: there the engine reads trees in another way and never makes
// them; that they exist keeps one source for all systems.
package sys

import "errors"

// ErrUnsupported says that this system lacks a call, or that nobody has written
// it down for this system.
var ErrUnsupported = errors.ErrUnsupported
