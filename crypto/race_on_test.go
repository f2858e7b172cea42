//go:build race

package crypto

// raceEnabled: the race detector makes sync.Pool drop what it holds.
const raceEnabled = true
