package repo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"vault/crypto"
	"vault/pack"
)

// Where objects lie. The names are part of the format (docs/format.md section 2).
const (
	configName  = "config"
	ballastName = "ballast"
	keysDir     = "keys/"
	packsDir    = "packs/"
	indexDir    = "index/"
	sessionsDir = "sessions/"
	commitsDir  = "commits/"
	eventsDir   = "events/"
	gcDir       = "gc/"
	parityDir   = "parity/"
)

func slotName(id crypto.SlotID) string       { return keysDir + id.String() }
func sessionName(id crypto.SessionID) string { return sessionsDir + id.String() }
func commitName(id crypto.SessionID) string  { return commitsDir + id.String() }
func indexName(id [32]byte) string           { return indexDir + fmt.Sprintf("%x", id[:]) }
func eventName(id crypto.SessionID, k uint32) string {
	return fmt.Sprintf("%s%s/%08d", eventsDir, id, k)
}
func planName(n uint64) string { return fmt.Sprintf("%s%010d.plan", gcDir, n) }
func doneName(n uint64) string { return fmt.Sprintf("%s%010d.done", gcDir, n) }

// parseGC takes apart "gc/<n>.plan" or "gc/<n>.done".
func parseGC(name string) (n uint64, kind crypto.Kind, ok bool) {
	digits, found := strings.CutPrefix(name, gcDir)
	if !found {
		return 0, 0, false
	}
	digits, ext, _ := strings.Cut(digits, ".")
	switch ext {
	case "plan":
		kind = crypto.KindPlan
	case "done":
		kind = crypto.KindDone
	default:
		return 0, 0, false
	}
	if len(digits) != 10 {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, kind, err == nil && n > 0
}

// parseEvent takes apart "events/<sid>/<k>".
func parseEvent(name string) (sid crypto.SessionID, k uint32, ok bool) {
	id, digits, _ := strings.Cut(strings.TrimPrefix(name, eventsDir), "/")
	sid, err := crypto.ParseSessionID(id)
	n, kerr := strconv.ParseUint(digits, 10, 32)
	return sid, uint32(n), err == nil && kerr == nil && len(digits) == 8 && n > 0 && strings.HasPrefix(name, eventsDir)
}

// OwnName reports whether name is one that a repository of this format gives
// to its objects. Strangers' files beside them are none of its business.
func OwnName(name string) bool {
	if name == configName || name == ballastName {
		return true
	}
	dir, rest, found := strings.Cut(name, "/")
	if !found {
		return false
	}
	switch dir + "/" {
	case keysDir:
		return isHex(rest, 16)
	case packsDir, parityDir:
		if dir+"/" == packsDir {
			shard, id, _ := strings.Cut(rest, "/")
			return isHex(id, 64) && shard == id[:2]
		}
		return isHex(rest, 64)
	case indexDir:
		return isHex(rest, 64)
	case sessionsDir, commitsDir:
		_, err := crypto.ParseSessionID(rest)
		return err == nil
	case eventsDir:
		_, _, ok := parseEvent(name)
		return ok
	case gcDir:
		_, _, ok := parseGC(name)
		return ok
	}
	return false
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// parseIndexName returns the hash in "index/<hex>".
func parseIndexName(name string) ([32]byte, bool) {
	id, err := pack.ParseID(strings.TrimPrefix(name, indexDir))
	return id, err == nil && strings.HasPrefix(name, indexDir)
}

// isMissing reports whether err says that an object is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// isShort reports whether err says that an object ends too early.
func isShort(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
