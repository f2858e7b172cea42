package crypto

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors-*.json again")

// vectors are known answers: hex, by what they are. They are what another
// implementation checks itself against.
type vectors map[string]string

// ours returns the vectors as the package makes them.
func ours(t *testing.T, a AEAD) vectors {
	k := testKeys(a)
	chunker, cache := k.ChunkerSecret(), k.Cache()
	v := vectors{
		"algorithm":             a.String(),
		"input master key":      hex.EncodeToString(testMaster[:]),
		"input repository id":   testRepo.String(),
		"input session id":      hex.EncodeToString(testSession[:]),
		"input slot id":         testSlotID.String(),
		"input passphrase":      hex.EncodeToString([]byte(testPassphrase)),
		"session id text":       testSession.String(),
		"subkey chunker":        hex.EncodeToString(chunker[:]),
		"subkey cache":          hex.EncodeToString(cache[:]),
		"page hash 0 etc":       u64(k.PageHash(0, "etc")),
		"page hash 3 etc":       u64(k.PageHash(3, "etc")),
		"blob data abc":         k.BlobID(BlobData, []byte("abc")).String(),
		"blob tree abc":         k.BlobID(BlobTree, []byte("abc")).String(),
		"blob data 100000 seq0": k.BlobID(BlobData, sequence(0, 100_000)).String(),
		"file hash abc":         hash([]byte("abc")),
		"slot":                  hex.EncodeToString(testSlot(t, a)),
		"config parameters":     hex.EncodeToString(testConfig(t, a)),
		"commit seq9 300":       hex.EncodeToString(testEnvelope(t, a, 300)),
	}
	for label, key := range k.s().objects {
		v["subkey "+label] = hex.EncodeToString(key[:])
	}
	o, err := k.NewObject(KindPack, testSession, fixed(0x50))
	if err != nil {
		t.Fatal(err)
	}
	v["pack header"] = hex.EncodeToString(o.Header())
	v["pack key"] = hex.EncodeToString(o.s().key[:])
	v["pack commitment"] = hex.EncodeToString(o.Header()[83:])
	v["pack segment 258 abc"] = hex.EncodeToString(o.Seal(nil, NonceSegment, 258, nil, []byte("abc")))
	v["pack directory def"] = hex.EncodeToString(o.Seal(nil, NonceDirectory, 0, nil, []byte("def")))
	v["pack footer ghi"] = hex.EncodeToString(o.Seal(nil, NonceFooter, 0, nil, []byte("ghi")))
	v["pack padding 100"] = hex.EncodeToString(o.Padding(nil, 100))
	return v
}

// theirs returns the same as the second implementation makes it.
func theirs(a AEAD) vectors {
	v := vectors{
		"algorithm":             map[AEAD]string{1: "aes-256-gcm", 2: "chacha20-poly1305"}[a],
		"input master key":      hex.EncodeToString(sequence(0x40, 32)),
		"input repository id":   hex.EncodeToString(sequence(0xe0, 16)),
		"input session id":      hex.EncodeToString(sequence(1, 16)),
		"input slot id":         hex.EncodeToString(sequence(0xa0, 8)),
		"input passphrase":      hex.EncodeToString([]byte("correct horse battery staple")),
		"session id text":       "0" + base32(sequence(1, 16)),
		"page hash 0 etc":       u64(binary.LittleEndian.Uint64(refXOF(refSubkey("pages"), 32, []byte{0}, []byte("etc")))),
		"page hash 3 etc":       u64(binary.LittleEndian.Uint64(refXOF(refSubkey("pages"), 32, []byte{3}, []byte("etc")))),
		"blob data abc":         hex.EncodeToString(refXOF(refSubkey("blob/data"), 32, []byte("abc"))),
		"blob tree abc":         hex.EncodeToString(refXOF(refSubkey("blob/tree"), 32, []byte("abc"))),
		"blob data 100000 seq0": hex.EncodeToString(refXOF(refSubkey("blob/data"), 32, sequence(0, 100_000))),
		"file hash abc":         "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85", // BLAKE3's own
		"slot":                  hex.EncodeToString(refSlot(a, sequence(0x10, 32))),
		"config parameters":     hex.EncodeToString(refConfig(a, sequence(0x20, 32), []byte("parameters"))),
		"commit seq9 300": hex.EncodeToString(refEnvelope(a, 'M', "metadata", sequence(1, 16), sequence(0x30, 32),
			"commits/01k0000000000000000000000", sequence(9, 300))),
	}
	for _, label := range []string{"pack", "index", "metadata", "session", "coordination", "chunker", "cache"} {
		v["subkey "+label] = hex.EncodeToString(refSubkey(label))
	}
	header, key := refObject(a, 'P', "pack", sequence(1, 16), sequence(0x50, 32))
	v["pack header"] = hex.EncodeToString(header)
	v["pack key"] = hex.EncodeToString(key)
	v["pack commitment"] = hex.EncodeToString(header[len(header)-32:])
	v["pack segment 258 abc"] = hex.EncodeToString(refSeal(a, key, 1, 258, "", []byte("abc")))
	v["pack directory def"] = hex.EncodeToString(refSeal(a, key, 2, 0, "", []byte("def")))
	v["pack footer ghi"] = hex.EncodeToString(refSeal(a, key, 3, 0, "", []byte("ghi")))
	v["pack padding 100"] = hex.EncodeToString(refXOF(key, 100, []byte("vault/1/padding")))
	return v
}

func u64(v uint64) string { return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, v)) }

func hash(b []byte) string {
	sum := FileHash(b)
	return hex.EncodeToString(sum[:])
}

// base32 returns 125 bits of 16 bytes, without the first three, by long division.
func base32(b []byte) string {
	b = bytes.Clone(b)
	var out []byte
	for range 25 {
		rem := 0
		for i := range b {
			rem = rem<<8 | int(b[i])
			b[i] = byte(rem / 32)
			rem %= 32
		}
		out = append([]byte{"0123456789abcdefghjkmnpqrstvwxyz"[rem]}, out...)
	}
	return string(out)
}

func TestVectors(t *testing.T) {
	for _, a := range bothAEADs {
		t.Run(a.String(), func(t *testing.T) {
			file := filepath.Join("testdata", "vectors-"+a.String()+".json")
			got, ref := ours(t, a), theirs(a)
			diff(t, "package", got, "second implementation", ref)
			if *update && !t.Failed() {
				b, err := json.MarshalIndent(got, "", "\t")
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want vectors
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			diff(t, "package", got, file, want)
			openVectors(t, a, want)
		})
	}
}

func diff(t *testing.T, aName string, a vectors, bName string, b vectors) {
	t.Helper()
	for name, v := range a {
		if b[name] != v {
			t.Errorf("%s\n%s: %s\n%s: %s", name, aName, v, bName, b[name])
		}
	}
	if len(a) != len(b) {
		t.Errorf("%s has %d vectors, %s %d", aName, len(a), bName, len(b))
	}
}

// openVectors opens what is checked in.
func openVectors(t *testing.T, a AEAD, v vectors) {
	unhex := func(name string) []byte {
		b, err := hex.DecodeString(v[name])
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		return b
	}
	s, err := ParseSlot(unhex("slot"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := s.Open([]byte(testPassphrase))
	if err != nil {
		t.Fatal(err)
	}
	config := unhex("config parameters")
	if opened.Master != testMaster || string(opened.ConfigHead[:]) != string(config[:ConfigHeadSize]) || !opened.Created.Equal(testTime) ||
		opened.Label != "räksmörgås" || opened.Host != "host.example" || s.AEAD != a || s.Cost != TestKDFCost || s.ID != testSlotID || s.Repo != testRepo {
		t.Errorf("slot %+v holds %+v", s, opened)
	}
	head, err := ParseConfigHead(config)
	if err != nil || head != testHead(a) || head.Encode() != opened.ConfigHead {
		t.Errorf("head %+v, %v", head, err)
	}
	k := NewKeys(opened.Master, s.Repo, s.AEAD)
	if payload, err := OpenConfig(k, config); err != nil || string(payload) != "parameters" {
		t.Errorf("config %q, %v", payload, err)
	}
	payload, session, err := k.OpenEnvelope(KindCommit, testAD, unhex("commit seq9 300"))
	if err != nil || !bytes.Equal(payload, sequence(9, 300)) || session != testSession {
		t.Errorf("envelope of %s: %x, %v", session, payload, err)
	}
	o, err := k.OpenObject(KindPack, unhex("pack header"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Session() != testSession || o.Kind() != KindPack || !bytes.Equal(o.Header(), unhex("pack header")) {
		t.Error("pack header differs")
	}
	for name, n := range map[string]NonceType{"pack segment 258 abc": NonceSegment, "pack directory def": NonceDirectory, "pack footer ghi": NonceFooter} {
		var ordinal uint64
		if n == NonceSegment {
			ordinal = 258
		}
		if plain, err := o.Open(nil, n, ordinal, nil, unhex(name)); err != nil || !strings.HasSuffix(name, string(plain)) {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
	if !bytes.Equal(o.Padding([]byte{1}, 100), append([]byte{1}, unhex("pack padding 100")...)) {
		t.Error("padding of an opened object differs")
	}
}
