package main

import (
	"strings"
	"unicode/utf8"
)

// table is rows of equal length, the first of which is the head.
type table [][]string

// printTable writes a table for people, or what to say when it has no rows.
// Cells are safe to print.
func (a *app) printTable(t table, empty string) {
	if len(t) == 1 {
		a.ui.info("%s\n", empty)
		return
	}
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range t {
		start := b.Len()
		for i, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		line := strings.TrimRight(b.String()[start:], " ")
		b.Reset()
		a.ui.result("%s\n", line)
	}
}
