package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds a configuration file.
const maxFile = 1 << 20

// Options are what the configuration itself cannot know.
type Options struct {
	// CheckSchedule returns what is wrong with an OnCalendar expression. Nil:
	// expressions are taken as they are.
	CheckSchedule func(expression string) error
	// CheckTemplate returns what is wrong with a template of a notification. Nil: they
	// are taken as they are.
	CheckTemplate func(text string) error
}

// Problem is one mistake in a configuration.
type Problem struct {
	File         string
	Line, Column int    // from 1
	Path         string // of the value, as apps.web.to; "" for the file
	Message      string
	Hint         string // what to do, or ""
}

// Error returns place and message as compilers do: file:line:column.
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		s += p.Path + ": "
	}
	return s + p.Message
}

// Errors are all mistakes of a configuration, in the order of the file.
type Errors []Problem

// Error returns one line a mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads a configuration file. Mistakes in it are Errors.
func Load(path string, o Options) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	return Parse(path, data, o)
}

// Parse reads a configuration. The name stands in messages.
func Parse(name string, data []byte, o Options) (*Config, error) {
	if len(data) > maxFile {
		return nil, Errors{{File: name, Line: 1, Column: 1, Message: fmt.Sprintf("a configuration has at most %d bytes", maxFile)}}
	}
	root, problem := parse(name, data)
	if problem != nil {
		return nil, Errors{*problem}
	}
	d := &decoder{file: name, anchors: map[string]ast.Node{}, at: positions{}}
	c := &Config{File: name, at: d.at}
	d.value(root, reflectOf(c), "")
	v := &validator{c: c, o: o}
	if c.Version != Version && !v.has("version") {
		c.Version = Version // reported already
	}
	v.config()
	problems := append(d.problems, v.problems...)
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, Errors(problems)
	}
	c.fill()
	return c, nil
}

// parse returns the one document of a file.
func parse(name string, data []byte) (root ast.Node, problem *Problem) {
	if depth := nesting(data); depth > 10*maxDepth {
		return nil, &Problem{File: name, Line: 1, Column: 1, Message: "lists and mappings are nested too deep"}
	}
	defer func() { // the parser is not ours: what it cannot bear is a mistake in the file
		if r := recover(); r != nil {
			root, problem = nil, &Problem{File: name, Line: 1, Column: 1, Message: fmt.Sprintf("this is not YAML: %v", r)}
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p := &Problem{File: name, Line: 1, Column: 1, Message: "this is not YAML: " + firstLine(err.Error())}
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			p.Message = "this is not YAML: " + syntax.Message
			if syntax.Token != nil {
				p.Line, p.Column = positionOf(syntax.Token.Position)
			}
		}
		return nil, p
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			line, column := place(doc.Body)
			return nil, &Problem{File: name, Line: line, Column: column, Message: "a second document begins here: a configuration is one"}
		}
		root = doc.Body
	}
	if root == nil {
		return nil, &Problem{File: name, Line: 1, Column: 1, Message: "the configuration is empty", Hint: "`vault apps example` shows some"}
	}
	return root, nil
}

// nesting returns how deep brackets are nested at most, whatever they mean. The
// parser recurses that deep.
func nesting(data []byte) (most int) {
	depth := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth--
		}
	}
	return most
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
