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
	"vault/repo"
	"vault/snapshot"
)

// The guard: what must not become slower, without a stored time. Times are
// compared with those of the primitives in the same process; allocations and
// system calls are counted. Bounds of times are 1.3 to 1.5 times the most
// that was measured when they were written (docs/decisions/009), of counts 1.6 times,
// or a little more where little is counted.
const (
	maxOfNoise, maxOfText = 2.2, 1.85 // CPU time of a backup, in that of its primitives

	allocsFirst, allocsUnchanged, allocsRestore = 10.5, 2.0, 7.0 // for each small file
	allocsPerMiB, allocsPerMiBBack              = 42.0, 48.0

	bytesFirstOfNoise, bytesFirstOfText, bytesRestore = 2.4, 1.9, 0.45 // for each byte of a large file

	callsFirst, callsUnchanged, callsRestore = 11.5, 2.0, 8.5 // for each small file
)

// tries is how often more is measured or counted while the result is above its
// bound. Other work on the machine adds to it, and nothing takes away: what becomes
// slower stays above, noise does not.
const tries = 8

// spent is the CPU time of f.
func spent(tb testing.TB, f func()) time.Duration {
	runtime.GC()
	began := cpu(tb)
	f()
	return cpu(tb) - began
}

// twoCores has the test run as on a machine of two cores, where idle threads and the
// helpers of the collector cost little.
func twoCores(t *testing.T) {
	n := runtime.GOMAXPROCS(2)
	t.Cleanup(func() { runtime.GOMAXPROCS(n) })
}

// TestPipelineAgainstPrimitives: the CPU time of a first backup is that of
// reading, splitting, naming, compressing, sealing, verifying and keeping the same
// bytes, and little more. Of random bytes the compressor makes little work, so that a further pass
// over the data shows; of text it makes nearly all.
func TestPipelineAgainstPrimitives(t *testing.T) {
	t.Run("noise", func(t *testing.T) { againstPrimitives(t, Noise(nil, rand.New(rand.NewPCG(5, 5)), 32<<20), maxOfNoise) })
	t.Run("text", func(t *testing.T) { againstPrimitives(t, Text(nil, rand.New(rand.NewPCG(5, 6)), 8<<20), maxOfText) })
}

func againstPrimitives(t *testing.T, data []byte, most float64) {
	files, dir := [][]byte{data}, t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	twoCores(t)
	s := newStages(t)
	s.load(t, files)
	var kept []byte  // memory that is touched for the first time, as that of a store
	var r *repo.Repo // a new one for each backup, made before its time is taken
	stages := []struct {
		name string
		run  func()
		best time.Duration
	}{
		{name: "read", run: func() { kept, _ = os.ReadFile(filepath.Join(dir, "file")) }}, {name: "store", run: func() { kept = bytes.Clone(data) }},
		{name: "split", run: func() { s.split(t, files, nil) }}, {name: "name", run: s.name}, {name: "compress", run: s.compress},
		{name: "seal", run: s.seal}, {name: "verify", run: func() { s.verify(t) }},
		{name: "backup", run: func() { backup(t, r, dir, nil) }},
	}
	// All of them in each round, since the machine may be slower in the next.
	const rounds = 5
	ratio := 0.0
	for n := 0; n < rounds || ratio > most && n < rounds*tries; n++ {
		var sum time.Duration // of the least of each primitive
		for i := range stages {
			g := &stages[i]
			_, r = fresh(t)
			if d := spent(t, g.run); n == 0 || d < g.best {
				g.best = d
			}
			if g.name != "backup" {
				sum += g.best
			} else {
				ratio = float64(g.best) / float64(sum)
			}
		}
	}
	for _, g := range stages {
		t.Logf("%-9s %v", g.name, g.best)
	}
	t.Logf("backup, in the time of its primitives: %.2f", ratio)
	runtime.KeepAlive(kept)
	if ratio > most {
		t.Errorf("a backup takes %.2f of the CPU time of its primitives, at most %.2f is allowed", ratio, most)
	}
}

// memory is what was allocated.
type memory struct{ count, bytes float64 }

// allocated counts the allocations of f.
func allocated(f func()) memory {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return memory{float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc)}
}

func least(a, b memory) memory { return memory{min(a.count, b.count), min(a.bytes, b.bytes)} }

// within checks that what count returns, by name, is below the bounds. While it is
// not, it counts again.
func within(t *testing.T, names []string, bounds []float64, count func() []float64) {
	t.Helper()
	fewest := count()
	above := func() bool {
		for i, n := range fewest {
			if n > bounds[i] {
				return true
			}
		}
		return false
	}
	for range tries {
		if !above() {
			break
		}
		for i, n := range count() {
			fewest[i] = min(fewest[i], n)
		}
	}
	for i, n := range fewest {
		t.Logf("%-44s %8.2f, at most %.2f", names[i], n, bounds[i])
		if n > bounds[i] {
			t.Errorf("%s: %.2f, at most %.2f is allowed", names[i], n, bounds[i])
		}
	}
}

// TestAllocations bounds the allocations of one more file: the difference of a small
// and a large backup, so that what is paid once does not count.
func TestAllocations(t *testing.T) {
	const few, many = 300, 1500
	twoCores(t)
	sizes := []int{few, many}
	var dirs [2]string
	for i := range dirs {
		dirs[i] = t.TempDir()
		if _, err := SmallFiles(dirs[i], 3, sizes[i]); err != nil {
			t.Fatal(err)
		}
	}
	within(t, []string{"allocations for a small file, first backup", "allocations for a small file, unchanged backup", "allocations for a small file, restore"},
		[]float64{allocsFirst, allocsUnchanged, allocsRestore}, func() []float64 {
			a, b := smallAllocations(t, dirs[0]), smallAllocations(t, dirs[1])
			return []float64{(b[0] - a[0]) / (many - few), (b[1] - a[1]) / (many - few), (b[2] - a[2]) / (many - few)}
		})
}

// TestMemoryOfLargeData bounds what one more MiB of a large file has allocated: how
// often, and how many bytes. Those of a first backup have in them what the store in
// memory keeps: the MiB itself of noise, four tenths of it of text.
func TestMemoryOfLargeData(t *testing.T) {
	twoCores(t)
	for _, c := range []struct {
		name                string
		fill                filler
		firstMost, backMost float64 // bytes for each byte
	}{{"noise", Noise, bytesFirstOfNoise, bytesRestore}, {"text", Text, bytesFirstOfText, bytesRestore}} {
		t.Run(c.name, func(t *testing.T) {
			var dirs [2]string
			for i, mib := range largeMiB {
				dirs[i] = t.TempDir()
				if err := os.WriteFile(filepath.Join(dirs[i], "f"), c.fill(nil, rand.New(rand.NewPCG(6, 6)), mib<<20), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			within(t, []string{"allocations for a MiB, first backup", "bytes allocated for a byte, first backup", "allocations for a MiB, restore", "bytes allocated for a byte, restore"},
				[]float64{allocsPerMiB, c.firstMost, allocsPerMiBBack, c.backMost}, func() []float64 {
					first, back := largeAllocations(t, dirs)
					return []float64{first.count, first.bytes / (1 << 20), back.count, back.bytes / (1 << 20)}
				})
		})
	}
}

// largeMiB are the sizes of which the difference is taken. With packs of largePack
// bytes the smaller one has filled every buffer of a writer already.
var largeMiB = [2]int{16, 48}

const largePack = 4 << 20

// largeAllocations counts for one more MiB of first backup and restore.
func largeAllocations(t *testing.T, dirs [2]string) (first, back memory) {
	var took [2][2]memory
	for i, dir := range dirs {
		took[i] = [2]memory{{1e18, 1e18}, {1e18, 1e18}}
		for range 3 {
			p := repo.DefaultParams()
			p.PackSize = largePack
			be, r := withParams(t, p)
			var made *snapshot.Backup
			took[i][0] = least(took[i][0], allocated(func() { made = backup(t, r, dir, nil) }))
			r = repotest.Open(t, be)
			target := t.TempDir()
			took[i][1] = least(took[i][1], allocated(func() { restoreTo(t, r, made, target) }))
			os.RemoveAll(target)
		}
	}
	per := func(k int) memory {
		n := float64(largeMiB[1] - largeMiB[0])
		return memory{(took[1][k].count - took[0][k].count) / n, (took[1][k].bytes - took[0][k].bytes) / n}
	}
	return per(0), per(1)
}

// smallAllocations counts for first backup, unchanged backup and restore of a
// directory; the least of three rounds, the first of which warms up.
func smallAllocations(t *testing.T, dir string) [3]float64 {
	fewest := [3]float64{1e18, 1e18, 1e18}
	for range 3 {
		be, r := fresh(t)
		var first, second *snapshot.Backup
		took := [3]float64{allocated(func() { first = backup(t, r, dir, nil) }).count}
		first.Volumes[0].ScanStarted.Sec += 3600 // or the files are too young to be trusted
		took[1] = allocated(func() { second = backup(t, r, dir, first) }).count
		r = repotest.Open(t, be)
		target := t.TempDir()
		took[2] = allocated(func() { restoreTo(t, r, second, target) }).count
		for i := range fewest {
			fewest[i] = min(fewest[i], took[i])
		}
		repotest.MustCheck(t, be)
	}
	return fewest
}

// scheduling are the calls by which the runtime of Go puts threads to sleep and
// looks after its memory: their number depends on the load of the machine.
var scheduling = map[string]bool{"futex": true, "nanosleep": true, "sched_yield": true, "epoll_pwait": true, "epoll_ctl": true, "madvise": true,
	"mmap": true, "munmap": true, "tgkill": true, "getpid": true, "rt_sigreturn": true, "rt_sigprocmask": true, "rt_sigaction": true,
	"clock_gettime": true, "gettimeofday": true, "clock_nanosleep": true, "eventfd2": true, "membarrier": true, "mprotect": true, "rseq": true,
	"set_robust_list": true, "prctl": true, "exit": true, "getrandom": true, "timer_create": true, "timer_settime": true, "timer_delete": true,
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

// mayTrace skips the test where strace cannot trace. In CI that is a failure: strace
// is installed there. Only where the kernel or a container forbids tracing does CI
// go on, and says so.
func mayTrace(t *testing.T) {
	t.Helper()
	out, err := exec.Command("strace", "-f", "-c", "-o", os.DevNull, "true").CombinedOutput()
	forbidden := bytes.Contains(out, []byte("Operation not permitted")) || bytes.Contains(out, []byte("Function not implemented"))
	switch {
	case err == nil:
	case os.Getenv("CI") == "true" && !forbidden:
		t.Fatalf("strace does not work here: %v: %s", err, out)
	default:
		fmt.Fprintf(os.Stderr, "WARNING: NO GUARD OF SYSTEM CALLS: strace does not work here: %v: %s\n", err, out)
		t.Skip("strace does not work here")
	}
}

// TestSystemCalls bounds the system calls of the real program for one more small file.
func TestSystemCalls(t *testing.T) {
	mayTrace(t)
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
	within(t, []string{"system calls for a small file, first backup", "system calls for a small file, unchanged backup", "system calls for a small file, restore"},
		[]float64{callsFirst, callsUnchanged, callsRestore}, func() []float64 {
			a, b := smallCalls(t, program, filepath.Join(dir, fmt.Sprint(few))), smallCalls(t, program, filepath.Join(dir, fmt.Sprint(many)))
			return []float64{(b[0] - a[0]) / (many - few), (b[1] - a[1]) / (many - few), (b[2] - a[2]) / (many - few)}
		})
}

// smallCalls counts for first backup, unchanged backup and restore of the directory
// tree in at.
func smallCalls(t *testing.T, program, at string) (counts [3]float64) {
	t.Helper()
	place, err := os.MkdirTemp(at, "place")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"VAULT_REPO=" + place + "/repo", "VAULT_PASSWORD=x", "VAULT_STATE_DIR=" + place + "/state", "VAULT_CACHE_DIR=" + place + "/cache", "GOMAXPROCS=2"}
	run := func(args ...string) {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
	}
	run("init", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
	for j, args := range [][]string{{"backup", "data=" + at + "/tree"}, {"backup", "data=" + at + "/tree"}, {"restore", "latest", "--target", place + "/out"}} {
		counts[j] = calls(t, env, append([]string{program}, args...)...)
	}
	run("check", "--read-data")
	return counts
}
