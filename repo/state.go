package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"vault/backend"
	"vault/crypto"
)

// State is what a place turned out to be, decided by evidence: which objects
// exist, what their bytes are, and which error the storage gave.
type State uint8

const (
	Unknown       State = iota
	Ready               // opened
	Sealed              // a sound repository; no passphrase was tried
	Uninitialised       // no config and none of our names
	WrongKey            // sound, but no key slot opens with this passphrase
	Damaged             // config or keys missing or unreadable while other objects exist
	Unreachable         // the storage could not be asked
	Unsupported         // made by a newer program
)

// String is the state as `status --json` prints it.
func (s State) String() string {
	switch s {
	case Ready:
		return "ready"
	case Sealed:
		return "sealed"
	case Uninitialised:
		return "uninitialised"
	case WrongKey:
		return "wrong_key"
	case Damaged:
		return "damaged"
	case Unreachable:
		return "unreachable"
	case Unsupported:
		return "unsupported"
	}
	return "unknown"
}

// StateError says why a repository cannot be used, or which of its objects is
// not what was written.
type StateError struct {
	State  State
	Object string // what was looked at, or "" for the place as a whole
	Err    error  // the evidence
}

// Error names state, object and evidence.
func (e *StateError) Error() string {
	what := ""
	switch e.State {
	case Uninitialised:
		what = "there is no repository here"
	case WrongKey:
		what = "the passphrase opens none of the repository's key slots"
	case Damaged:
		what = "repository damaged"
	case Unreachable:
		what = "repository unreachable"
	case Unsupported:
		what = "the repository needs a newer program"
	default:
		what = "repository " + e.State.String()
	}
	if e.Object != "" {
		what += ": " + e.Object
	}
	if e.Err != nil {
		what += ": " + e.Err.Error()
	}
	return what
}

// Unwrap returns the evidence.
func (e *StateError) Unwrap() error { return e.Err }

// StateOf returns the state that err tells of. An error of the storage that
// says it could not be asked is Unreachable; one that tells nothing is Unknown.
func StateOf(err error) State {
	var s *StateError
	switch {
	case err == nil:
		return Ready
	case errors.As(err, &s):
		return s.State
	case errors.Is(err, backend.ErrUnreachable):
		return Unreachable
	}
	return Unknown
}

// damaged wraps what is wrong with an object's bytes.
func damaged(object string, err error) error {
	state := Damaged
	if errors.Is(err, crypto.ErrUnsupported) {
		state = Unsupported
	}
	return &StateError{State: state, Object: object, Err: err}
}

// unreachable wraps why the storage gave no answer. Being told to stop is no
// finding about the storage.
func unreachable(object string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &StateError{State: Unreachable, Object: object, Err: err}
}

// Status is what can be told of a place without a passphrase.
type Status struct {
	State State
	Err   error // the evidence when State is not Sealed; a *StateError
	Repo  crypto.RepoID
	Slots int // intact key slots
}

// Probe asks which state the place is in, reading little and writing nothing.
// Without a passphrase a sound repository is Sealed.
func Probe(ctx context.Context, be backend.Backend) Status {
	f, err := findKeys(ctx, be)
	if err != nil {
		return Status{State: StateOf(err), Err: err, Repo: f.head.Repo, Slots: len(f.slots)}
	}
	return Status{State: Sealed, Repo: f.head.Repo, Slots: len(f.slots)}
}

// found is what the config and the key slots of a place are.
type found struct {
	config []byte
	head   crypto.ConfigHead
	slots  []crypto.Slot // intact, of this repository
	broken error         // what is wrong with one that is not; nil if there is none
}

// findKeys reads config and key slots. Every error is a *StateError, or that of
// the context.
func findKeys(ctx context.Context, be backend.Backend) (f found, err error) {
	keys := ahead(ctx, be, keysDir)
	defer keys.wait()
	read := func() error {
		f.config, err = backend.ReadAll(ctx, be, configName, int64(crypto.KindConfig.MaxSize()))
		return err
	}
	if errors.Is(read(), fs.ErrNotExist) {
		if err := withoutConfig(ctx, be); !errors.Is(err, errListed) || errors.Is(read(), fs.ErrNotExist) {
			return f, err
		}
		// It was made between the two.
	}
	switch {
	case errors.Is(err, backend.ErrTooLarge):
		return f, damaged(configName, err)
	case err != nil:
		return f, unreachable(configName, err)
	}
	if f.head, err = crypto.ParseConfigHead(f.config); err != nil {
		return f, damaged(configName, err)
	}
	if err = f.readSlots(ctx, be, keys); StateOf(err) == Damaged {
		// The listing is older than the config that was read: an init may have
		// made both in between, or a slot may have been replaced.
		err = f.readSlots(ctx, be, ahead(ctx, be, keysDir))
	}
	return f, err
}

// readSlots finds the intact slots of the repository, and one that is not. Slots
// of another repository id are what an interrupted or beaten init left; they do
// not count.
func (f *found) readSlots(ctx context.Context, be backend.Backend, keys *listing) error {
	f.slots, f.broken = nil, nil
	names, err := keys.wait()
	if err != nil {
		return unreachable(keysDir, err)
	}
	for _, name := range names {
		if !OwnName(name) {
			continue
		}
		slot, err := readSlot(ctx, be, name)
		switch {
		case err == nil:
			if slot.Repo == f.head.Repo {
				f.slots = append(f.slots, slot)
			}
		case errors.Is(err, fs.ErrNotExist):
		case StateOf(err) != Damaged && StateOf(err) != Unsupported:
			return err
		default:
			f.broken = err
		}
	}
	switch {
	case len(f.slots) > 0:
		return nil
	case f.broken != nil:
		return f.broken
	}
	return &StateError{State: Damaged, Object: keysDir, Err: errors.New("the config is there, but no key slot that belongs to it")}
}

func readSlot(ctx context.Context, be backend.Backend, name string) (crypto.Slot, error) {
	b, err := backend.ReadAll(ctx, be, name, int64(crypto.KindSlot.MaxSize()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return crypto.Slot{}, err
	case errors.Is(err, backend.ErrTooLarge):
		return crypto.Slot{}, damaged(name, err)
	case err != nil:
		return crypto.Slot{}, unreachable(name, err)
	}
	slot, err := crypto.ParseSlot(b)
	if err != nil {
		return crypto.Slot{}, damaged(name, err)
	}
	if slotName(slot.ID) != name {
		return crypto.Slot{}, damaged(name, fmt.Errorf("%w: it is the key slot %s under another name", crypto.ErrDamaged, slot.ID))
	}
	return slot, nil
}

var errListed = errors.New("listed, but reading it says that it does not exist")

// withoutConfig tells an empty place from one that lost its config. What a
// crashed init leaves - key slots, the ballast - still counts as uninitialised.
func withoutConfig(ctx context.Context, be backend.Backend) error {
	for info, err := range be.List(ctx, "") {
		if err != nil {
			return unreachable("", err)
		}
		if info.Name == configName {
			return &StateError{State: Unreachable, Object: configName, Err: errListed}
		}
		if OwnName(info.Name) && info.Name != ballastName && info.Name[:min(len(info.Name), len(keysDir))] != keysDir {
			return &StateError{State: Damaged, Object: configName, Err: fmt.Errorf("the config is missing, but %s exists", info.Name)}
		}
	}
	return &StateError{State: Uninitialised}
}
