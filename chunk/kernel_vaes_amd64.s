#include "textflag.h"

// The kernels of VAES: an AES instruction works on every 128-bit lane of a
// register by itself, and so do shifts by bytes. Positions of one group share
// nothing, so the lanes of a register hold positions of the group that are 16/lanes
// apart, and all is as in kernel_amd64.s lane by lane: V of a position 16 earlier is
// the same lane of the same register, one group before. The feedback is folded into
// the last round key: V = aesenclast(x, key10 ^ V_old>>32). No load is wider than a
// block, so what is read is the same too.

// func scanBlocks256(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int
//
// VAES and AVX2. Register r of 0 to 7 holds positions r and r+8, and slots 2r and
// 2r+1 of state hold their V.
//
//	Y0-Y7  sixteen blocks    Y8   round key      Y9  temporary
//	Y10    minimum of V & mask (dword 0 of lanes)   Y11  key10   Y12 mask
//	Y13-15 round keys 0, 1 and 2

// BLOCKS256 takes the way of the second block through a register, because there are
// emulators that read 32 bytes where VINSERTI128 has 16.
#define BLOCKS256(r, X, Y) \
	VMOVDQU (r+0)(SI), X        \
	VMOVDQU (r+8)(SI), X9       \
	VINSERTI128 $1, X9, Y, Y    \
	VPXOR   Y13, Y, Y

#define ROUNDREG256(K) \
	VAESENC K, Y0, Y0       \
	VAESENC K, Y1, Y1       \
	VAESENC K, Y2, Y2       \
	VAESENC K, Y3, Y3       \
	VAESENC K, Y4, Y4       \
	VAESENC K, Y5, Y5       \
	VAESENC K, Y6, Y6       \
	VAESENC K, Y7, Y7

#define ROUND256(k) \
	VBROADCASTI128 k(AX), Y8 \
	ROUNDREG256(Y8)

// LAST256 turns Y into V, keeps it in its slots and folds it into the minimum.
#define LAST256(slot, Y) \
	VMOVDQU slot(BX), Y9    \
	VPSRLDQ $4, Y9, Y9      \
	VPXOR   Y11, Y9, Y9     \
	VAESENCLAST Y9, Y, Y    \
	VMOVDQU Y, slot(BX)     \
	VPAND   Y12, Y, Y       \
	VPMINUD Y, Y10, Y10

TEXT ·scanBlocks256(SB), NOSPLIT, $0-48
	MOVQ  keys+0(FP), AX
	MOVQ  state+8(FP), BX
	MOVQ  p+16(FP), SI
	MOVQ  groups+24(FP), CX
	MOVL  mask+32(FP), R8
	VMOVD R8, X12
	VINSERTI128 $1, X12, Y12, Y12
	VBROADCASTI128 0(AX), Y13
	VBROADCASTI128 16(AX), Y14
	VBROADCASTI128 32(AX), Y15
	VBROADCASTI128 160(AX), Y11
	XORQ  DX, DX

loop256:
	CMPQ DX, CX
	JGE  none256
	VPCMPEQD Y10, Y10, Y10
	BLOCKS256(0, X0, Y0)
	BLOCKS256(1, X1, Y1)
	BLOCKS256(2, X2, Y2)
	BLOCKS256(3, X3, Y3)
	BLOCKS256(4, X4, Y4)
	BLOCKS256(5, X5, Y5)
	BLOCKS256(6, X6, Y6)
	BLOCKS256(7, X7, Y7)
	ROUNDREG256(Y14)
	ROUNDREG256(Y15)
	ROUND256(48)
	ROUND256(64)
	ROUND256(80)
	ROUND256(96)
	ROUND256(112)
	ROUND256(128)
	ROUND256(144)
	LAST256(0, Y0)
	LAST256(32, Y1)
	LAST256(64, Y2)
	LAST256(96, Y3)
	LAST256(128, Y4)
	LAST256(160, Y5)
	LAST256(192, Y6)
	LAST256(224, Y7)
	VEXTRACTI128 $1, Y10, X9
	VPMINUD X9, X10, X10
	VMOVD X10, R8
	ADDQ $16, SI
	INCQ DX
	TESTL R8, R8
	JNZ  loop256
	CMPQ DX, $3 // groups that only warm up
	JLE  loop256
	DECQ DX
	MOVQ DX, ret+40(FP)
	VZEROUPPER
	RET

none256:
	MOVQ $-1, ret+40(FP)
	VZEROUPPER
	RET

// func scanBlocks512(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int
//
// VAES, AVX512F and AVX512BW. Register r of 0 to 3 holds positions r, r+4, r+8 and
// r+12, and slots 4r to 4r+3 of state hold their V.
//
//	Z0-Z3   sixteen blocks   Z4-Z7  temporary    Z8   minimum of V & mask
//	Z9      mask             Z16-Z26  round keys 0 to 10
//	Z27-Z30 V of the group before

#define BLOCKS512(r, X, Y, Z) \
	VMOVDQU (r+0)(SI), X              \
	VINSERTI128 $1, (r+4)(SI), Y, Y   \
	VINSERTI32X4 $2, (r+8)(SI), Z, Z  \
	VINSERTI32X4 $3, (r+12)(SI), Z, Z \
	VPXORD  Z16, Z, Z

#define ROUND512(K) \
	VAESENC K, Z0, Z0       \
	VAESENC K, Z1, Z1       \
	VAESENC K, Z2, Z2       \
	VAESENC K, Z3, Z3

// KEY512 sets every lane of K to the round key at k(AX).
#define KEY512(k, K) \
	VMOVDQU k(AX), X0       \
	VSHUFI32X4 $0, Z0, Z0, K

// LAST512 turns Z into V, keeps it in OLD and folds it into the minimum.
#define LAST512(Z, OLD, T) \
	VPSRLDQ $4, OLD, T      \
	VPXORD  Z26, T, T       \
	VAESENCLAST T, Z, OLD   \
	VPANDD  Z9, OLD, T      \
	VPMINUD T, Z8, Z8

TEXT ·scanBlocks512(SB), NOSPLIT, $0-48
	MOVQ  keys+0(FP), AX
	MOVQ  state+8(FP), BX
	MOVQ  p+16(FP), SI
	MOVQ  groups+24(FP), CX
	MOVL  mask+32(FP), R8
	VMOVD R8, X9
	VSHUFI32X4 $0, Z9, Z9, Z9
	KEY512(0, Z16)
	KEY512(16, Z17)
	KEY512(32, Z18)
	KEY512(48, Z19)
	KEY512(64, Z20)
	KEY512(80, Z21)
	KEY512(96, Z22)
	KEY512(112, Z23)
	KEY512(128, Z24)
	KEY512(144, Z25)
	KEY512(160, Z26)
	VMOVDQU32 0(BX), Z27
	VMOVDQU32 64(BX), Z28
	VMOVDQU32 128(BX), Z29
	VMOVDQU32 192(BX), Z30
	XORQ  DX, DX

loop512:
	CMPQ DX, CX
	JGE  none512
	VPTERNLOGD $0xff, Z8, Z8, Z8
	BLOCKS512(0, X0, Y0, Z0)
	BLOCKS512(1, X1, Y1, Z1)
	BLOCKS512(2, X2, Y2, Z2)
	BLOCKS512(3, X3, Y3, Z3)
	ROUND512(Z17)
	ROUND512(Z18)
	ROUND512(Z19)
	ROUND512(Z20)
	ROUND512(Z21)
	ROUND512(Z22)
	ROUND512(Z23)
	ROUND512(Z24)
	ROUND512(Z25)
	LAST512(Z0, Z27, Z4)
	LAST512(Z1, Z28, Z5)
	LAST512(Z2, Z29, Z6)
	LAST512(Z3, Z30, Z7)
	VPTESTNMD Z8, Z8, K1
	KMOVW K1, R8
	ADDQ $16, SI
	INCQ DX
	TESTL $0x1111, R8 // dword 0 of every lane
	JZ   loop512
	CMPQ DX, $3 // groups that only warm up
	JLE  loop512
	DECQ DX
	JMP  done512

none512:
	MOVQ $-1, DX

done512:
	VMOVDQU32 Z27, 0(BX)
	VMOVDQU32 Z28, 64(BX)
	VMOVDQU32 Z29, 128(BX)
	VMOVDQU32 Z30, 192(BX)
	MOVQ DX, ret+40(FP)
	VZEROUPPER
	RET
