package chunk

// roundKeys is the key schedule of AES-128 (FIPS 197, section 5.2).
type roundKeys [11][16]byte

// expand computes the schedule of a 16-byte key. It runs once for a Chunker and
// uses no table, so that no address depends on the key.
func (k *roundKeys) expand(key []byte) {
	copy(k[0][:], key)
	rcon := byte(1)
	for r := 1; r < len(k); r++ {
		prev, next := &k[r-1], &k[r]
		for i := range 4 {
			next[i] = prev[i] ^ subByte(prev[12+(i+1)%4])
		}
		next[0] ^= rcon
		for i := 4; i < 16; i++ {
			next[i] = prev[i] ^ next[i-4]
		}
		rcon = gfMul(rcon, 2)
	}
}

// subByte is the S-box (FIPS 197, section 5.1.1): the inverse in GF(2^8), which is
// the 254th power, and an affine map.
func subByte(x byte) byte {
	inv := byte(1)
	for range 7 { // 254 = 2 + 4 + ... + 128
		x = gfMul(x, x)
		inv = gfMul(inv, x)
	}
	y := byte(0x63)
	for n := range 5 {
		y ^= inv<<n | inv>>(8-n)
	}
	return y
}

// gfMul multiplies in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, without branches.
func gfMul(a, b byte) byte {
	var p byte
	for range 8 {
		p ^= a & -(b & 1)
		a = a<<1 ^ 0x1b&-(a>>7)
		b >>= 1
	}
	return p
}
