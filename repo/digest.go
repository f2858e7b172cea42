package repo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"vault/crypto"
	"vault/internal/wire"
)

// A digest is one file in a client's cache with all commits and events that it has
// read, so that a repository of ten thousand backups opens about as fast as one
// of ten: one file is read and opened instead of one for each record. It is sealed like
// an index segment, under a name that no object has, and as disposable as everything in the cache.
//
//	| count uvarint | { name string | payload bytes } ... sorted by name |
//
// Listings still come from the store: a record that the store does not list does
// not exist, whatever the digest has.
type digest struct {
	mu      sync.Mutex        // guards what follows
	read    bool              // the file was looked for
	records map[string][]byte // payloads by name
	fresh   int               // of these, how many the file lacks
	stored  int               // how many the file has
}

const (
	digestName    = "digest"
	digestRecords = 10 << 20 // limit of their number
	digestPayload = 64 << 20 // limit of one, that of a commit
	digestSlack   = 64       // so many new records, and one in eight of all, before the file is written anew
)

// inDigest reports whether records of this kind are kept there.
func (r *Repo) inDigest(kind crypto.Kind) bool {
	return r.env.CacheDir != "" && (kind == crypto.KindCommit || kind == crypto.KindEvent)
}

// digested returns the payload of a record that was read before.
func (r *Repo) digested(name string) ([]byte, bool) {
	d := &r.digest
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.read {
		d.read, d.records = true, map[string][]byte{}
		if object, ok := r.cache.Get(digestName); ok {
			payload, _, err := r.keys.OpenEnvelope(crypto.KindIndex, digestName, object)
			if err == nil {
				d.records, err = decodeDigest(payload)
			}
			if err != nil {
				r.cache.Drop(digestName)
				d.records = map[string][]byte{}
			}
			d.stored = len(d.records)
		}
	}
	payload, ok := d.records[name]
	return payload, ok
}

// addDigest notes a record that was read from the store, while a view is read.
func (r *Repo) addDigest(name string, payload []byte) {
	d := &r.digest
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.records != nil {
		d.records[name] = payload
		d.fresh++
	}
}

// keepDigest writes the file when enough of the view is new to it, or gone. The
// payloads are let go: the view has what they say.
func (r *Repo) keepDigest(v *view) {
	d := &r.digest
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.read {
		return
	}
	maps.DeleteFunc(d.records, func(name string, _ []byte) bool {
		sid, _, event := parseEvent(name)
		if !event {
			var err error
			if sid, err = crypto.ParseSessionID(strings.TrimPrefix(name, commitsDir)); err != nil {
				return true
			}
		}
		return v.commits[sid] == nil
	})
	gone := d.stored + d.fresh - len(d.records)
	if d.fresh+gone > digestSlack && (d.fresh+gone)*8 > d.stored && len(d.records) <= digestRecords {
		if object, err := r.keys.SealEnvelope(crypto.KindIndex, crypto.SessionID{}, digestName, encodeDigest(d.records), r.env.Rand); err == nil {
			r.cache.Put(digestName, object)
		}
	}
	d.read, d.records, d.fresh, d.stored = false, nil, 0, 0
}

func encodeDigest(records map[string][]byte) []byte {
	b := wire.AppendUvarint(nil, uint64(len(records)))
	for _, name := range slices.Sorted(maps.Keys(records)) {
		b = wire.AppendBytes(wire.AppendString(b, name), records[name])
	}
	return b
}

// decodeDigest returns payloads that share b.
func decodeDigest(b []byte) (map[string][]byte, error) {
	rd := wire.NewReader(b)
	n := rd.Count(digestRecords, 2)
	records := make(map[string][]byte, n)
	for last := ""; n > 0 && rd.Err() == nil; n-- {
		name := rd.String(maxRecordName)
		if name <= last {
			rd.Fail("%q comes after %q", name, last)
		}
		records[name], last = rd.Bytes(digestPayload), name
	}
	if err := rd.Done(); err != nil {
		return nil, fmt.Errorf("digest of records: %w", err)
	}
	return records, nil
}

// maxRecordName is more than any name of a commit or an event has.
const maxRecordName = 255
