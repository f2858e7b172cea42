package crypto

import (
	"bytes"
	"testing"
)

// FuzzParseSlot parses what is given, both as it is and with a fitting checksum.
func FuzzParseSlot(f *testing.F) {
	slot := testSlot(f, AESGCM)
	f.Add(slot)
	f.Add(slot[:len(slot)-checksumSize])
	f.Add(slot[:slotSealed])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, appendChecksum(bytes.Clone(b))} {
			s, err := ParseSlot(in)
			if err != nil {
				oneSort(t, err)
				continue
			}
			if len(in) != SlotSize || s.Cost.Validate() != nil || !s.AEAD.known() {
				t.Fatalf("accepted %+v of %d bytes", s, len(in))
			}
			if s.Cost.Memory > 1<<10 {
				continue
			}
			if _, err := s.Open([]byte("x")); err == nil {
				t.Fatal("opened with another passphrase")
			} else {
				oneSort(t, err)
			}
		}
	})
}

// FuzzSlotPayload decodes what a holder of the passphrase could have sealed.
func FuzzSlotPayload(f *testing.F) {
	p := testSlotParams(AESGCM)
	f.Add(p.payload(testMaster))
	f.Add(p.payload(testMaster)[:90])
	f.Fuzz(func(t *testing.T, plain []byte) {
		s := Slot{ID: testSlotID, Repo: testRepo, AEAD: AESGCM}
		o, err := s.decodePayload(plain)
		if err != nil {
			oneSort(t, err)
			return
		}
		again := SlotParams{ConfigHead: o.ConfigHead, Created: o.Created, Label: o.Label, Host: o.Host}
		if len(plain) == slotPayload && !bytes.Equal(again.payload(o.Master), plain) {
			t.Fatalf("%x encodes to %x", plain, again.payload(o.Master))
		}
	})
}

// FuzzParseConfigHead parses and opens what is given, as FuzzParseSlot does.
func FuzzParseConfigHead(f *testing.F) {
	config := testConfig(f, AESGCM)
	f.Add(config)
	f.Add(config[:len(config)-checksumSize])
	f.Add(config[:ConfigHeadSize])
	f.Add([]byte{})
	k := testKeys(AESGCM)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, appendChecksum(bytes.Clone(b))} {
			h, err := ParseConfigHead(in)
			if err != nil {
				oneSort(t, err)
			} else if head := h.Encode(); !bytes.HasPrefix(in, head[:]) {
				t.Fatalf("%x encodes to %x", in[:ConfigHeadSize], head)
			}
			if _, err := OpenConfig(k, in); err != nil {
				oneSort(t, err)
			} else if !bytes.Equal(in, config) {
				t.Fatalf("opened a forged config %x", in)
			}
		}
	})
}

// FuzzOpenObject opens a header, which must be the one that was made.
func FuzzOpenObject(f *testing.F) {
	k := testKeys(AESGCM)
	o, err := k.NewObject(KindPack, testSession, fixed(5))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(o.Header())
	f.Add(o.Header()[:HeaderSize-1])
	f.Add(append(bytes.Clone(o.Header()), 0))
	f.Add(laterHeader(func(h []byte) []byte { h[80], h[81] = 1, 200; return append(h, make([]byte, 200)...) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []Kind{KindPack, KindIndex, KindConfig} {
			if _, err := k.OpenObject(kind, b); err != nil {
				oneSort(t, err)
			} else if kind != KindPack || !bytes.Equal(b, o.Header()) {
				t.Fatalf("opened a forged header of a %s: %x", kind, b)
			}
		}
		if h, err := ParseHeader(b); err != nil {
			oneSort(t, err)
		} else if encoded := h.encode(); !bytes.HasPrefix(b, encoded[:]) || len(b) != HeaderSize {
			t.Fatalf("%x encodes to %x", b, encoded)
		}
	})
}

// FuzzOpenEnvelope opens what is given, and what is given sealed with the right
// key: whatever opens is what SealEnvelope makes of its payload.
func FuzzOpenEnvelope(f *testing.F) {
	k := testKeys(AESGCM)
	object := testEnvelope(f, AESGCM, 100)
	f.Add(object)
	f.Add(object[:300])
	f.Add(append([]byte{100, 0, 0, 0}, make([]byte, 512-HeaderSize-Overhead-4)...))
	f.Add(append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 512-HeaderSize-Overhead-4)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := k.OpenEnvelope(KindCommit, testAD, b); err != nil {
			oneSort(t, err)
		} else if !bytes.Equal(b, object) {
			t.Fatalf("opened a forged object %x", b)
		}
		o, err := k.NewObject(KindCommit, testSession, fixed(5))
		if err != nil {
			t.Fatal(err)
		}
		sealed := o.Seal(bytes.Clone(o.Header()), NonceSingle, 0, []byte(testAD), b)
		payload, session, err := k.OpenEnvelope(KindCommit, testAD, sealed)
		if err != nil {
			oneSort(t, err)
			return
		}
		if session != testSession || !bytes.Equal(o.sealEnvelope(testAD, payload), sealed) {
			t.Fatalf("%x opens to %x, which encodes otherwise", b, payload)
		}
	})
}
