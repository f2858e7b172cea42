package torture

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend/s3/s3test"
	"vault/backend/sftp/sftptest"
)

// server is what a remote repository lies on. Its methods do nothing on nil.
type server struct {
	kill, restart func()
}

// remotes are the kinds of stores beside a directory. What they keep are files
// below a directory, as a local store's, so that the test looks at it in the same
// way.
var remotes = map[string]func(*testing.T) (*program, *server){"sftp": overSFTP, "s3": overS3}

func overSFTP(t *testing.T) (*program, *server) {
	s := sftptest.Start(t, sftptest.Options{})
	p := newProgram(filepath.Join(s.Dir, "data", "repo"), filepath.Join(disk(t), "state"))
	p.url = fmt.Sprintf("sftp://%s@127.0.0.1:%d%s", s.User, s.Port, p.repo)
	p.env = []string{"VAULT_SFTP_IDENTITY=" + s.Client, "VAULT_SFTP_KNOWN_HOSTS=" + s.Known(s.Port), "SSH_AUTH_SOCK="}
	return p, &server{kill: s.Kill, restart: s.Restart}
}

func overS3(t *testing.T) (*program, *server) {
	s := s3test.Start(t, s3test.Options{})
	s.MakeBucket(t, "bucket", minio.MakeBucketOptions{})
	p := newProgram(filepath.Join(s.Root, "bucket", "repo"), filepath.Join(disk(t), "state"))
	p.url = "s3://bucket/repo"
	p.env = []string{"AWS_ENDPOINT_URL=" + s.Endpoint(), "AWS_REGION=" + s3test.Region, "AWS_ACCESS_KEY_ID=" + s3test.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3test.SecretKey}
	return p, &server{kill: s.Kill, restart: func() { s.Restart(t) }}
}

// outage kills the server and starts it again after a while.
func (s *server) outage(p *program, away time.Duration) {
	p.outages.Add(1)
	s.kill()
	time.Sleep(away)
	s.restart()
	p.outages.Add(1)
}

// disturb kills the server again and again until over is closed. The function
// that it returns waits for the last time.
func (s *server) disturb(p *program, rng *rand.Rand, over <-chan struct{}) (wait func()) {
	if s == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var took time.Duration // by the last outage: a busy machine needs some time to start it
		for {
			select {
			case <-over:
				return
			case <-time.After(2*took + time.Duration(100+rng.IntN(900))*time.Millisecond):
				began := time.Now()
				s.outage(p, time.Duration(rng.IntN(300))*time.Millisecond)
				took = time.Since(began)
			}
		}
	}()
	return func() { <-done }
}

// TestTortureRemote is TestTorture on an SSH server and in an S3 bucket, with a
// client that copies to a second repository; the server is killed as well.
func TestTortureRemote(t *testing.T) {
	if testing.Short() {
		t.Skip("kills hundreds of processes")
	}
	want, each := number("TORTURE_REMOTE_KILLS", 50), 25
	seed := uint64(number("TORTURE_SEED", int(time.Now().UnixNano()%1e6)))
	for name, open := range remotes {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			p, s := open(t)
			w := newWorldOf(t, p, seed)
			w.server, w.target = s, w.second(t)
			for n := 0; n < want; {
				n = min(n+each, want)
				w.round(seed+uint64(n)<<20, n)
				w.quiet(t)
			}
			w.allCopied(t)
			w.end(t)
			w.tell(seed, time.Since(start))
			fmt.Printf("torture: %s: the server was killed %d times\n", name, p.outages.Load()/2)
		})
	}
}

// second makes a repository of other keys for copies, in a directory, which knows
// where to copy from.
func (w *world) second(t *testing.T) *program {
	t.Helper()
	p := newProgram(filepath.Join(disk(t), "copies"), filepath.Join(disk(t), "state"))
	p.init(t)
	p.env = append(append(p.env, w.env...), "VAULT_FROM_REPO="+cmp.Or(w.url, w.repo), "VAULT_FROM_PASSWORD=torture")
	return p
}

// copy copies what the target has not. Killed copies and backups that go
// meanwhile are what it has to live with.
func (w *world) copy(rng *rand.Rand) {
	time.Sleep(time.Duration(rng.IntN(800)) * time.Millisecond)
	away := w.outages.Load()
	o, err := w.target.run(w.target.fate(rng, "copy"), "copy", "--json")
	o.cut = o.cut || away%2 == 1 || w.outages.Load() != away
	if err != nil {
		w.complain("%v", err)
	} else if o.code == 1 && strings.Contains(o.err, "removed from the source while it was copied") {
		// Somebody forgot it and pruned meanwhile, which is told; the others are copied.
	} else if o.code != 0 && !o.ended() {
		w.complain("copy: %v", o)
	}
}

// allCopied copies undisturbed: every backup is in the second repository, which
// is whole, and restores from there as it was.
func (w *world) allCopied(t *testing.T) {
	t.Helper()
	w.target.must(t, 0, "copy", "--json")
	w.target.must(t, 0, "check", "--read-data", "--json")
	copies := map[string]message{}
	for _, m := range w.target.must(t, 0, "backups", "--json").messages("backup") {
		copies[strings.Join(m.Tags, " ")] = m
	}
	for _, k := range w.all() {
		m, ok := copies[k.source.tag]
		if !ok {
			t.Errorf("%s (%s) was not copied", k.id, k.source.tag)
			continue
		}
		target, err := os.MkdirTemp(fast, "restored")
		must(t, err)
		o := w.target.must(t, 0, "restore", m.BackupID, "--target", target, "--json")
		w.compare(k, target, o)
		must(t, os.RemoveAll(target))
	}
	w.report(t)
}

// TestServerKilled kills the server fifty times while one client after the other
// backs up, prunes, restores, copies, forgets and looks.
func TestServerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a campaign")
	}
	want := int64(number("TORTURE_REMOTE_KILLS", 50))
	seed := uint64(number("TORTURE_SEED", int(time.Now().UnixNano()%1e6)))
	for name, open := range remotes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start, rng := time.Now(), rand.New(rand.NewPCG(seed, 98))
			p, s := open(t)
			w := newWorldOf(t, p, seed)
			w.target = w.second(t)
			over := make(chan struct{})
			wait := s.disturb(p, rand.New(rand.NewPCG(seed, 99)), over)
			for n := 0; p.outages.Load() < 2*want && !w.broken(); n++ {
				w.backup(rng, w.sources[n%len(w.sources)])
				for _, act := range []func(*rand.Rand){w.prune, w.restore, w.copy, w.forget, w.unforget, w.look} {
					act(rng)
				}
			}
			close(over)
			wait()
			w.quiet(t)
			w.allCopied(t)
			w.end(t)
			w.tell(seed, time.Since(start))
			fmt.Printf("torture: %s: the server was killed %d times\n", name, p.outages.Load()/2)
		})
	}
}

// TestThreeBackUpOnePrunesOneCopies: three clients back up to one S3 repository
// while a fourth prunes and a fifth copies from it. All commit, nothing is lost.
func TestThreeBackUpOnePrunesOneCopies(t *testing.T) {
	if testing.Short() {
		t.Skip("a campaign")
	}
	p, _ := overS3(t)
	w := newWorldOf(t, p, 7)
	w.target = w.second(t)
	const each = 4
	var writers, others sync.WaitGroup
	done := make(chan struct{})
	for _, s := range w.sources {
		writers.Go(func() {
			for range each {
				if err := s.mutate(); err != nil {
					w.complain("%v", err)
				}
				w.attempt(s, fate{}, "")
			}
		})
	}
	until := func(act func()) {
		others.Go(func() {
			for {
				act()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	until(func() {
		if o, ok := w.do(fate{}, "prune", "--json", "--patience", "10m", "--max-unused", "0%"); ok && o.code != 0 {
			w.complain("prune: %v", o)
		}
	})
	until(func() {
		if o, err := w.target.run(fate{}, "copy", "--json"); err != nil || o.code != 0 {
			w.complain("copy: %v, %v", err, o)
		}
	})
	writers.Wait()
	close(done)
	others.Wait()
	w.quiet(t)
	if n := w.tally.acknowledged; n != each*len(w.sources) || len(w.all()) != n {
		t.Errorf("%d backups were acknowledged and %d are there, of %d", n, len(w.all()), each*len(w.sources))
	}
	w.allCopied(t)
}

// TestServerRestarts: the server is killed in the midst of a backup and started
// again. The backup goes on; killing the client then costs only what was on its
// way: the next run uploads what is missing.
func TestServerRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("a campaign")
	}
	for name, open := range remotes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s := open(t)
			p.init(t)
			big := filepath.Join(disk(t), "big")
			for tries := uint64(0); !survived(t, p, s, big, tries); tries++ { // it may be through before the server goes
				if tries == 4 {
					t.Fatal("no backup was under way while the server was killed")
				}
			}
			p.must(t, 0, "check", "--read-data")

			// The client is killed after its first checkpoint.
			for tries := uint64(0); ; tries++ { // it may be through before anybody looks
				must(t, os.WriteFile(big, block(12+tries, 60<<20), 0o600))
				before := p.stored(t, "commits").objects
				half := make(chan struct{})
				go func() {
					defer close(half)
					for p.stored(t, "commits").objects == before {
						time.Sleep(20 * time.Millisecond)
					}
				}()
				o, err := p.run(fate{signal: syscall.SIGKILL, when: half}, "backup", "big="+big, "--json", "--limit-upload", "6M")
				must(t, err)
				if o.died != 0 {
					break
				}
				if tries == 5 {
					t.Fatalf("it was not killed: %v", o)
				}
			}
			s.outage(p, 0) // so that the server puts away no pack any more that it had got by then
			at := p.stored(t, "packs").bytes
			p.must(t, 0, "backup", "big="+big, "--json")
			if more := p.stored(t, "packs").bytes - at; more > 40<<20 { // of 48 MiB; a pack has 16 MiB
				t.Errorf("the next run stored %d bytes more", more)
			}
			p.must(t, 0, "check", "--read-data")
		})
	}
}

// survived backs up a file while the server is killed twice, and reports whether the
// backup was still under way when it was killed for the second time.
func survived(t *testing.T, p *program, s *server, big string, tries uint64) bool {
	t.Helper()
	must(t, os.WriteFile(big, block(100+tries, 60<<20), 0o600))
	stop := make(chan struct{})
	defer close(stop)
	packs := p.watch("packs", stop) // a pack has arrived
	second := make(chan time.Time, 1)
	go func() {
		defer close(second)
		<-packs
		s.outage(p, 300*time.Millisecond)
		second <- time.Now()
		s.outage(p, 300*time.Millisecond)
	}()
	o := p.must(t, 0, "backup", "big="+big, "--json", "--limit-upload", fmt.Sprint(16>>tries, "M"))
	ended := time.Now()
	if o.told() == "" {
		t.Fatalf("no backup: %v", o)
	}
	began := <-second
	<-second // it is there again
	return began.Before(ended)
}
