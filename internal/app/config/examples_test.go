package config

import (
	"testing"

	"vault/docs/examples"
)

// TestExamples: what is shown as an example is a configuration.
func TestExamples(t *testing.T) {
	names := examples.Names()
	if len(names) < 6 {
		t.Errorf("only %v", names)
	}
	for _, name := range names {
		text, ok := examples.Get(name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		c, err := Parse(name, text, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		if len(c.Apps)+len(c.Copies) == 0 {
			t.Errorf("%s configures nothing", name)
		}
	}
}
