package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/term"
)

// maxPassphrase is the longest passphrase that the format allows, in bytes.
const maxPassphrase = 4096

// noPassphrase says that nothing gave a passphrase and nobody can be asked.
func (a *app) noPassphrase() error {
	return &failure{
		code: exitUsage,
		err:  errors.New("no passphrase given, and there is no terminal to ask on"),
		hint: fmt.Sprintf("set %s, or use %s or %s", a.variable("PASSWORD"), a.flag("password-file"), a.flag("password-command")),
	}
}

// hasPassphrase reports whether a passphrase was given without asking.
func (a *app) hasPassphrase() bool {
	source, _, err := a.passphraseSource()
	return err != nil || source != fromTerminal
}

type passphraseSource int

const (
	fromTerminal passphraseSource = iota
	fromFile
	fromCommand
	fromVariable
)

// passphraseSource says where the passphrase comes from, and its argument. A
// flag goes before all variables; two of one sort are a mistake, not a choice.
func (a *app) passphraseSource() (passphraseSource, string, error) {
	variable, set := os.LookupEnv(a.variable("PASSWORD"))
	file, command := os.Getenv(a.variable("PASSWORD_FILE")), os.Getenv(a.variable("PASSWORD_COMMAND"))
	if a.passwordEnv != "" {
		if variable, set = os.LookupEnv(a.passwordEnv); !set {
			return 0, "", usagef("the environment has no %s, which is to hold the passphrase", a.passwordEnv)
		}
		return fromVariable, variable, nil
	}
	if a.passwordFile != "" || a.passwordCommand != "" {
		file, command, set = a.passwordFile, a.passwordCommand, false
	}
	given := 0
	for _, is := range []bool{file != "", command != "", set} {
		if is {
			given++
		}
	}
	switch {
	case given > 1 && (a.passwordFile != "" || a.passwordCommand != ""):
		return 0, "", usagef("%s and %s are both given: which one is meant?", a.flag("password-file"), a.flag("password-command"))
	case given > 1:
		return 0, "", usagef("of %s, %s and %s more than one is set: which one is meant?", a.variable("PASSWORD"), a.variable("PASSWORD_FILE"), a.variable("PASSWORD_COMMAND"))
	case file != "":
		return fromFile, file, nil
	case command != "":
		return fromCommand, command, nil
	case set:
		return fromVariable, variable, nil
	}
	return fromTerminal, "", nil
}

// passphrase gets the passphrase; one that is typed for a new repository is
// asked for twice.
func (a *app) passphrase(ctx context.Context, isNew bool) ([]byte, error) {
	source, arg, err := a.passphraseSource()
	if err != nil {
		return nil, err
	}
	var pass []byte
	switch source {
	case fromFile:
		pass, err = readPassphrase(arg)
	case fromCommand:
		pass, err = runPassphrase(ctx, arg)
	case fromVariable:
		pass = []byte(arg)
	default:
		pass, err = a.askPassphrase(ctx, isNew)
	}
	switch {
	case err != nil:
		return nil, err
	case len(pass) == 0:
		return nil, a.emptyPassphrase(source, arg)
	case len(pass) > maxPassphrase:
		return nil, usagef("the passphrase has more than %d bytes", maxPassphrase)
	}
	if a.learn != nil {
		a.learn(pass)
	}
	return pass, nil
}

// emptyPassphrase is the error about a passphrase without a byte.
func (a *app) emptyPassphrase(source passphraseSource, arg string) error {
	err := &failure{code: exitUsage, err: errors.New("the passphrase is empty")}
	switch source {
	case fromFile:
		err.err = fmt.Errorf("the passphrase is empty: there is nothing in %s", arg)
	case fromCommand:
		err.err = errors.New("the passphrase is empty: the command prints nothing")
	case fromVariable:
		err.hint = "the variable is set, but to nothing"
	}
	return err
}

// readPassphrase returns what a file holds, without the newline at its end.
func readPassphrase(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPassphrase+3))
	if err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	return withoutNewline(b), nil
}

// runPassphrase returns what a shell command prints. It may use the terminal.
func runPassphrase(ctx context.Context, command string) ([]byte, error) {
	shell, flag := "/bin/sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/C"
	}
	c := exec.CommandContext(ctx, shell, flag, command)
	c.Stdin, c.Stderr = os.Stdin, os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("password command: %w", err)
	}
	return withoutNewline(out), nil
}

// withoutNewline removes one line ending from the end; everything else belongs
// to the passphrase.
func withoutNewline(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

func (a *app) askPassphrase(ctx context.Context, twice bool) ([]byte, error) {
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return nil, a.noPassphrase()
	}
	prompt := "passphrase: "
	if a.from {
		prompt = "passphrase of the repository to copy from: "
	}
	pass, err := ask(ctx, stdin, prompt)
	if err != nil || !twice {
		return pass, err
	}
	return askAgain(ctx, stdin, pass)
}

// askNewPassphrase asks for one that is to replace another, or to join it.
func askNewPassphrase(ctx context.Context) ([]byte, error) {
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return nil, &failure{code: exitUsage, err: errors.New("none is given, and there is no terminal to ask on"),
			hint: "use --new-password-file or --new-password-command, or set VAULT_NEW_PASSWORD"}
	}
	pass, err := ask(ctx, stdin, "new passphrase: ")
	if err != nil {
		return nil, err
	}
	return askAgain(ctx, stdin, pass)
}

func askAgain(ctx context.Context, stdin int, pass []byte) ([]byte, error) {
	again, err := ask(ctx, stdin, "the same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(pass, again) {
		return nil, usagef("the two passphrases differ")
	}
	return pass, nil
}

// ask reads a line without showing it. When ctx ends while it waits, the
// terminal is put back as it was.
func ask(ctx context.Context, fd int, prompt string) ([]byte, error) {
	state, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	fmt.Fprint(os.Stderr, prompt)
	defer fmt.Fprintln(os.Stderr)
	type answer struct {
		pass []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		pass, err := term.ReadPassword(fd)
		answered <- answer{pass, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, fmt.Errorf("ask for the passphrase: %w", a.err)
		}
		return a.pass, nil
	case <-ctx.Done():
		term.Restore(fd, state)
		return nil, context.Cause(ctx) // the reader is left behind; the program ends
	}
}
