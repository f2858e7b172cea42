// Package crypto turns secrets into keys, plaintext into sealed bytes, and
// content into names (docs/format.md, sections 1 to 6).
//
// A passphrase opens a key slot and gives the master key; the master key and
// the repository id give one subkey per purpose (Keys); a subkey and the header
// of an object give a key that serves this one object (Object). Because every
// object has a key of its own, nonces are plain counters, nothing is bounded by
// birthdays, and an object cannot be read under another header than the one it
// was sealed with.
//
// The caveats:
//
//   - An AEAD does not commit to its key, so a header carries a commitment,
//     which is compared in constant time before anything is opened.
//   - The associated data of an object is its full name. This package knows no
//     paths: who opens an object says under which name it was found.
//   - Checksums of slots and config are unkeyed. They tell a flipped bit from a
//     wrong passphrase; they do not stop an attacker, the AEAD does.
//   - Keys, objects and master keys print as "(redacted)". But fmt calls no
//     methods on unexported fields: a MasterKey in one is printed. Hold Keys
//     there, which hide their bytes even so.
//   - Memory that held secrets is not wiped; Go's collector may have copied it.
//
// Everything that parses takes hostile bytes: the outcome is a value or an
// error, and what is allocated is bounded by the length of the input. Key
// derivation is the exception, bounded by the limits that KDFCost.Validate
// checks before it runs.
package crypto

import "errors"

// The sorts of errors. Everything that can go wrong with stored bytes wraps
// exactly one of them.
var (
	// ErrWrongPassphrase: an intact slot that this passphrase does not open.
	ErrWrongPassphrase = errors.New("wrong passphrase")

	// ErrTampered: authentication failed. A commitment or an AEAD tag does not
	// match, or an authentic header was altered or stands in the wrong place.
	ErrTampered = errors.New("authentication failed")

	// ErrDamaged: a checksum does not match, or the bytes are not what any
	// writer of this format writes.
	ErrDamaged = errors.New("damaged")

	// ErrUnsupported: a version, flag, algorithm, key source or feature that
	// this program does not know. The text names it.
	ErrUnsupported = errors.New("not supported by this version")

	// ErrForeign: belongs to another repository.
	ErrForeign = errors.New("belongs to another repository")
)
