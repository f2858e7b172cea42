// Command peers measures whole processes: vault beside the engines found on the
// path, on the corpora of package bench, taking turns. It prints medians and
// ratios, and writes them as a page with a plot.
//
// User and system time, wall time and peak memory are what the kernel accounted to
// the process and to those it waited for. Each phase of each engine runs once in
// every round, in an order that moves on by one from round to round, so that what
// disturbs the machine disturbs all alike. Before each phase dirty pages are
// written out; the corpus is in the page cache.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vault/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		vault  = flag.String("vault", "build/vault", "the `program` to measure")
		work   = flag.String("work", "", "`directory` for corpora and repositories (default: a temporary one)")
		scale  = flag.Float64("scale", 1, "size of the corpora")
		rounds = flag.Int("rounds", 3, "how often everything is measured")
		only   = flag.String("corpora", "", "some corpora only, separated by commas")
		out    = flag.String("out", "", "`directory` for benchmarks.md and benchmarks.svg")
	)
	flag.Parse()
	engines, err := found(*vault)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(*work, "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var results []result
	for _, c := range bench.Corpora {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), c.Name) {
			continue
		}
		r, err := measure(ctx, dir, c, engines, *scale, *rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		results = append(results, r)
		fmt.Print(r.table())
	}
	if len(results) == 0 {
		return fmt.Errorf("there is no corpus %q", *only)
	}
	fmt.Print(verdict(targets(results)))
	if *out == "" {
		return nil
	}
	command := fmt.Sprintf("make bench-peers SCALE=%g ROUNDS=%d", *scale, *rounds)
	for _, other := range []string{"RESTIC", "BORG", "KOPIA"} {
		if os.Getenv(other) != "" {
			command += " " + other + "=path"
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(*out, "benchmarks.md"), []byte(page(results, engines, command)), 0o644),
		os.WriteFile(filepath.Join(*out, "benchmarks.svg"), []byte(plot(results)), 0o644))
}
