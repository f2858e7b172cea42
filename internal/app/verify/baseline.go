package verify

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"vault/internal/durable"
)

// Baseline is a set of problems that are known. What counts is where they are and
// which rule is broken, not the words. Its file has one JSON object a line.
type Baseline map[known]bool

// known is a line of a baseline's file.
type known struct {
	Check  string `json:"check"`
	Rule   string `json:"rule"`
	Volume string `json:"volume"`
	Object string `json:"object"` // in which bytes that are no UTF-8 are replaced
}

// Bounds of a baseline.
const (
	maxBaselineLine  = 1 << 20
	maxBaselineLines = 1 << 20
)

// ErrBaseline says that a file is no baseline.
var ErrBaseline = errors.New("this is no baseline of findings")

func knownOf(f Finding) known {
	return known{Check: f.Check, Rule: f.Rule, Volume: f.Volume, Object: strings.ToValidUTF8(f.Object, "\uFFFD")}
}

// Knows reports whether a finding is in the baseline.
func (b Baseline) Knows(f Finding) bool { return b[knownOf(f)] }

// Add takes a problem into the baseline; other findings are not kept.
func (b Baseline) Add(f Finding) {
	if f.Severity == Problem {
		b[knownOf(f)] = true
	}
}

// ReadBaseline reads the file of a baseline.
func ReadBaseline(path string) (Baseline, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer f.Close()
	b, err := DecodeBaseline(f)
	if err != nil {
		return nil, fmt.Errorf("baseline %s: %w", path, err)
	}
	return b, nil
}

// DecodeBaseline decodes a baseline strictly: an unknown field, or a line without a
// rule, is ErrBaseline.
func DecodeBaseline(r io.Reader) (Baseline, error) {
	b := Baseline{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxBaselineLine)
	for n := 1; lines.Scan(); n++ {
		if n > maxBaselineLines {
			return nil, fmt.Errorf("%w: more than %d lines", ErrBaseline, maxBaselineLines)
		}
		var k known
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&k); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrBaseline, n, err)
		}
		if k.Check == "" || k.Rule == "" || d.More() {
			return nil, fmt.Errorf("%w: line %d", ErrBaseline, n)
		}
		b[k] = true
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBaseline, err)
	}
	return b, nil
}

// Encode returns the file of a baseline. Equal baselines have equal files.
func (b Baseline) Encode() ([]byte, error) {
	list := make([]known, 0, len(b))
	for k := range b {
		list = append(list, k)
	}
	slices.SortFunc(list, func(x, y known) int {
		return cmp.Or(cmp.Compare(x.Check, y.Check), cmp.Compare(x.Volume, y.Volume), cmp.Compare(x.Object, y.Object), cmp.Compare(x.Rule, y.Rule))
	})
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for _, k := range list {
		if err := e.Encode(k); err != nil {
			return nil, fmt.Errorf("baseline: %w", err)
		}
	}
	return out.Bytes(), nil
}

// Write replaces the file of a baseline, durably and in one step.
func (b Baseline) Write(path string) error {
	data, err := b.Encode()
	if err == nil {
		err = durable.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("baseline %s: %w", path, err)
	}
	return nil
}
