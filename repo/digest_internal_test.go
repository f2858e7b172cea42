package repo

import (
	"bytes"
	"testing"
)

// FuzzDigest: whatever the bytes, an error or records that encode to them again.
func FuzzDigest(f *testing.F) {
	f.Add(encodeDigest(nil))
	f.Add(encodeDigest(map[string][]byte{"commits/a": []byte("x"), "events/b": {}}))
	f.Add([]byte{2, 1, 'b', 0, 1, 'a', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := decodeDigest(b)
		if err == nil && !bytes.Equal(encodeDigest(records), b) {
			t.Errorf("%x was accepted and encodes to %x", b, encodeDigest(records))
		}
	})
}
