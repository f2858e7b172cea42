package inspect

import (
	"bytes"
	"fmt"

	"vault/crypto"
	"vault/internal/wire"
)

const checksumSize = 32

var algorithms = map[uint8]string{uint8(crypto.AESGCM): crypto.AESGCM.String(), uint8(crypto.ChaCha20Poly1305): crypto.ChaCha20Poly1305.String()}

// magic reads the four bytes that name format and kind.
func (w *walker) magic(kind crypto.Kind) {
	f := w.leaf("magic", func() string { return fmt.Sprintf("%q", w.r.Fixed(4)) })
	if want := "VLT" + string(rune(kind)); w.ok() && string(f.Bytes) != want {
		f.Bad = fmt.Sprintf("a %s has %q", kind, want)
	}
}

// repository reads a repository id.
func (o *object) repository(w *walker) {
	f := w.repoID("repository id")
	if w.ok() && o.keys != nil && string(f.Bytes) != string(repoOf(o.keys)) {
		f.Bad = fmt.Sprintf("the keys are those of %s", o.keys.Repo())
	}
}

func repoOf(k *crypto.Keys) []byte {
	id := k.Repo()
	return id[:]
}

// header reads a header (docs/format.md, section 4) and returns the object's
// key if there are keys and the commitment is right.
func (o *object) header(w *walker, kind crypto.Kind) (key *crypto.Object) {
	start := w.r.Offset()
	w.group("header", func() {
		w.magic(kind)
		w.version()
		if a, f := w.enum("algorithm", algorithms); w.ok() && o.keys != nil && a != uint8(o.keys.AEAD()) && f.Bad == "" {
			f.Bad = fmt.Sprintf("the repository has %s", o.keys.AEAD())
		}
		w.reserved("flags", 2)
		w.reserved("epoch", 4)
		w.reserved("domain", 4)
		o.repository(w)
		if sid, f := w.sid("session id"); w.ok() && !sid.IsZero() && (kind == crypto.KindConfig || kind == crypto.KindPlan || kind == crypto.KindDone) {
			f.Bad = "a " + kind.String() + " names no session"
		}
		w.fixed("salt", 32)
		w.enum("key source", map[uint8]string{0: "the subkey of the kind's label"})
		n, f := w.u16("source length")
		if w.ok() && n > 0 {
			f.Bad = "key source 0 has none"
			w.fixed("source", int(min(n, 2048)))
		}
		f = w.fixed("commitment", 32)
		if !w.ok() {
			return
		}
		if o.keys == nil {
			f.Note = "not verified: no keys"
			return
		}
		var err error
		if key, err = o.keys.OpenObject(kind, w.b[start:w.r.Offset()]); err != nil {
			f.Bad = err.Error()
		} else {
			f.Note = "matches"
		}
	})
	return key
}

// sealed opens what is left of w and notes it as a group. The walker that
// explain gets reads the plaintext.
func (w *walker) sealed(name string, key *crypto.Object, t crypto.NonceType, ordinal uint64, ad string, explain func(*walker)) *Field {
	if !w.ok() {
		return &Field{}
	}
	b := w.b[w.r.Offset():]
	if key == nil {
		f := w.fixed(name, len(b))
		f.Value, f.Note = fmt.Sprintf("%d bytes", len(b)), "sealed: not opened"
		return f
	}
	plain, err := key.Open(nil, t, ordinal, []byte(ad), b)
	if err != nil {
		f := w.fixed(name, len(b))
		f.Value, f.Bad = fmt.Sprintf("%d bytes", len(b)), err.Error()
		return f
	}
	f := w.group(name, func() {
		explain(w.inside(plain, w.at()))
		w.r.Fixed(len(plain))
		w.fixed("tag", crypto.Overhead)
	})
	f.Note = "opened: the bytes are plaintext"
	return f
}

// envelope explains the form of all sealed objects but packs and slots.
func (o *object) envelope(w *walker, kind crypto.Kind, ad string, payload func(*walker)) {
	key := o.header(w, kind)
	w.sealed("sealed", key, crypto.NonceSingle, 0, ad, func(w *walker) {
		n, f := w.u32("payload length")
		if !w.ok() {
			return
		}
		if int64(n) > int64(w.r.Len()) {
			f.Bad = fmt.Sprintf("only %d bytes are left", w.r.Len())
			n = uint32(w.r.Len())
		}
		w.group("payload", func() {
			in := w.inside(w.b[w.r.Offset():][:n], w.at())
			payload(in)
			in.end()
			w.r.Fixed(int(n))
		})
		w.padding()
	})
}

// checksum reads the BLAKE3 hash that ends slots and config.
func (o *object) checksum(w *walker) {
	f := w.fixed("checksum", checksumSize)
	if !w.ok() {
		return
	}
	if sum := crypto.FileHash(o.data[:f.Offset]); bytes.Equal(sum[:], f.Bytes) {
		f.Note = "matches"
	} else {
		f.Bad = fmt.Sprintf("it should be %x", sum)
	}
}

// config explains the config (section 6).
func (o *object) config() {
	if o.keys != nil {
		o.judge(second(crypto.OpenConfig(o.keys, o.data)))
	} else {
		o.judge(second(crypto.ParseConfigHead(o.data)))
	}
	w := o.walker(o.data, 0)
	w.group("head", func() { o.configHead(w) })
	if !w.ok() {
		return
	}
	n := w.r.Len() - checksumSize
	if n < 0 {
		w.rest("envelope").Bad = "cut short"
		return
	}
	ad := "config" + string(o.data[:crypto.ConfigHeadSize])
	payload := params
	if h, err := crypto.ParseConfigHead(o.data); err == nil && h.Mandatory&crypto.FeatureChunkerSecret != 0 {
		payload = paramsAndSecret
	}
	o.envelope(w.inside(w.b[w.r.Offset():][:n], w.at()), crypto.KindConfig, ad, payload)
	w.r.Fixed(n)
	o.checksum(w)
}

func (o *object) configHead(w *walker) {
	w.magic(crypto.KindConfig)
	w.version()
	w.enum("algorithm", algorithms)
	w.reserved("flags", 2)
	if v, f := w.u64("mandatory features"); w.ok() && v&^crypto.KnownFeatures != 0 {
		f.Bad = fmt.Sprintf("unknown bits %#x", v&^crypto.KnownFeatures)
	}
	w.u64("optional features")
	o.repository(w)
}

// slot explains a key slot (section 5); opened is what its passphrase gave, or nil.
func (o *object) slot(opened *crypto.OpenedSlot) {
	o.judge(second(crypto.ParseSlot(o.data)))
	w := o.walker(o.data, 0)
	w.magic(crypto.KindSlot)
	w.version()
	w.enum("algorithm", algorithms)
	w.reserved("flags", 2)
	w.enum("kdf", map[uint8]string{1: "argon2id"})
	threads, _ := w.u8("parallelism")
	w.reserved("reserved", 2)
	passes, _ := w.u32("time")
	memory, f := w.u32("memory")
	f.Note = "KiB"
	if err := (crypto.KDFCost{Time: passes, Memory: memory, Threads: threads}).Validate(); w.ok() && err != nil {
		f.Bad = err.Error()
	}
	if f := w.fixed("slot id", 8); w.ok() && o.Name != "keys/"+f.Value {
		f.Bad = "it is not the one in the name"
	}
	o.repository(w)
	w.fixed("salt", 32)
	w.fixed("commitment", 32)
	n, f := w.u32("sealed length")
	left := w.r.Len() - checksumSize
	if w.ok() && int64(n) != int64(left) {
		f.Bad = fmt.Sprintf("%d bytes are there", max(left, 0))
	}
	if !w.ok() || left < crypto.Overhead {
		w.rest("sealed").Bad = "cut short"
		return
	}
	if opened == nil {
		f := w.fixed("sealed", left)
		f.Value, f.Note = fmt.Sprintf("%d bytes", left), "needs the passphrase"
	} else {
		o.slotPayload(w, opened, left)
	}
	o.checksum(w)
}

// slotPayload explains the sealed part of a slot. As there is one encoding of
// what was opened, that encoding is explained, but for the master key.
func (o *object) slotPayload(w *walker, opened *crypto.OpenedSlot, sealed int) {
	b := append([]byte{1}, make([]byte, 32)...)
	b = append(b, opened.ConfigHead[:]...)
	b = wire.AppendVarint(b, opened.Created.Unix())
	b = wire.AppendUvarint(b, uint64(opened.Created.Nanosecond()))
	b = wire.AppendString(b, opened.Label)
	b = wire.AppendString(b, opened.Host)
	n := sealed - crypto.Overhead
	if len(b) > n {
		f := w.fixed("sealed", sealed)
		f.Bad = "it is shorter than what was opened"
		return
	}
	b = append(b, make([]byte, n-len(b))...)
	f := w.group("sealed", func() {
		in := w.inside(b, w.at())
		in.version()
		master := in.fixed("master key", 32)
		master.Value, master.Bytes = "not shown", nil
		in.group("config head", func() { o.configHead(in) })
		in.time("created")
		in.str("label", 0, crypto.MaxSlotText)
		in.str("host", 0, crypto.MaxSlotText)
		in.padding()
		w.r.Fixed(n)
		w.fixed("tag", crypto.Overhead)
	})
	f.Note = "opened: the bytes are plaintext"
}

// judge notes why the engine refuses the object, if it does.
func (o *object) judge(err error) {
	if err != nil && o.Verdict == "" {
		o.Verdict = err.Error()
	}
}

func second[T any](_ T, err error) error { return err }
