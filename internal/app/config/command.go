package config

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Command is a program with its arguments, or a line for a shell.
type Command struct {
	Run     []string    `yaml:"run" doc:"program and arguments"`
	Shell   string      `yaml:"shell" doc:"a script for /bin/sh -c, instead"`
	Timeout Duration    `yaml:"timeout" doc:"how long it may take"`
	OnError OnError     `yaml:"on-error" doc:"what its failure does; default fail"`
	Env     Environment `yaml:"environment" doc:"further variables; no place for secrets"`
	Dir     string      `yaml:"dir" doc:"working directory; default: that of vault"`
}

// Argv returns what is executed.
func (c *Command) Argv() []string {
	if c.Shell != "" {
		return []string{"/bin/sh", "-c", c.Shell}
	}
	return c.Run
}

// String returns the command as one would type it: for people, and right for a shell.
func (c *Command) String() string {
	if c.Shell != "" {
		return c.Shell
	}
	var b strings.Builder
	for i, arg := range c.Run {
		if i > 0 {
			b.WriteByte(' ')
		}
		if arg == "" || strings.Trim(arg, plain) != "" {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		b.WriteString(arg)
	}
	return b.String()
}

// plain are the characters that mean themselves to a shell, anywhere.
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+:,./-"

// commandFields is Command without its own decoding.
type commandFields Command

const commandHint = `a command is a list of its arguments, as [occ, "maintenance:mode", --on]; for a line for a shell write {shell: "..."}`

func (c *Command) decode(d *decoder, n ast.Node, at string) {
	switch n := d.resolve(n).(type) {
	case *ast.SequenceNode:
		d.into(n, &c.Run, at)
	case *ast.MappingNode, *ast.MappingValueNode:
		d.into(n, (*commandFields)(c), at)
	default:
		d.fail(n, at, "want a list of arguments", commandHint)
		return
	}
	switch {
	case c.Shell != "" && len(c.Run) > 0:
		d.fail(n, at, "both run and shell are given", "which one is meant?")
	case c.Shell == "" && (len(c.Run) == 0 || c.Run[0] == ""):
		d.fail(n, at, "the command is empty", commandHint)
	}
	for _, arg := range append(c.Run, c.Shell) {
		if strings.ContainsRune(arg, 0) {
			d.fail(n, at, "an argument has a NUL byte", "")
		}
	}
}

// Steps are commands, one after another: a list of commands, each of which is a
// list itself.
type Steps []Command

func (s *Steps) decode(d *decoder, n ast.Node, at string) { s.list(d, n, at, false) }

func (s *Steps) list(d *decoder, n ast.Node, at string, single bool) {
	r := d.resolve(n)
	seq, ok := r.(*ast.SequenceNode)
	_, mapping := r.(*ast.MappingNode)
	_, pair := r.(*ast.MappingValueNode)
	first := ast.Node(nil)
	if ok && len(seq.Values) > 0 {
		first = d.resolve(seq.Values[0])
	}
	switch {
	case single && (mapping || pair) || single && first != nil && scalar(first):
		var c Command
		d.into(n, &c, at)
		*s = Steps{c}
	case !ok:
		d.fail(n, at, "want a list of commands", "each command is a list of arguments, as [[systemctl, stop, app], [sync]]")
	case first != nil && scalar(first):
		d.fail(n, at, "want a list of commands, each of which is a list", "put one command into one more pair of brackets: [[program, argument]]")
	default:
		d.into(n, (*[]Command)(s), at)
	}
}

// Phase is Steps of which a single one needs no list around it.
type Phase struct{ Steps }

func (p *Phase) decode(d *decoder, n ast.Node, at string) { p.list(d, n, at, true) }
