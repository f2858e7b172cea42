package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"

	"vault/internal/display"
)

// ui writes what commands say: text for people, or JSON lines. Results go to
// standard output; problems, warnings and progress to standard error.
type ui struct {
	json    bool
	quiet   bool
	verbose int

	stdout, stderr io.Writer
	line           *statusLine

	mu  sync.Mutex // guards the writers and err
	err error      // first failure to write to standard output
}

func newUI(stdout, stderr *os.File) *ui {
	u := &ui{stdout: stdout, stderr: stderr, line: &statusLine{}}
	if term.IsTerminal(int(stderr.Fd())) {
		u.line.out = stderr
	}
	return u
}

// check refuses global flags that contradict each other, and decides whether
// there is a progress line.
func (u *ui) check() error {
	if u.quiet && u.verbose > 0 {
		return usage(errors.New("--quiet and --verbose contradict each other"))
	}
	if u.quiet || u.json {
		u.line.out = nil
	}
	return nil
}

// failed returns the first error of writing results.
func (u *ui) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return fmt.Errorf("write to standard output: %w", u.err)
	}
	return nil
}

// result writes what was asked for, also with --quiet.
func (u *ui) result(format string, args ...any) {
	if !u.json {
		u.print(format, args...)
	}
}

// info writes what is good to know.
func (u *ui) info(format string, args ...any) {
	if !u.json && !u.quiet {
		u.print(format, args...)
	}
}

func (u *ui) print(format string, args ...any) {
	u.line.clear()
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := fmt.Fprintf(u.stdout, format, args...); err != nil && u.err == nil {
		u.err = err
	}
}

// message writes a JSON line to standard output if JSON was asked for.
func (u *ui) message(m any) {
	if !u.json {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := encode(u.stdout, m); err != nil && u.err == nil {
		u.err = err
	}
}

// errorMessage writes a JSON line to standard error.
func (u *ui) errorMessage(m any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	encode(u.stderr, m)
}

func encode(w io.Writer, m any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(m)
}

// warn tells of something odd that does not stop the work.
func (u *ui) warn(about string, err error) {
	if u.json {
		u.errorMessage(warningMessage{Type: "warning", Object: about, Message: err.Error()})
		return
	}
	u.complain("warning: %s: %s", display.Name(about), display.Line(err.Error()))
}

// complain writes a line to standard error. The arguments are safe to print.
func (u *ui) complain(format string, args ...any) {
	u.line.clear()
	u.mu.Lock()
	defer u.mu.Unlock()
	fmt.Fprintf(u.stderr, format+"\n", args...)
}

// lossless returns s in base 64 if JSON text cannot carry it, else "".
func lossless(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(s))
}
