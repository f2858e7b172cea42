//go:build !race

package bench

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// maxInstructions is how many instructions a first backup of random bytes may take,
// in those of its primitives: 1.2 times what was counted when it was written.
const maxInstructions = 1.75

// workEnv tells a child of this test what to do how often.
const workEnv = "BENCH_INSTRUCTIONS"

// instructionsWork is what is counted: rounds over the same MiB of random bytes.
func instructionsWork(t *testing.T, what string, rounds int) {
	dir, data := t.TempDir(), Noise(nil, rand.New(rand.NewPCG(5, 5)), 1<<20)
	if err := os.WriteFile(filepath.Join(dir, "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	files := [][]byte{data}
	s := newStages(t)
	s.load(t, files)
	for range rounds {
		switch what {
		case "primitives":
			s.split(t, files, nil)
			s.name()
			s.compress()
			s.seal()
			s.verify(t)
		case "fresh":
			fresh(t)
		case "backup":
			_, r := fresh(t)
			backup(t, r, dir, nil)
		default:
			t.Fatalf("unknown work %q", what)
		}
	}
}

var references = regexp.MustCompile(`I\s+refs:\s+([0-9,]+)`)

// instructions counts those of a further round of work, in a process of its own
// under callgrind. Without valgrind, or where it cannot run such a program, the test
// is skipped: it emulates a processor, and what it does not know is no fault of ours.
func instructions(t *testing.T, valgrind, what string) float64 {
	t.Helper()
	const few, many = 1, 4
	run := func(rounds int) float64 {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, valgrind, "--tool=callgrind", "--callgrind-out-file="+os.DevNull, os.Args[0], "-test.run=^TestInstructions$")
		// Signals by which the runtime interrupts goroutines end callgrind; threads and the
		// collector, whose work depends on when it begins, make counts differ.
		cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1", "GOGC=off", workEnv+"="+what+" "+strconv.Itoa(rounds))
		out, err := cmd.CombinedOutput()
		if bytes.Contains(out, []byte("--- FAIL")) {
			t.Fatalf("%s: %s", what, out)
		}
		m := references.FindSubmatch(out)
		if err != nil || m == nil {
			fmt.Fprintf(os.Stderr, "WARNING: NO GUARD OF INSTRUCTIONS: %v: %.2000s\n", err, out)
			t.Skip("valgrind does not run this here")
		}
		n, err := strconv.ParseFloat(strings.ReplaceAll(string(m[1]), ",", ""), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return (run(many) - run(few)) / (many - few)
}

// TestInstructions bounds the instructions of a first backup by those of its
// primitives: what the machine does besides has no part in it. The emulated
// processor has AES-NI and AVX2, and neither VAES nor AVX-512.
func TestInstructions(t *testing.T) {
	if work := os.Getenv(workEnv); work != "" {
		what, count, _ := strings.Cut(work, " ")
		rounds, err := strconv.Atoi(count)
		if err != nil {
			t.Fatal(err)
		}
		instructionsWork(t, what, rounds)
		return
	}
	if testing.Short() {
		t.Skip("an emulated processor is slow")
	}
	valgrind, err := exec.LookPath("valgrind")
	if err != nil || runtime.GOARCH != "amd64" {
		t.Skip("no valgrind, or another processor than was measured on")
	}
	within(t, []string{"instructions of a backup, in those of its primitives"}, []float64{maxInstructions}, func() []float64 {
		primitives := instructions(t, valgrind, "primitives")
		whole := instructions(t, valgrind, "backup") - instructions(t, valgrind, "fresh")
		t.Logf("instructions for a byte: primitives %.2f, backup %.2f", primitives/(1<<20), whole/(1<<20))
		return []float64{whole / primitives}
	})
}
