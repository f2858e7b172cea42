package crypto

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/cpu"
)

// formatVersion is the version byte of slots, config and headers.
const formatVersion = 1

// Kind is the kind of a stored object: the fourth byte of its magic. The values
// are part of the format.
type Kind byte

// The kinds of objects.
const (
	KindSlot    Kind = 'K'
	KindConfig  Kind = 'C'
	KindPack    Kind = 'P'
	KindIndex   Kind = 'I'
	KindSession Kind = 'S'
	KindCommit  Kind = 'M'
	KindEvent   Kind = 'E'
	KindPlan    Kind = 'G'
	KindDone    Kind = 'D'
)

// String returns the name of the kind as messages show it.
func (k Kind) String() string {
	switch k {
	case KindSlot:
		return "key slot"
	case KindConfig:
		return "config"
	case KindPack:
		return "pack"
	case KindIndex:
		return "index segment"
	case KindSession:
		return "session"
	case KindCommit:
		return "commit"
	case KindEvent:
		return "event"
	case KindPlan:
		return "plan"
	case KindDone:
		return "done"
	}
	return fmt.Sprintf("object of kind %#02x", byte(k))
}

// MaxSize returns the limit, in bytes, of a stored object of this kind
// (section 13); 0 for an unknown kind. Readers refuse what is larger before
// they fetch it.
func (k Kind) MaxSize() int {
	switch k {
	case KindSlot:
		return 8 << 10
	case KindConfig:
		return 64 << 10
	case KindSession, KindEvent:
		return 1 << 20
	case KindCommit:
		return 64 << 20
	case KindPlan, KindDone:
		return 256 << 20
	case KindPack, KindIndex:
		return 1 << 30
	}
	return 0
}

// label returns the label of the subkey from which the keys of objects of this
// kind are made; "" for slots, whose key comes from a passphrase.
func (k Kind) label() string {
	switch k {
	case KindPack:
		return "pack"
	case KindIndex:
		return "index"
	case KindConfig, KindCommit:
		return "metadata"
	case KindSession:
		return "session"
	case KindEvent, KindPlan, KindDone:
		return "coordination"
	}
	return ""
}

// isEnvelope reports whether objects of this kind are envelopes.
func (k Kind) isEnvelope() bool { return k.label() != "" && k != KindPack }

// hasSession reports whether headers of this kind name a writer's session.
func (k Kind) hasSession() bool {
	return k != KindConfig && k != KindPlan && k != KindDone
}

// BlobKind is the kind of a blob. Blobs of different kinds have different names
// even if their bytes are equal. The values are part of the format.
type BlobKind uint8

// The kinds of blobs.
const (
	BlobData BlobKind = 1 // a chunk of a file
	BlobTree BlobKind = 2 // a page of a tree
)

// String returns "data" or "tree".
func (k BlobKind) String() string {
	switch k {
	case BlobData:
		return "data"
	case BlobTree:
		return "tree"
	}
	return fmt.Sprintf("blob kind %d", uint8(k))
}

// AEAD is the algorithm of authenticated encryption of a repository. It is
// chosen once, at init. The values are part of the format.
type AEAD uint8

// The algorithms. Both have keys of 32 bytes, nonces of 12 and tags of 16.
const (
	AESGCM           AEAD = 1 // AES-256-GCM, NIST SP 800-38D
	ChaCha20Poly1305 AEAD = 2 // RFC 8439
)

// Overhead is the number of bytes by which sealing lengthens its plaintext.
const Overhead = 16

// String returns the name of the algorithm.
func (a AEAD) String() string {
	switch a {
	case AESGCM:
		return "aes-256-gcm"
	case ChaCha20Poly1305:
		return "chacha20-poly1305"
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}

func (a AEAD) known() bool { return a == AESGCM || a == ChaCha20Poly1305 }

// PreferredAEAD returns the faster algorithm on this processor: AES-GCM where
// the instructions for AES and carry-less multiplication exist, else
// ChaCha20-Poly1305. A repository may be used anywhere, whatever was chosen.
func PreferredAEAD() AEAD {
	var fast bool
	switch runtime.GOARCH {
	case "amd64", "386":
		fast = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSE41
	case "arm64":
		fast = cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || runtime.GOOS == "darwin"
	case "s390x":
		fast = cpu.S390X.HasAESGCM
	case "ppc64", "ppc64le":
		fast = true // POWER8, Go's minimum, has both
	}
	if fast {
		return AESGCM
	}
	return ChaCha20Poly1305
}
