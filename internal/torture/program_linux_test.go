package torture

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hang is how long a process may take before it counts as hanging.
const hang = 8 * time.Minute

// program starts processes of vault on one repository. Its methods may be
// called from several goroutines.
type program struct {
	repo, state string   // where the repository lies, and what clients remember
	url         string   // how clients get there, if not by the path
	env         []string // what they need for that

	outages atomic.Int64 // how often the server went away, and came back: it is away while odd

	mu      sync.Mutex
	typical map[string]time.Duration // of the last runs that nobody ended
	kills   int                      // of commands that change something
	killed  map[string]int           // by command
	terms   int                      // ended by SIGTERM
	runs    int
}

func newProgram(repo, state string) *program {
	return &program{repo: repo, state: state, typical: map[string]time.Duration{}, killed: map[string]int{}}
}

// reads are the commands that change nothing, neither here nor there.
var reads = map[string]bool{"status": true, "check": true, "backups": true}

// fate is how a process ends.
type fate struct {
	signal syscall.Signal // or 0
	after  time.Duration  // since it began, or since
	seen   string         // something was created below this prefix of the repository, if not ""
	when   chan struct{}  // or this was closed, if not nil
}

// steps are the prefixes in which a command creates what matters. Its time between
// two of them may be too short to be met by chance.
var steps = map[string][]string{
	"backup": {"sessions", "index", "commits"},
	"prune":  {"gc", "gc", "commits", "index"},
	"forget": {"events"},
}

// fate draws an end for a command: SIGKILL most of the time.
func (p *program) fate(rng *rand.Rand, command string) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	typical := max(p.typical[command], 20*time.Millisecond)
	f := fate{after: time.Duration(rng.Float64() * 1.2 * float64(typical))}
	if list := steps[command]; list != nil && rng.IntN(3) == 0 {
		f.seen, f.after = list[rng.IntN(len(list))], time.Duration(rng.IntN(15_000))*time.Microsecond
	}
	kill, term := 68, 12
	if reads[command] { // killing them proves little
		kill, term = 8, 2
	}
	switch n := rng.IntN(100); {
	case n < kill:
		f.signal = syscall.SIGKILL
	case n < kill+term:
		f.signal = syscall.SIGTERM
	}
	return f
}

// outcome is what a process did.
type outcome struct {
	args     []string
	cut      bool           // the server was away meanwhile
	code     int            // -1: it died by a signal
	died     syscall.Signal // by it
	sent     syscall.Signal // 0: nobody meddled
	out, err string
}

// ended reports whether a signal ended the process, by force or politely, or the
// server did by not being there.
func (o outcome) ended() bool {
	return o.cut && o.code == 14 || o.died != 0 && o.died == o.sent || o.code == 130 && o.sent == syscall.SIGTERM
}

func (o outcome) String() string {
	return fmt.Sprintf("vault %q: exit code %d, died of signal %d, sent %d\n%s%s", o.args, o.code, o.died, o.sent, tail(o.out), tail(o.err))
}

func tail(s string) string { return s[max(0, len(s)-3000):] }

// run runs one command line until it ends or meets its fate. The error is one of
// the test itself, or a process that hangs.
func (p *program) run(f fate, args ...string) (o outcome, err error) {
	o.args = args
	out, err := os.CreateTemp(fast, "out")
	if err != nil {
		return o, err
	}
	defer discard(out)
	errs, err := os.CreateTemp(fast, "err")
	if err != nil {
		return o, err
	}
	defer discard(errs)
	cmd := exec.Command(vault, args...)
	cmd.Env = append(os.Environ(), "VAULT_REPO="+cmp.Or(p.url, p.repo), "VAULT_PASSWORD=torture", "VAULT_STATE_DIR="+p.state, "HOME="+p.state,
		"XDG_CACHE_HOME="+filepath.Join(p.state, "cache"), "VAULT_REPO_FILE=", "VAULT_PASSWORD_FILE=", "VAULT_PASSWORD_COMMAND=")
	cmd.Env = append(cmd.Env, p.env...)
	cmd.Stdout, cmd.Stderr = out, errs // files: a command that outlives its vault holds nobody up
	var seen <-chan struct{}
	if f.signal != 0 && f.seen != "" {
		stop := make(chan struct{})
		defer close(stop)
		seen = p.watch(f.seen, stop)
	}
	if f.when != nil {
		seen = f.when
	}
	start, outages := time.Now(), p.outages.Load()
	if err := cmd.Start(); err != nil {
		return o, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	fatal := time.After(hang)
	var strike <-chan time.Time
	if f.signal != 0 && f.seen == "" && f.when == nil {
		strike = time.After(f.after)
	}
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-seen:
			strike, seen = time.After(f.after), nil
		case <-strike:
			if cmd.Process.Signal(f.signal) == nil {
				o.sent = f.signal
			}
		case <-fatal:
			cmd.Process.Signal(syscall.SIGQUIT)
			<-done
			return o, fmt.Errorf("vault %q hangs:\n%s", args, tail(contents(errs)))
		}
	}
	took := time.Since(start)
	o.cut = p.outages.Load() != outages || outages%2 == 1
	o.code, o.out, o.err = cmd.ProcessState.ExitCode(), contents(out), contents(errs)
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		o.died = ws.Signal()
	}
	p.note(o, took)
	return o, nil
}

// watch tells when a directory below this prefix of the repository is changed,
// by whomsoever.
func (p *program) watch(prefix string, stop <-chan struct{}) <-chan struct{} {
	seen := make(chan struct{})
	changed := func() (t time.Time) {
		if info, err := os.Stat(filepath.Join(p.repo, prefix)); err == nil {
			t = info.ModTime()
		}
		return t
	}
	before := changed()
	go func() {
		for changed().Equal(before) {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
		close(seen)
	}()
	return seen
}

func (p *program) note(o outcome, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs++
	command := o.args[0]
	switch {
	case o.died == syscall.SIGKILL:
		if p.killed[command]++; !reads[command] {
			p.kills++
		}
	case o.ended():
		p.terms++
	case o.sent == 0 && p.typical[command] == 0:
		p.typical[command] = took
	case o.sent == 0:
		p.typical[command] += (took - p.typical[command]) / 4
	}
}

func (p *program) killCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kills
}

func discard(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

func contents(f *os.File) string {
	b, _ := os.ReadFile(f.Name())
	return string(b)
}

// must runs a command that nobody disturbs and wants this exit code.
func (p *program) must(t *testing.T, code int, args ...string) outcome {
	t.Helper()
	o, err := p.run(fate{}, args...)
	must(t, err)
	if o.code != code {
		t.Fatalf("want exit code %d: %v", code, o)
	}
	return o
}

// message is what the test reads of any message.
type message struct {
	Type      string   `json:"message_type"`
	BackupID  string   `json:"backup_id"`
	Tags      []string `json:"tags"`
	Host      string   `json:"hostname"`
	State     string   `json:"state"`
	Errors    int      `json:"num_errors"`
	Read      int64    `json:"bytes_read"`
	Delete    int      `json:"packs_delete"`
	Repack    int      `json:"packs_repack"`
	Orphan    int      `json:"packs_unreferenced"`
	Unused    int64    `json:"bytes_unused"`
	Added     int64    `json:"data_added"`
	Adopted   bool     `json:"finished_anothers_plan"`
	Temporary int      `json:"temporary_files_deleted"`
}

// messages returns the messages of one type on standard output. The last line of
// a process that was killed may be incomplete.
func (o outcome) messages(kind string) (list []message) {
	for line := range bytes.Lines([]byte(o.out)) {
		var m message
		if json.Unmarshal(line, &m) == nil && m.Type == kind {
			list = append(list, m)
		}
	}
	return list
}

// told returns the Backup ID that a backup has acknowledged, or "".
func (o outcome) told() string {
	for _, m := range o.messages("summary") {
		return m.BackupID
	}
	return ""
}

// mounted mounts a file system in memory of this size until the test ends.
func mounted(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(disk(t), "full")
	must(t, os.Mkdir(dir, 0o700))
	if err := unix.Mount("torture", dir, "tmpfs", 0, "mode=700,size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}
