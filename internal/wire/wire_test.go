package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUvarint(t *testing.T) {
	for _, tt := range []struct {
		v    uint64
		want string
	}{
		{0, "00"}, {1, "01"}, {127, "7f"}, {128, "8001"}, {300, "ac02"}, {16383, "ff7f"}, {16384, "808001"},
		{1<<63 - 1, "ffffffffffffffff7f"}, {1 << 63, "80808080808080808001"}, {math.MaxUint64, "ffffffffffffffffff01"},
	} {
		got := AppendUvarint(nil, tt.v)
		if hex.EncodeToString(got) != tt.want {
			t.Errorf("AppendUvarint(%d) = %x, want %s", tt.v, got, tt.want)
		}
		r := NewReader(got)
		if v := r.Uvarint(tt.v); v != tt.v || r.Done() != nil {
			t.Errorf("Uvarint of %x = %d, %v", got, v, r.Done())
		}
		if tt.v > 0 {
			r = NewReader(got)
			if v := r.Uvarint(tt.v - 1); v != 0 || !errors.Is(r.Err(), ErrMalformed) {
				t.Errorf("Uvarint of %x with limit %d = %d, %v", got, tt.v-1, v, r.Err())
			}
		}
	}
}

func TestVarint(t *testing.T) {
	for _, tt := range []struct {
		v    int64
		want string
	}{
		{0, "00"}, {-1, "01"}, {1, "02"}, {-2, "03"}, {63, "7e"}, {-64, "7f"}, {64, "8001"},
		{math.MaxInt64, "feffffffffffffffff01"}, {math.MinInt64, "ffffffffffffffffff01"},
	} {
		got := AppendVarint(nil, tt.v)
		if hex.EncodeToString(got) != tt.want {
			t.Errorf("AppendVarint(%d) = %x, want %s", tt.v, got, tt.want)
		}
		r := NewReader(got)
		if v := r.Varint(); v != tt.v || r.Done() != nil {
			t.Errorf("Varint of %x = %d, %v", got, v, r.Done())
		}
	}
}

func TestUvarintRefuses(t *testing.T) {
	for _, in := range []string{
		"",                         // nothing
		"80",                       // cut short
		"ffffffffffffffffff",       // cut short at the last byte
		"8000",                     // zero in two bytes
		"ff00",                     // 127 in two bytes
		"80808080808080808000",     // zero in ten bytes
		"ffffffffffffffffff02",     // bit 64
		"ffffffffffffffffff81",     // ten bytes and more to come
		"8080808080808080808001",   // eleven bytes
		"ffffffffffffffffffff7f01", // far too long
	} {
		r := NewReader(unhex(t, in))
		if v := r.Uvarint(math.MaxUint64); v != 0 || !errors.Is(r.Err(), ErrMalformed) {
			t.Errorf("Uvarint of %q = %d, %v", in, v, r.Err())
		}
		if r.Offset() != 0 {
			t.Errorf("Uvarint of %q consumed %d bytes", in, r.Offset())
		}
	}
}

func TestFields(t *testing.T) {
	var b []byte
	b = append(b, 7)
	b = AppendU16(b, 0x0102)
	b = AppendU32(b, 0x03040506)
	b = AppendU64(b, 0x0708090a0b0c0d0e)
	b = AppendBytes(b, []byte{1, 2, 3})
	b = AppendString(b, "grün")
	b = AppendBytes(b, nil)
	b = AppendUvarint(b, 2)
	b = append(b, "abcd"...)
	want := "07 0201 06050403 0e0d0c0b0a090807 03010203 05 6772c3bc6e 00 02 61626364"
	if !bytes.Equal(b, unhex(t, want)) {
		t.Fatalf("encoded %x, want %s", b, want)
	}
	r := NewReader(b)
	if r.U8() != 7 || r.U16() != 0x0102 || r.U32() != 0x03040506 || r.U64() != 0x0708090a0b0c0d0e {
		t.Error("fixed-width integers differ")
	}
	if v := r.Bytes(3); !bytes.Equal(v, []byte{1, 2, 3}) || cap(v) != 3 {
		t.Errorf("Bytes = %x with capacity %d", v, cap(v))
	}
	if v := r.String(5); v != "grün" {
		t.Errorf("String = %q", v)
	}
	if v := r.Bytes(0); v == nil || len(v) != 0 {
		t.Errorf("empty Bytes = %#v", v)
	}
	if n := r.Count(2, 2); n != 2 {
		t.Errorf("Count = %d", n)
	}
	if v := r.Fixed(2); string(v) != "ab" {
		t.Errorf("Fixed = %q", v)
	}
	if err := NewReader(b[:len(b)-1]).Done(); !errors.Is(err, ErrMalformed) {
		t.Errorf("Done with bytes left: %v", err)
	}
	dst := make([]byte, 2)
	r.Copy(dst)
	if string(dst) != "cd" || r.Len() != 0 || r.Offset() != len(b) || r.Done() != nil {
		t.Errorf("Copy = %q, %d left, %v", dst, r.Len(), r.Done())
	}
}

func TestStickyError(t *testing.T) {
	r := NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	r.U8()
	r.Fail("no such %s", "thing")
	first := r.Err()
	if !errors.Is(first, ErrMalformed) || !strings.Contains(first.Error(), "offset 1: no such thing") {
		t.Fatalf("error is %v", first)
	}
	dst := []byte{9, 9}
	r.Copy(dst)
	r.Fail("another")
	if r.U8() != 0 || r.U16() != 0 || r.U32() != 0 || r.U64() != 0 || r.Uvarint(99) != 0 || r.Varint() != 0 ||
		r.Fixed(1) != nil || r.Bytes(99) != nil || r.String(99) != "" || r.Count(99, 1) != 0 || dst[0] != 0 || dst[1] != 0 {
		t.Error("a method returned something after an error")
	}
	if r.Offset() != 1 || r.Err() != first || r.Done() != first {
		t.Errorf("offset %d, error %v", r.Offset(), r.Err())
	}
}

func TestBounds(t *testing.T) {
	for name, read := range map[string]func(*Reader){
		"u8":            func(r *Reader) { r.Fixed(4); r.U8() },
		"u16":           func(r *Reader) { r.Fixed(3); r.U16() },
		"u32":           func(r *Reader) { r.Fixed(1); r.U32() },
		"u64":           func(r *Reader) { r.U64() },
		"fixed":         func(r *Reader) { r.Fixed(5) },
		"negative":      func(r *Reader) { r.Fixed(-1) },
		"copy":          func(r *Reader) { r.Copy(make([]byte, 5)) },
		"bytes limit":   func(r *Reader) { r.Bytes(2) },
		"bytes present": func(r *Reader) { r.Fixed(1); r.Bytes(100) },
		"count limit":   func(r *Reader) { r.Count(2, 1) },
		"count present": func(r *Reader) { r.Count(100, 2) }, // three elements of two bytes, three bytes
	} {
		r := NewReader([]byte{3, 3, 3, 3})
		read(r)
		if !errors.Is(r.Err(), ErrMalformed) {
			t.Errorf("%s: error %v", name, r.Err())
		}
	}
	r := NewReader([]byte{3, 3, 3, 3})
	if r.Count(3, 1) != 3 || len(r.Bytes(3)) != 0 || r.Err() == nil {
		t.Error("a length beyond the end is accepted") // three bytes wanted, two left
	}
}

// FuzzReader runs a program of reads over the input and encodes again what it
// read: all that is accepted has this one encoding.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8}, []byte("\x01\x02\x03\x04\x05\x06\x07\x08\x01\x01\x01\x01\x01\x01\x01\x01\x80\x01\x03\x03abc\x02xy"))
	f.Add([]byte{4, 5}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte{6, 8, 8}, []byte("\x80\x00\x80"))
	f.Fuzz(func(t *testing.T, program, in []byte) {
		r := NewReader(in)
		var out []byte
		for _, op := range program {
			if r.Err() != nil {
				break
			}
			var b []byte
			switch op % 9 {
			case 0:
				b = append(b, r.U8())
			case 1:
				b = AppendU16(b, r.U16())
			case 2:
				b = AppendU32(b, r.U32())
			case 3:
				b = AppendU64(b, r.U64())
			case 4:
				b = AppendUvarint(b, r.Uvarint(math.MaxUint64))
			case 5:
				b = AppendVarint(b, r.Varint())
			case 6:
				b = AppendBytes(b, r.Bytes(1<<20))
			case 7:
				b = AppendString(b, r.String(1<<20))
			case 8:
				n := r.Count(1<<20, 3)
				if n*3 > r.Len() {
					t.Fatalf("count %d of 3 bytes with %d left", n, r.Len())
				}
				b = AppendUvarint(b, uint64(n))
			}
			if r.Err() == nil {
				out = append(out, b...)
			}
		}
		if !bytes.Equal(out, in[:r.Offset()]) {
			t.Fatalf("read %x, encodes to %x", in[:r.Offset()], out)
		}
		if (r.Done() == nil) != (r.Err() == nil && r.Offset() == len(in)) {
			t.Fatalf("done %v at %d of %d", r.Done(), r.Offset(), len(in))
		}
	})
}
