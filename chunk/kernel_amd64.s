#include "textflag.h"

// func scanBlocks(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int
//
// One group is 16 positions, done as two times eight so that the eight
// independent blocks hide the latency of VAESENC. Slot j of state holds V of the
// latest position that is j modulo 16. The feedback is folded into the last round
// key: V = aesenclast(x, key10 ^ V_old>>32).
//
//	X0-X7  eight blocks     X8   round key          X9  temporary
//	X10    minimum of V & mask (lane 0)   X11  key10    X12 mask
//	X13-15 round keys 0, 1 and 2

#define ROUND(k) \
	VMOVDQU k(AX), X8       \
	VAESENC X8, X0, X0      \
	VAESENC X8, X1, X1      \
	VAESENC X8, X2, X2      \
	VAESENC X8, X3, X3      \
	VAESENC X8, X4, X4      \
	VAESENC X8, X5, X5      \
	VAESENC X8, X6, X6      \
	VAESENC X8, X7, X7

#define ROUNDREG(K) \
	VAESENC K, X0, X0       \
	VAESENC K, X1, X1       \
	VAESENC K, X2, X2       \
	VAESENC K, X3, X3       \
	VAESENC K, X4, X4       \
	VAESENC K, X5, X5       \
	VAESENC K, X6, X6       \
	VAESENC K, X7, X7

// LAST turns X into V, keeps it in its slot and folds it into the minimum.
#define LAST(slot, X) \
	VMOVDQU slot(BX), X9    \
	VPSRLDQ $4, X9, X9      \
	VPXOR   X11, X9, X9     \
	VAESENCLAST X9, X, X    \
	VMOVDQU X, slot(BX)     \
	VPAND   X12, X, X       \
	VPMINUD X, X10, X10

// EIGHT does the positions whose blocks start at off(SI) .. off+7(SI).
#define EIGHT(off) \
	VPXOR   off+0(SI), X13, X0 \
	VPXOR   off+1(SI), X13, X1 \
	VPXOR   off+2(SI), X13, X2 \
	VPXOR   off+3(SI), X13, X3 \
	VPXOR   off+4(SI), X13, X4 \
	VPXOR   off+5(SI), X13, X5 \
	VPXOR   off+6(SI), X13, X6 \
	VPXOR   off+7(SI), X13, X7 \
	ROUNDREG(X14)           \
	ROUNDREG(X15)           \
	ROUND(48)               \
	ROUND(64)               \
	ROUND(80)               \
	ROUND(96)               \
	ROUND(112)              \
	ROUND(128)              \
	ROUND(144)              \
	LAST(off*16+0, X0)      \
	LAST(off*16+16, X1)     \
	LAST(off*16+32, X2)     \
	LAST(off*16+48, X3)     \
	LAST(off*16+64, X4)     \
	LAST(off*16+80, X5)     \
	LAST(off*16+96, X6)     \
	LAST(off*16+112, X7)

TEXT ·scanBlocks(SB), NOSPLIT, $0-48
	MOVQ  keys+0(FP), AX
	MOVQ  state+8(FP), BX
	MOVQ  p+16(FP), SI
	MOVQ  groups+24(FP), CX
	MOVL  mask+32(FP), R8
	VMOVD R8, X12
	VMOVDQU 0(AX), X13
	VMOVDQU 16(AX), X14
	VMOVDQU 32(AX), X15
	VMOVDQU 160(AX), X11
	XORQ  DX, DX

loop:
	CMPQ DX, CX
	JGE  none
	VPCMPEQD X10, X10, X10
	EIGHT(0)
	EIGHT(8)
	VMOVD X10, R8
	ADDQ $16, SI
	INCQ DX
	TESTL R8, R8
	JNZ  loop
	CMPQ DX, $3 // groups that only warm up
	JLE  loop
	DECQ DX
	MOVQ DX, ret+40(FP)
	RET

none:
	MOVQ $-1, ret+40(FP)
	RET
