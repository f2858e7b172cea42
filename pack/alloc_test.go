//go:build !race

package pack

import (
	"testing"

	"vault/crypto"
)

// TestAllocations: coding, sealing and verifying reuse what they have.
func TestAllocations(t *testing.T) {
	rng := newRand(1)
	for name, raw := range map[string][]byte{"text": text(rng, 300_000), "noise": noise(rng, 300_000), "large": text(rng, 5<<20)} {
		c := NewCoder(LevelFastest)
		dst := make([]byte, EncodeBound(len(raw)))
		scratch := make([]byte, DecodeBound(len(raw)))
		b := newBuilder(t, crypto.BlobData, 16<<20, nil)
		_, blobs := gather(testKeys, crypto.BlobData, raw)
		coded, codec := c.Encode(dst, raw)
		slot, _ := b.Reserve(coded, codec, len(raw), blobs)
		slot.Seal(coded)
		n := testing.AllocsPerRun(10, func() {
			c.Encode(dst, raw)
			if _, err := slot.Verify(c, scratch); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
