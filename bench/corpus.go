package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// words make text that compresses about as prose and source code do.
var words = []string{"the", "backup", "of", "a", "tree", "return", "if", "err", "!=", "nil", "{", "}", "\n", "func", "volume", "snapshot", "0x1f", "value", "//", "=", "for", "range", "index", "key"}

// Text appends n bytes of text.
func Text(b []byte, rng *rand.Rand, n int) []byte {
	for end := len(b) + n; len(b) < end; {
		b = append(append(b, words[rng.IntN(len(words))]...), ' ')
		if rng.IntN(8) == 0 {
			b = fmt.Appendf(b, "%d ", rng.Uint32())
		}
	}
	return b
}

// Noise appends n random bytes.
func Noise(b []byte, rng *rand.Rand, n int) []byte {
	for range n / 8 {
		v := rng.Uint64()
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
	return b
}

// SmallFiles makes n files of 100 to 6000 bytes of text under dir, a hundred in
// each directory, and returns their bytes in all.
func SmallFiles(dir string, seed uint64, n int) (total int64, err error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("d%04d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return 0, err
			}
		}
		data := Text(nil, rng, 100+rng.IntN(5900))
		total += int64(len(data))
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%06d", i)), data, 0o644); err != nil {
			return 0, err
		}
	}
	return total, nil
}
