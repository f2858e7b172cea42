package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"vault/backend"
	"vault/crypto"
)

// Key management. A Repo keeps no master key, so whatever needs it takes the
// passphrase again and holds the master key for the length of the call.
//
// Slots are removed without a lock, by one rule: a slot is deleted only by who
// has just seen an intact slot with a smaller id. So the slot with the smallest
// id that ever existed - the anchor - is there whatever clients do at once and
// wherever they crash, since nobody can have seen a smaller one. To remove the
// anchor, a client first creates a slot below it, for its own passphrase.
//
// Removing a slot or changing a passphrase takes nothing back: who has opened
// the repository once may have kept the master key, or a copy of the slot.

// Reasons not to remove a key slot.
var (
	ErrNoKey     = errors.New("no such key slot")
	ErrLastKey   = errors.New("it is the last intact key slot")
	ErrKeyInUse  = errors.New("it is the key slot that the passphrase opens")
	ErrAnchorKey = errors.New("it is the key slot that must outlast racing removals; the passphrase of another slot can remove it")
)

// NewKey describes a key slot to be made.
type NewKey struct {
	Passphrase []byte         // 1 to 4096 bytes; not retained
	Cost       crypto.KDFCost // zero: crypto.DefaultKDFCost
	Label      string         // UTF-8, at most 256 bytes
}

// KeyInfo is what is known of a key slot. Only ID and Cost are plain; the rest
// is sealed with the slot's passphrase.
type KeyInfo struct {
	ID   crypto.SlotID
	Cost crypto.KDFCost
	Err  error // why the slot is not one of this repository's intact ones; then only ID is known

	Opened      bool // by the passphrase that was given; what follows is known of such a slot only
	Created     time.Time
	Label, Host string
}

// ListKeys returns all key slots, intact or not, by id. If a passphrase is
// given (nil is none), it is tried on each intact slot, at the slot's cost, and
// what is sealed in those that open is told as well.
func (r *Repo) ListKeys(ctx context.Context, passphrase []byte) (list []KeyInfo, err error) {
	for info, err := range r.be.List(ctx, keysDir) {
		if err != nil {
			return nil, unreachable(keysDir, err)
		}
		id, err := crypto.ParseSlotID(strings.TrimPrefix(info.Name, keysDir))
		if err != nil {
			continue // a stranger's file
		}
		slot, err := readSlot(ctx, r.be, info.Name)
		switch {
		case isMissing(err):
			continue
		case err != nil && StateOf(err) != Damaged && StateOf(err) != Unsupported:
			return nil, err
		case err == nil && slot.Repo != r.head.Repo:
			err = fmt.Errorf("key slot %s: %w", id, crypto.ErrForeign)
		}
		k := KeyInfo{ID: id, Err: err}
		if err == nil {
			k.Cost = slot.Cost
			if len(passphrase) > 0 {
				k.try(slot, passphrase)
			}
		}
		list = append(list, k)
	}
	return list, nil
}

// try fills in what is sealed in the slot, if the passphrase opens it.
func (k *KeyInfo) try(slot crypto.Slot, passphrase []byte) {
	opened, err := slot.Open(passphrase)
	clear(opened.Master[:])
	switch {
	case err == nil:
		k.Opened, k.Created, k.Label, k.Host = true, opened.Created, opened.Label, opened.Host
	case !errors.Is(err, crypto.ErrWrongPassphrase):
		k.Err = damaged(slotName(k.ID), err)
	}
}

// AddKey makes a slot for a further passphrase. Current is a passphrase that
// opens the repository. After an error the slot may exist nevertheless.
func (r *Repo) AddKey(ctx context.Context, current []byte, k NewKey) (crypto.SlotID, error) {
	ring, err := r.unlock(ctx, current, crypto.SlotID{})
	defer ring.wipe()
	if err == nil {
		var id crypto.SlotID
		if id, err = ring.add(ctx, r.be, r.env, k, r.details(k.Label), aboveAnchor); err == nil {
			return id, nil
		}
	}
	return crypto.SlotID{}, fmt.Errorf("add key: %w", err)
}

// ChangePassphrase makes a slot for a new passphrase, and removes every slot
// that the current one opens. It returns the new slot, also if removing failed.
// A crash leaves at least one of the two passphrases valid, perhaps both. An
// empty label stands for the one of the slot that is replaced.
func (r *Repo) ChangePassphrase(ctx context.Context, current []byte, k NewKey) (crypto.SlotID, error) {
	ring, err := r.unlock(ctx, current, crypto.SlotID{})
	defer ring.wipe()
	if err != nil {
		return crypto.SlotID{}, fmt.Errorf("change passphrase: %w", err)
	}
	if k.Label == "" {
		k.Label = ring.opened.Label
	}
	id, err := ring.add(ctx, r.be, r.env, k, r.details(k.Label), belowAll)
	if err != nil {
		return crypto.SlotID{}, fmt.Errorf("change passphrase: %w", err)
	}
	for _, slot := range ring.slots {
		if slot.ID != ring.slot.ID {
			opened, err := slot.Open(current)
			clear(opened.Master[:])
			if err != nil {
				continue
			}
		}
		if err := r.dropSlot(ctx, slot.ID, id); err != nil {
			return id, fmt.Errorf("change passphrase: the new one is valid, and so is the old one: %w", err)
		}
	}
	return id, nil
}

// RemoveKeyOptions say what a removal may do that is not done by mistake.
type RemoveKeyOptions struct {
	// InUse allows removing the only slot that the current passphrase opens,
	// so that this passphrase opens the repository no more.
	InUse bool
}

// RemoveKey removes a key slot. Current is a passphrase that opens the
// repository. At least one intact slot remains, whatever other clients do at
// the same time. It returns the slot that current opens from now on, which is
// a new one if the anchor was removed.
func (r *Repo) RemoveKey(ctx context.Context, current []byte, id crypto.SlotID, o RemoveKeyOptions) (crypto.SlotID, error) {
	inUse, err := r.removeKey(ctx, current, id, o)
	if err != nil {
		return inUse, fmt.Errorf("remove key %s: %w", id, err)
	}
	return inUse, nil
}

func (r *Repo) removeKey(ctx context.Context, current []byte, id crypto.SlotID, o RemoveKeyOptions) (crypto.SlotID, error) {
	ring, err := r.unlock(ctx, current, id)
	defer ring.wipe()
	if err != nil {
		return crypto.SlotID{}, err
	}
	mine := ring.slot.ID
	if _, err := readSlot(ctx, r.be, slotName(id)); isMissing(err) {
		return mine, ErrNoKey
	} else if s := StateOf(err); err != nil && s != Damaged && s != Unsupported {
		return mine, err
	}
	smallest := ring.slots[0].ID // findKeys lists in order, and never no slot
	switch {
	case mine == id && len(ring.slots) == 1:
		return mine, ErrLastKey
	case mine == id && !o.InUse:
		return mine, ErrKeyInUse
	case mine == id && smallest == id:
		return mine, ErrAnchorKey
	case mine == id:
		return mine, r.dropSlot(ctx, id, smallest)
	case bytes.Compare(smallest[:], id[:]) < 0:
		return mine, r.dropSlot(ctx, id, mine)
	}
	// The anchor, or something damaged below it: this passphrase gets a new
	// slot underneath, which then takes the place of its old one.
	next, err := ring.add(ctx, r.be, r.env, NewKey{Passphrase: current, Cost: ring.slot.Cost}, ring.opened, belowAll, id)
	if err != nil {
		return mine, err
	}
	if err := r.dropSlot(ctx, id, next); err != nil {
		return next, err
	}
	return next, r.dropSlot(ctx, mine, next)
}

// dropSlot deletes a slot, by the rule above. Keep is a slot that must remain.
func (r *Repo) dropSlot(ctx context.Context, id, keep crypto.SlotID) error {
	f := found{head: r.head}
	if err := f.readSlots(ctx, r.be, ahead(ctx, r.be, keysDir)); err != nil {
		return err
	}
	slots := f.slots
	kept := slices.ContainsFunc(slots, func(s crypto.Slot) bool { return s.ID == keep })
	if !kept || bytes.Compare(slots[0].ID[:], id[:]) >= 0 {
		return errors.New("the key slots have changed meanwhile; nothing was deleted")
	}
	if err := r.be.Delete(ctx, slotName(id)); err != nil && !isMissing(err) {
		return err
	}
	return nil
}

// keyring is a repository's key slots, and the master key out of one of them.
type keyring struct {
	head   crypto.ConfigHead
	slots  []crypto.Slot // the intact ones, by id
	slot   crypto.Slot   // the one that was opened, if one was
	opened crypto.OpenedSlot
}

// wipe forgets the master key.
func (k *keyring) wipe() { clear(k.opened.Master[:]) }

// unlock opens a slot as it is stored now: the one that opened the Repo if
// that is possible, and unless only if no other opens.
func (r *Repo) unlock(ctx context.Context, pass []byte, unless crypto.SlotID) (k keyring, err error) {
	f, err := findKeys(ctx, r.be)
	if err != nil {
		return k, err
	}
	k.head, k.slots = f.head, slices.Clone(f.slots)
	slices.SortStableFunc(f.slots, func(a, b crypto.Slot) int {
		rank := func(s crypto.Slot) int {
			switch s.ID {
			case unless:
				return 2
			case r.slot:
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	if k.opened, k.slot, err = openSlots(f, pass); err != nil {
		return k, err
	}
	// The same config opens with the keys of this Repo and with those of the
	// slot, so they are the same keys.
	for _, keys := range []*crypto.Keys{r.keys, crypto.NewKeys(k.opened.Master, f.head.Repo, f.head.AEAD)} {
		if _, err := crypto.OpenConfig(keys, f.config); err != nil {
			k.wipe()
			return k, damaged(configName, err)
		}
	}
	return k, nil
}

// details is what a new slot says of itself.
func (r *Repo) details(label string) crypto.OpenedSlot {
	return crypto.OpenedSlot{Created: r.env.Now(), Label: label, Host: r.env.Host}
}

// place says where among the others the id of a new slot is.
type place uint8

const (
	aboveAnchor place = iota // so that it can be removed like any other
	belowAll                 // so that it is the anchor
)

// anchorStep bounds how far below the others an anchor is put: 2^24 times it
// is what ids have room for.
const anchorStep = 1 << 40

// draw returns the id of a new slot; further ids count as taken, too.
func (p place) draw(slots []crypto.Slot, random io.Reader, further ...crypto.SlotID) (crypto.SlotID, error) {
	id, err := crypto.NewSlotID(random)
	if err != nil || len(slots) == 0 {
		return id, err
	}
	n := binary.BigEndian.Uint64(id[:])
	least := binary.BigEndian.Uint64(slots[0].ID[:])
	for _, f := range further {
		least = min(least, binary.BigEndian.Uint64(f[:]))
	}
	switch {
	case p == aboveAnchor && least < math.MaxUint64:
		n = least + 1 + n%(math.MaxUint64-least)
	case least == 0:
		return id, errors.New("no id is left below the one of the first key slot")
	default:
		n = least - 1 - n%min(least, anchorStep)
	}
	binary.BigEndian.PutUint64(id[:], n)
	return id, nil
}

// add makes a slot and returns its id once it is known to be stored durably
// and to open. Further ids are taken into account as draw does.
func (k *keyring) add(ctx context.Context, be backend.Backend, env Env, n NewKey, details crypto.OpenedSlot, p place, further ...crypto.SlotID) (id crypto.SlotID, err error) {
	if n.Cost == (crypto.KDFCost{}) {
		n.Cost = crypto.DefaultKDFCost
	}
	for range tries {
		if id, err = p.draw(k.slots, env.Rand, further...); err != nil {
			return id, err
		}
		sealed, err := crypto.SealSlot(k.opened.Master, n.Passphrase, crypto.SlotParams{
			ID: id, Repo: k.head.Repo, AEAD: k.head.AEAD, Cost: n.Cost, ConfigHead: k.head.Encode(),
			Created: details.Created, Label: details.Label, Host: details.Host,
		}, env.Rand)
		if err != nil {
			return id, err
		}
		err = k.storeSlot(ctx, be, sealed, n.Passphrase)
		if !errors.Is(err, errTaken) {
			return id, err
		}
	}
	return id, errTaken
}

// storeSlot creates a slot after opening it, and reads it back.
func (k *keyring) storeSlot(ctx context.Context, be backend.Backend, sealed, passphrase []byte) error {
	slot, err := crypto.ParseSlot(sealed)
	if err != nil {
		return fmt.Errorf("verify the new key slot: %w", err)
	}
	opened, err := slot.Open(passphrase)
	defer clear(opened.Master[:])
	if err != nil || opened.Master != k.opened.Master || opened.ConfigHead != k.head.Encode() {
		return fmt.Errorf("verify the new key slot: it does not hold what was sealed: %w", errors.Join(err, crypto.ErrDamaged))
	}
	name := slotName(slot.ID)
	if err := be.Create(ctx, name, sealed); err != nil {
		there, rerr := readSlot(ctx, be, name)
		switch {
		case rerr != nil && StateOf(rerr) == Damaged, rerr == nil && there != slot:
			return fmt.Errorf("create %s: %w", name, errTaken)
		case rerr != nil:
			return err
		}
		// It was applied, or will not be undone, but perhaps not durably.
		if err := be.Put(ctx, name, sealed); err != nil {
			return err
		}
	}
	there, err := readSlot(ctx, be, name)
	if err == nil && there != slot {
		err = damaged(name, errors.New("it is not what was just stored"))
	}
	if err != nil {
		return fmt.Errorf("verify the new key slot: %w", err)
	}
	return nil
}
