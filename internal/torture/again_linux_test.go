package torture

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// stream returns n bytes that no compression makes smaller, always the same.
func stream(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{7}), n) }

// TestKilledBackupGoesOn kills a backup of 300 MB with kill -9 when most of what
// it has read so far is stored. The next run stores little of that again, also
// after a prune by somebody else.
func TestKilledBackupGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("writes some hundred MB")
	}
	const whole, fed, wait = 300_000_000, 270_000_000, 200_000_000
	for _, prunes := range []int{0, 2} {
		dir := disk(t)
		p := newProgram(filepath.Join(dir, "repo"), filepath.Join(dir, "state"))
		p.init(t)
		killed := p.feed(t, fed, wait)
		for range prunes {
			p.must(t, 0, "prune")
		}
		before := p.stored(t, "packs").bytes
		if out, err := p.pipe(stream(whole), "backup", "--stdin", "data").CombinedOutput(); err != nil {
			t.Fatalf("the second run: %v\n%s", err, out)
		}
		stored := p.stored(t, "packs").bytes - before
		again := killed + stored - whole
		fmt.Printf("torture: killed with %d MB of %d stored; %d prunes later the next run stored %d MB: %d MB again, %.1f %%\n",
			killed/1e6, int64(whole)/1e6, prunes, stored/1e6, again/1e6, float64(again)/float64(killed)*100)
		// At most seven packs of 17 MB are stored and in no checkpoint: three, beside which a
		// checkpoint is waited for when there is one more, and four that are uploaded then.
		// Without checkpoints it would be wait.
		if again > whole/2 {
			t.Errorf("%d bytes were stored again, of %d", again, killed)
		}
		p.must(t, 0, "prune")
		p.must(t, 0, "check", "--read-data")
		if left := p.stored(t, "packs"); left.bytes > whole+whole/50 {
			t.Errorf("%d bytes of packs for a backup of %d", left.bytes, int64(whole))
		}
		if left := p.stored(t, "commits"); left.objects != 1 {
			t.Errorf("%d commits for one backup", left.objects)
		}
	}
}

// pipe returns a command that reads from r.
func (p *program) pipe(r io.Reader, args ...string) *exec.Cmd {
	cmd := exec.Command(vault, args...)
	cmd.Env = append(os.Environ(), "VAULT_REPO="+p.repo, "VAULT_PASSWORD=torture", "VAULT_STATE_DIR="+p.state, "HOME="+p.state)
	cmd.Stdin = r
	return cmd
}

// feed gives a backup so many bytes of the stream, and kills it when it waits for
// more and that many have been stored. It returns how many then were.
func (p *program) feed(t *testing.T, fed, wait int64) int64 {
	t.Helper()
	in, feeder := io.Pipe()
	cmd := p.pipe(in, "backup", "--stdin", "data")
	must(t, cmd.Start())
	go io.Copy(feeder, stream(fed)) // never closed: it cannot end by itself
	deadline := time.Now().Add(10 * time.Minute)
	for p.stored(t, "packs").bytes < wait {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatal("the backup stores nothing")
		}
		time.Sleep(5 * time.Millisecond)
	}
	must(t, cmd.Process.Kill())
	feeder.CloseWithError(io.ErrClosedPipe)
	cmd.Wait()
	return p.stored(t, "packs").bytes
}
