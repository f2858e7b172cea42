// Package repo joins keys, packs, index and backend into one store of backups.
//
// A place is asked what it holds with [Probe], made a repository with [Init],
// and opened with [Open], which returns a [Repo] that is ready: keys derived,
// parameters known. A Repo never changes and is safe for concurrent use; it
// reads. Everything that changes while a backup is written - open packs,
// pending blobs, uploads - belongs to a [Writer], so that a crash loses a
// Writer and never a Repo. What a Writer stored becomes visible at once and
// whole, by the one record that [Writer.Commit] creates.
//
// What is visible, and why no lock and no clock is needed for it, is written
// in section 12 of docs/format.md.
package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"time"

	"vault/backend"
	"vault/chunk"
	"vault/crypto"
	"vault/internal/cache"
)

// Env is what the engine needs from the world, so that tests can supply their
// own. The zero value of a field means the real thing.
type Env struct {
	Now   func() time.Time                       // the clock
	After func(d time.Duration) <-chan time.Time // a timer
	Rand  io.Reader                              // randomness for keys, salts and ids
	Host  string                                 // this machine's name, recorded in sessions and slots
	PID   int                                    // this process, recorded in sessions
	Agent string                                 // program and version, recorded in sessions, commits and the config
	Warn  func(object string, err error)         // something odd that does not stop the work; may be nil

	Ballast      int    // bytes that a store on a disk keeps free for collections, see Reserve; 0: none
	CacheDir     string // where copies of what never changes are kept; "": nowhere
	CacheObjects bool   // the store is distant: keep commits, events and tree packs too, and read packs in windows
}

func (e Env) withDefaults() Env {
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.After == nil {
		e.After = time.After
	}
	if e.Rand == nil {
		e.Rand = rand.Reader
	}
	if e.Warn == nil {
		e.Warn = func(string, error) {}
	}
	if e.Agent == "" {
		e.Agent = "vault"
	}
	return e
}

// Repo is an opened repository. It is safe for concurrent use.
type Repo struct {
	be      backend.Backend
	env     Env
	keys    *crypto.Keys
	config  []byte // the object
	head    crypto.ConfigHead
	params  Params
	chunker *chunk.Chunker
	slot    crypto.SlotID // the key slot that opened it
	cache   *cache.Cache
	reader  *reader
	digest  digest

	mu   sync.Mutex // guards view
	view *view      // newest state seen, nil until first needed
}

// newRepo builds the opened repository from what the config and a key slot
// gave. It asks the backend nothing.
func newRepo(be backend.Backend, env Env, keys *crypto.Keys, config []byte, p Params, slot crypto.SlotID) (*Repo, error) {
	head, err := crypto.ParseConfigHead(config)
	if err != nil {
		return nil, damaged(configName, err)
	}
	chunker, err := chunk.New(p.Chunker, chunkerSecret(keys, p))
	if err != nil {
		return nil, &StateError{State: Damaged, Object: "config", Err: err}
	}
	alone(be, p)
	r := &Repo{be: be, env: env, keys: keys, config: config, head: head, params: p, chunker: chunker, slot: slot}
	r.cache = cache.None()
	if env.CacheDir != "" {
		r.cache = cache.Open(env.CacheDir, head.Repo.String(), keys.Cache())
	}
	r.reader = newReader(be, keys)
	if env.CacheObjects {
		r.reader.windows = newWindows(be)
		if env.CacheDir != "" {
			r.reader.copies = r.cache
		}
	}
	return r, nil
}

// alone tells storage that may be unable to create exclusively that there is
// one writer, if the repository says so.
func alone(be backend.Backend, p Params) {
	if s, ok := be.(backend.SingleWriter); ok && p.Sharing == SingleWriter {
		s.SingleWriter()
	}
}

// chunkerSecret returns the secret of the repository's splitter.
func chunkerSecret(keys *crypto.Keys, p Params) [32]byte {
	if p.features()&crypto.FeatureChunkerSecret != 0 {
		return p.chunkerSecret
	}
	return keys.ChunkerSecret()
}

// CutsLike reports whether equal data has equal chunks in both repositories, so
// that what is copied from one to the other deduplicates against what clients
// back up there themselves.
func (r *Repo) CutsLike(other *Repo) bool {
	return r.params.Chunker == other.params.Chunker && r.params.Trees.HoleBytes == other.params.Trees.HoleBytes &&
		chunkerSecret(r.keys, r.params) == chunkerSecret(other.keys, other.params)
}

// ID returns the repository's id.
func (r *Repo) ID() crypto.RepoID { return r.head.Repo }

// Slot returns the key slot that opened the repository.
func (r *Repo) Slot() crypto.SlotID { return r.slot }

// AEAD returns the cipher of the repository.
func (r *Repo) AEAD() crypto.AEAD { return r.head.AEAD }

// Params returns the repository's parameters, fixed when it was initialised.
func (r *Repo) Params() Params { return r.params }

// Chunker returns the splitter of the repository; it is safe for concurrent use.
func (r *Repo) Chunker() *chunk.Chunker { return r.chunker }

// PageHash decides where directories are cut into pages (docs/format.md section 9).
func (r *Repo) PageHash(level uint8, name string) uint64 { return r.keys.PageHash(level, name) }

// BlobID names content; equal content of one kind has one name.
func (r *Repo) BlobID(kind crypto.BlobKind, data []byte) crypto.ID { return r.keys.BlobID(kind, data) }

// Backend returns the storage, for those who look at objects themselves: check,
// repair, inspection. Everyone else uses the methods of Repo and Writer.
func (r *Repo) Backend() backend.Backend { return r.be }

// Directory returns the directory of this machine that the repository is; "" if it is
// none. Who reads or removes whole trees leaves it alone.
func (r *Repo) Directory() string {
	if l, ok := r.be.(backend.Local); ok {
		return l.Directory()
	}
	return ""
}

// Keys returns the keys, for the same few.
func (r *Repo) Keys() *crypto.Keys { return r.keys }

// CopiesFrom opens the client's cache of what it remembers about copies from src
// into r. Who opens it closes it. Without a cache there is none: nil.
func (r *Repo) CopiesFrom(src *Repo) *cache.Cache {
	if r.env.CacheDir == "" {
		return nil
	}
	return cache.Open(r.env.CacheDir, r.ID().String()+"/copies/"+src.ID().String(), r.keys.CacheFrom(src.keys))
}

// Close closes the backend. Nothing that came from the Repo may be used
// afterwards: its index is unmapped.
func (r *Repo) Close() error {
	if r.reader.windows != nil {
		r.reader.windows.close()
	}
	return errors.Join(r.be.Close(), r.cache.Close())
}

// current returns the newest state that this Repo has seen, loading it when
// there is none yet.
func (r *Repo) current(ctx context.Context) (*view, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view != nil {
		return r.view, nil
	}
	g, err := r.listGC(ctx)
	if err != nil {
		return nil, err
	}
	v, err := r.load(ctx, nil, g)
	if err != nil {
		return nil, err
	}
	r.view = v
	return v, nil
}

// Refresh reads the repository's state again: backups and index as they are
// now. What was read before and cannot have changed is not fetched twice.
func (r *Repo) Refresh(ctx context.Context) error {
	_, err := r.refresh(ctx)
	return err
}

func (r *Repo) refresh(ctx context.Context) (*view, error) {
	g, err := r.listGC(ctx)
	if err != nil {
		return nil, err
	}
	return r.refreshAfter(ctx, g)
}

// refreshAfter is refresh for who has just listed gc/.
func (r *Repo) refreshAfter(ctx context.Context, g gcState) (*view, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, err := r.load(ctx, r.view, g)
	if err != nil {
		return nil, err
	}
	r.view = v
	return v, nil
}
