package inspect

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
	"vault/internal/wire"
)

func text(t testing.TB, r Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Text(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tiles reports an error unless the leaves of the report cover the object, each
// byte once, in order.
func tiles(r Report) error {
	at := 0
	var visit func(fields []Field) error
	visit = func(fields []Field) error {
		for _, f := range fields {
			if f.Offset != at {
				return fmt.Errorf("%s is at %d, after %d", f.Name, f.Offset, at)
			}
			if len(f.Children) == 0 {
				at += f.Length
			} else if err := visit(f.Children); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			if f.Offset+f.Length != at {
				return fmt.Errorf("%s has %d bytes, its members end at %d", f.Name, f.Length, at)
			}
		}
		return nil
	}
	if err := visit(r.Fields); err != nil {
		return err
	}
	if at != r.Size {
		return fmt.Errorf("%d of %d bytes are explained", at, r.Size)
	}
	return nil
}

// objection returns the first thing that the report finds wrong, or "".
func objection(r Report) string {
	if r.Verdict != "" {
		return r.Verdict
	}
	for f := range r.Bad() {
		return f.Name + ": " + f.Bad
	}
	return ""
}

func TestSoundObjects(t *testing.T) {
	x := newExample(t)
	for name, object := range x.objects {
		for _, keys := range []*crypto.Keys{x.keys, nil} {
			r := Object(name, object, keys)
			if err := tiles(r); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if what := objection(r); what != "" {
				t.Errorf("%s: %s", name, what)
			}
		}
		if r := Object("somewhere/else", object, nil); r.Kind == "unknown" && !strings.HasPrefix(name, "tree/") {
			t.Errorf("%s is not told by its first bytes", name)
		}
	}
}

func TestGolden(t *testing.T) {
	x := newExample(t)
	reports := map[string]Report{}
	for kind := range x.first {
		reports[kind] = x.report(kind)
	}
	name := x.first["commit"]
	flipped := bytes.Clone(x.objects[name])
	flipped[40] ^= 1
	reports["commit with a flipped bit"] = Object(name, flipped, x.keys)
	reports["commit renamed"] = Object(name[:len(name)-1]+"z", x.objects[name], x.keys)
	reports["commit without keys"] = Object(name, x.objects[name], nil)
	reports["key sealed"] = Object(x.first["key"], x.objects[x.first["key"]], nil)
	reports["tree cut short"] = Object(x.first["tree"], x.objects[x.first["tree"]][:100], x.keys)
	footer := bytes.Clone(x.objects[x.first["pack"]])
	footer[len(footer)-1] ^= 1
	reports["pack with a broken footer"] = Object(x.first["pack"], footer, x.keys)
	for what, r := range reports {
		golden(t, strings.ReplaceAll(what, " ", "-")+".txt", text(t, r))
	}
	var b bytes.Buffer
	if err := JSON(&b, reports["commit with a flipped bit"]); err != nil {
		t.Fatal(err)
	}
	if err := JSON(&b, reports["event1"]); err != nil {
		t.Fatal(err)
	}
	golden(t, "reports.jsonl", b.Bytes())
}

func TestMasterKeyIsNotShown(t *testing.T) {
	x := newExample(t)
	r := x.report("key")
	var b bytes.Buffer
	JSON(&b, r)
	secret := fmt.Sprintf("%x", x.opened.Master[4:20])
	for _, out := range []string{string(text(t, r)), b.String(), fmt.Sprintf("%+v", r)} {
		if strings.Contains(strings.ReplaceAll(out, " ", ""), secret) {
			t.Error("the report shows the master key")
		}
	}
}

// TestEveryFlipAndCut: whatever happens to an object is noticed, and what is
// left of it explained from end to end.
func TestEveryFlipAndCut(t *testing.T) {
	x := newExample(t)
	n := 0
	for _, kind := range slices.Sorted(maps.Keys(x.first)) {
		name := x.first[kind]
		object := x.objects[name]
		explain := func(b []byte, keys *crypto.Keys) Report {
			if kind == "key" {
				return Slot(name, b, x.opened)
			}
			return Object(name, b, keys)
		}
		for at := range object {
			flipped := bytes.Clone(object)
			flipped[at] ^= 1 << (at % 8)
			for _, b := range [][]byte{flipped, object[:at]} {
				r := explain(b, x.keys)
				if err := tiles(r); err != nil {
					t.Fatalf("%s, %d of %d bytes, at %d: %v", kind, len(b), len(object), at, err)
				}
				if objection(r) == "" {
					t.Errorf("%s, %d of %d bytes, at %d: no objection", kind, len(b), len(object), at)
				}
				if err := tiles(explain(b, nil)); err != nil {
					t.Fatalf("%s without keys, %d of %d bytes, at %d: %v", kind, len(b), len(object), at, err)
				}
				n++
			}
		}
	}
	t.Logf("%d damaged objects", n)
}

var envelopes = map[string]crypto.Kind{
	"index": crypto.KindIndex, "session": crypto.KindSession, "commit": crypto.KindCommit, "event3": crypto.KindEvent,
	"event2": crypto.KindEvent, "plan": crypto.KindPlan, "done": crypto.KindDone,
}

// seal makes an object of a payload, with the right key.
func seal(t testing.TB, keys *crypto.Keys, kind crypto.Kind, name string, payload []byte) []byte {
	ad := name
	if kind == crypto.KindIndex {
		ad = ""
	}
	var session crypto.SessionID
	if kind != crypto.KindPlan && kind != crypto.KindDone {
		session[0] = 1
	}
	object, err := keys.SealEnvelope(kind, session, ad, payload, crypto.Reproducible{Reader: &counter{}})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

var headers = map[string]bool{"magic": true, "version": true, "algorithm": true, "flags": true, "epoch": true, "domain": true,
	"repository id": true, "session id": true, "key source": true, "source length": true, "source": true, "trailing bytes": true, "commitment": true}

// TestAuthenticNonsense: payloads that are sealed with the right key and do not
// mean anything. What inspection objects to, the engine refuses.
func TestAuthenticNonsense(t *testing.T) {
	x := newExample(t)
	rng := rand.New(rand.NewPCG(1, 2))
	refused, unexplained := 0, 0
	for _, kind := range slices.Sorted(maps.Keys(envelopes)) {
		name, k := x.first[kind], envelopes[kind]
		ad := name
		if k == crypto.KindIndex {
			ad = ""
		}
		payload, _, err := x.keys.OpenEnvelope(k, ad, x.objects[name])
		if err != nil {
			t.Fatal(err)
		}
		for range 1500 {
			b := bytes.Clone(payload)
			switch rng.IntN(4) {
			case 0:
				b = b[:rng.IntN(len(b)+1)]
			case 1:
				b = slices.Insert(b, rng.IntN(len(b)+1), byte(rng.Uint32()))
			case 2:
				b[rng.IntN(len(b))] = 0xff
			default:
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
			where := name
			if k == crypto.KindIndex {
				where = "index" // its name is its hash
			}
			r := Object(where, seal(t, x.keys, k, where, b), x.keys)
			if err := tiles(r); err != nil {
				t.Fatalf("%s: %v\n%s", kind, err, text(t, r))
			}
			bad := ""
			for f := range r.Bad() {
				if k != crypto.KindIndex || !headers[f.Name] { // of packs: nothing that an index segment vouches for
					bad = f.Name + ": " + f.Bad
				}
			}
			if k != crypto.KindIndex && k != crypto.KindCommit {
				continue // the engine was not asked
			}
			switch {
			case bad != "" && r.Verdict == "":
				t.Fatalf("%s: the engine does not object to %s\n%s", kind, bad, text(t, r))
			case r.Verdict != "":
				refused++
				if bad == "" {
					unexplained++
				}
			}
		}
	}
	t.Logf("%d refused by the engine, of which inspection saw %d", refused, refused-unexplained)
}

// TestTreePages: what inspection objects to in a page, the engine refuses.
func TestTreePages(t *testing.T) {
	x := newExample(t)
	page := x.objects[x.first["tree"]]
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		b := bytes.Clone(page)
		for range 1 + rng.IntN(2) {
			b[rng.IntN(len(b))] = byte(rng.Uint32())
		}
		r := Object("tree", b, nil)
		if err := tiles(r); err != nil {
			t.Fatal(err)
		}
		for f := range r.Bad() {
			if r.Verdict == "" {
				t.Fatalf("the engine does not object to %s: %s\n%s", f.Name, f.Bad, text(t, r))
			}
		}
	}
}

// TestOtherPages explains the kinds of pages that the example does not have.
func TestOtherPages(t *testing.T) {
	id := bytes.Repeat([]byte{7}, 32)
	for kind, page := range map[string][]byte{
		"directory inner": slices.Concat([]byte{1, 2, 1, 2, 1, 'a'}, id, []byte{5, 1, 'b'}, id, []byte{6}),
		"content leaf":    slices.Concat([]byte{1, 3, 0, 3, 1, 9}, id, []byte{2, 8, 3, 7}),
		"content inner":   slices.Concat([]byte{1, 4, 1, 1}, id, []byte{5}),
	} {
		r := Object("tree", page, nil)
		if what := objection(r); what != "" || tiles(r) != nil {
			t.Errorf("%s: %s, %v", kind, what, tiles(r))
		}
		if !bytes.Contains(text(t, r), []byte(kind)) {
			t.Errorf("not called %s:\n%s", kind, text(t, r))
		}
	}
}

// TestLongLists: the members beyond those shown are summed up, not lost.
func TestLongLists(t *testing.T) {
	n := Shown + 10
	page := []byte{1, 3, 0, byte(n&0x7f) | 0x80, byte(n >> 7)}
	for i := range n {
		page = append(page, 2+byte(i%2), 1)
	}
	r := Object("tree", page, nil)
	list := r.Fields[len(r.Fields)-1].Children
	if what := objection(r); what != "" || tiles(r) != nil || len(list) != 1+Shown+1 || list[Shown+1].Length != 20 {
		t.Errorf("%s, %v, %d members", what, tiles(r), len(list))
	}
}

// sealPack makes a pack of a directory, with one segment of six bytes.
func sealPack(t testing.TB, keys *crypto.Keys, directory []byte) []byte {
	o, err := keys.NewObject(crypto.KindPack, crypto.SessionID{1}, crypto.Reproducible{Reader: &counter{}})
	if err != nil {
		t.Fatal(err)
	}
	b := o.Seal(bytes.Clone(o.Header()), crypto.NonceSegment, 0, nil, []byte("abcdef"))
	n := len(b) + len(directory) + 16 + 32
	b = o.Padding(b, crypto.PaddedSize(n)-n)
	at := len(b)
	b = o.Seal(b, crypto.NonceDirectory, 0, nil, directory)
	footer := wire.AppendU32(wire.AppendU32(wire.AppendU64(nil, uint64(at)), uint32(len(b)-at)), 0)
	return o.Seal(b, crypto.NonceFooter, 0, nil, footer)
}

// TestPackDirectories: directories that are authentic and do not mean anything.
func TestPackDirectories(t *testing.T) {
	x := newExample(t)
	id := func(s string) []byte {
		name := x.keys.BlobID(crypto.BlobData, []byte(s))
		return name[:]
	}
	sound := slices.Concat([]byte{1, 1, 1, 22, 6, 0, 2}, id("ab"), []byte{2}, id("cdef"), []byte{4})
	r := Object("pack", sealPack(t, x.keys, sound), x.keys)
	if what := objection(r); what != "" || tiles(r) != nil {
		t.Fatalf("%s, %v", what, tiles(r))
	}
	if bad := Object("pack", sealPack(t, x.keys, slices.Concat(sound[:7], id("xy"), sound[39:])), x.keys); objection(bad) == "" {
		t.Error("a wrong name is not noticed")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		b := bytes.Clone(sound)
		if rng.IntN(2) == 0 {
			b = b[:rng.IntN(len(b))]
		}
		if len(b) > 0 {
			b[rng.IntN(min(len(b), 10))] = byte(rng.Uint32())
		}
		r := Object("pack", sealPack(t, x.keys, b), x.keys)
		if err := tiles(r); err != nil {
			t.Fatalf("%v\n%s", err, text(t, r))
		}
		if !bytes.Equal(b, sound) && objection(r) == "" {
			t.Fatalf("no objection:\n%s", text(t, r))
		}
	}
}

func FuzzObject(f *testing.F) {
	x := newExample(f)
	for kind, name := range x.first {
		f.Add(name, x.objects[name], false)
		if k, ok := envelopes[kind]; ok && k != crypto.KindIndex {
			payload, _, err := x.keys.OpenEnvelope(k, name, x.objects[name])
			if err != nil {
				f.Fatal(err)
			}
			f.Add(name, payload, true)
		}
	}
	directory := slices.Concat([]byte{1, 1, 1, 22, 6, 0, 2}, bytes.Repeat([]byte{1}, 32), []byte{2}, bytes.Repeat([]byte{2}, 32), []byte{4})
	f.Add("packs/", directory, true)
	f.Add("packs/", slices.Concat([]byte{1, 2, 2, 20, 100, 1, 1}, directory[3:]), true)
	f.Fuzz(func(t *testing.T, name string, data []byte, sealed bool) {
		if kind := kindOf(name, nil); sealed && len(data) < 1<<16 && kindNames[kind] != "" {
			switch kind {
			case crypto.KindIndex, crypto.KindSession, crypto.KindCommit, crypto.KindEvent, crypto.KindPlan, crypto.KindDone:
				data = seal(t, x.keys, kind, name, data)
			case crypto.KindPack:
				data = sealPack(t, x.keys, data)
			}
		}
		for _, r := range []Report{Object(name, data, x.keys), Object(name, data, nil), Slot(name, data, x.opened)} {
			if err := tiles(r); err != nil {
				t.Fatalf("%v\n%s", err, text(t, r))
			}
			for line := range bytes.Lines(text(t, r)) {
				if i := bytes.IndexFunc(bytes.TrimSuffix(line, []byte("\n")), func(c rune) bool { return c < ' ' || c == 0x7f }); i >= 0 {
					t.Fatalf("%q", line)
				}
			}
		}
	})
}
