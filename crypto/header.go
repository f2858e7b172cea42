package crypto

import (
	"encoding/binary"
	"fmt"
)

// The header with which every sealed object but a key slot begins. Offsets are
// part of the format.
//
//	| magic 4 | version 1 | algorithm 1 | flags 2 | epoch 4 | domain 4 |
//	| repository id 16 | session id 16 | salt 32 | source kind 1 |
//	| source length 2 | commitment 32 |
const (
	offVersion      = 4
	offAlgorithm    = 5
	offFlags        = 6
	offEpoch        = 8
	offDomain       = 12
	offRepo         = 16
	offSession      = 32
	offSalt         = 48
	offSourceKind   = 80
	offSourceLength = 81
	offCommitment   = 83

	// HeaderSize is the length of every header that format 1 writes.
	HeaderSize = offCommitment + 32
)

// Header is what varies between the headers of format 1.
type Header struct {
	Kind    Kind
	AEAD    AEAD
	Repo    RepoID
	Session SessionID // the writer's; zero in the config and in records of collections
	Salt    [32]byte
}

// encode returns the header before its commitment.
func (h *Header) encode() (b [offCommitment]byte) {
	copy(b[:], "VLT")
	b[3] = byte(h.Kind)
	b[offVersion] = formatVersion
	b[offAlgorithm] = byte(h.AEAD)
	copy(b[offRepo:], h.Repo[:])
	copy(b[offSession:], h.Session[:])
	copy(b[offSalt:], h.Salt[:])
	return b
}

// ParseHeader reads a header without any key: for programs that inspect objects
// and for telling whose they are. Nothing in it is authenticated. The slice must
// hold the header and nothing more.
//
// Errors are ErrDamaged, or ErrUnsupported for a version, algorithm, flag,
// epoch, domain or key source that format 1 does not define.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("header: %w: %d bytes of %d", ErrDamaged, len(b), HeaderSize)
	}
	if string(b[:3]) != "VLT" {
		return Header{}, fmt.Errorf("header: %w: magic is %q", ErrDamaged, b[:4])
	}
	h := Header{Kind: Kind(b[3]), AEAD: AEAD(b[offAlgorithm])}
	copy(h.Repo[:], b[offRepo:])
	copy(h.Session[:], b[offSession:])
	copy(h.Salt[:], b[offSalt:])
	if b[offVersion] == 0 {
		return Header{}, fmt.Errorf("header: %w: version 0, which nobody writes", ErrDamaged)
	}
	if what := unsupported(b); what != "" {
		return Header{}, fmt.Errorf("%s header: %w: %s", h.Kind, ErrUnsupported, what)
	}
	if h.Kind.label() == "" {
		return Header{}, fmt.Errorf("header: %w: magic is %q", ErrDamaged, b[:4])
	}
	if n := binary.LittleEndian.Uint16(b[offSourceLength:]); n != 0 {
		return Header{}, fmt.Errorf("%s header: %w: key source 0 has %d bytes", h.Kind, ErrDamaged, n)
	}
	if len(b) != HeaderSize {
		return Header{}, fmt.Errorf("%s header: %w: %d bytes, want %d", h.Kind, ErrDamaged, len(b), HeaderSize)
	}
	return h, nil
}

// unsupported names the first field whose value format 1 does not define, or
// returns "". The layout of version 1 is what makes the others meaningful, so
// the version comes first.
func unsupported(b []byte) string {
	if v := b[offVersion]; v != formatVersion {
		return fmt.Sprintf("version %d", v)
	}
	if a := AEAD(b[offAlgorithm]); !a.known() {
		return a.String()
	}
	if f := binary.LittleEndian.Uint16(b[offFlags:]); f != 0 {
		return fmt.Sprintf("flags %#04x", f)
	}
	if e := binary.LittleEndian.Uint32(b[offEpoch:]); e != 0 {
		return fmt.Sprintf("key rotation (epoch %d)", e)
	}
	if d := binary.LittleEndian.Uint32(b[offDomain:]); d != 0 {
		return fmt.Sprintf("deduplication domains (domain %d)", d)
	}
	switch s := b[offSourceKind]; s {
	case 0:
		return ""
	case 1:
		return "write-only keys (key source 1, sealed to the owner)"
	default:
		return fmt.Sprintf("key source %d", s)
	}
}
