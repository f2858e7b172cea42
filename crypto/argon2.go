package crypto

import (
	"bytes"
	"encoding/binary"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
)

// argon2id is Argon2id, version 0x13, of RFC 9106 without secret and associated
// data: the key of 32 bytes. Where the processor has the instructions, blocks are
// mixed eight words at a time (argon2_amd64.s); elsewhere the derivation is that
// of golang.org/x/crypto, which tests compare with.
//
// Opening a repository costs one derivation, and that was nine tenths of what a
// backup of an unchanged tree took: docs/decisions/010. What is sealed, which must open
// on every machine for ever, is derived by the library alone (KDFCost.sealKey), and a
// processor on which the two do not agree is not trusted with ours (mixes).
func argon2id(passphrase, salt []byte, c KDFCost) []byte {
	if !mixes() {
		return libraryArgon2id(passphrase, salt, c)
	}
	return mixedArgon2id(passphrase, salt, c)
}

func libraryArgon2id(passphrase, salt []byte, c KDFCost) []byte {
	return argon2.IDKey(passphrase, salt, c.Time, c.Memory, c.Threads, 32)
}

// mixes reports whether this processor derives as the library does, tried once in
// a process on a derivation of 0.2 ms.
var mixes = sync.OnceValue(func() bool {
	c, input := KDFCost{Time: 2, Memory: 128, Threads: 2}, make([]byte, 16)
	return haveMixer && bytes.Equal(mixedArgon2id(input, input, c), libraryArgon2id(input, input, c))
})

// An argon2Block is 8 rows of 16 words. In memory each row has its words with even
// indices first and those with odd indices behind them, as mixBlocks wants it:
// word w of RFC 9106 is at place(w).
type argon2Block [128]uint64

func place(w uint32) uint32 { return w&^15 | w&1<<3 | w>>1&7 }

// The parts of a pass: at their ends lanes wait for each other.
const argon2Slices = 4

// argon2State is one derivation.
type argon2State struct {
	memory  []argon2Block
	lanes   uint32
	passes  uint32
	lane    uint32 // blocks in a lane
	segment uint32 // blocks in a slice of a lane
}

// mixedArgon2id is section 3.2 of RFC 9106.
func mixedArgon2id(passphrase, salt []byte, c KDFCost) []byte {
	s := argon2State{lanes: uint32(c.Threads), passes: c.Time}
	s.segment = c.Memory / (argon2Slices * s.lanes)
	s.lane = argon2Slices * s.segment
	memory, release := argon2Memory(int(s.lanes * s.lane))
	defer release()
	s.memory = memory
	s.start(passphrase, salt, c)
	for pass := range s.passes {
		for slice := range uint32(argon2Slices) {
			var wg sync.WaitGroup
			for lane := range s.lanes {
				wg.Go(func() { s.fill(pass, slice, lane) })
			}
			wg.Wait()
		}
	}
	last := s.memory[s.lane-1]
	for lane := uint32(1); lane < s.lanes; lane++ {
		for i, w := range s.memory[lane*s.lane+s.lane-1] {
			last[i] ^= w
		}
	}
	var b [1024]byte
	for w := range uint32(128) {
		binary.LittleEndian.PutUint64(b[8*w:], last[place(w)])
	}
	out := make([]byte, 32)
	argon2Hash(out, b[:])
	return out
}

// start hashes the input and fills the first two blocks of every lane.
func (s *argon2State) start(passphrase, salt []byte, c KDFCost) {
	const version, typeID = 0x13, 2
	var in []byte
	for _, v := range []uint32{uint32(c.Threads), 32, c.Memory, c.Time, version, typeID, uint32(len(passphrase))} {
		in = binary.LittleEndian.AppendUint32(in, v)
	}
	in = append(in, passphrase...)
	in = append(binary.LittleEndian.AppendUint32(in, uint32(len(salt))), salt...)
	in = append(in, make([]byte, 8)...) // no secret, no associated data
	h := blake2b.Sum512(in)
	clear(in)
	var b [1024]byte
	for lane := range s.lanes {
		for i := range uint32(2) {
			seed := binary.LittleEndian.AppendUint32(h[:len(h):len(h)], i)
			argon2Hash(b[:], binary.LittleEndian.AppendUint32(seed, lane))
			for w := range uint32(128) {
				s.memory[lane*s.lane+i][place(w)] = binary.LittleEndian.Uint64(b[8*w:])
			}
		}
	}
}

// argon2Hash is H' of RFC 9106, section 3.3: BLAKE2b with an output of any length.
func argon2Hash(out, in []byte) {
	size := min(len(out), blake2b.Size)
	h, err := blake2b.New(size, nil)
	if err != nil {
		panic("crypto: " + err.Error()) // a length out of range
	}
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], uint32(len(out)))
	h.Write(length[:])
	h.Write(in)
	v := h.Sum(nil)
	for len(out) > blake2b.Size {
		n := copy(out, v[:blake2b.Size/2])
		out = out[n:]
		if len(out) > blake2b.Size {
			sum := blake2b.Sum512(v)
			v = append(v[:0], sum[:]...)
			continue
		}
		if h, err = blake2b.New(len(out), nil); err != nil {
			panic("crypto: " + err.Error())
		}
		h.Write(v)
		v = h.Sum(nil)
	}
	copy(out, v)
}

// fill computes one segment: section 3.4. In the first half of the first pass the
// blocks that are mixed in depend on nothing secret.
func (s *argon2State) fill(pass, slice, lane uint32) {
	var zero, input, addresses argon2Block
	independent := pass == 0 && slice < argon2Slices/2
	next := func() {
		input[place(6)]++
		mixBlocks(&addresses, &input, &zero, false)
		mixBlocks(&addresses, &addresses, &zero, false)
	}
	first := uint32(0)
	if pass == 0 && slice == 0 {
		first = 2
	}
	if independent {
		for w, v := range []uint32{pass, lane, slice, s.lanes * s.lane, s.passes, 2} {
			input[place(uint32(w))] = uint64(v)
		}
		if first%128 != 0 {
			next()
		}
	}
	base := lane * s.lane
	at := slice*s.segment + first
	before := at - 1
	if at == 0 {
		before = s.lane - 1
	}
	for i := first; i < s.segment; i++ {
		var j uint64
		if independent {
			if i%128 == 0 {
				next()
			}
			j = addresses[place(i%128)]
		} else {
			j = s.memory[base+before][0]
		}
		mixBlocks(&s.memory[base+at], &s.memory[base+before], &s.memory[s.reference(j, pass, slice, lane, i)], pass > 0)
		before, at = at, at+1
	}
}

// reference is the block that block i of a segment is mixed with: section 3.4.2.
func (s *argon2State) reference(j uint64, pass, slice, lane, i uint32) uint32 {
	from := uint32(j>>32) % s.lanes
	if pass == 0 && slice == 0 {
		from = lane
	}
	done, start := slice*s.segment, uint32(0)
	if pass > 0 {
		done, start = s.lane-s.segment, (slice+1)%argon2Slices*s.segment
	}
	if from == lane {
		done += i
	}
	if from == lane || i == 0 {
		done-- // the block before is mixed in anyway
	}
	x := j & (1<<32 - 1)
	x = x * x >> 32
	x = uint64(done) * x >> 32
	return from*s.lane + uint32((uint64(start)+uint64(done)-1-x)%uint64(s.lane))
}
