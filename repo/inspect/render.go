package inspect

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"vault/internal/display"
)

// hexShown is how many bytes of a field the text shows; longer fields show
// the first of them.
const hexShown = 8

// Text writes the report for people: a line for each field with its offset, its
// bytes, its name and what they mean. What is wrong stands behind "!!". Nothing
// from the object reaches a terminal unescaped.
func Text(w io.Writer, r Report) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s: %s, %d bytes, BLAKE3 %s\n", display.Line(r.Name), r.Kind, r.Size, r.Hash)
	if r.Verdict != "" {
		fmt.Fprintf(b, "!! %s\n", display.Line(r.Verdict))
	}
	t := texter{b: b, offset: len(strconv.Itoa(r.Size))}
	t.measure(r.Fields, 0)
	t.write(r.Fields, 0)
	return b.Flush()
}

type texter struct {
	b             *bufio.Writer
	offset, label int // widths
}

func (t *texter) measure(fields []Field, depth int) {
	for i := range fields {
		t.label = max(t.label, 2*depth+len(fields[i].Name))
		t.measure(fields[i].Children, depth+1)
	}
}

func (t *texter) write(fields []Field, depth int) {
	for i := range fields {
		f := &fields[i]
		label := strings.Repeat("  ", depth) + f.Name
		parts := []string{}
		for _, s := range []struct{ before, text string }{{"", f.Value}, {"- ", f.Note}, {"!! ", f.Bad}} {
			if s.text != "" {
				parts = append(parts, s.before+s.text)
			}
		}
		line := fmt.Sprintf("%*d  %-*s  %-*s  %s", t.offset, f.Offset, 2*hexShown+2, shortHex(f), t.label, label, strings.Join(parts, " "))
		t.b.WriteString(display.Line(strings.TrimRight(line, " ")) + "\n")
		t.write(f.Children, depth+1)
	}
}

func shortHex(f *Field) string {
	if len(f.Bytes) > hexShown {
		return fmt.Sprintf("%x..", f.Bytes[:hexShown])
	}
	return fmt.Sprintf("%x", f.Bytes)
}

// jsonField and jsonReport are the output for programs.
type jsonField struct {
	Offset int         `json:"offset"`
	Length int         `json:"length"`
	Name   string      `json:"name"`
	Bytes  string      `json:"bytes,omitempty"` // hex; left out of groups and of fields over 4096 bytes
	Value  string      `json:"value,omitempty"`
	Note   string      `json:"note,omitempty"`
	Bad    string      `json:"bad,omitempty"`
	Fields []jsonField `json:"fields,omitempty"`
}

type jsonReport struct {
	Type    string      `json:"message_type"`
	Name    string      `json:"name"`
	Kind    string      `json:"kind"`
	Size    int         `json:"size"`
	Hash    string      `json:"blake3"`
	Verdict string      `json:"verdict,omitempty"`
	Fields  []jsonField `json:"fields"`
}

// JSON writes the report for programs, as one line.
func JSON(w io.Writer, r Report) error {
	return json.NewEncoder(w).Encode(jsonReport{
		Type: "inspect", Name: r.Name, Kind: r.Kind, Size: r.Size, Hash: r.Hash, Verdict: r.Verdict, Fields: jsonFields(r.Fields),
	})
}

func jsonFields(fields []Field) []jsonField {
	out := make([]jsonField, len(fields))
	for i := range fields {
		f := &fields[i]
		out[i] = jsonField{Offset: f.Offset, Length: f.Length, Name: f.Name, Value: f.Value, Note: f.Note, Bad: f.Bad}
		if len(f.Bytes) <= 4096 {
			out[i].Bytes = fmt.Sprintf("%x", f.Bytes)
		}
		if len(f.Children) > 0 {
			out[i].Fields = jsonFields(f.Children)
		}
	}
	return out
}
