package repo

import (
	"bytes"
	"strings"
	"testing"

	"vault/crypto"
	"vault/pack"
	"vault/snapshot"
)

// fuzzRecord fuzzes the decoder of a record: it refuses, or gives what encodes to
// the same bytes.
func fuzzRecord[T any](f *testing.F, decode func([]byte) (T, error), encode func(T) []byte, seeds ...T) {
	for _, s := range seeds {
		f.Add(encode(s))
	}
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		v, err := decode(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		if got := encode(v); !bytes.Equal(got, b) {
			t.Fatalf("encodes to %x, was %x", got, b)
		}
	})
}

func FuzzSession(f *testing.F) {
	fuzzRecord(f, decodeSession, session.encode,
		session{Generation: 3, Counter: 7, Started: snapshot.Time{Sec: 1_800_000_000, Nsec: 5}, Host: "h\xff", PID: 1 << 40, Program: "vault"}, session{})
}

func FuzzPlan(f *testing.F) {
	fuzzRecord(f, decodePlan, plan.encode,
		plan{N: 2, Done: [32]byte{1}, Condemned: []pack.ID{{1}, {2}}, OrphanPacks: []pack.ID{{3}}, OrphanSegments: [][32]byte{{4}}, Dropped: []crypto.SessionID{{5}}}, plan{N: 1})
}

func FuzzDone(f *testing.F) {
	fuzzRecord(f, decodeDone, done.encode,
		done{N: 2, Previous: [32]byte{1}, Index: [][32]byte{{1}, {9}}, Live: []crypto.SessionID{{5}, {6}}, DeletePacks: []pack.ID{{1}}, DeleteSegments: [][32]byte{{4}}}, done{N: 1})
}

func FuzzEvent(f *testing.F) {
	fuzzRecord(f, decodeEvent, Event.encode,
		Event{Kind: EventForget, Host: "h", User: "u"}, Event{Kind: EventUnforget}, Event{Kind: EventCollected, Time: snapshot.Time{Sec: -1}},
		Event{Kind: EventTags, Tags: []TagChange{{Key: "k", Value: "v"}, {Remove: true, Key: "k"}}}, Event{Kind: EventNote, Key: "lost", Value: []byte("1\x00v\x00p\x00")})
}

// FuzzParams: what a config may say is within the limits, and encodes as it was.
func FuzzParams(f *testing.F) {
	p := DefaultParams()
	f.Add(p.encode(), uint64(0))
	f.Add(p.encode(), uint64(1))
	p.Compression, p.PackSize, p.Trees.SinglePage = pack.LevelBest, 64<<10, 16
	f.Add(p.encode(), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, features uint64) {
		p, err := decodeParams(b, features)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("accepts what it would not write: %v", err)
		}
		if got := p.encode(); !bytes.Equal(got, b) {
			t.Fatalf("encodes to %x, was %x", got, b)
		}
	})
}

// FuzzObjectNames: what is taken for a name of ours is one.
func FuzzObjectNames(f *testing.F) {
	for _, s := range []string{"config", "gc/0000000001.plan", "gc/0000000012.done", "events/01kxg9pfyr0000000000010000/00000002",
		"index/" + strings.Repeat("ab", 32), "keys/0000000000000007", "packs/ab/" + strings.Repeat("ab", 32), "gc/00000000001.plan", "ballast"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, kind, ok := parseGC(s); ok && map[crypto.Kind]string{crypto.KindPlan: planName(n), crypto.KindDone: doneName(n)}[kind] != s {
			t.Errorf("generation %d of %q", n, s)
		}
		if sid, k, ok := parseEvent(s); ok && eventName(sid, k) != s {
			t.Errorf("event %d of %q", k, s)
		}
		if id, ok := parseIndexName(s); ok && indexName(id) != s {
			t.Errorf("index segment %q", s)
		}
		OwnName(s)
	})
}
