package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxSQLLine is the longest line that is looked at; of longer ones, which belong to
// other tables, the rest is skipped.
const maxSQLLine = 1 << 20

var errSQL = errors.New("the dump is damaged")

// value is a field of a row: text, or NULL.
type value struct {
	text string
	null bool
}

// rows reads the rows of one table out of a dump of pg_dump in plain SQL: of COPY
// blocks, and of INSERT statements with or without names of columns. It calls row with
// the values by the names of the columns; the map is reused. It returns how many
// statements about the table it has seen: none means that the table is not there.
func rows(r *bufio.Reader, table string, row func(map[string]value) error) (seen int, err error) {
	p := &sqlRows{lines: r, table: table, row: row, values: map[string]value{}}
	for {
		line, err := p.line()
		if err == io.EOF {
			return p.seen, nil
		}
		if err == nil {
			err = p.statement(line)
		}
		if err != nil {
			return p.seen, err
		}
	}
}

type sqlRows struct {
	lines   *bufio.Reader
	table   string
	row     func(map[string]value) error
	columns []string // of CREATE TABLE, for INSERT without names
	values  map[string]value
	seen    int
}

// line returns the next line without its end, at most maxSQLLine bytes of it.
func (p *sqlRows) line() (string, error) {
	var b []byte
	for {
		part, err := p.lines.ReadSlice('\n')
		if room := maxSQLLine - len(b); room > 0 {
			b = append(b, part[:min(room, len(part))]...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(b) > 0, err == nil:
			return string(bytes.TrimSuffix(b, []byte("\n"))), nil
		}
		return "", err
	}
}

func (p *sqlRows) statement(line string) error {
	if rest, ok := p.about(line, "COPY "); ok {
		names, ok := strings.CutSuffix(strings.TrimSpace(rest), " FROM stdin;")
		names, open := strings.CutPrefix(names, "(")
		names, shut := strings.CutSuffix(names, ")")
		if !ok || !open || !shut {
			return fmt.Errorf("%w: %.100q", errSQL, line)
		}
		p.seen++
		return p.copy(splitNames(names))
	}
	if rest, ok := p.about(line, "CREATE TABLE "); ok && strings.TrimSpace(rest) == "(" {
		p.seen++
		return p.create()
	}
	if rest, ok := p.about(line, "INSERT INTO "); ok {
		p.seen++
		return p.insert(rest)
	}
	if strings.HasPrefix(line, "COPY ") && strings.HasSuffix(line, " FROM stdin;") { // of another table: nothing in it is a statement
		return p.copy(nil)
	}
	return nil
}

// about returns what follows the name of the table in a statement about it.
func (p *sqlRows) about(line, verb string) (string, bool) {
	rest, ok := strings.CutPrefix(line, verb)
	if !ok {
		return "", false
	}
	name, rest, _ := strings.Cut(rest, " ")
	if _, after, ok := strings.Cut(name, "."); ok {
		name = after
	}
	return rest, strings.Trim(name, `"`) == p.table
}

func splitNames(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.Trim(strings.TrimSpace(list[i]), `"`)
	}
	return list
}

// create reads the names of the columns: the first word of each line.
func (p *sqlRows) create() error {
	for p.columns = nil; ; {
		line, err := p.line()
		if err != nil {
			return atEnd(err)
		}
		if strings.HasPrefix(line, ")") {
			return nil
		}
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "CONSTRAINT" && name != "" {
			p.columns = append(p.columns, strings.Trim(name, `"`))
		}
	}
}

// copy reads the rows of a COPY block up to its end; without columns it skips them.
func (p *sqlRows) copy(columns []string) error {
	for {
		line, err := p.line()
		if err != nil {
			return atEnd(err)
		}
		if line == `\.` {
			return nil
		}
		if columns == nil {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != len(columns) {
			return fmt.Errorf("%w: a row of %s has %d fields instead of %d", errSQL, p.table, len(fields), len(columns))
		}
		for i, f := range fields {
			p.values[columns[i]] = value{text: unescape(f), null: f == `\N`}
		}
		if err := p.row(p.values); err != nil {
			return err
		}
	}
}

func atEnd(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: it ends in the middle of a table", errSQL)
	}
	return err
}

// unescape undoes the escapes of COPY that stand for one byte by a letter.
func unescape(f string) string {
	if !strings.Contains(f, `\`) {
		return f
	}
	return strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r", `\b`, "\b", `\f`, "\f", `\v`, "\v").Replace(f)
}

// insert reads the rows of an INSERT statement, which may go on over lines.
func (p *sqlRows) insert(rest string) error {
	columns := p.columns
	if names, ok := strings.CutPrefix(rest, "("); ok {
		names, after, ok := strings.Cut(names, ")")
		if !ok {
			return fmt.Errorf("%w: %.100q", errSQL, rest)
		}
		columns, rest = splitNames(names), strings.TrimSpace(after)
	}
	rest, ok := strings.CutPrefix(rest, "OVERRIDING SYSTEM VALUE ")
	_ = ok
	rest, ok = strings.CutPrefix(rest, "VALUES")
	if !ok {
		return fmt.Errorf("%w: %.100q", errSQL, rest)
	}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		switch {
		case rest == "":
			var err error
			if rest, err = p.line(); err != nil {
				return atEnd(err)
			}
			continue
		case strings.HasPrefix(rest, ";"), strings.HasPrefix(rest, "ON CONFLICT"):
			return nil
		}
		fields, after, err := tuple(rest)
		if err != nil {
			return err
		}
		if len(fields) != len(columns) {
			return fmt.Errorf("%w: a row of %s has %d fields instead of %d", errSQL, p.table, len(fields), len(columns))
		}
		for i, f := range fields {
			p.values[columns[i]] = f
		}
		if err := p.row(p.values); err != nil {
			return err
		}
		rest = after
	}
}

// tuple reads (1, 'text', NULL), and returns what follows it.
func tuple(s string) (fields []value, rest string, err error) {
	s, ok := strings.CutPrefix(s, "(")
	for ok {
		s = strings.TrimLeft(s, " ")
		var v value
		if quoted, is := strings.CutPrefix(s, "'"); is {
			var b strings.Builder
			for {
				part, after, closed := strings.Cut(quoted, "'")
				if !closed {
					return nil, "", fmt.Errorf("%w: a text without end: %.100q", errSQL, s)
				}
				b.WriteString(part)
				if quoted, closed = strings.CutPrefix(after, "'"); !closed {
					s = after
					break
				}
				b.WriteByte('\'')
			}
			v.text = b.String()
		} else {
			end := strings.IndexAny(s, ",)")
			if end < 0 {
				break
			}
			v.text = strings.TrimSpace(s[:end])
			v.null = v.text == "NULL"
			s = s[end:]
		}
		fields = append(fields, v)
		if after, more := strings.CutPrefix(s, ","); more {
			s = after
			continue
		}
		if after, shut := strings.CutPrefix(s, ")"); shut {
			return fields, after, nil
		}
		break
	}
	return nil, "", fmt.Errorf("%w: no row: %.100q", errSQL, s)
}
