package repo

import (
	"bytes"
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vault/backend"
	"vault/crypto"
)

// A recovery sheet holds the master key on paper, sealed under nothing: what
// it is for is the day on which no passphrase is known. Its key lines, which
// alone matter, are
//
//	n: 20 digits, 4 check digits        n from 1 to 5, digits in groups
//
// of Crockford's base 32. The digits of all lines are, most significant bit
// first,
//
//	| version 1 | repository id 16 | master key 32 | check 13 | zero bits 4 |
//
// where the check is that of the bytes before it, and the check digits are the
// first 20 bits of that of the line: "n:" and its 20 digits. The check of a
// text is BLAKE3 of "vault/1/recovery sheet", a zero byte and the text.
const (
	sheetVersion = 1
	sheetLines   = 5
	sheetDigits  = 20 // of a line, without its check
	sheetGroup   = 5
	sheetChecked = 1 + 16 + 32
	sheetCheck   = 13 // bytes
	sheetContext = "vault/1/recovery sheet\x00"

	sheetAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

var crockford = base32.NewEncoding(sheetAlphabet).WithPadding(base32.NoPadding)

func sheetSum(text []byte) [32]byte { return crypto.FileHash(append([]byte(sheetContext), text...)) }

// lineCheck returns the four digits that end line n.
func lineCheck(n int, digits string) string {
	sum := sheetSum(fmt.Appendf(nil, "%d:%s", n, digits))
	return crockford.EncodeToString(sum[:3])[:4]
}

const sheetText = `VAULT RECOVERY SHEET

Repository  %s
Made        %s

Whoever holds this sheet can read this repository and whatever is stored in
it later. It needs no passphrase, and it stays valid when passphrases are
changed or keys are removed. Keep it like the key to a safe, apart from the
storage.

When every passphrase is forgotten, or all key slots are lost: run
"vault key import" and enter the five lines below. They make a key slot for a
new passphrase. Small letters will do; spaces and hyphens do not matter; there
are no letters I, L, O and U. The last group of a line is its checksum.

`

// Export returns a recovery sheet: text to be printed, from which [Import]
// makes a key slot. It gives the master key away to whoever reads it; the
// caller should keep no copy, and clear it.
func (r *Repo) Export(ctx context.Context, current []byte) ([]byte, error) {
	ring, err := r.unlock(ctx, current, crypto.SlotID{})
	defer ring.wipe()
	if err != nil {
		return nil, fmt.Errorf("export key: %w", err)
	}
	sheet := fmt.Appendf(nil, sheetText, r.head.Repo, r.env.Now().UTC().Format("2006-01-02 15:04 MST"))
	return appendSheet(sheet, r.head.Repo, ring.opened.Master), nil
}

// appendSheet appends the key lines.
func appendSheet(sheet []byte, repo crypto.RepoID, master crypto.MasterKey) []byte {
	b := append([]byte{sheetVersion}, repo[:]...)
	b = append(b, master[:]...)
	sum := sheetSum(b)
	b = append(b, sum[:sheetCheck]...)
	defer clear(b)
	digits := crockford.EncodeToString(b)
	for n := 1; n <= sheetLines; n++ {
		line := digits[(n-1)*sheetDigits:][:sheetDigits]
		sheet = fmt.Appendf(sheet, "  %d: ", n)
		for at := 0; at < sheetDigits; at += sheetGroup {
			sheet = fmt.Appendf(sheet, " %s", line[at:at+sheetGroup])
		}
		sheet = fmt.Appendf(sheet, "   %s\n", lineCheck(n, line))
	}
	return sheet
}

// parseSheet finds the key lines in a text. The error names every line with a
// mistake.
func parseSheet(sheet []byte) (repo crypto.RepoID, master crypto.MasterKey, err error) {
	var lines [sheetLines + 1]string
	var mistakes []string
	note := func(format string, args ...any) { mistakes = append(mistakes, fmt.Sprintf(format, args...)) }
	for text := range strings.Lines(string(sheet)) {
		label, digits, found := strings.Cut(strings.TrimSpace(text), ":")
		if !found || label == "" || strings.Trim(label, "0123456789") != "" {
			continue
		}
		n := slices.Index([]string{"1", "2", "3", "4", "5"}, label) + 1
		switch {
		case n == 0:
			note("there is no line %.10s, only 1 to %d", label, sheetLines)
		case lines[n] != "":
			note("line %d appears twice", n)
		default:
			if lines[n], err = parseLine(n, digits); err != nil {
				note("line %d: %v", n, err)
			}
		}
	}
	for n := 1; n <= sheetLines; n++ {
		if lines[n] == "" {
			note("line %d is missing", n)
		}
	}
	if len(mistakes) > 0 {
		return repo, master, errors.New(strings.Join(mistakes[:min(len(mistakes), 10)], "; "))
	}
	digits := strings.Join(lines[:], "")
	b, err := crockford.DecodeString(digits)
	defer clear(b)
	if err != nil || crockford.EncodeToString(b) != digits {
		return repo, master, fmt.Errorf("line %d: it does not end as a recovery sheet does", sheetLines)
	}
	checked, sum := b[:sheetChecked], sheetSum(b[:sheetChecked])
	if !bytes.Equal(sum[:sheetCheck], b[sheetChecked:]) {
		return repo, master, errors.New("each line is sound, but they are not lines of one sheet")
	}
	if checked[0] != sheetVersion {
		return repo, master, fmt.Errorf("version %d: %w", checked[0], crypto.ErrUnsupported)
	}
	copy(repo[:], checked[1:])
	copy(master[:], checked[1+len(repo):])
	return repo, master, nil
}

// parseLine returns the 20 digits of line n as they are printed. Even with an
// error the result is not empty: the line is there.
func parseLine(n int, text string) (string, error) {
	digits := strings.NewReplacer(" ", "", "\t", "", "-", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(text))
	if i := strings.IndexFunc(digits, func(c rune) bool { return !strings.ContainsRune(sheetAlphabet, c) }); i >= 0 {
		return "?", fmt.Errorf("%.1q is not one of the digits", digits[i:])
	}
	if want := sheetDigits + 4; len(digits) != want {
		return "?", fmt.Errorf("%d digits, want %d", len(digits), want)
	}
	if lineCheck(n, digits[:sheetDigits]) != digits[sheetDigits:] {
		return "?", errors.New("the checksum does not match: a digit is wrong")
	}
	return digits[:sheetDigits], nil
}

// ImportOptions say how to get into a repository without its passphrases.
type ImportOptions struct {
	Sheet []byte // a recovery sheet, or its key lines; other lines are ignored
	Key   NewKey // the slot to make
	Env   Env
}

// Import makes a key slot from a recovery sheet, in a repository whose
// passphrases are forgotten or whose key slots are lost. That the config opens
// with the key proves that the sheet belongs to the repository; one that does
// not is crypto.ErrForeign.
func Import(ctx context.Context, be backend.Backend, o ImportOptions) (crypto.SlotID, error) {
	id, err := importKey(ctx, be, o)
	if err != nil {
		return crypto.SlotID{}, fmt.Errorf("import key: %w", err)
	}
	return id, nil
}

func importKey(ctx context.Context, be backend.Backend, o ImportOptions) (id crypto.SlotID, err error) {
	env := o.Env.withDefaults()
	var ring keyring
	defer ring.wipe()
	sheetOf, master, err := parseSheet(o.Sheet)
	if err != nil {
		return id, fmt.Errorf("recovery sheet: %w", err)
	}
	ring.opened.Master = master
	clear(master[:])
	f, err := findKeys(ctx, be)
	lost := f.head != (crypto.ConfigHead{}) && (StateOf(err) == Damaged || StateOf(err) == Unsupported)
	if err != nil && !lost {
		return id, err // not for want of key slots
	}
	if sheetOf != f.head.Repo {
		return id, fmt.Errorf("recovery sheet: %w: %s, and this is %s", crypto.ErrForeign, sheetOf, f.head.Repo)
	}
	if _, err := crypto.OpenConfig(crypto.NewKeys(ring.opened.Master, f.head.Repo, f.head.AEAD), f.config); err != nil {
		return id, damaged(configName, err)
	}
	ring.head, ring.slots = f.head, f.slots
	details := crypto.OpenedSlot{Created: env.Now(), Label: o.Key.Label, Host: env.Host}
	return ring.add(ctx, be, env, o.Key, details, aboveAnchor)
}
