package crypto

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/blake3"
)

// ID is the name of a blob: keyed BLAKE3 of its plaintext, made by Keys.BlobID.
// Without the keys it says nothing about the content.
type ID [32]byte

// String returns 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id is the zero value, which names no blob.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders names by their bytes: -1, 0 or 1.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// ParseID parses what String returns, and nothing else.
func ParseID(s string) (id ID, err error) {
	err = parseHex(id[:], s)
	return id, err
}

// RepoID is the random identity of a repository.
type RepoID [16]byte

// NewRepoID returns 16 bytes of rand.
func NewRepoID(rand io.Reader) (id RepoID, err error) {
	if _, err = io.ReadFull(rand, id[:]); err != nil {
		return RepoID{}, fmt.Errorf("draw repository id: %w", err)
	}
	return id, nil
}

// String returns 32 lower-case hex digits.
func (r RepoID) String() string { return hex.EncodeToString(r[:]) }

// ParseRepoID parses what String returns, and nothing else.
func ParseRepoID(s string) (r RepoID, err error) {
	err = parseHex(r[:], s)
	return r, err
}

// SlotID names a key slot: "keys/" and its text are the name of the object.
type SlotID [8]byte

// NewSlotID returns 8 bytes of rand.
func NewSlotID(rand io.Reader) (id SlotID, err error) {
	if _, err = io.ReadFull(rand, id[:]); err != nil {
		return SlotID{}, fmt.Errorf("draw slot id: %w", err)
	}
	return id, nil
}

// String returns 16 lower-case hex digits.
func (s SlotID) String() string { return hex.EncodeToString(s[:]) }

// ParseSlotID parses what String returns, and nothing else.
func ParseSlotID(s string) (id SlotID, err error) {
	err = parseHex(id[:], s)
	return id, err
}

// parseHex fills dst from exactly as many lower-case hex digits.
func parseHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("parse %.80q: want %d hex digits", s, 2*len(dst))
	}
	for i := range len(s) {
		var v byte
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			v = c - '0'
		case 'a' <= c && c <= 'f':
			v = c - 'a' + 10
		default:
			clear(dst)
			return fmt.Errorf("parse %q: %q at %d is not a lower-case hex digit", s, c, i)
		}
		dst[i/2] = dst[i/2]<<4 | v
	}
	return nil
}

// FileHash returns the BLAKE3 hash of a stored file, which is the name of packs
// and index segments and links the records of collections. It needs no key, so
// the host that stores the files can verify them.
func FileHash(b []byte) [32]byte { return blake3.Sum256(b) }

// SessionID is the identity of one writer's session, and of the backup that it
// commits: 48 bits of milliseconds since 1970, big endian, then 80 random bits.
// Text and bytes both sort by time.
type SessionID [16]byte

const (
	sessionDigits = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's base 32, lower case; part of the format
	sessionLen    = 26
	shortLen      = 12
)

// digitValue maps a character to its value in sessionDigits, or to 0xff.
var digitValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(sessionDigits) {
		t[sessionDigits[i]] = byte(i)
	}
	return t
}()

// NewSessionID returns an id of the time now, to the millisecond, with 10 bytes
// of rand.
func NewSessionID(now time.Time, rand io.Reader) (SessionID, error) {
	ms := now.UnixMilli()
	if ms < 0 || ms >= 1<<48 {
		return SessionID{}, fmt.Errorf("new session id: the clock says %s", now.UTC().Format(time.RFC3339))
	}
	var id SessionID
	binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16)
	if _, err := io.ReadFull(rand, id[6:]); err != nil {
		return SessionID{}, fmt.Errorf("new session id: %w", err)
	}
	return id, nil
}

// String returns the 26 digits under which sessions and commits are stored.
func (s SessionID) String() string {
	hi, lo := binary.BigEndian.Uint64(s[:8]), binary.BigEndian.Uint64(s[8:])
	var text [sessionLen]byte
	for i := sessionLen - 1; i >= 0; i-- {
		text[i] = sessionDigits[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(text[:])
}

// Short returns the first 12 digits, as shown to people: all of the time and
// ten random bits.
func (s SessionID) Short() string { return s.String()[:shortLen] }

// Time returns the time of the id, in UTC, to the millisecond.
func (s SessionID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(s[:8]) >> 16)).UTC()
}

// IsZero reports whether s is the zero value, which is nobody's session.
func (s SessionID) IsZero() bool { return s == SessionID{} }

// Compare orders ids by time, then by their random bits: -1, 0 or 1.
func (s SessionID) Compare(other SessionID) int { return bytes.Compare(s[:], other[:]) }

// ParseSessionID parses what String returns, and nothing else: no upper case
// and none of Crockford's aliases, as each id has one name.
func ParseSessionID(text string) (SessionID, error) {
	if len(text) != sessionLen {
		return SessionID{}, fmt.Errorf("parse session id %.80q: want %d digits", text, sessionLen)
	}
	if text[0] > '7' {
		return SessionID{}, fmt.Errorf("parse session id %q: exceeds 128 bits", text)
	}
	var hi, lo uint64
	for i := range len(text) {
		v := digitValue[text[i]]
		if v == 0xff {
			return SessionID{}, fmt.Errorf("parse session id %q: %q at %d is not a digit", text, text[i], i)
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	var id SessionID
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, nil
}
