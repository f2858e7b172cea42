// Command vault backs up file trees and outputs of commands into an encrypted,
// deduplicated repository, and restores them.
//
// Each command is one file here: it parses flags, opens the repository, makes
// one call into the engine and renders the report. What is decided by the
// engine is not decided again here, and nothing is ever decided by matching the
// text of an error. docs/json.md describes the output for programs.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker; otherwise the module's version is used.
var version string

func main() {
	tuneMemory()
	log.SetOutput(io.Discard) // libraries that log: what matters arrives as an error
	ctx, stop := interruptible()
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// tuneMemory makes the collector right for a batch program with buffers of a
// known size: it may use what the buffers need and a little more, rather than
// twice the peak. Somebody who set the usual variables knows better.
func tuneMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(160 << 20)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// errInterrupted is the cause of the context's end after a signal.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that ends at the first SIGINT or SIGTERM.
// The second one ends the process in the system's own way.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		<-signals
		signal.Stop(signals)
		cancel(errInterrupted)
	}()
	return ctx, func() { cancel(nil) }
}
