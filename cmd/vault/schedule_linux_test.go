package main

import (
	"os"
	"slices"
	"testing"
)

// TestInheritedFlags: the loop gives its jobs the flags that it was given and that are
// for them, as they were meant.
func TestInheritedFlags(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{nil, nil},
		{[]string{"--config", "x", "--max-parallel", "3"}, nil},
		{[]string{"--limit-upload", "1M", "-vv", "--no-cache"}, []string{"--verbose=2", "--no-cache=true", "--limit-upload=1M"}},
		{[]string{"-q", "--json", "--cache-dir", "/a b", "--limit-download=2M"}, []string{"--json=true", "--quiet=true", "--cache-dir=/a b", "--limit-download=2M"}},
	} {
		parse := func(args []string) *app {
			a := &app{ui: newUI(os.Stdout, os.Stderr)}
			cmd, rest, err := a.rootCommand().Find(args)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Fatal(err)
			}
			a.flags = cmd.Flags()
			return a
		}
		loop := parse(append([]string{"schedule", "run"}, c.args...))
		got := loop.inherited()
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.args, got, c.want)
		}
		job := parse(append([]string{"schedule", "do", "run", "web"}, got...))
		if job.limitUpload != loop.limitUpload || job.limitDownload != loop.limitDownload || job.cacheDir != loop.cacheDir || job.noCache != loop.noCache ||
			job.ui.json != loop.ui.json || job.ui.quiet != loop.ui.quiet || job.ui.verbose != loop.ui.verbose {
			t.Errorf("%v: the job has other flags", c.args)
		}
	}
}
