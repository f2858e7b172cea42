package crypto

import "fmt"

// KDFCost is what one guess of a passphrase costs: the parameters of Argon2id
// (RFC 9106).
type KDFCost struct {
	Time    uint32 // passes over the memory
	Memory  uint32 // KiB
	Threads uint8  // lanes
}

// DefaultKDFCost is the second recommendation of RFC 9106, section 4: 64 MiB fit
// any machine, and take 0.05 to 0.3 s.
var DefaultKDFCost = KDFCost{Time: 3, Memory: 64 << 10, Threads: 4}

// TestKDFCost is the least that the format allows. It protects nothing.
var TestKDFCost = KDFCost{Time: 1, Memory: 8, Threads: 1}

// The limits of the cost, which bound what a hostile key slot can ask for.
const (
	maxKDFTime    = 16
	maxKDFMemory  = 4 << 20 // KiB
	maxKDFThreads = 16
	minKDFLane    = 8 // KiB of memory per lane
)

// Validate reports which limit of the format the cost exceeds.
func (c KDFCost) Validate() error {
	switch {
	case c.Time < 1 || c.Time > maxKDFTime:
		return fmt.Errorf("key derivation with %d passes, want 1 to %d", c.Time, maxKDFTime)
	case c.Threads < 1 || c.Threads > maxKDFThreads:
		return fmt.Errorf("key derivation with %d lanes, want 1 to %d", c.Threads, maxKDFThreads)
	case c.Memory < minKDFLane*uint32(c.Threads) || c.Memory > maxKDFMemory:
		return fmt.Errorf("key derivation with %d KiB for %d lanes, want %d to %d KiB",
			c.Memory, c.Threads, minKDFLane*uint32(c.Threads), maxKDFMemory)
	}
	return nil
}

// String returns the cost as "argon2id t=3 m=65536 p=4".
func (c KDFCost) String() string {
	return fmt.Sprintf("argon2id t=%d m=%d p=%d", c.Time, c.Memory, c.Threads)
}

// sealKey runs the derivation for a new slot; the cost has been validated.
func (c KDFCost) sealKey(passphrase []byte, salt *[32]byte) []byte {
	return libraryArgon2id(passphrase, salt[:], c)
}

// slotKey runs the derivation for a slot that is opened; the cost has been validated.
func (c KDFCost) slotKey(passphrase []byte, salt *[32]byte) []byte {
	return argon2id(passphrase, salt[:], c)
}
