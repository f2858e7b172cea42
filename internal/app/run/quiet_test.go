//go:build linux

package run

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/backend"
	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/repotest"
	"vault/internal/save"
	"vault/repo"
)

// dying is a store that takes no packs once it is dead, and does not say so.
type dying struct {
	backend.Backend
	mu    sync.Mutex
	alive chan struct{} // closed while it is alive
}

func (d *dying) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.alive = make(chan struct{})
}

func (d *dying) revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.alive:
	default:
		close(d.alive)
	}
}

func (d *dying) Put(ctx context.Context, name string, data []byte) error {
	d.mu.Lock()
	alive := d.alive
	d.mu.Unlock()
	if strings.HasPrefix(name, "packs/") {
		select {
		case <-alive:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return d.Backend.Put(ctx, name, data)
}

// Close leaves it open for the checks.
func (d *dying) Close() error { return nil }

const quietConfig = `version: 1
repositories: {main: {url: /nonexistent, password-env: NONE}}
apps:
  web:
    to: main
    quiesce:
      enter: [touch, DIR/rest]
      leave: {shell: 'rm -f DIR/rest; echo left >>DIR/log'}
      LIMIT
    hooks:
      on-failure: [{shell: 'echo "failed $VAULT_RESULT" >>DIR/log'}]
      finally: [{shell: 'echo finally >>DIR/log'}]
    volumes: {data: {path: DIR/data}}
`

// TestStoreDies: an application at rest does not wait for a store that does not answer;
// it is brought back while the store is still dead.
func TestStoreDies(t *testing.T) {
	stop := errors.New("SIGTERM")
	for name, tc := range map[string]struct {
		limit string // of the quiet window
		stop  bool   // a signal comes
		want  error
		state repo.State
	}{
		"store-patience": {"store-patience: 1s", false, save.ErrStalled, repo.Unreachable},
		"signal":         {"", true, stop, repo.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			text := strings.NewReplacer("DIR", dir, "LIMIT", tc.limit).Replace(quietConfig)
			big := make([]byte, 64*repotest.Params().PackSize) // more than may wait in memory
			rand.NewChaCha8([32]byte{}).Read(big)
			if err := errors.Join(os.WriteFile(dir+"/vault.yaml", []byte(text), 0o600), os.Mkdir(dir+"/data", 0o700),
				os.WriteFile(dir+"/data/big", big, 0o600)); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(dir+"/vault.yaml", config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			be, _ := repotest.New(t)
			t.Cleanup(func() { repotest.MustCheck(t, be) })
			store := &dying{Backend: be, alive: make(chan struct{})}
			store.revive()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			dead := false // as it was when the application was brought back
			o := Options{Config: c, StateDir: filepath.Join(dir, "state"), Host: "host", User: "me",
				Open: func(context.Context, config.Destination, bool) (*repo.Repo, error) {
					return repotest.Open(t, store), nil
				},
				Explain: func(error) (int, string) { return 1, "" },
				Observe: func(e Event) {
					switch e.Phase {
					case "read":
						store.die()
						time.AfterFunc(2*time.Minute, store.revive) // if nothing else does, the test fails
						if tc.stop {
							cancel(stop)
						}
					case "leave":
						select {
						case <-store.alive:
						default:
							dead = true
						}
						store.revive()
					}
				}}
			report := Backup(ctx, o, "web")
			if !errors.Is(report.Err, tc.want) || report.Result != record.Failed || repo.StateOf(report.Err) != tc.state {
				t.Errorf("%v: %v", report.Result, report.Err)
			}
			if !dead {
				t.Error("it was brought back only after the store")
			}
			log, err := os.ReadFile(dir + "/log")
			if !bytes.Equal(log, []byte("left\nfailed failed\nfinally\n")) {
				t.Errorf("the hooks wrote %q, %v", log, err)
			}
			if left, _ := filepath.Glob(dir + "/state/apps/*.journal"); len(left) > 0 {
				t.Errorf("there is a journal: %v", left)
			}
			if list, err := repotest.Open(t, be).Backups(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("%d backups are visible, %v", len(list), err)
			}
		})
	}
}
