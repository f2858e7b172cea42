package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// key is the id of a node or blob in 16 bytes: a UUID itself, of anything else a hash.
type key [16]byte

// uuid returns the key of a UUID in lower case.
func uuid(id string) (k key, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return k, false
	}
	var digits [32]byte
	n := 0
	for i := range len(id) {
		switch c := id[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
			digits[n] = c
			n++
		default:
			return k, false
		}
	}
	_, err := hex.Decode(k[:], digits[:])
	return k, err == nil
}

// ids turns ids into keys and back. UUIDs cost nothing; others are remembered.
type ids struct{ others map[key]string }

func (x *ids) key(id string) key {
	k, ok := uuid(id)
	if !ok {
		sum := sha256.Sum256([]byte(id))
		copy(k[:], sum[:])
		if x.others == nil {
			x.others = map[key]string{}
		}
		x.others[k] = id
	}
	return k
}

func (x *ids) text(k key) string {
	if id, ok := x.others[k]; ok {
		return id
	}
	s := hex.EncodeToString(k[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// shard is the path of an id as decomposedfs cuts it: aa/bb/cc/dd/rest.
func shard(id string) string {
	if len(id) < 9 {
		return id
	}
	return id[:2] + "/" + id[2:4] + "/" + id[4:6] + "/" + id[6:8] + "/" + id[8:]
}

// unshard returns the id whose path is aa/bb/cc/dd/rest.
func unshard(path string) (id string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 || parts[4] == "" {
		return "", false
	}
	for _, p := range parts[:4] {
		if len(p) != 2 || p == ".." {
			return "", false
		}
	}
	return strings.Join(parts, ""), true
}

// variant is what a node is besides itself.
type variant string

const (
	live    variant = ""
	version variant = ".REV."
	trashed variant = ".T."
)

// splitVariant takes the suffix of a revision or of something in the trash from a name.
func splitVariant(name string) (base string, v variant, when string) {
	for _, v := range []variant{version, trashed} {
		if base, when, ok := strings.Cut(name, string(v)); ok {
			return base, v, when
		}
	}
	return name, live, ""
}
