package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"vault/bench"
)

// sample is what one process took.
type sample struct {
	Wall, User, System time.Duration
	Peak               int64 // bytes of memory
}

func (s sample) cpu() time.Duration { return s.User + s.System }

// result is what was measured on one corpus.
type result struct {
	corpus  bench.Corpus
	bytes   int64
	files   int
	engines []*engine
	samples map[string]map[phase][]sample // by the name of the engine
	size    map[string]int64              // bytes of the repository after all backups, without what it keeps free
}

// measure makes the corpus once and lets the engines take turns with copies of it.
// Nothing is removed between the rounds of a corpus of many files: a file system
// that has just removed thousands of them is slow at making new ones.
func measure(ctx context.Context, dir string, c bench.Corpus, engines []*engine, scale float64, rounds int) (result, error) {
	r := result{corpus: c, engines: engines, samples: map[string]map[phase][]sample{}, size: map[string]int64{}}
	for _, e := range engines {
		r.samples[e.name] = map[phase][]sample{}
	}
	top := filepath.Join(dir, c.Name)
	made := filepath.Join(top, "made")
	if err := os.MkdirAll(made, 0o755); err != nil {
		return r, err
	}
	if err := c.Make(made, scale); err != nil {
		return r, fmt.Errorf("make the corpus: %w", err)
	}
	var err error
	if r.bytes, r.files, err = extent(made); err != nil {
		return r, err
	}
	for round := range rounds {
		at := filepath.Join(top, fmt.Sprint(round))
		if err := r.round(ctx, made, at, scale, round); err != nil {
			return r, err
		}
		if r.files > manyFiles {
			continue
		}
		if err := os.RemoveAll(at); err != nil {
			return r, err
		}
	}
	return r, os.RemoveAll(top)
}

// manyFiles is when removing files costs more than keeping their bytes.
const manyFiles = 100

// round measures every phase of every engine once.
func (r *result) round(ctx context.Context, made, top string, scale float64, round int) error {
	source := filepath.Join(top, "source")
	if err := os.MkdirAll(top, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", "--sparse=always", made, source).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the corpus: %w: %s", err, out)
	}
	var err error
	places := map[*engine]place{}
	for _, e := range r.engines {
		p := place{repo: filepath.Join(top, e.name, "repo"), source: source, target: filepath.Join(top, e.name, "out")}
		places[e] = p
		if err := os.MkdirAll(p.target, 0o755); err != nil {
			return err
		}
		for _, words := range e.init {
			if _, err := e.run(ctx, p, words, top); err != nil {
				return err
			}
		}
	}
	for at, ph := range phases {
		if ph == changed {
			if err := r.corpus.Change(source, scale); err != nil {
				return fmt.Errorf("change the corpus: %w", err)
			}
		}
		for i := range r.engines {
			e := r.engines[(i+round+at)%len(r.engines)]
			words, ok := e.phases[ph]
			if !ok {
				continue
			}
			p := places[e]
			if err := prepare(e, p, ph); err != nil {
				return err
			}
			s, err := e.run(ctx, p, words, cwd(p, ph))
			if err != nil {
				return err
			}
			r.samples[e.name][ph] = append(r.samples[e.name][ph], s)
			fmt.Fprintf(os.Stderr, "%-8s %-7s %-10s %8.2f s wall %8.2f s user %8.2f s system %5d MB\n",
				r.corpus.Name, e.name, ph, s.Wall.Seconds(), s.User.Seconds(), s.System.Seconds(), s.Peak>>20)
			if ph == restore {
				if err := p.compare(); err != nil {
					return fmt.Errorf("%s: %w", e.name, err)
				}
			}
		}
	}
	for e, p := range places {
		if !e.limit {
			if r.size[e.name], _, err = extent(p.repo); err != nil {
				return err
			}
			if info, err := os.Stat(filepath.Join(p.repo, "ballast")); err == nil && e.name == own {
				r.size[own] -= info.Size() // room that a full disk still has for a collection
			}
		}
	}
	return nil
}

// run runs the engine once.
func (e *engine) run(ctx context.Context, p place, words []string, cwd string) (s sample, err error) {
	args := append([]string{e.program}, p.expand(words)...)
	if e.through != nil {
		args = append(p.expand(e.through), args...)
		args = append(args, "{}", "+")
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = cwd
	cmd.Env = append(os.Environ(), p.expand(e.env)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	err = cmd.Run()
	s.Wall = time.Since(start)
	if err != nil {
		return s, fmt.Errorf("%v: %w\n%s", cmd.Args, err, said.Bytes())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return s, errors.New("this system does not account processes as Linux does")
	}
	s.User, s.System, s.Peak = cmd.ProcessState.UserTime(), cmd.ProcessState.SystemTime(), usage.Maxrss<<10
	return s, nil
}

// cwd is the target for a restore, since some know no other.
func cwd(p place, ph phase) string {
	if ph == restore {
		return p.target
	}
	return filepath.Dir(p.repo)
}

// archive writes the tar from which the limit of a restore is measured.
func archive(p place) error {
	out, err := exec.Command("tar", "-cf", p.repo+".tar", "-C", p.source, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}

// prepare makes what a phase needs, and writes dirty pages out.
func prepare(e *engine, p place, ph phase) error {
	if e.name == "tar" {
		if err := archive(p); err != nil {
			return err
		}
	}
	syscall.Sync()
	if reads := ph == first || ph == unchanged || ph == changed || ph == checking && e.limit; reads {
		_, err := warm(p.source)
		return err
	}
	return nil
}

// warm brings the corpus into the page cache, by reading it: tar, for one, opens no
// file if it is to write to /dev/null. It returns the bytes that it has read.
func warm(source string) (n int64, err error) {
	buf := make([]byte, 1<<20)
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		// Without the types, so that the buffer is used and nothing is copied by the kernel.
		m, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
		n += m
		return err
	})
	return n, err
}

// compare wants the corpus below the target, wherever the engine has put it.
func (p place) compare() error {
	name, want := "", ""
	err := filepath.WalkDir(p.source, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, want = filepath.Base(path), path
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		return err
	}
	inside, _ := filepath.Rel(p.source, want)
	got := ""
	err = filepath.WalkDir(p.target, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == name && len(path) > len(inside) && path[len(path)-len(inside):] == inside {
			got = path[:len(path)-len(inside)-1]
			return fs.SkipAll
		}
		return err
	})
	if err != nil || got == "" {
		return errors.Join(err, fmt.Errorf("the restored tree has no %s", inside))
	}
	if out, err := exec.Command("diff", "-rq", p.source, got).CombinedOutput(); err != nil {
		return fmt.Errorf("the restored tree differs: %w: %.500s", err, out)
	}
	return nil
}

// extent returns the size of a tree, and how many files it has.
func extent(dir string) (total int64, files int, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total, files = total+info.Size(), files+1
		}
		return err
	})
	return total, files, err
}

// median returns the medians of all that was measured; of an even number, the mean
// of the two in the middle.
func median(s []sample) sample {
	middle := func(of func(sample) int64) int64 {
		v := make([]int64, len(s))
		for i := range s {
			v[i] = of(s[i])
		}
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	return sample{
		Wall:   time.Duration(middle(func(s sample) int64 { return int64(s.Wall) })),
		User:   time.Duration(middle(func(s sample) int64 { return int64(s.User) })),
		System: time.Duration(middle(func(s sample) int64 { return int64(s.System) })),
		Peak:   middle(func(s sample) int64 { return s.Peak }),
	}
}
