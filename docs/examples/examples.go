// Package examples holds configurations of real systems: they are documentation,
// and `vault apps example` prints them.
package examples

import (
	"embed"
	"path"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names returns the names of the examples, sorted.
func Names() []string {
	list, err := files.ReadDir(".")
	if err != nil {
		panic("examples: internal error: " + err.Error())
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
	}
	return names
}

// Get returns the example of a name.
func Get(name string) ([]byte, bool) {
	b, err := files.ReadFile(name + ".yaml")
	return b, err == nil
}
