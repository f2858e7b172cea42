package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"vault/backend"
	"vault/crypto"
	"vault/repo"
)

// client is a machine with a list of things to do. Its processes die, and new
// ones go on with what is left.
type client struct {
	w      *World
	index  int
	tasks  []Task
	lives  int
	asleep time.Duration // until then nothing of it happens
	jump   time.Duration // what its clock is wrong by
	proc   *process      // nil: it has none, or it has ended

	done  bool // the process has ended; guarded by w.mu
	tries int  // of the first task
}

// stream is a source of randomness for several goroutines.
type stream struct {
	mu  sync.Mutex // guards src
	src *rand.ChaCha8
}

func newStream(seed uint64, client, life int) *stream {
	var key [32]byte
	copy(key[:], fmt.Sprintf("sim %d %d %d", seed, client, life))
	return &stream{src: rand.NewChaCha8(key)}
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.src.Read(b)
}

// clock is what the client believes the time to be.
func (c *client) clock() time.Time { return epoch.Add(c.w.now + c.jump) }

func (c *client) awake() bool { return c.asleep <= c.w.now }

// wake ends a sleep, or the pause before a new life.
func (c *client) wake() {
	c.asleep = c.w.now
	if c.proc == nil && len(c.tasks) > 0 {
		c.start()
	}
}

func (c *client) finished() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.done || c.proc == nil && len(c.tasks) == 0
}

// start begins a new life.
func (c *client) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{
		w: c.w, c: c, ctx: ctx, cancel: cancel, gone: make(chan struct{}), free: true,
		rand: newStream(c.w.seed, c.index, c.lives), frozen: map[string][]backend.Info{},
	}
	c.lives++
	c.proc = p
	go p.main()
}

// kill ends the client's process: nothing that it does from now on has an
// effect. Its goroutines unwind by themselves.
func (c *client) kill() {
	p := c.proc
	c.proc = nil
	if p == nil {
		return
	}
	c.w.mu.Lock()
	p.dead = true
	c.w.mu.Unlock()
	close(p.gone)
	p.cancel()
}

// env is the world as the engine sees it.
func (p *process) env() repo.Env {
	cache := ""
	if p.c.index < p.w.o.Cached {
		cache = filepath.Join(p.w.cacheDir(), fmt.Sprint(p.c.index))
	}
	return repo.Env{
		CacheDir: cache, CacheObjects: cache != "",
		Now:   p.c.clock,
		After: func(d time.Duration) <-chan time.Time { return p.w.after(p, d) },
		Rand:  crypto.Reproducible{Reader: p.rand},
		Host:  fmt.Sprintf("client-%d", p.c.index), PID: p.c.lives, Agent: "sim",
	}
}

// main works through the tasks.
func (p *process) main() {
	r, err := repo.Open(p.ctx, p, repo.OpenOptions{Passphrase: pass, Env: p.env()})
	if err != nil {
		p.w.violate(Loss, "open: %w", err)
		return
	}
	p.w.mu.Lock()
	p.free = false
	p.w.mu.Unlock()
	for {
		task, ok := p.next()
		if !ok {
			return
		}
		err := p.perform(r, task)
		if !p.outcome(task, err) {
			return
		}
	}
}

// next returns the task at hand, or reports that there is none.
func (p *process) next() (Task, bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead || p.w.wrong != nil {
		return Task{}, false
	}
	if len(p.c.tasks) == 0 {
		p.c.done = true
		return Task{}, false
	}
	p.hurt = false
	return p.c.tasks[0], true
}

// outcome says what became of the task. One that failed is tried again a few
// times. It reports whether to go on.
func (p *process) outcome(task Task, err error) bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return false
	}
	result := "ok"
	if err != nil {
		result = err.Error()
	}
	p.w.note(p.c.index, "task", task.String(), result)
	p.c.tries++
	if err != nil && p.c.tries < 3 {
		return true
	}
	if err != nil {
		p.w.tally.Abandoned++
	}
	p.c.tasks, p.c.tries = p.c.tasks[1:], 0
	return true
}

// unhurt reports whether no fault was visible to the task at hand, so that it
// has no excuse for failing.
func (p *process) unhurt() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return !p.hurt && !p.dead
}
