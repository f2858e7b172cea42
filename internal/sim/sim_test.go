package sim

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // a schedule lives for milliseconds, and leaves nothing
	trees()                 // before any bubble
	bases()
	code := m.Run()
	RemoveAll()
	os.Exit(code)
}

// number reads a number from the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestSeed plays one schedule and prints it: SIM_SEED=n go test -run TestSeed.
func TestSeed(t *testing.T) {
	if os.Getenv("SIM_SEED") == "" {
		t.Skip("SIM_SEED names the schedule")
	}
	out := Play(t, uint64(number("SIM_SEED", 0)), Options{Verbose: true, Bug: Bug(os.Getenv("SIM_BUG"))})
	for _, line := range out.Trace {
		fmt.Println(line)
	}
	fmt.Printf("%+v\n", out.Tally)
	if out.Wrong != nil {
		t.Error(out.Wrong)
	}
}

// TestSchedules plays CI's share: SIM_N schedules (default 20,000; 500 with
// -short) from SIM_FROM on, or as many as SIM_MINUTES (default 5) allow.
func TestSchedules(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n = 500
	}
	n = number("SIM_N", n)
	from := number("SIM_FROM", 1)
	deadline := time.Now().Add(time.Duration(number("SIM_MINUTES", 5)) * time.Minute)
	s := survey{next: uint64(from), end: uint64(from + n), deadline: deadline, known: map[string]int{}}
	start := time.Now()
	t.Run("play", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				s.work(t)
			})
		}
	})
	fmt.Printf("sim: %d schedules in %s, seeds from %d: %+v\n", s.played.Load(), time.Since(start).Round(time.Second), from, s.tally)
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		fmt.Printf("sim: %d schedules met the known issue %q\n", s.known[name], name)
	}
	if short := int64(n) - s.played.Load(); short > 0 && !t.Failed() {
		t.Logf("%d schedules were not played: SIM_MINUTES were over", short)
	}
}

// survey is a share of schedules that several goroutines play.
type survey struct {
	deadline time.Time
	played   atomic.Int64

	mu        sync.Mutex // guards what follows
	next, end uint64
	wrong     int
	tally     Tally
	known     map[string]int
}

func (s *survey) take() (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next >= s.end || s.wrong >= number("SIM_WRONG", 5) || time.Now().After(s.deadline) {
		return 0, false
	}
	s.next++
	return s.next - 1, true
}

func (s *survey) work(t *testing.T) {
	for {
		seed, ok := s.take()
		if !ok {
			return
		}
		out := Play(t, seed, Options{})
		s.played.Add(1)
		s.mu.Lock()
		s.tally.Add(out.Tally)
		if out.Wrong != nil {
			if issue := out.Wrong.issue(); issue != "" {
				s.known[issue]++
			} else {
				s.wrong++
				t.Errorf("SIM_SEED=%d: %v", seed, out.Wrong)
				for _, line := range out.Trace[max(0, len(out.Trace)-40):] {
					t.Log(line)
				}
			}
		}
		s.mu.Unlock()
	}
}

// TestReproducible plays schedules twice.
func TestReproducible(t *testing.T) {
	same, n := 0, 100
	for seed := range n {
		a, b := Play(t, uint64(seed), Options{}), Play(t, uint64(seed), Options{})
		if a.Hash == b.Hash {
			same++
		}
	}
	t.Logf("%d of %d schedules were the same twice", same, n)
	if same < n {
		t.Errorf("%d of %d schedules were not", n-same, n)
	}
}

// TestSameInEveryProcess plays schedules in another process, whose trees are other
// files with other inodes, made later and with other times.
func TestSameInEveryProcess(t *testing.T) {
	const n = 60
	var here strings.Builder
	for seed := range n {
		fmt.Fprintf(&here, "sim: hash of %d: %x\n", seed, Play(t, uint64(seed), Options{}).Hash)
	}
	if os.Getenv("SIM_CHILD") != "" {
		fmt.Print(here.String())
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestSameInEveryProcess$")
	cmd.Env = append(os.Environ(), "SIM_CHILD=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), here.String()) {
		t.Errorf("another process plays other schedules:\n%s\nhere:\n%s", out, here.String())
	}
}

// TestBugsAreFound plants each bug, and demands that it is found soon.
func TestBugsAreFound(t *testing.T) {
	most := number("SIM_BUG_SEEDS", 3000)
	for _, bug := range Bugs {
		t.Run(string(bug), func(t *testing.T) {
			t.Parallel()
			for seed := 1; seed <= most; seed++ {
				out := Play(t, uint64(seed), Options{Bug: bug})
				if v := out.Wrong; v != nil && (v.Kind == Loss || v.Kind == Alarm && bug == BugShortIsFine) {
					t.Logf("found by seed %d: %v", seed, v)
					return
				}
			}
			t.Errorf("not found by %d schedules", most)
		})
	}
}
