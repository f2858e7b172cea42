package repo

import "testing"

// TestRoomy: what lies at the beginning of a buffer has its room again, and
// nothing else has.
func TestRoomy(t *testing.T) {
	dst := make([]byte, 0, 100)
	for _, c := range []struct {
		name       string
		plain, dst []byte
		room       int
	}{
		{"cut off", dst[:10:20], dst, 100},
		{"whole", dst[:10], dst, 100},
		{"elsewhere", make([]byte, 5), dst, 5},
		{"elsewhere in it", dst[10:20:30], dst, 20},
		{"no buffer", make([]byte, 5), nil, 5},
		{"empty", nil, dst, 0},
	} {
		got := roomy(c.plain, c.dst)
		if len(got) != len(c.plain) || cap(got) != c.room || len(got) > 0 && &got[0] != &c.plain[0] {
			t.Errorf("%s: %d of %d bytes, want %d of %d", c.name, len(got), cap(got), len(c.plain), c.room)
		}
	}
}
