package match

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the suffixes of ParseSize, in lower case.
var sizeUnits = func() map[string]int64 {
	units := map[string]int64{"": 1, "b": 1}
	binary, decimal := int64(1), int64(1)
	for _, letter := range []string{"k", "m", "g", "t", "p", "e"} {
		binary <<= 10
		decimal *= 1000
		units[letter], units[letter+"ib"], units[letter+"b"] = binary, binary, decimal
	}
	return units
}()

// ParseSize parses a number of bytes: a decimal integer and a unit in either case.
// K, M, G, T, P and E are powers of 1024, and so are KiB, MiB ...; KB, MB ... are
// powers of 1000; B, or no unit, is a byte. Sizes are at most 1<<63 - 1.
func ParseSize(s string) (int64, error) {
	digits := 0
	for digits < len(s) && isDigit(s[digits]) {
		digits++
	}
	unit, known := sizeUnits[strings.ToLower(s[digits:])]
	if digits == 0 || !known {
		return 0, fmt.Errorf("size %.40q: want a number and a unit, as in 500K, 10M or 1GiB", s)
	}
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("size %.40q is too large", s)
	}
	return n * unit, nil
}
