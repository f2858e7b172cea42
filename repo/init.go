package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"vault/backend"
	"vault/crypto"
)

// InitOptions say what kind of repository to make.
type InitOptions struct {
	Passphrase []byte
	Cost       crypto.KDFCost // zero: crypto.DefaultKDFCost
	AEAD       crypto.AEAD    // zero: what this CPU does best
	Params     Params         // DefaultParams, changed where wanted; Created and Program are filled in
	Label      string         // shown by `key list`
	Env        Env

	// ChunkerFrom is a repository like which the new one is to cut data: it
	// takes over the splitter's parameters and secret, and the thresholds of
	// trees. Whoever can read the new one then knows that secret.
	ChunkerFrom *Repo
}

// ErrExists says that the place already holds a repository.
var ErrExists = errors.New("there is a repository here already")

// ErrNoExclusiveCreate says that the store lets several clients win a create
// that only one may win, so that it cannot be shared between writers.
var ErrNoExclusiveCreate = errors.New("the store does not create exclusively")

// Init makes a repository in a place that [Probe] finds Uninitialised, and
// nowhere else. Of several initialisers at once one wins and the others get
// ErrExists. A crash leaves either a repository or a place that still counts
// as uninitialised: the config is written last, by an exclusive create.
func Init(ctx context.Context, be backend.Backend, o InitOptions) (*Repo, error) {
	env := o.Env.withDefaults()
	params := o.Params
	params.Created, params.Program = env.Now(), env.Agent
	if from := o.ChunkerFrom; from != nil {
		params.Chunker, params.Trees = from.params.Chunker, from.params.Trees
		params.chunkerSecret = chunkerSecret(from.keys, from.params)
	}
	if err := errors.Join(params.Validate(), checkPassphrase(o.Passphrase)); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	switch status := Probe(ctx, be); status.State {
	case Uninitialised:
	case Sealed:
		return nil, ErrExists
	default:
		return nil, status.Err
	}
	alone(be, params)
	if params.Sharing == Shared {
		if err := raceCreates(ctx, be, env); err != nil {
			return nil, fmt.Errorf("init: %w", err)
		}
	}
	return create(ctx, be, o, env, params)
}

func checkPassphrase(p []byte) error {
	if len(p) == 0 || len(p) > 4096 {
		return fmt.Errorf("a passphrase has 1 to 4096 bytes, not %d", len(p))
	}
	return nil
}

// create writes the key slot, then the config.
func create(ctx context.Context, be backend.Backend, o InitOptions, env Env, params Params) (*Repo, error) {
	var master crypto.MasterKey
	var head crypto.ConfigHead
	var slot crypto.SlotID
	defer clear(master[:])
	for _, b := range [][]byte{master[:], head.Repo[:], slot[:]} {
		if _, err := io.ReadFull(env.Rand, b); err != nil {
			return nil, fmt.Errorf("init: read randomness: %w", err)
		}
	}
	head.AEAD, head.Mandatory = o.AEAD, params.features()
	if head.AEAD == 0 {
		head.AEAD = crypto.PreferredAEAD()
	}
	cost := o.Cost
	if cost == (crypto.KDFCost{}) {
		cost = crypto.DefaultKDFCost
	}
	keys := crypto.NewKeys(master, head.Repo, head.AEAD)
	sealedSlot, err := crypto.SealSlot(master, o.Passphrase, crypto.SlotParams{
		ID: slot, Repo: head.Repo, AEAD: head.AEAD, Cost: cost, ConfigHead: head.Encode(),
		Created: params.Created, Label: o.Label, Host: env.Host,
	}, env.Rand)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	config, err := crypto.SealConfig(keys, head, params.encode(), env.Rand)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if err := be.Create(ctx, slotName(slot), sealedSlot); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if err := createConfig(ctx, be, config); err != nil {
		if errors.Is(err, ErrExists) {
			be.Delete(ctx, slotName(slot)) // best effort: a slot of another repository id does not count
		}
		return nil, err
	}
	dropStaleSlots(ctx, be, head.Repo)
	r, err := newRepo(be, env, keys, config, params, slot)
	if err != nil || r.env.Ballast <= 0 {
		return r, err
	}
	if err := r.reserve(ctx, int64(r.env.Ballast)); err != nil {
		env.Warn(ballastName, err) // the next collection makes it
	}
	return r, nil
}

// createConfig is the moment at which the repository exists.
func createConfig(ctx context.Context, be backend.Backend, config []byte) (err error) {
	for range tries {
		if err = be.Create(ctx, configName, config); err == nil {
			return nil
		}
		if errors.Is(err, fs.ErrExist) {
			there, rerr := backend.ReadAll(ctx, be, configName, int64(crypto.KindConfig.MaxSize()))
			switch {
			case rerr != nil:
				return fmt.Errorf("init: a config exists, and reading it: %w", rerr)
			case string(there) == string(config):
				return nil // an earlier try was applied
			}
			return ErrExists
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("init: %w", err)
}

// dropStaleSlots removes what an interrupted init left. With the config in
// place no other repository id can ever be valid here.
func dropStaleSlots(ctx context.Context, be backend.Backend, repo crypto.RepoID) {
	var stale []string
	for info, err := range be.List(ctx, keysDir) {
		if err != nil {
			return
		}
		if slot, err := readSlot(ctx, be, info.Name); err == nil && slot.Repo != repo {
			stale = append(stale, info.Name)
		}
	}
	for _, name := range stale {
		be.Delete(ctx, name)
	}
}

// ProveExclusive looks, by the race of [Init], whether the store still creates
// exclusively: one behind another front end, or of another version, may not. A
// repository with a single writer needs no proof.
func (r *Repo) ProveExclusive(ctx context.Context) error {
	if r.params.Sharing != Shared {
		return nil
	}
	return raceCreates(ctx, r.be, r.env)
}

const (
	racers      = 16
	cleanupTime = 30 * time.Second // for removing what a race that failed has left
)

// raceCreates proves, as far as a test can, that of several creates of one
// name exactly one wins. What it creates is removed again; the name is none of
// a repository's, so a leftover is a stranger's file. One that the store holds,
// as a bucket does that locks whatever is stored, stays, with a warning.
func raceCreates(ctx context.Context, be backend.Backend, env Env) error {
	var id crypto.SlotID
	if _, err := io.ReadFull(env.Rand, id[:]); err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	name := "probe-" + id.String()
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = be.Create(ctx, name, []byte{byte(i)}) })
	}
	wg.Wait()
	proof := judgeRace(name, errs)
	if proof != nil { // any of them may have made it, also one that was told of a failure
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		be.Delete(bounded, name) // best effort: the error to report is the first
		return proof
	}
	switch err := be.Delete(ctx, name); {
	case errors.Is(err, backend.ErrLocked):
		env.Warn(name, fmt.Errorf("what was created to try the store stays: %w", err))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("try exclusive creates: %w", err)
	}
	return nil
}

// judgeRace returns what the answers to racing creates of name prove against the
// store, or a failure of one of them.
func judgeRace(name string, errs []error) error {
	won := 0
	var failed error
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case errors.Is(err, errors.ErrUnsupported):
			return fmt.Errorf("%w: %w", ErrNoExclusiveCreate, err)
		case !errors.Is(err, fs.ErrExist) && failed == nil:
			failed = fmt.Errorf("try exclusive creates: %w", err)
		}
	}
	if failed == nil && won != 1 {
		return fmt.Errorf("%w: %d of %d clients that created %s at the same time were told that they were first", ErrNoExclusiveCreate, won, racers, name)
	}
	return failed
}
