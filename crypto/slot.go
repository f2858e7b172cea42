package crypto

import (
	"crypto/subtle"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/zeebo/blake3"

	"vault/internal/wire"
)

// A key slot wraps the master key under a passphrase. Offsets are part of the
// format.
//
//	| magic "VLTK" 4 | version 1 | algorithm 1 | flags 2 | kdf 1 | lanes 1 |
//	| reserved 2 | time 4 | memory 4 | slot id 8 | repository id 16 | salt 32 |
//	| commitment 32 | sealed length 4 | sealed | checksum 32 |
//
// Its payload:
//
//	| version 1 | master key 32 | config head 40 | created | label | host | zeros |
const (
	slotMagic      = "VLTK"
	kdfArgon2id    = 1
	slotCommitted  = 76 // the commitment covers the bytes before
	slotSealed     = 112
	slotPayload    = 640
	maxSlotSealed  = 4096
	payloadVersion = 1
	checksumSize   = 32

	// SlotSize is the length of every key slot that format 1 writes.
	SlotSize = slotSealed + slotPayload + Overhead + checksumSize

	// MaxSlotText is the limit, in bytes, of the label and of the host of a slot.
	MaxSlotText = 256

	// MaxPassphrase is the limit, in bytes, of a passphrase. It is not empty.
	MaxPassphrase = 4096
)

// slotNonce has type NonceSingle and ordinal 0: a slot's key seals one payload.
var slotNonce [nonceSize]byte

// SlotParams is what a new slot says besides the master key.
type SlotParams struct {
	ID         SlotID
	Repo       RepoID
	AEAD       AEAD
	Cost       KDFCost
	ConfigHead [ConfigHeadSize]byte // of the same repository and algorithm
	Created    time.Time
	Label      string // UTF-8, at most MaxSlotText bytes
	Host       string // at most MaxSlotText bytes
}

// SealSlot returns a new slot that opens with the passphrase, which is used as
// the bytes it is. It fails if a parameter is out of its limits, or rand does.
func SealSlot(m MasterKey, passphrase []byte, p SlotParams, rand io.Reader) ([]byte, error) {
	if err := p.validate(passphrase); err != nil {
		return nil, fmt.Errorf("seal key slot %s: %w", p.ID, err)
	}
	salt, err := newSalt(SessionID{}, rand)
	if err != nil {
		return nil, fmt.Errorf("seal key slot %s: %w", p.ID, err)
	}
	return p.seal(passphrase, &salt, p.payload(m)), nil
}

// seal returns the slot of a payload.
func (p *SlotParams) seal(passphrase []byte, salt *[32]byte, payload []byte) []byte {
	b := make([]byte, 0, SlotSize)
	b = append(b, slotMagic...)
	b = append(b, formatVersion, byte(p.AEAD), 0, 0, kdfArgon2id, p.Cost.Threads, 0, 0)
	b = wire.AppendU32(b, p.Cost.Time)
	b = wire.AppendU32(b, p.Cost.Memory)
	b = append(b, p.ID[:]...)
	b = append(b, p.Repo[:]...)
	b = append(b, salt[:]...)
	key, commitment := deriveCommitted(p.Cost.sealKey(passphrase, salt), b)
	b = append(b, commitment[:]...)
	b = wire.AppendU32(b, uint32(len(payload)+Overhead))
	b = newAEAD(p.AEAD, key[:]).Seal(b, slotNonce[:], payload, []byte(p.ID.ad()))
	return appendChecksum(b)
}

func (p *SlotParams) validate(passphrase []byte) error {
	head, err := decodeConfigHead(p.ConfigHead[:])
	switch {
	case len(passphrase) < 1 || len(passphrase) > MaxPassphrase:
		return fmt.Errorf("passphrase of %d bytes, want 1 to %d", len(passphrase), MaxPassphrase)
	case !p.AEAD.known():
		return fmt.Errorf("%w: %s", ErrUnsupported, p.AEAD)
	case len(p.Label) > MaxSlotText || !utf8.ValidString(p.Label):
		return fmt.Errorf("label of %d bytes is too long or not UTF-8", len(p.Label))
	case len(p.Host) > MaxSlotText:
		return fmt.Errorf("host name of %d bytes, limit %d", len(p.Host), MaxSlotText)
	case err != nil:
		return fmt.Errorf("config head: %w", err)
	case head.Repo != p.Repo || head.AEAD != p.AEAD:
		return fmt.Errorf("config head of repository %s with %s: %w", head.Repo, head.AEAD, ErrForeign)
	}
	return p.Cost.Validate()
}

// payload returns the plaintext of a slot.
func (p *SlotParams) payload(m MasterKey) []byte {
	b := make([]byte, 0, slotPayload)
	b = append(b, payloadVersion)
	b = append(b, m[:]...)
	b = append(b, p.ConfigHead[:]...)
	b = wire.AppendVarint(b, p.Created.Unix())
	b = wire.AppendUvarint(b, uint64(p.Created.Nanosecond()))
	b = wire.AppendString(b, p.Label)
	b = wire.AppendString(b, p.Host)
	if len(b) > slotPayload {
		panic("crypto: internal error: payload of a key slot is too long")
	}
	return b[:slotPayload]
}

// ad returns the associated data of a slot: its full name.
func (s SlotID) ad() string { return "keys/" + s.String() }

// Slot is a parsed key slot, not yet opened. Nothing in it is authenticated, but
// its checksum and its limits have been verified. It shares no memory with what
// it was parsed from.
type Slot struct {
	ID   SlotID // callers compare it with the name under which the slot was found
	Repo RepoID
	AEAD AEAD
	Cost KDFCost
	raw  string // as stored, without the checksum
}

// OpenedSlot is what a slot holds.
type OpenedSlot struct {
	Master     MasterKey
	ConfigHead [ConfigHeadSize]byte // must equal the head of the config
	Created    time.Time            // UTC
	Label      string
	Host       string
}

// ParseSlot reads a slot without a passphrase. Every flipped bit and every
// truncation is ErrDamaged, and so is a cost beyond the limits, which therefore
// never runs. An intact slot of a later format is ErrUnsupported.
func ParseSlot(b []byte) (Slot, error) {
	s, err := parseSlot(b)
	if err != nil {
		return Slot{}, fmt.Errorf("key slot: %w", err)
	}
	return s, nil
}

func parseSlot(b []byte) (Slot, error) {
	body, err := verifyChecksum(b, KindSlot.MaxSize())
	if err != nil {
		return Slot{}, err
	}
	if len(body) < slotSealed || string(body[:4]) != slotMagic {
		return Slot{}, fmt.Errorf("%w: not a key slot", ErrDamaged)
	}
	r := wire.NewReader(body)
	r.Fixed(4)
	version, algorithm, flags, kdf := r.U8(), AEAD(r.U8()), r.U16(), r.U8()
	switch {
	case version == 0:
		return Slot{}, fmt.Errorf("%w: version 0, which nobody writes", ErrDamaged)
	case version != formatVersion:
		return Slot{}, fmt.Errorf("%w: version %d", ErrUnsupported, version)
	case !algorithm.known():
		return Slot{}, fmt.Errorf("%w: %s", ErrUnsupported, algorithm)
	case flags != 0:
		return Slot{}, fmt.Errorf("%w: flags %#04x", ErrUnsupported, flags)
	case kdf != kdfArgon2id:
		return Slot{}, fmt.Errorf("%w: key derivation %d", ErrUnsupported, kdf)
	}
	s := Slot{AEAD: algorithm, raw: string(body)}
	s.Cost.Threads = r.U8()
	if v := r.U16(); v != 0 {
		return Slot{}, fmt.Errorf("%w: reserved field is %#04x", ErrDamaged, v)
	}
	s.Cost.Time, s.Cost.Memory = r.U32(), r.U32()
	if err := s.Cost.Validate(); err != nil {
		return Slot{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.Copy(s.ID[:])
	r.Copy(s.Repo[:])
	r.Fixed(32 + 32) // salt, commitment
	// Format 1 has payloads of one length; maxSlotSealed is what others may use.
	if n := r.U32(); n > maxSlotSealed || n != slotPayload+Overhead || int(n) != r.Len() {
		return Slot{}, fmt.Errorf("%w: sealed payload of %d bytes, %d are there, want %d", ErrDamaged, n, r.Len(), slotPayload+Overhead)
	}
	return s, nil
}

// Open derives the key, which takes the slot's cost in time and memory, and
// opens the slot. The error is ErrWrongPassphrase if the passphrase is not the
// one of this slot, ErrTampered or ErrDamaged if it is and the payload is not
// what was sealed with it.
func (s Slot) Open(passphrase []byte) (OpenedSlot, error) {
	opened, err := s.open(passphrase)
	if err != nil {
		return OpenedSlot{}, fmt.Errorf("key slot %s: %w", s.ID, err)
	}
	return opened, nil
}

func (s Slot) open(passphrase []byte) (OpenedSlot, error) {
	if len(s.raw) != SlotSize-checksumSize {
		panic("crypto: internal error: Open of a key slot that was not parsed")
	}
	if len(passphrase) < 1 || len(passphrase) > MaxPassphrase {
		return OpenedSlot{}, fmt.Errorf("%w: %d bytes, of 1 to %d", ErrWrongPassphrase, len(passphrase), MaxPassphrase)
	}
	raw := []byte(s.raw)
	var salt [32]byte
	copy(salt[:], raw[44:])
	key, commitment := deriveCommitted(s.Cost.slotKey(passphrase, &salt), raw[:slotCommitted])
	if subtle.ConstantTimeCompare(commitment[:], raw[slotCommitted:slotCommitted+32]) != 1 {
		return OpenedSlot{}, ErrWrongPassphrase
	}
	plain, err := newAEAD(s.AEAD, key[:]).Open(nil, slotNonce[:], raw[slotSealed:], []byte(s.ID.ad()))
	if err != nil {
		return OpenedSlot{}, fmt.Errorf("%w: sealed payload", ErrTampered)
	}
	return s.decodePayload(plain)
}

func (s Slot) decodePayload(plain []byte) (o OpenedSlot, err error) {
	r := wire.NewReader(plain)
	if v := r.U8(); v != payloadVersion {
		return OpenedSlot{}, fmt.Errorf("%w: payload version %d", ErrUnsupported, v)
	}
	r.Copy(o.Master[:])
	r.Copy(o.ConfigHead[:])
	sec, nsec := r.Varint(), r.Uvarint(999_999_999)
	o.Created = time.Unix(sec, int64(nsec)).UTC()
	o.Label = r.String(MaxSlotText)
	o.Host = r.String(MaxSlotText)
	if !utf8.ValidString(o.Label) {
		r.Fail("label is not UTF-8")
	}
	if !allZero(r.Fixed(r.Len())) {
		r.Fail("padding is not zero")
	}
	if err := r.Done(); err != nil {
		return OpenedSlot{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	head, err := decodeConfigHead(o.ConfigHead[:])
	if err != nil {
		return OpenedSlot{}, err
	}
	if head.Repo != s.Repo || head.AEAD != s.AEAD {
		return OpenedSlot{}, fmt.Errorf("%w: it holds the config head of repository %s with %s", ErrDamaged, head.Repo, head.AEAD)
	}
	return o, nil
}

// appendChecksum appends the BLAKE3 hash of b.
func appendChecksum(b []byte) []byte {
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

// verifyChecksum returns what stands before the checksum that ends b.
func verifyChecksum(b []byte, limit int) ([]byte, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrDamaged, len(b), limit)
	}
	if len(b) < checksumSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	body := b[:len(b)-checksumSize]
	if sum := blake3.Sum256(body); string(sum[:]) != string(b[len(body):]) {
		return nil, fmt.Errorf("%w: checksum differs", ErrDamaged)
	}
	return body, nil
}
