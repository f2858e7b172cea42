//go:build !amd64

package crypto

const haveMixer = false

func mixBlocks(_, _, _ *argon2Block, _ bool) { panic("crypto: no mixer for this processor") }
