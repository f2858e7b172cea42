package crypto

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// The tests of this file alter stored bytes in every way that is cheap to try:
// nothing may open, nothing may panic, and the error must be the honest one.

func TestSlotFlippedBits(t *testing.T) {
	slot := testSlot(t, AESGCM)
	for bit := range len(slot) * 8 {
		_, err := ParseSlot(flip(slot, bit))
		wantSort(t, err, ErrDamaged, "bit %d", bit)
	}
	for n := range len(slot) {
		_, err := ParseSlot(slot[:n])
		wantSort(t, err, ErrDamaged, "first %d bytes", n)
		_, err = ParseSlot(append(bytes.Clone(slot), slot[:n+1]...))
		wantSort(t, err, ErrDamaged, "%d bytes more", n+1)
	}
	_, err := ParseSlot(appendChecksum(make([]byte, KindSlot.MaxSize())))
	wantSort(t, err, ErrDamaged, "beyond the limit")
}

// TestSlotAltered flips bits and corrects the checksum.
func TestSlotAltered(t *testing.T) {
	regions := []struct {
		name string
		end  int // bytes
		want error
	}{
		{"magic", 4, ErrDamaged},
		{"version", 5, ErrUnsupported},
		{"algorithm", 6, ErrUnsupported},
		{"flags", 8, ErrUnsupported},
		{"kdf", 9, ErrUnsupported},
		{"parallelism", 10, ErrDamaged}, // m is 8p with p = 1; every flip makes p 0 or larger
		{"reserved", 12, ErrDamaged},
		{"time", 16, nil},   // 0, 1..16, or beyond
		{"memory", 20, nil}, // below 8, above 4 GiB, or a wrong passphrase
		{"slot id", 28, ErrWrongPassphrase},
		{"repository id", 44, ErrWrongPassphrase},
		{"salt", 76, ErrWrongPassphrase},
		{"commitment", 108, ErrWrongPassphrase},
		{"sealed length", 112, ErrDamaged},
		{"sealed", 768, ErrTampered},
	}
	for _, a := range bothAEADs {
		slot := testSlot(t, a)
		for bit := range (len(slot) - checksumSize) * 8 {
			i := 0
			for regions[i].end <= bit/8 {
				i++
			}
			region := regions[i]
			altered := rechecksum(flip(slot, bit))
			s, err := ParseSlot(altered)
			if err == nil {
				if err := s.Cost.Validate(); err != nil {
					t.Fatalf("%s, bit %d: %v", region.name, bit, err)
				}
				if s.Cost.Memory > 64<<10 {
					continue // legal, and too expensive for a test
				}
				_, err = s.Open([]byte(testPassphrase))
			}
			switch {
			case region.name == "algorithm" && (altered[5] == 1 || altered[5] == 2):
				wantSort(t, err, ErrWrongPassphrase, "%s, bit %d", region.name, bit)
			case region.name == "version" && altered[4] == 0:
				wantSort(t, err, ErrDamaged, "version 0, bit %d", bit)
			case region.want != nil:
				wantSort(t, err, region.want, "%s, bit %d", region.name, bit)
			default:
				want := ErrDamaged
				if tm := binary.LittleEndian.Uint32(altered[12:]); 1 <= tm && tm <= 16 {
					if m := binary.LittleEndian.Uint32(altered[16:]); 8 <= m && m <= 4<<20 {
						want = ErrWrongPassphrase
					}
				}
				wantSort(t, err, want, "%s, bit %d", region.name, bit)
			}
		}
	}
}

func TestSlotCostBeforeDerivation(t *testing.T) {
	for _, c := range []KDFCost{
		{0, 64, 1}, {17, 64, 1}, {1, 7, 1}, {1, 8*4 - 1, 4}, {1, 4<<20 + 1, 1}, {1, 1<<32 - 1, 1}, {1, 64, 0},
		{1, 1 << 20, 17}, {1, 1 << 20, 255}, {1<<32 - 1, 64, 1},
	} {
		if c.Validate() == nil {
			t.Errorf("%v is valid", c)
		}
		b := testSlot(t, AESGCM)
		b[9] = c.Threads
		binary.LittleEndian.PutUint32(b[12:], c.Time)
		binary.LittleEndian.PutUint32(b[16:], c.Memory)
		_, err := ParseSlot(rechecksum(b))
		wantSort(t, err, ErrDamaged, "%v", c)
		p := testSlotParams(AESGCM)
		p.Cost = c
		if _, err := SealSlot(testMaster, []byte("x"), p, fixed(0)); err == nil {
			t.Errorf("sealed a slot of %v", c)
		}
	}
	for _, c := range []KDFCost{DefaultKDFCost, TestKDFCost, {16, 4 << 20, 16}, {1, 128, 16}} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestSlotPassphrase(t *testing.T) {
	s, err := ParseSlot(testSlot(t, ChaCha20Poly1305))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"", "x", testPassphrase + " ", testPassphrase[1:], strings.ToUpper(testPassphrase), strings.Repeat("x", 4097)} {
		opened, err := s.Open([]byte(p))
		wantSort(t, err, ErrWrongPassphrase, "%.20q", p)
		if opened != (OpenedSlot{}) {
			t.Errorf("%.20q gives %v", p, opened)
		}
	}
	for _, p := range []string{"x", "\x00\xff not UTF-8", strings.Repeat("x", 4096)} {
		b, err := SealSlot(testMaster, []byte(p), testSlotParams(AESGCM), fixed(0))
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSlot(b)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := s.Open([]byte(p)); err != nil || o.Master != testMaster {
			t.Errorf("%.20q: %v", p, err)
		}
	}
}

func TestSealSlotRefuses(t *testing.T) {
	for name, change := range map[string]func(*SlotParams, *string){
		"empty passphrase": func(_ *SlotParams, pass *string) { *pass = "" },
		"long passphrase":  func(_ *SlotParams, pass *string) { *pass = strings.Repeat("x", 4097) },
		"long label":       func(p *SlotParams, _ *string) { p.Label = strings.Repeat("x", 257) },
		"label not UTF-8":  func(p *SlotParams, _ *string) { p.Label = "\xff" },
		"long host":        func(p *SlotParams, _ *string) { p.Host = strings.Repeat("x", 257) },
		"algorithm":        func(p *SlotParams, _ *string) { p.AEAD = 3 },
		"no head":          func(p *SlotParams, _ *string) { p.ConfigHead = [40]byte{} },
		"another head":     func(p *SlotParams, _ *string) { p.ConfigHead = testHead(ChaCha20Poly1305).Encode() },
		"another repo":     func(p *SlotParams, _ *string) { p.Repo[0]++ },
	} {
		p, pass := testSlotParams(AESGCM), "x"
		change(&p, &pass)
		if _, err := SealSlot(testMaster, []byte(pass), p, fixed(0)); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	p := testSlotParams(AESGCM)
	p.Label, p.Host = strings.Repeat("é", 128), strings.Repeat("\xff", 256) // the longest
	p.Created = p.Created.AddDate(-3000, 0, 0)
	b, err := SealSlot(testMaster, []byte("x"), p, fixed(0))
	if err != nil || len(b) != SlotSize || SlotSize != 800 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	s, err := ParseSlot(b)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := s.Open([]byte("x")); err != nil || o.Label != p.Label || o.Host != p.Host || !o.Created.Equal(p.Created) {
		t.Errorf("opened %+v, %v", o, err)
	}
	if _, err := SealSlot(testMaster, []byte("x"), p, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("sealed with 31 random bytes")
	}
}

// TestSlotMalformed seals, with the right passphrase, what no writer writes.
func TestSlotMalformed(t *testing.T) {
	p := testSlotParams(AESGCM)
	good := p.payload(testMaster)
	texts := 1 + 32 + 40 + 5 + 4 // where the label begins
	if good[texts] != 13 {
		t.Fatal("the label is elsewhere")
	}
	set := func(at int, v ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], v)
		return b
	}
	otherRepo := testHead(AESGCM)
	otherRepo.Repo[0]++
	headOf := func(h ConfigHead) []byte { head := h.Encode(); return set(33, head[:]...) }
	for _, tt := range []struct {
		name    string
		payload []byte
		parse   error // of ParseSlot
		open    error
	}{
		{"good", good, nil, nil},
		{"short", good[:639], ErrDamaged, nil},
		{"long", append(bytes.Clone(good), 0), ErrDamaged, nil},
		{"above 4096", make([]byte, 4081), ErrDamaged, nil},
		{"payload version", set(0, 2), nil, ErrUnsupported},
		{"no head", set(33, 0), nil, ErrDamaged},
		{"head of a later version", set(37, 2), nil, ErrUnsupported},
		{"head of another repository", headOf(otherRepo), nil, ErrDamaged},
		{"head of another algorithm", headOf(testHead(ChaCha20Poly1305)), nil, ErrDamaged},
		{"a second of 2^30 ns", set(78, 0x80, 0x80, 0x80, 0x80, 0x04), nil, ErrDamaged},
		{"label not UTF-8", set(texts+1, 0xff), nil, ErrDamaged},
		{"label of 257 bytes", set(texts, 0x81, 0x02), nil, ErrDamaged},
		{"first byte of padding", set(texts+1+13+1+12, 1), nil, ErrDamaged},
		{"last byte of padding", set(639, 1), nil, ErrDamaged},
	} {
		salt := [32]byte{1}
		s, err := ParseSlot(p.seal([]byte("x"), &salt, tt.payload))
		wantSort(t, err, tt.parse, "parse %s", tt.name)
		if tt.parse != nil || err != nil {
			continue
		}
		o, err := s.Open([]byte("x"))
		wantSort(t, err, tt.open, "open %s", tt.name)
		if (err == nil) != (tt.open == nil) || err != nil && o != (OpenedSlot{}) {
			t.Errorf("%s: %+v, %v", tt.name, o, err)
		}
	}
}

func TestConfigFlippedBits(t *testing.T) {
	k, config := testKeys(AESGCM), testConfig(t, AESGCM)
	for bit := range len(config) * 8 {
		_, err := ParseConfigHead(flip(config, bit))
		wantSort(t, err, ErrDamaged, "head, bit %d", bit)
		_, err = OpenConfig(k, flip(config, bit))
		wantSort(t, err, ErrDamaged, "bit %d", bit)
	}
	for n := range len(config) {
		_, err := OpenConfig(k, config[:n])
		wantSort(t, err, ErrDamaged, "first %d bytes", n)
		_, err = OpenConfig(k, appendChecksum(bytes.Clone(config[:n])))
		if n == len(config)-checksumSize {
			if err != nil {
				t.Errorf("whole config: %v", err)
			}
			continue
		}
		wantSort(t, err, ErrDamaged, "first %d bytes with a checksum", n)
	}
	_, err := ParseConfigHead(appendChecksum(make([]byte, KindConfig.MaxSize())))
	wantSort(t, err, ErrDamaged, "beyond the limit")
}

// TestConfigAltered flips bits and corrects the checksum.
func TestConfigAltered(t *testing.T) {
	for _, a := range bothAEADs {
		k, config := testKeys(a), testConfig(t, a)
		for bit := range (len(config) - checksumSize) * 8 {
			altered := rechecksum(flip(config, bit))
			_, err := OpenConfig(k, altered)
			switch at := bit / 8; {
			case at < 4:
				wantSort(t, err, ErrDamaged, "magic, bit %d", bit)
			case at == 5 && (altered[5] == 1 || altered[5] == 2):
				wantSort(t, err, ErrTampered, "algorithm, bit %d", bit)
			case at >= 8 && at < 16 && KnownFeatures>>(bit-64)&1 == 1:
				wantSort(t, err, ErrTampered, "known mandatory feature, bit %d", bit)
			case at == 4 && altered[4] == 0:
				wantSort(t, err, ErrDamaged, "version 0")
			case at < 16:
				wantSort(t, err, ErrUnsupported, "version, algorithm, flags or mandatory features, bit %d", bit)
			case at < 24:
				wantSort(t, err, ErrTampered, "optional features, bit %d", bit)
			case at < 40:
				wantSort(t, err, ErrForeign, "repository id, bit %d", bit)
			case at >= 40+offSession && at < 40+offSalt:
				wantSort(t, err, ErrDamaged, "session, bit %d", bit)
			default:
				wantSort(t, err, ErrTampered, "envelope, bit %d", bit)
			}
		}
	}
}

func TestConfigFeatures(t *testing.T) {
	k := testKeys(AESGCM)
	h := testHead(AESGCM)
	h.Optional = 1<<63 | 5
	b, err := SealConfig(k, h, nil, fixed(1))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseConfigHead(b); err != nil || got != h {
		t.Errorf("head %+v, %v", got, err)
	}
	if payload, err := OpenConfig(k, b); err != nil || payload == nil || len(payload) != 0 {
		t.Errorf("payload %#v, %v", payload, err)
	}
	h.Mandatory = 4
	_, err = SealConfig(k, h, nil, fixed(1))
	wantSort(t, err, ErrUnsupported, "sealed mandatory feature")
	b[8] = 4
	_, err = ParseConfigHead(rechecksum(b))
	wantSort(t, err, ErrUnsupported, "mandatory feature")
	if err == nil || !strings.Contains(err.Error(), "0x4") {
		t.Errorf("the error does not name the feature: %v", err)
	}
	other := testHead(AESGCM)
	other.Repo[0]++
	_, err = SealConfig(k, other, nil, fixed(1))
	wantSort(t, err, ErrForeign, "head of another repository")
	if _, err := SealConfig(k, testHead(AESGCM), make([]byte, 64<<10), fixed(1)); err == nil {
		t.Error("sealed a config beyond the limit")
	}
	big := 64<<10 - 40 - 32
	for EnvelopeSize(big) > 64<<10-40-32 {
		big--
	}
	b, err = SealConfig(k, testHead(AESGCM), make([]byte, big), fixed(1))
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := OpenConfig(k, b); err != nil || len(payload) != big {
		t.Errorf("largest config: %d bytes, %v", len(payload), err)
	}
}

func TestEnvelopeFlippedBits(t *testing.T) {
	for _, a := range bothAEADs {
		k, object := testKeys(a), testEnvelope(t, a, 600)
		for bit := range len(object) * 8 {
			payload, session, err := k.OpenEnvelope(KindCommit, testAD, flip(object, bit))
			wantSort(t, err, ErrTampered, "%s, bit %d", a, bit)
			if payload != nil || !session.IsZero() {
				t.Fatalf("bit %d: a payload of %d bytes besides the error", bit, len(payload))
			}
		}
		for n := range len(object) {
			_, _, err := k.OpenEnvelope(KindCommit, testAD, object[:n])
			want := ErrDamaged
			if n >= 512 && PaddedSize(n) == n {
				want = ErrTampered // could be a whole object, but is none
			}
			wantSort(t, err, want, "first %d bytes", n)
			if _, _, err = k.OpenEnvelope(KindCommit, testAD, append(bytes.Clone(object), object[:n+1]...)); err == nil {
				t.Errorf("%d bytes more are accepted", n+1)
			}
			oneSort(t, err)
		}
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	kinds := []Kind{KindConfig, KindIndex, KindSession, KindCommit, KindEvent, KindPlan, KindDone}
	for _, a := range bothAEADs {
		k := testKeys(a)
		for _, kind := range kinds {
			for _, n := range []int{0, 1, 376, 377, 378, 409, 410, 5000} {
				session := testSession
				if !kind.hasSession() {
					session = SessionID{}
				}
				payload := sequence(byte(n), n)
				b, err := k.SealEnvelope(kind, session, "name", payload, fixed(2))
				if err != nil {
					t.Fatal(err)
				}
				if len(b) != EnvelopeSize(n) || len(b) != paddedByDefinition(115+4+n+16) || cap(b) != len(b) {
					t.Errorf("%s of %d bytes is %d long", kind, n, len(b))
				}
				got, who, err := k.OpenEnvelope(kind, "name", b)
				if err != nil || got == nil || !bytes.Equal(got, payload) || who != session {
					t.Errorf("%s of %d bytes: %d bytes of %s, %v", kind, n, len(got), who, err)
				}
			}
		}
	}
}

// TestEnvelopeSwapped opens authentic objects in places that are not theirs.
func TestEnvelopeSwapped(t *testing.T) {
	k := testKeys(AESGCM)
	object := testEnvelope(t, AESGCM, 100)
	for _, ad := range []string{"", "commits/", testAD + "0", strings.ToUpper(testAD)} {
		_, _, err := k.OpenEnvelope(KindCommit, ad, object)
		wantSort(t, err, ErrTampered, "as %q", ad)
	}
	for _, kind := range []Kind{KindConfig, KindIndex, KindSession, KindEvent, KindPlan, KindDone} {
		_, _, err := k.OpenEnvelope(kind, testAD, object)
		wantSort(t, err, ErrTampered, "as a %s", kind)
		forged := bytes.Clone(object)
		forged[3] = byte(kind)
		if _, _, err = k.OpenEnvelope(kind, testAD, forged); err == nil {
			t.Errorf("opens as a %s with that magic", kind)
		}
	}
	otherRepo, otherMaster := testRepo, testMaster
	otherRepo[3] ^= 0x10
	otherMaster[0]++
	_, _, err := NewKeys(testMaster, otherRepo, AESGCM).OpenEnvelope(KindCommit, testAD, object)
	wantSort(t, err, ErrForeign, "with keys of another repository")
	_, _, err = NewKeys(otherMaster, testRepo, AESGCM).OpenEnvelope(KindCommit, testAD, object)
	wantSort(t, err, ErrTampered, "with another master key")
	_, _, err = testKeys(ChaCha20Poly1305).OpenEnvelope(KindCommit, testAD, object)
	wantSort(t, err, ErrDamaged, "with another algorithm")
	relabelled := bytes.Clone(object)
	relabelled[offAlgorithm] = byte(ChaCha20Poly1305)
	_, _, err = k.OpenEnvelope(KindCommit, testAD, relabelled)
	wantSort(t, err, ErrTampered, "with another algorithm in its header")
}

// TestEnvelopeMalformed seals, with the right key, what no writer writes.
func TestEnvelopeMalformed(t *testing.T) {
	k := testKeys(AESGCM)
	seal := func(plain []byte) []byte {
		o, err := k.NewObject(KindCommit, testSession, fixed(3))
		if err != nil {
			t.Fatal(err)
		}
		return o.Seal(bytes.Clone(o.Header()), NonceSingle, 0, []byte(testAD), plain)
	}
	room := 512 - HeaderSize - Overhead
	plain := func(claim uint32, size int) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, claim), make([]byte, size-4)...)
	}
	if _, _, err := k.OpenEnvelope(KindCommit, testAD, seal(plain(10, room))); err != nil {
		t.Fatalf("the well-formed one: %v", err)
	}
	nonZero := plain(10, room)
	nonZero[room-1] = 1
	afterPayload := plain(10, room)
	afterPayload[4+10] = 0x80
	for name, p := range map[string][]byte{
		"last byte of padding":     nonZero,
		"first byte of padding":    afterPayload,
		"one byte too many":        plain(uint32(room-3), room),
		"4 GiB":                    plain(1<<32-1, room),
		"a larger class":           plain(10, room+32),
		"not a class":              plain(uint32(room), room+5),
		"length of an upper class": plain(uint32(room-4+1), room+64),
	} {
		_, _, err := k.OpenEnvelope(KindCommit, testAD, seal(p))
		wantSort(t, err, ErrDamaged, "%s", name)
	}
}

func TestEnvelopeLimits(t *testing.T) {
	k := testKeys(AESGCM)
	limit := KindEvent.MaxSize()
	largest := limit - envelopeOverhead
	b, err := k.SealEnvelope(KindEvent, testSession, "e", make([]byte, largest), fixed(1))
	if err != nil || len(b) != limit {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if payload, _, err := k.OpenEnvelope(KindEvent, "e", b); err != nil || len(payload) != largest {
		t.Errorf("%d bytes, %v", len(payload), err)
	}
	if _, err := k.SealEnvelope(KindEvent, testSession, "e", make([]byte, largest+1), fixed(1)); err == nil {
		t.Error("sealed beyond the limit")
	}
	_, _, err = k.OpenEnvelope(KindEvent, "e", append(b, 0))
	wantSort(t, err, ErrDamaged, "beyond the limit")
	o, err := k.NewObject(KindEvent, testSession, fixed(1))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = k.OpenEnvelope(KindEvent, "e", o.sealEnvelope("e", make([]byte, largest+1))) // authentic
	wantSort(t, err, ErrDamaged, "authentic, beyond the limit")
	if _, err := k.SealEnvelope(KindEvent, testSession, "e", nil, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("sealed with 31 random bytes")
	}
	for _, want := range []struct {
		kind Kind
		size int
	}{{KindSlot, 8 << 10}, {KindConfig, 64 << 10}, {KindSession, 1 << 20}, {KindEvent, 1 << 20}, {KindCommit, 64 << 20},
		{KindPlan, 256 << 20}, {KindDone, 256 << 20}, {KindIndex, 1 << 30}, {KindPack, 1 << 30}, {'X', 0}} {
		if got := want.kind.MaxSize(); got != want.size || got != 0 && PaddedSize(got) != got {
			t.Errorf("%s: limit %d", want.kind, got)
		}
	}
}
