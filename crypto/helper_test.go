package crypto

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// counter is a source of "randomness" that counts from a start.
type counter byte

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(*c)
		*c++
	}
	return len(p), nil
}

// fixed returns a reproducible source.
func fixed(start byte) io.Reader {
	c := counter(start)
	return Reproducible{&c}
}

func sequence(start byte, n int) []byte {
	b := make([]byte, n)
	c := counter(start)
	c.Read(b)
	return b
}

var (
	testMaster  = MasterKey(sequence(0x40, 32))
	testRepo    = RepoID(sequence(0xe0, 16))
	testSession = SessionID(sequence(0x01, 16))
	testSlotID  = SlotID(sequence(0xa0, 8))
	testTime    = time.Unix(1_750_000_000, 123_456_789).UTC()
)

const testPassphrase = "correct horse battery staple"

var bothAEADs = []AEAD{AESGCM, ChaCha20Poly1305}

func testKeys(a AEAD) *Keys { return NewKeys(testMaster, testRepo, a) }

func testHead(a AEAD) ConfigHead { return ConfigHead{AEAD: a, Repo: testRepo} }

func testSlotParams(a AEAD) SlotParams {
	return SlotParams{
		ID: testSlotID, Repo: testRepo, AEAD: a, Cost: TestKDFCost, ConfigHead: testHead(a).Encode(),
		Created: testTime, Label: "räksmörgås", Host: "host.example",
	}
}

func testSlot(t testing.TB, a AEAD) []byte {
	t.Helper()
	b, err := SealSlot(testMaster, []byte(testPassphrase), testSlotParams(a), fixed(0x10))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testConfig(t testing.TB, a AEAD) []byte {
	t.Helper()
	b, err := SealConfig(testKeys(a), testHead(a), []byte("parameters"), fixed(0x20))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const testAD = "commits/01k0000000000000000000000"

func testEnvelope(t testing.TB, a AEAD, n int) []byte {
	t.Helper()
	b, err := testKeys(a).SealEnvelope(KindCommit, testSession, testAD, sequence(9, n), fixed(0x30))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var sorts = []error{ErrWrongPassphrase, ErrTampered, ErrDamaged, ErrUnsupported, ErrForeign}

// wantSort fails the test unless err is of the sort want, and of no other.
func wantSort(t testing.TB, err, want error, format string, args ...any) {
	t.Helper()
	for _, s := range sorts {
		if errors.Is(err, s) != (s == want) {
			t.Errorf(format+": got %v, want %v", append(args, err, want)...)
			return
		}
	}
}

// oneSort fails the test unless err is of exactly one sort.
func oneSort(t testing.TB, err error) {
	t.Helper()
	n := 0
	for _, s := range sorts {
		if errors.Is(err, s) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("error of %d sorts: %v", n, err)
	}
}

func flip(b []byte, bit int) []byte {
	c := bytes.Clone(b)
	c[bit/8] ^= 1 << (bit % 8)
	return c
}

// rechecksum replaces the checksum at the end of b, as whoever alters b would.
func rechecksum(b []byte) []byte {
	return appendChecksum(bytes.Clone(b[:len(b)-checksumSize]))
}
