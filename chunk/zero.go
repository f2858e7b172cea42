package chunk

import "bytes"

// IsZero reports whether all bytes of b are zero. It returns early when one of
// the first few is not.
func IsZero(b []byte) bool {
	const head = 32
	for _, x := range b[:min(head, len(b))] {
		if x != 0 {
			return false
		}
	}
	// What starts with zeros and equals itself moved by as many is all zeros.
	return len(b) <= head || bytes.Equal(b[head:], b[:len(b)-head])
}
