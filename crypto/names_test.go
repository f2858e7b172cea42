package crypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestSessionIDText(t *testing.T) {
	for _, tt := range []struct{ hex, text string }{
		{"00000000000000000000000000000000", "00000000000000000000000000"},
		{"ffffffffffffffffffffffffffffffff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"},
		{"00000000000000000000000000000001", "00000000000000000000000001"},
		{"01563e3ab5d3d6764c61efb99302bd5b", "01arz3ndektsv4rrffq69g5fav"}, // the ULID specification's example
	} {
		b, _ := hex.DecodeString(tt.hex)
		id := SessionID(b)
		if id.String() != tt.text || id.Short() != tt.text[:12] {
			t.Errorf("%s is %s, short %s, want %s", tt.hex, id, id.Short(), tt.text)
		}
		if back, err := ParseSessionID(tt.text); err != nil || back != id {
			t.Errorf("ParseSessionID(%s) = %x, %v", tt.text, back, err)
		}
	}
}

func TestParseSessionIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "0", "01arz3ndektsv4rrffq69g5fa", "01arz3ndektsv4rrffq69g5fav0", // lengths
		"81arz3ndektsv4rrffq69g5fav", "z1arz3ndektsv4rrffq69g5fav", // over 128 bits
		"01ARZ3NDEKTSV4RRFFQ69G5FAV",                                                             // upper case
		"01arz3ndektsv4rrffq69g5fai", "l1arz3ndektsv4rrffq69g5fav", "01arz3ndektsv4rrffq69g5fao", // aliases
		"01arz3ndektsv4rrffq69g5fau", "01arz3ndektsv4/rffq69g5fav", "01arz3ndektsv4\x00rffq69g5fav", "ü1arz3ndektsv4rrffq69g5fa",
	} {
		if id, err := ParseSessionID(text); err == nil || id != (SessionID{}) {
			t.Errorf("ParseSessionID(%q) = %x, %v", text, id, err)
		}
	}
}

func TestNewSessionID(t *testing.T) {
	now := time.Date(2026, 7, 14, 12, 30, 15, 123_456_789, time.FixedZone("", 7200))
	id, err := NewSessionID(now, bytes.NewReader(sequence(1, 10)))
	if err != nil {
		t.Fatal(err)
	}
	if want := now.UTC().Truncate(time.Millisecond); !id.Time().Equal(want) || id.Time().Location() != time.UTC {
		t.Errorf("Time() = %v, want %v", id.Time(), want)
	}
	if !bytes.Equal(id[6:], sequence(1, 10)) || id.IsZero() || !(SessionID{}).IsZero() {
		t.Errorf("id %x", id)
	}
	if _, err := NewSessionID(now, bytes.NewReader(make([]byte, 9))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short randomness: %v", err)
	}
	for _, when := range []time.Time{time.Unix(-1, 0), time.UnixMilli(1 << 48)} {
		if _, err := NewSessionID(when, bytes.NewReader(make([]byte, 10))); err == nil {
			t.Errorf("the time %v is accepted", when)
		}
	}
	if _, err := NewSessionID(time.UnixMilli(1<<48-1), bytes.NewReader(make([]byte, 10))); err != nil {
		t.Error(err)
	}
}

func TestSessionIDOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func() (id SessionID) {
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		return id
	}
	for range 2000 {
		a, b := draw(), draw()
		if r.IntN(2) == 0 {
			copy(b[:r.IntN(16)], a[:])
		}
		if a.Compare(b) != strings.Compare(a.String(), b.String()) {
			t.Fatalf("%x and %x sort differently as text", a, b)
		}
	}
}

func TestHexNames(t *testing.T) {
	id := ID(sequence(0xf0, 32))
	if back, err := ParseID(id.String()); err != nil || back != id || id.String() != hex.EncodeToString(id[:]) {
		t.Errorf("ParseID(%s) = %s, %v", id, back, err)
	}
	if back, err := ParseRepoID(testRepo.String()); err != nil || back != testRepo {
		t.Errorf("ParseRepoID(%s) = %s, %v", testRepo, back, err)
	}
	if back, err := ParseSlotID(testSlotID.String()); err != nil || back != testSlotID || testSlotID.String() != "a0a1a2a3a4a5a6a7" {
		t.Errorf("ParseSlotID(%s) = %s, %v", testSlotID, back, err)
	}
	for _, s := range []string{"", "a0a1a2a3a4a5a6a", "a0a1a2a3a4a5a6a7a8", "A0a1a2a3a4a5a6a7", "g0a1a2a3a4a5a6a7", "a0a1a2a3a4a5a6 7"} {
		if v, err := ParseSlotID(s); err == nil || v != (SlotID{}) {
			t.Errorf("ParseSlotID(%q) = %s, %v", s, v, err)
		}
	}
	if !(ID{}).IsZero() || id.IsZero() || id.Compare(ID{}) != 1 || id.Compare(id) != 0 {
		t.Error("IsZero or Compare is wrong")
	}
}

func TestRandomNames(t *testing.T) {
	short := iotest.DataErrReader(bytes.NewReader([]byte{1, 2, 3}))
	if _, err := NewRepoID(short); err == nil {
		t.Error("NewRepoID with 3 random bytes")
	}
	if _, err := NewSlotID(bytes.NewReader([]byte{1, 2, 3})); err == nil {
		t.Error("NewSlotID with 3 random bytes")
	}
	if _, err := NewMasterKey(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("NewMasterKey with 31 random bytes")
	}
	m, err := NewMasterKey(bytes.NewReader(sequence(0x40, 32)))
	if err != nil || m != testMaster {
		t.Errorf("NewMasterKey: %v", err)
	}
}

func FuzzSessionID(f *testing.F) {
	f.Add("01arz3ndektsv4rrffq69g5fav")
	f.Add("7zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Add("80000000000000000000000000")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseSessionID(text)
		if err == nil && id.String() != text {
			t.Fatalf("%q parses to %s", text, id)
		}
		if len(text) >= 16 {
			id := SessionID([]byte(text[:16]))
			if back, err := ParseSessionID(id.String()); err != nil || back != id {
				t.Fatalf("%x is %s, which parses to %x, %v", id, id, back, err)
			}
		}
	})
}
