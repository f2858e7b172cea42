#include "textflag.h"

// func scanBlocks(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int
//
// As on amd64: a group is 16 positions, done as two times eight independent
// blocks; slot j of state holds V of the latest position that is j modulo 16.
//
//	V0-V7  eight blocks    V8-V18  round keys 0 to 10    V19  temporary
//	V20    minimum of V & mask (lane 0)    V21  mask     V22  zero

#define ROUND(K) \
	AESE  K.B16, V0.B16     \
	AESMC V0.B16, V0.B16    \
	AESE  K.B16, V1.B16     \
	AESMC V1.B16, V1.B16    \
	AESE  K.B16, V2.B16     \
	AESMC V2.B16, V2.B16    \
	AESE  K.B16, V3.B16     \
	AESMC V3.B16, V3.B16    \
	AESE  K.B16, V4.B16     \
	AESMC V4.B16, V4.B16    \
	AESE  K.B16, V5.B16     \
	AESMC V5.B16, V5.B16    \
	AESE  K.B16, V6.B16     \
	AESMC V6.B16, V6.B16    \
	AESE  K.B16, V7.B16     \
	AESMC V7.B16, V7.B16

// LAST does the last round, turns the block into V, keeps it in its slot and folds
// it into the minimum.
#define LAST(slot, F, V) \
	FMOVQ slot(R1), F19               \
	VEXT  $4, V22.B16, V19.B16, V19.B16 \
	VEOR  V18.B16, V19.B16, V19.B16   \
	AESE  V17.B16, V.B16              \
	VEOR  V19.B16, V.B16, V.B16       \
	FMOVQ F, slot(R1)                 \
	VAND  V21.B16, V.B16, V.B16       \
	VUMIN V.S4, V20.S4, V20.S4

// EIGHT does the positions whose blocks start at off(R2) .. off+7(R2).
#define EIGHT(off) \
	FMOVQ (off+0)(R2), F0   \
	FMOVQ (off+1)(R2), F1   \
	FMOVQ (off+2)(R2), F2   \
	FMOVQ (off+3)(R2), F3   \
	FMOVQ (off+4)(R2), F4   \
	FMOVQ (off+5)(R2), F5   \
	FMOVQ (off+6)(R2), F6   \
	FMOVQ (off+7)(R2), F7   \
	ROUND(V8)               \
	ROUND(V9)               \
	ROUND(V10)              \
	ROUND(V11)              \
	ROUND(V12)              \
	ROUND(V13)              \
	ROUND(V14)              \
	ROUND(V15)              \
	ROUND(V16)              \
	LAST((off*16+0), F0, V0)    \
	LAST((off*16+16), F1, V1)   \
	LAST((off*16+32), F2, V2)   \
	LAST((off*16+48), F3, V3)   \
	LAST((off*16+64), F4, V4)   \
	LAST((off*16+80), F5, V5)   \
	LAST((off*16+96), F6, V6)   \
	LAST((off*16+112), F7, V7)

TEXT ·scanBlocks(SB), NOSPLIT, $0-48
	MOVD  keys+0(FP), R0
	MOVD  state+8(FP), R1
	MOVD  p+16(FP), R2
	MOVD  groups+24(FP), R3
	MOVWU mask+32(FP), R4
	VLD1.P 64(R0), [V8.B16, V9.B16, V10.B16, V11.B16]
	VLD1.P 64(R0), [V12.B16, V13.B16, V14.B16, V15.B16]
	VLD1  (R0), [V16.B16, V17.B16, V18.B16]
	VEOR  V22.B16, V22.B16, V22.B16
	VEOR  V21.B16, V21.B16, V21.B16
	VMOV  R4, V21.S[0]
	MOVD  $0, R5
	MOVD  $-1, R7

loop:
	CMP  R3, R5
	BGE  none
	VDUP R7, V20.D2
	EIGHT(0)
	EIGHT(8)
	VMOV V20.S[0], R6
	ADD  $16, R2
	ADD  $1, R5
	CBNZW R6, loop
	CMP  $3, R5 // groups that only warm up
	BLE  loop
	SUB  $1, R5
	MOVD R5, ret+40(FP)
	RET

none:
	MOVD R7, ret+40(FP)
	RET
