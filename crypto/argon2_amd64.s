#include "textflag.h"

// func mixBlocks(dst, prev, ref *argon2Block, keep bool)
//
// A row of the block lies in two registers: its words with even indices, and those
// with odd ones. Transposed, register k of a group has word 2k (or 2k+1) of all
// eight rows, so that the permutation P works on eight rows at once without moving
// words within registers; transposed back, it works on the eight columns.
//
//	Z0-Z7    even words of rows 0-7        Z16-Z23  the same, transposed
//	Z8-Z15   odd words of rows 0-7         Z24-Z31  the same, transposed
//
// Either half holds temporaries while the other one is in use.

// G is GB of RFC 9106, section 3.6, on four pairs of words.
#define MUL(a, b, t)  VPMULUDQ a, b, t; VPADDQ b, a, a; VPADDQ t, t, t; VPADDQ t, a, a
#define TURN(a, d, n) VPXORQ a, d, d; VPRORQ n, d, d

#define G4(a0,a1,a2,a3, b0,b1,b2,b3, c0,c1,c2,c3, d0,d1,d2,d3, t0,t1,t2,t3) \
	MUL(a0, b0, t0); MUL(a1, b1, t1); MUL(a2, b2, t2); MUL(a3, b3, t3) \
	TURN(a0, d0, $32); TURN(a1, d1, $32); TURN(a2, d2, $32); TURN(a3, d3, $32) \
	MUL(c0, d0, t0); MUL(c1, d1, t1); MUL(c2, d2, t2); MUL(c3, d3, t3) \
	TURN(c0, b0, $24); TURN(c1, b1, $24); TURN(c2, b2, $24); TURN(c3, b3, $24) \
	MUL(a0, b0, t0); MUL(a1, b1, t1); MUL(a2, b2, t2); MUL(a3, b3, t3) \
	TURN(a0, d0, $16); TURN(a1, d1, $16); TURN(a2, d2, $16); TURN(a3, d3, $16) \
	MUL(c0, d0, t0); MUL(c1, d1, t1); MUL(c2, d2, t2); MUL(c3, d3, t3) \
	TURN(c0, b0, $63); TURN(c1, b1, $63); TURN(c2, b2, $63); TURN(c3, b3, $63)

// P is the permutation on words v0 .. v15: e0-e7 are those with even indices,
// o0-o7 those with odd ones.
#define P(e0,e1,e2,e3,e4,e5,e6,e7, o0,o1,o2,o3,o4,o5,o6,o7, t0,t1,t2,t3) \
	G4(e0,o0,e1,o1, e2,o2,e3,o3, e4,o4,e5,o5, e6,o6,e7,o7, t0,t1,t2,t3) \
	G4(e0,o0,e1,o1, o2,e3,o3,e2, e5,o5,e4,o4, o7,e6,o6,e7, t0,t1,t2,t3)

// TRANSPOSE moves eight registers of eight words from r to t; r is lost.
#define TRANSPOSE(r0,r1,r2,r3,r4,r5,r6,r7, t0,t1,t2,t3,t4,t5,t6,t7) \
	VPUNPCKLQDQ r1, r0, t0; VPUNPCKHQDQ r1, r0, t1 \
	VPUNPCKLQDQ r3, r2, t2; VPUNPCKHQDQ r3, r2, t3 \
	VPUNPCKLQDQ r5, r4, t4; VPUNPCKHQDQ r5, r4, t5 \
	VPUNPCKLQDQ r7, r6, t6; VPUNPCKHQDQ r7, r6, t7 \
	VSHUFI64X2 $0x88, t2, t0, r0; VSHUFI64X2 $0xdd, t2, t0, r1 \
	VSHUFI64X2 $0x88, t6, t4, r2; VSHUFI64X2 $0xdd, t6, t4, r3 \
	VSHUFI64X2 $0x88, t3, t1, r4; VSHUFI64X2 $0xdd, t3, t1, r5 \
	VSHUFI64X2 $0x88, t7, t5, r6; VSHUFI64X2 $0xdd, t7, t5, r7 \
	VSHUFI64X2 $0x88, r2, r0, t0; VSHUFI64X2 $0xdd, r2, r0, t4 \
	VSHUFI64X2 $0x88, r3, r1, t2; VSHUFI64X2 $0xdd, r3, r1, t6 \
	VSHUFI64X2 $0x88, r6, r4, t1; VSHUFI64X2 $0xdd, r6, r4, t5 \
	VSHUFI64X2 $0x88, r7, r5, t3; VSHUFI64X2 $0xdd, r7, r5, t7

#define LOAD(row, E, O) \
	VMOVDQU64 (row*128)(SI), E; VPXORQ (row*128)(DX), E, E \
	VMOVDQU64 (row*128+64)(SI), O; VPXORQ (row*128+64)(DX), O, O

// Dst may be prev: each part of it is read before it is written.
#define STORE(row, E, O) \
	VPXORQ (row*128)(SI), E, E; VPXORQ (row*128)(DX), E, E; VMOVDQU64 E, (row*128)(DI) \
	VPXORQ (row*128+64)(SI), O, O; VPXORQ (row*128+64)(DX), O, O; VMOVDQU64 O, (row*128+64)(DI)

#define KEEP(row, E, O) VPXORQ (row*128)(DI), E, E; VPXORQ (row*128+64)(DI), O, O

TEXT ·mixBlocks(SB), NOSPLIT, $0-25
	MOVQ dst+0(FP), DI
	MOVQ prev+8(FP), SI
	MOVQ ref+16(FP), DX
	MOVBLZX keep+24(FP), AX
	LOAD(0, Z0, Z8)
	LOAD(1, Z1, Z9)
	LOAD(2, Z2, Z10)
	LOAD(3, Z3, Z11)
	LOAD(4, Z4, Z12)
	LOAD(5, Z5, Z13)
	LOAD(6, Z6, Z14)
	LOAD(7, Z7, Z15)
	TRANSPOSE(Z0,Z1,Z2,Z3,Z4,Z5,Z6,Z7, Z16,Z17,Z18,Z19,Z20,Z21,Z22,Z23)
	TRANSPOSE(Z8,Z9,Z10,Z11,Z12,Z13,Z14,Z15, Z24,Z25,Z26,Z27,Z28,Z29,Z30,Z31)
	P(Z16,Z17,Z18,Z19,Z20,Z21,Z22,Z23, Z24,Z25,Z26,Z27,Z28,Z29,Z30,Z31, Z0,Z1,Z2,Z3)
	TRANSPOSE(Z16,Z17,Z18,Z19,Z20,Z21,Z22,Z23, Z0,Z1,Z2,Z3,Z4,Z5,Z6,Z7)
	TRANSPOSE(Z24,Z25,Z26,Z27,Z28,Z29,Z30,Z31, Z8,Z9,Z10,Z11,Z12,Z13,Z14,Z15)
	P(Z0,Z1,Z2,Z3,Z4,Z5,Z6,Z7, Z8,Z9,Z10,Z11,Z12,Z13,Z14,Z15, Z16,Z17,Z18,Z19)
	TESTB AL, AL
	JZ   write
	KEEP(0, Z0, Z8)
	KEEP(1, Z1, Z9)
	KEEP(2, Z2, Z10)
	KEEP(3, Z3, Z11)
	KEEP(4, Z4, Z12)
	KEEP(5, Z5, Z13)
	KEEP(6, Z6, Z14)
	KEEP(7, Z7, Z15)
write:
	STORE(0, Z0, Z8)
	STORE(1, Z1, Z9)
	STORE(2, Z2, Z10)
	STORE(3, Z3, Z11)
	STORE(4, Z4, Z12)
	STORE(5, Z5, Z13)
	STORE(6, Z6, Z14)
	STORE(7, Z7, Z15)
	VZEROUPPER
	RET
