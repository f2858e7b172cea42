//go:build !race

package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"vault/internal/repotest"
	"vault/snapshot"
	"vault/snapshot/restore"
)

// The guard: what must not become slower, without a stored time. Times are
// compared with those of the primitives in the same process; allocations and
// system calls are counted. Bounds are 1.6 times of what was measured when they
// were written (docs/decisions/009), or a little more where little is counted.
const (
	maxOfPrimitives = 3.0 // CPU time of a backup, in that of its primitives

	allocsFirst, allocsUnchanged, allocsRestore = 10.5, 2.0, 7.0 // for each small file
	allocsPerMiB                                = 40.0

	callsFirst, callsUnchanged, callsRestore = 11.5, 2.0, 8.5 // for each small file
)

// least is the least CPU time of several rounds: other work on the machine adds
// to it, and nothing takes away.
func least(tb testing.TB, rounds int, f func()) time.Duration {
	best := time.Duration(1 << 62)
	for range rounds {
		runtime.GC()
		began := cpu(tb)
		f()
		best = min(best, cpu(tb)-began)
	}
	return best
}

// TestPipelineAgainstPrimitives: the CPU time of a first backup is that of
// splitting, naming, compressing, sealing and verifying the same bytes, and little more.
func TestPipelineAgainstPrimitives(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	files := [][]byte{Noise(nil, rng, 16<<20), Text(nil, rng, 8<<20)}
	dir := t.TempDir()
	for i, f := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), f, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newStages(t)
	s.load(t, files)
	const rounds = 5
	var bound time.Duration
	for _, stage := range []struct {
		name string
		run  func()
	}{{"split", func() { s.split(t, files, nil) }}, {"name", s.name}, {"compress", s.compress}, {"seal", s.seal}, {"verify", func() { s.verify(t) }}} {
		d := least(t, rounds, stage.run)
		t.Logf("%-9s %v", stage.name, d)
		bound += d
	}
	whole := least(t, rounds, func() {
		_, r := fresh(t)
		backup(t, r, dir, nil)
	})
	ratio := float64(whole) / float64(bound)
	t.Logf("backup %v, primitives %v: %.2f", whole, bound, ratio)
	if ratio > maxOfPrimitives {
		t.Errorf("a backup takes %.2f of the CPU time of its primitives, at most %.2f is allowed", ratio, maxOfPrimitives)
	}
}

// mallocs counts the allocations of f.
func mallocs(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs)
}

// within reports whether what was counted of a thing is below its bound.
func within(t *testing.T, what string, got, bound float64) {
	t.Helper()
	t.Logf("%-44s %8.2f, at most %.2f", what, got, bound)
	if got > bound {
		t.Errorf("%s: %.2f, at most %.2f is allowed", what, got, bound)
	}
}

// TestAllocations bounds the allocations of one more file, and of one more MiB:
// the difference of a small and a large backup, so that what is paid once does
// not count.
func TestAllocations(t *testing.T) {
	const few, many = 300, 1500
	var counts [2][3]float64
	for i, n := range []int{few, many} {
		dir := t.TempDir()
		if _, err := SmallFiles(dir, 3, n); err != nil {
			t.Fatal(err)
		}
		counts[i] = smallAllocations(t, dir)
	}
	for i, what := range []string{"first backup", "unchanged backup", "restore"} {
		within(t, "allocations for a small file, "+what, (counts[1][i]-counts[0][i])/(many-few),
			[]float64{allocsFirst, allocsUnchanged, allocsRestore}[i])
	}
	var large [2]float64
	for i, mib := range []int{8, 24} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "f"), Noise(nil, rand.New(rand.NewPCG(6, 6)), mib<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		large[i] = 1e18
		for range 3 {
			_, r := fresh(t)
			large[i] = min(large[i], mallocs(func() { backup(t, r, dir, nil) }))
		}
	}
	within(t, "allocations for a MiB, first backup", (large[1]-large[0])/16, allocsPerMiB)
}

// smallAllocations counts for first backup, unchanged backup and restore of a
// directory; the least of three rounds, the first of which warms up.
func smallAllocations(t *testing.T, dir string) [3]float64 {
	least := [3]float64{1e18, 1e18, 1e18}
	for range 3 {
		be, r := fresh(t)
		var first, second *snapshot.Backup
		took := [3]float64{mallocs(func() { first = backup(t, r, dir, nil) })}
		first.Volumes[0].ScanStarted.Sec += 3600 // or the files are too young to be trusted
		took[1] = mallocs(func() { second = backup(t, r, dir, first) })
		r = repotest.Open(t, be)
		target := t.TempDir()
		took[2] = mallocs(func() {
			report, err := restore.Run(t.Context(), restore.Options{Source: r, Target: target}, []restore.Volume{{Volume: &second.Volumes[0], Dir: "data"}})
			if err != nil || report.ProblemCount > 0 {
				t.Fatal(err, report.Problems)
			}
		})
		for i := range least {
			least[i] = min(least[i], took[i])
		}
		repotest.MustCheck(t, be)
	}
	return least
}

// scheduling are the calls by which the runtime of Go puts threads to sleep and
// looks after its memory: their number depends on the load of the machine.
var scheduling = map[string]bool{"futex": true, "nanosleep": true, "sched_yield": true, "epoll_pwait": true, "epoll_ctl": true, "madvise": true,
	"mmap": true, "munmap": true, "tgkill": true, "getpid": true, "rt_sigreturn": true, "rt_sigprocmask": true, "rt_sigaction": true,
	"sigaltstack": true, "clone": true, "clone3": true, "gettid": true, "restart_syscall": true, "write": true, "total": true}

// calls runs a program under strace and counts its system calls on files. The
// pipes and the terminal that it may write to depend on time and do not count;
// files are written by other calls.
func calls(t *testing.T, env []string, args ...string) (n float64) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", append([]string{"-f", "-c", "-qq", "-o", out}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", args, err, said)
	}
	table, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 5 || scheduling[f[len(f)-1]] {
			continue
		}
		if count, err := strconv.Atoi(f[3]); err == nil {
			n += float64(count)
		}
	}
	return n
}

// TestSystemCalls bounds the system calls of the real program for one more small file.
func TestSystemCalls(t *testing.T) {
	if out, err := exec.Command("strace", "-f", "-c", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "vault")
	if out, err := exec.Command("go", "build", "-o", program, "vault/cmd/vault").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	const few, many = 100, 500
	for _, n := range []int{few, many} {
		if _, err := SmallFiles(filepath.Join(dir, fmt.Sprint(n), "tree"), 3, n); err != nil {
			t.Fatal(err)
		}
	}
	// Files that are hardly older than a backup are read again by the next one.
	for made := time.Now(); time.Since(made) < 4*time.Second; {
		time.Sleep(100 * time.Millisecond)
	}
	var counts [2][3]float64
	for i, n := range []int{few, many} {
		at := filepath.Join(dir, fmt.Sprint(n))
		env := []string{"VAULT_REPO=" + at + "/repo", "VAULT_PASSWORD=x", "VAULT_STATE_DIR=" + at + "/state", "VAULT_CACHE_DIR=" + at + "/cache"}
		run := func(args ...string) {
			cmd := exec.Command(program, args...)
			cmd.Env = append(os.Environ(), env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", args, err, out)
			}
		}
		run("init", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
		for j, args := range [][]string{{"backup", "data=" + at + "/tree"}, {"backup", "data=" + at + "/tree"}, {"restore", "latest", "--target", at + "/out"}} {
			counts[i][j] = calls(t, env, append([]string{program}, args...)...)
		}
		run("check", "--read-data")
	}
	for i, what := range []string{"first backup", "unchanged backup", "restore"} {
		within(t, "system calls for a small file, "+what, (counts[1][i]-counts[0][i])/(many-few),
			[]float64{callsFirst, callsUnchanged, callsRestore}[i])
	}
}
