package config

import (
	"reflect"
	"strconv"
	"strings"
)

// field is a field of a configuration struct, as its tags describe it.
type field struct {
	name  string
	doc   string
	need  bool
	enum  []string
	index []int
	typ   reflect.Type
}

type fieldList []field

func (l fieldList) find(name string) (field, bool) {
	for _, f := range l {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

func (l fieldList) names() []string {
	names := make([]string, len(l))
	for i, f := range l {
		names[i] = f.name
	}
	return names
}

// fieldsOf returns the fields of a struct, those of inlined ones among them.
func fieldsOf(t reflect.Type) fieldList {
	var list fieldList
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		switch {
		case name == "-" || name == "":
		case name == ",inline":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				list = append(list, inner)
			}
		default:
			own := field{name: name, doc: f.Tag.Get("doc"), need: f.Tag.Get("need") != "", index: []int{i}, typ: f.Type}
			if enum := f.Tag.Get("enum"); enum != "" {
				own.enum = strings.Split(enum, ",")
			}
			list = append(list, own)
		}
	}
	return list
}

// nearest returns the choice that is most like text, or "" if none is like it: at
// most a third of its letters differ.
func nearest(text string, choices []string) string {
	best, least := "", len(text)/3+1
	for _, c := range choices {
		if n := distance(strings.ToLower(strings.ReplaceAll(text, "_", "-")), c); n < least || n == least && best == "" {
			best, least = c, n
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func orList(choices []string) string {
	if len(choices) < 2 {
		return strings.Join(choices, "")
	}
	return strings.Join(choices[:len(choices)-1], ", ") + " or " + choices[len(choices)-1]
}

func quote(s string) string {
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	return strconv.Quote(s)
}
