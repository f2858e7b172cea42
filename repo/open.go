package repo

import (
	"context"
	"errors"
	"fmt"

	"vault/backend"
	"vault/crypto"
)

// OpenOptions say how to open a repository.
type OpenOptions struct {
	// Passphrase is asked once, and only after an intact key slot was found:
	// nobody types a passphrase for a place that holds no repository.
	Passphrase func() ([]byte, error)
	Env        Env
}

// Open opens the repository at be. Errors that tell what the place is instead
// are a [*StateError]; the Repo returned owns be.
func Open(ctx context.Context, be backend.Backend, o OpenOptions) (*Repo, error) {
	f, err := findKeys(ctx, be)
	if err != nil {
		return nil, err
	}
	pass, err := o.Passphrase()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	defer clear(pass)
	opened, slot, err := openSlots(f, pass)
	if err != nil {
		return nil, err
	}
	keys := crypto.NewKeys(opened.Master, f.head.Repo, f.head.AEAD)
	payload, err := crypto.OpenConfig(keys, f.config)
	if err != nil {
		return nil, damaged(configName, err)
	}
	params, err := decodeParams(payload, f.head.Mandatory)
	if err != nil {
		return nil, damaged(configName, err)
	}
	return newRepo(be, o.Env.withDefaults(), keys, f.config, params, slot.ID)
}

// openSlots tries the passphrase on every intact slot. If none opens, that is
// the passphrase's fault only where no slot is damaged: it may be that one's.
func openSlots(f found, pass []byte) (crypto.OpenedSlot, crypto.Slot, error) {
	broken := f.broken
	for _, slot := range f.slots {
		opened, err := slot.Open(pass)
		switch {
		case errors.Is(err, crypto.ErrWrongPassphrase):
			continue
		case err != nil:
			broken = damaged(slotName(slot.ID), err)
			continue
		case opened.ConfigHead != f.head.Encode():
			broken = damaged(configName, fmt.Errorf("its head is not the one that key slot %s recorded", slot.ID))
			continue
		}
		return opened, slot, nil
	}
	if broken != nil {
		return crypto.OpenedSlot{}, crypto.Slot{}, broken
	}
	return crypto.OpenedSlot{}, crypto.Slot{}, &StateError{State: WrongKey, Err: fmt.Errorf("%d tried", len(f.slots))}
}
