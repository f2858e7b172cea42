package crypto

import (
	"fmt"
	"io"

	"vault/internal/wire"
)

// The config is a plaintext head, an envelope, and a checksum. Offsets are part
// of the format.
//
//	| magic "VLTC" 4 | version 1 | algorithm 1 | flags 2 | mandatory features 8 |
//	| optional features 8 | repository id 16 | envelope | checksum 32 |
const (
	configMagic = "VLTC"
	configAD    = "config" // followed by the head

	// ConfigHeadSize is the length of the plaintext head of a config.
	ConfigHeadSize = 40
)

// FeatureChunkerSecret is the mandatory feature of a repository whose config
// holds the secret of the splitter, because it is another repository's, rather
// than having it derived. Part of the format.
const FeatureChunkerSecret uint64 = 1 << 0

// KnownFeatures are the bits of mandatory features that this program implements.
const KnownFeatures = FeatureChunkerSecret

// ConfigHead is what must be known of a repository before any key is. The
// associated data of the config and the copy in every key slot authenticate it.
type ConfigHead struct {
	AEAD      AEAD
	Mandatory uint64 // features that a reader must know
	Optional  uint64 // features that a reader may ignore
	Repo      RepoID
}

// Encode returns the head as it is stored.
func (h ConfigHead) Encode() (out [ConfigHeadSize]byte) {
	b := append(out[:0], configMagic...)
	b = append(b, formatVersion, byte(h.AEAD), 0, 0)
	b = wire.AppendU64(b, h.Mandatory)
	b = wire.AppendU64(b, h.Optional)
	copy(out[len(b):], h.Repo[:])
	return out
}

// decodeConfigHead reads a head of ConfigHeadSize bytes; it judges no features.
func decodeConfigHead(b []byte) (h ConfigHead, err error) {
	r := wire.NewReader(b)
	magic, version, algorithm, flags := r.Fixed(4), r.U8(), AEAD(r.U8()), r.U16()
	h = ConfigHead{AEAD: algorithm, Mandatory: r.U64(), Optional: r.U64()}
	r.Copy(h.Repo[:])
	switch {
	case r.Done() != nil:
		return ConfigHead{}, fmt.Errorf("%w: %w", ErrDamaged, r.Err())
	case string(magic) != configMagic:
		return ConfigHead{}, fmt.Errorf("%w: not a config", ErrDamaged)
	case version == 0:
		return ConfigHead{}, fmt.Errorf("%w: version 0, which nobody writes", ErrDamaged)
	case version != formatVersion:
		return ConfigHead{}, fmt.Errorf("%w: version %d", ErrUnsupported, version)
	case !algorithm.known():
		return ConfigHead{}, fmt.Errorf("%w: %s", ErrUnsupported, algorithm)
	case flags != 0:
		return ConfigHead{}, fmt.Errorf("%w: flags %#04x", ErrUnsupported, flags)
	}
	return h, nil
}

// SealConfig returns the config of a new repository. It fails if the payload is
// too long, if the head is not of k's repository or asks for features that this
// program does not know, or if rand fails.
func SealConfig(k *Keys, h ConfigHead, payload []byte, rand io.Reader) ([]byte, error) {
	if h.Repo != k.s().repo || h.AEAD != k.s().aead {
		return nil, fmt.Errorf("seal config: head of repository %s with %s: %w", h.Repo, h.AEAD, ErrForeign)
	}
	if err := h.checkFeatures(); err != nil {
		return nil, fmt.Errorf("seal config: %w", err)
	}
	limit := KindConfig.MaxSize() - ConfigHeadSize - checksumSize
	if len(payload) > limit || EnvelopeSize(len(payload)) > limit {
		return nil, fmt.Errorf("seal config: payload of %d bytes exceeds the limit", len(payload))
	}
	head := h.Encode()
	envelope, err := k.SealEnvelope(KindConfig, SessionID{}, configAD+string(head[:]), payload, rand)
	if err != nil {
		return nil, fmt.Errorf("seal config: %w", err)
	}
	return appendChecksum(append(head[:], envelope...)), nil
}

// ParseConfigHead verifies the checksum of a config and reads its head, without
// any key. Every flipped bit and every truncation is ErrDamaged; an intact config
// of a later version, or with mandatory features that this program does not
// know, is ErrUnsupported.
func ParseConfigHead(object []byte) (ConfigHead, error) {
	h, _, err := parseConfig(object)
	if err != nil {
		return ConfigHead{}, fmt.Errorf("config: %w", err)
	}
	return h, nil
}

// parseConfig returns the head and the envelope of a config.
func parseConfig(object []byte) (ConfigHead, []byte, error) {
	body, err := verifyChecksum(object, KindConfig.MaxSize())
	if err != nil {
		return ConfigHead{}, nil, err
	}
	if len(body) < ConfigHeadSize {
		return ConfigHead{}, nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(object))
	}
	h, err := decodeConfigHead(body[:ConfigHeadSize])
	if err != nil {
		return ConfigHead{}, nil, err
	}
	if err := h.checkFeatures(); err != nil {
		return ConfigHead{}, nil, err
	}
	return h, body[ConfigHeadSize:], nil
}

func (h ConfigHead) checkFeatures() error {
	if unknown := h.Mandatory &^ KnownFeatures; unknown != 0 {
		return fmt.Errorf("%w: mandatory features %#x", ErrUnsupported, unknown)
	}
	return nil
}

// OpenConfig returns the payload of a config. Besides the errors of
// ParseConfigHead, a config of another repository is ErrForeign - its checksum is
// intact, so no bit flipped by accident - and one that was not sealed with k
// is ErrTampered.
func OpenConfig(k *Keys, object []byte) ([]byte, error) {
	h, envelope, err := parseConfig(object)
	switch {
	case err != nil:
		return nil, fmt.Errorf("config: %w", err)
	case h.Repo != k.s().repo:
		return nil, fmt.Errorf("config: %w: %s, not %s", ErrForeign, h.Repo, k.s().repo)
	case h.AEAD != k.s().aead:
		return nil, fmt.Errorf("config: %w: head says %s, key slot %s", ErrTampered, h.AEAD, k.s().aead)
	}
	payload, _, err := k.OpenEnvelope(KindConfig, configAD+string(object[:ConfigHeadSize]), envelope)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return payload, nil
}
