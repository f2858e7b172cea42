package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
)

var (
	passB = []byte("battery")
	passC = []byte("staple")
)

func key(pass []byte, label string) repo.NewKey {
	return repo.NewKey{Passphrase: pass, Cost: crypto.TestKDFCost, Label: label}
}

// opens reports whether the passphrase opens the repository; anything but a
// clear yes or no is a failure.
func opens(t testing.TB, be backend.Backend, pass []byte) bool {
	t.Helper()
	_, err := repo.Open(context.Background(), be, repo.OpenOptions{Passphrase: func() ([]byte, error) { return bytes.Clone(pass), nil }})
	if err != nil && repo.StateOf(err) != repo.WrongKey {
		t.Errorf("open with %q: %v", pass, err)
	}
	return err == nil
}

func openWith(t testing.TB, be backend.Backend, pass []byte) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), be, repo.OpenOptions{Passphrase: func() ([]byte, error) { return bytes.Clone(pass), nil }})
	if err != nil {
		t.Fatalf("open with %q: %v", pass, err)
	}
	return r
}

func addKey(t testing.TB, r *repo.Repo, pass []byte) crypto.SlotID {
	t.Helper()
	id, err := r.AddKey(t.Context(), repotest.Passphrase, key(pass, "more"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func slots(t testing.TB, r *repo.Repo, pass []byte) []repo.KeyInfo {
	t.Helper()
	list, err := r.ListKeys(t.Context(), pass)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func less(a, b crypto.SlotID) bool { return bytes.Compare(a[:], b[:]) < 0 }

func TestAddAndListKeys(t *testing.T) {
	be, r := repotest.New(t)
	id := addKey(t, r, passB)
	if !less(r.Slot(), id) {
		t.Errorf("slot %s was added below the first, %s", id, r.Slot())
	}
	if !opens(t, be, repotest.Passphrase) || !opens(t, be, passB) || opens(t, be, passC) {
		t.Error("not the two passphrases open it")
	}
	if got := openWith(t, be, passB).Slot(); got != id {
		t.Errorf("the new passphrase opens slot %s, not %s", got, id)
	}
	damaged := crypto.SlotID{255, 255, 255, 255, 255, 255, 255, 255}
	be.Put(t.Context(), "keys/"+damaged.String(), []byte("rot"))
	be.Put(t.Context(), "keys/README", []byte("a stranger's"))
	list := slots(t, r, passB)
	if len(list) != 3 || list[0].ID != r.Slot() || list[1].ID != id || list[2].ID != damaged {
		t.Fatalf("listed %+v", list)
	}
	if k := list[0]; k.Opened || k.Err != nil || k.Cost != crypto.TestKDFCost || k.Label != "" || !k.Created.IsZero() {
		t.Errorf("a slot of another passphrase: %+v", k)
	}
	if k := list[1]; !k.Opened || k.Label != "more" || time.Since(k.Created).Abs() > time.Hour {
		t.Errorf("the slot that opens: %+v", k)
	}
	if k := list[2]; repo.StateOf(k.Err) != repo.Damaged || k.Opened {
		t.Errorf("the damaged slot: %+v", k)
	}
	if k := slots(t, r, nil)[1]; k.Opened || k.Label != "" {
		t.Errorf("without a passphrase: %+v", k)
	}
	for name, try := range map[string]func() error{
		"wrong passphrase": func() error { _, err := r.AddKey(t.Context(), passC, key(passC, "")); return err },
		"empty passphrase": func() error { _, err := r.AddKey(t.Context(), repotest.Passphrase, key(nil, "")); return err },
		"long label": func() error {
			_, err := r.AddKey(t.Context(), repotest.Passphrase, key(passC, strings.Repeat("x", 257)))
			return err
		},
		"wrong to change": func() error { _, err := r.ChangePassphrase(t.Context(), passC, key(passC, "")); return err },
		"wrong to remove": func() error {
			_, err := r.RemoveKey(t.Context(), passC, id, repo.RemoveKeyOptions{InUse: true})
			return err
		},
		"wrong to export": func() error { _, err := r.Export(t.Context(), passC); return err },
	} {
		if err := try(); err == nil || len(slots(t, r, nil)) != 3 {
			t.Errorf("%s: %v, %d slots", name, err, len(slots(t, r, nil)))
		}
	}
}

func TestChangePassphrase(t *testing.T) {
	be, r := repotest.New(t)
	addKey(t, r, repotest.Passphrase) // a second slot of the same passphrase
	other := addKey(t, r, passC)
	id, err := r.ChangePassphrase(t.Context(), repotest.Passphrase, repo.NewKey{Passphrase: passB, Cost: crypto.TestKDFCost})
	if err != nil {
		t.Fatal(err)
	}
	if opens(t, be, repotest.Passphrase) || !opens(t, be, passB) || !opens(t, be, passC) {
		t.Error("the old passphrase opens, or another does not")
	}
	if list := slots(t, r, nil); len(list) != 2 || list[0].ID != id || list[1].ID != other {
		t.Errorf("left are %+v", list)
	}
	// The same Repo goes on with the new one, and an empty label is kept.
	named, err := r.ChangePassphrase(t.Context(), passB, key(passB, "desk"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ChangePassphrase(t.Context(), passB, key(repotest.Passphrase, "")); err != nil {
		t.Fatal(err)
	}
	if list := slots(t, r, repotest.Passphrase); len(list) != 2 || list[0].ID == named || list[0].Label != "desk" {
		t.Errorf("left are %+v", list)
	}
	repotest.MustCheck(t, be)
}

func TestRemoveKey(t *testing.T) {
	be, r := repotest.New(t)
	first := r.Slot()
	remove := func(pass []byte, id crypto.SlotID, o repo.RemoveKeyOptions, want error) crypto.SlotID {
		t.Helper()
		before := len(slots(t, r, nil))
		got, err := r.RemoveKey(t.Context(), pass, id, o)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("remove %s: %v, want %v", id, err, want)
		}
		after := len(slots(t, r, nil))
		if want != nil && after != before || want == nil && after != before-1 {
			t.Errorf("remove %s: %d slots, then %d", id, before, after)
		}
		return got
	}
	inUse := repo.RemoveKeyOptions{InUse: true}
	remove(repotest.Passphrase, first, inUse, repo.ErrLastKey)
	remove(repotest.Passphrase, crypto.SlotID{1}, inUse, repo.ErrNoKey)
	second := addKey(t, r, passB)
	remove(repotest.Passphrase, first, repo.RemoveKeyOptions{}, repo.ErrKeyInUse)
	remove(repotest.Passphrase, first, inUse, repo.ErrAnchorKey)
	remove(passB, second, repo.RemoveKeyOptions{}, repo.ErrKeyInUse)

	// The anchor goes; the passphrase that removes it gets a slot below it.
	next := remove(passB, first, repo.RemoveKeyOptions{}, nil)
	if !less(next, first) || opens(t, be, repotest.Passphrase) || !opens(t, be, passB) {
		t.Errorf("slot %s after %s", next, first)
	}
	if k := slots(t, r, passB); k[0].ID != next || k[0].Label != "more" || k[0].Cost != crypto.TestKDFCost {
		t.Errorf("the slot that was moved: %+v", k)
	}
	remove(passB, next, inUse, repo.ErrLastKey)

	// Whoever is not the anchor may leave, and two slots of one passphrase are
	// no reason to refuse.
	r = openWith(t, be, passB)
	third, err := r.AddKey(t.Context(), passB, key(passC, ""))
	if err != nil {
		t.Fatal(err)
	}
	twin, err := r.AddKey(t.Context(), passB, key(passC, ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := remove(passC, twin, repo.RemoveKeyOptions{}, nil); got != third {
		t.Errorf("in use is %s, not %s", got, third)
	}
	remove(passC, third, inUse, nil)

	// Something damaged below the anchor.
	rot := crypto.SlotID{0, 0, 1}
	be.Put(t.Context(), "keys/"+rot.String(), []byte("rot"))
	if got := remove(passB, rot, repo.RemoveKeyOptions{}, nil); !less(got, rot) || !opens(t, be, passB) {
		t.Errorf("in use is %s", got)
	}
	checkWith(t, be, passB)
}

// checkWith wants every backup to open with another passphrase.
func checkWith(t testing.TB, be backend.Backend, pass []byte) {
	t.Helper()
	for _, p := range repotest.Problems(t.Context(), openWith(t, be, pass)) {
		t.Errorf("check: %+v", p)
	}
}

// keyWork is something that changes key slots, and the passphrases of which
// one must open whatever happens on the way.
type keyWork struct {
	do    func(ctx context.Context, be backend.Backend) error
	safe  [][]byte // one of them opens if the work does not succeed
	after [][]byte // all of them open if it succeeds
}

// works returns the kinds of work on a store with slots of passphrase (the
// anchor) and passB, and what they start from.
func works(t *testing.T) (*mem.Backend, map[string]keyWork) {
	store, r := repotest.New(t)
	first := r.Slot()
	addKey(t, r, passB)
	repotest.MustBackup(t, r, repotest.MakeContent(1, 3))
	sheet, err := r.Export(t.Context(), repotest.Passphrase)
	if err != nil {
		t.Fatal(err)
	}
	opened := func(f func(ctx context.Context, r *repo.Repo) error) func(context.Context, backend.Backend) error {
		return func(ctx context.Context, be backend.Backend) error {
			r, err := repo.Open(ctx, be, repo.OpenOptions{Passphrase: func() ([]byte, error) { return bytes.Clone(passB), nil }})
			if err != nil {
				return err
			}
			return f(ctx, r)
		}
	}
	return store, map[string]keyWork{
		"add": {opened(func(ctx context.Context, r *repo.Repo) error {
			_, err := r.AddKey(ctx, passB, key(passC, ""))
			return err
		}), [][]byte{repotest.Passphrase}, [][]byte{repotest.Passphrase, passB, passC}},
		"change": {opened(func(ctx context.Context, r *repo.Repo) error {
			_, err := r.ChangePassphrase(ctx, passB, key(passC, ""))
			return err
		}), [][]byte{passB, passC}, [][]byte{repotest.Passphrase, passC}},
		"remove the anchor": {opened(func(ctx context.Context, r *repo.Repo) error {
			_, err := r.RemoveKey(ctx, passB, first, repo.RemoveKeyOptions{})
			return err
		}), [][]byte{passB}, [][]byte{passB}},
		"leave": {opened(func(ctx context.Context, r *repo.Repo) error {
			_, err := r.RemoveKey(ctx, passB, r.Slot(), repo.RemoveKeyOptions{InUse: true})
			return err
		}), [][]byte{repotest.Passphrase}, [][]byte{repotest.Passphrase}},
		"import": {func(ctx context.Context, be backend.Backend) error {
			_, err := repo.Import(ctx, be, repo.ImportOptions{Sheet: sheet, Key: key(passC, "")})
			return err
		}, [][]byte{repotest.Passphrase}, [][]byte{repotest.Passphrase, passB, passC}},
	}
}

// verify holds the store against what must be true of it.
func (w keyWork) verify(t *testing.T, what string, store *mem.Backend, err error) {
	t.Helper()
	any := false
	for _, pass := range w.safe {
		any = any || opens(t, store, pass)
	}
	for _, pass := range w.after {
		if err == nil && !opens(t, store, pass) {
			t.Errorf("%s: done, and %q does not open", what, pass)
		}
		any = any || err == nil
	}
	if !any {
		t.Errorf("%s: none of %q opens (%v)", what, w.safe, err)
	}
}

// TestKeysFaults stops at, and fails, each operation on either side of its
// effect.
func TestKeysFaults(t *testing.T) {
	start, all := works(t)
	for name, w := range all {
		for _, crash := range []bool{true, false} {
			for _, when := range []backendtest.When{backendtest.Before, backendtest.After} {
				for n := 1; ; n++ {
					store := repotest.Copy(t, start)
					f := backendtest.NewFaulty(store)
					f.Inject(backendtest.Fault{At: n, When: when, Crash: crash})
					err := w.do(t.Context(), f)
					if crash && f.Crashed() && err == nil && when == backendtest.Before {
						t.Errorf("%s: it succeeded in spite of a crash at %d", name, n)
					}
					w.verify(t, fmt.Sprintf("%s, crash %v at %d (%v)", name, crash, n, when), store, err)
					if f.Count() < n {
						if err != nil {
							t.Errorf("%s without a fault: %v", name, err)
						}
						break
					}
				}
			}
		}
	}
}

// interrupted runs something else before the n-th operation, while no other one begins.
type interrupted struct {
	backend.Backend
	mu sync.Mutex // guards n
	n  int
	do func()
}

func (i *interrupted) step() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.n--; i.n == 0 {
		i.do()
	}
}

func (i *interrupted) Put(ctx context.Context, name string, b []byte) error {
	i.step()
	return i.Backend.Put(ctx, name, b)
}
func (i *interrupted) Create(ctx context.Context, name string, b []byte) error {
	i.step()
	return i.Backend.Create(ctx, name, b)
}
func (i *interrupted) Delete(ctx context.Context, name string) error {
	i.step()
	return i.Backend.Delete(ctx, name)
}
func (i *interrupted) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	i.step()
	return i.Backend.Get(ctx, name, off, n)
}
func (i *interrupted) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	i.step()
	return i.Backend.List(ctx, prefix)
}

// TestRacingRemovals: two clients remove each other's slot, one of them at any
// moment of the other's work, and crash or not on its way. Some slot opens.
func TestRacingRemovals(t *testing.T) {
	start, r := repotest.New(t)
	mine := map[string]crypto.SlotID{string(repotest.Passphrase): r.Slot(), string(passB): addKey(t, r, passB)}
	remove := func(be backend.Backend, pass, victim []byte) error {
		r, err := repo.Open(t.Context(), be, repo.OpenOptions{Passphrase: func() ([]byte, error) { return bytes.Clone(pass), nil }})
		if err == nil {
			_, err = r.RemoveKey(t.Context(), pass, mine[string(victim)], repo.RemoveKeyOptions{})
		}
		return err
	}
	runs := 0
	for _, order := range [][2][]byte{{repotest.Passphrase, passB}, {passB, repotest.Passphrase}} {
		for stop := 0; stop < 40; stop += 1 { // where the second client crashes; 0 is nowhere
			reached := false
			for n := 1; ; n++ {
				store := repotest.Copy(t, start)
				second := backendtest.NewFaulty(store)
				if stop > 0 {
					second.CrashAt(stop, backendtest.After)
				}
				i := &interrupted{Backend: store, n: n, do: func() { remove(second, order[1], order[0]) }}
				remove(i, order[0], order[1])
				runs++
				if !opens(t, store, repotest.Passphrase) && !opens(t, store, passB) {
					t.Fatalf("no slot opens: the second client came at operation %d and crashed at %d", n, stop)
				}
				reached = reached || second.Crashed()
				if i.n > 0 {
					break
				}
			}
			if stop > 0 && !reached {
				break
			}
		}
	}
	t.Logf("%d interleavings", runs)
	for range 50 {
		store := repotest.Copy(t, start)
		var wg sync.WaitGroup
		wg.Go(func() { remove(store, repotest.Passphrase, passB) })
		wg.Go(func() { remove(store, passB, repotest.Passphrase) })
		wg.Wait()
		if !opens(t, store, repotest.Passphrase) && !opens(t, store, passB) {
			t.Fatal("no slot opens")
		}
	}
}

// lose deletes all key slots.
func lose(t testing.TB, be backend.Backend) {
	t.Helper()
	for _, name := range repotest.Objects(t, be) {
		if strings.HasPrefix(name, "keys/") {
			if err := be.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func export(t testing.TB, r *repo.Repo) []byte {
	t.Helper()
	sheet, err := r.Export(t.Context(), repotest.Passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return sheet
}

func TestRecoverySheet(t *testing.T) {
	store, r := repotest.New(t)
	c := repotest.MakeContent(3, 4)
	b := repotest.MustBackup(t, r, c)
	sheet := export(t, r)
	if !bytes.Contains(sheet, []byte(r.ID().String())) {
		t.Error("the sheet does not name the repository")
	}
	for line := range strings.Lines(string(sheet)) {
		if len(line) > 79 {
			t.Errorf("a line of %d characters: %q", len(line), line)
		}
	}
	_, lines, _ := strings.Cut(string(sheet), "checksum.\n\n")
	typed := func(how func(digits string) string) (out string) {
		for line := range strings.Lines(lines) {
			label, digits, _ := strings.Cut(line, ":")
			out += label + ":" + how(strings.TrimSpace(digits)) + "\n"
		}
		return out
	}
	rot := func(be *mem.Backend) {
		lose(t, be)
		be.Put(t.Context(), "keys/00000000000000aa", []byte("rot"))
	}
	for name, tt := range map[string]struct {
		sheet string
		lose  func(*mem.Backend)
	}{
		"passphrase forgotten": {string(sheet), func(*mem.Backend) {}},
		"slots lost":           {string(sheet), func(be *mem.Backend) { lose(t, be) }},
		"slots damaged":        {string(sheet), rot},
		"another system":       {strings.ReplaceAll(lines, "\n", " \r\n"), rot},
		"small letters":        {typed(strings.ToLower), rot},
		"without spaces":       {typed(func(d string) string { return strings.ReplaceAll(d, " ", "") }), rot},
		"hyphens":              {typed(func(d string) string { return strings.ReplaceAll(d, " ", "-") }), rot},
		"letters for digits":   {typed(strings.NewReplacer("0", "o", "1", "l").Replace), rot},
	} {
		t.Run(name, func(t *testing.T) {
			be := repotest.Copy(t, store)
			tt.lose(be)
			id, err := repo.Import(t.Context(), be, repo.ImportOptions{Sheet: []byte(tt.sheet), Key: key(passB, "paper")})
			if err != nil {
				t.Fatal(err)
			}
			r := openWith(t, be, passB)
			if r.Slot() != id {
				t.Errorf("opened by %s, not %s", r.Slot(), id)
			}
			if err := repotest.Restore(t.Context(), r, b, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// swapLabels numbers the second line 4 and the fourth 2.
func swapLabels(sheet []byte) []byte {
	return []byte(strings.NewReplacer("  2: ", "  4: ", "  4: ", "  2: ").Replace(string(sheet)))
}

func TestImportRefuses(t *testing.T) {
	store, r := repotest.New(t)
	sheet := export(t, r)
	otherStore, other := repotest.New(t)
	half := func(a, b []byte) []byte { // lines of two sheets
		out := bytes.Clone(a)
		at := bytes.Index(out, []byte("  3: "))
		copy(out[at:], b[bytes.Index(b, []byte("  3: ")):])
		return out
	}
	for name, tt := range map[string]struct {
		be    backend.Backend
		sheet []byte
		is    error
		text  string
	}{
		"another repository": {store, export(t, other), crypto.ErrForeign, other.ID().String()},
		"its other way":      {otherStore, sheet, crypto.ErrForeign, r.ID().String()},
		"no repository":      {mem.New(), sheet, nil, "there is no repository"},
		"not a sheet":        {store, []byte("hello"), nil, "line 1 is missing"},
		"two sheets":         {store, half(sheet, export(t, other)), nil, "not lines of one sheet"},
		"twice":              {store, append(bytes.Clone(sheet), sheet...), nil, "line 4 appears twice"},
		"lines confused":     {store, swapLabels(sheet), nil, "line 2: the checksum does not match"},
		"a sixth line":       {store, append(bytes.Clone(sheet), "6: 12345"...), nil, "no line 6"},
	} {
		before := len(repotest.Objects(t, tt.be))
		_, err := repo.Import(t.Context(), tt.be, repo.ImportOptions{Sheet: tt.sheet, Key: key(passB, "")})
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
		if len(repotest.Objects(t, tt.be)) != before {
			t.Errorf("%s: something was stored", name)
		}
	}
	config, _ := backend.ReadAll(t.Context(), store, "config", 1<<20)
	config[60] ^= 1
	store.Put(t.Context(), "config", config)
	if _, err := repo.Import(t.Context(), store, repo.ImportOptions{Sheet: sheet, Key: key(passB, "")}); repo.StateOf(err) != repo.Damaged {
		t.Errorf("damaged config: %v", err)
	}
}

// meaning is a character as the sheet takes it.
func meaning(c byte) byte {
	switch c = strings.ToUpper(string(rune(c)))[0]; c {
	case 'O':
		return '0'
	case 'I', 'L':
		return '1'
	case '\t', '-':
		return ' '
	}
	return c
}

// TestTypingErrors changes every character of the key lines to every other and
// swaps every two neighbours: each change of meaning is an error that names the
// line, and nothing else is one. A line's checksum has 20 bits, so one sheet in
// two hundred has a line in which one of these changes gives another sound line:
// the sum of the sheet finds that, and cannot say where.
func TestTypingErrors(t *testing.T) {
	store, r := repotest.New(t)
	sheet := export(t, r)
	start := bytes.Index(sheet, []byte("  1: "))
	lineAt := func(at int) string {
		return fmt.Sprintf("line %d", 1+bytes.Count(sheet[start:at], []byte("\n")))
	}
	var refused, accepted int
	sound := map[string]bool{} // lines that are sound and others than those of the sheet
	try := func(at int, typed []byte, changed bool) {
		t.Helper()
		id, err := repo.Import(t.Context(), store, repo.ImportOptions{Sheet: typed, Key: key(passB, "")})
		if (err != nil) != changed {
			t.Fatalf("at %d, %q: %v", at, typed[start:], err)
		}
		if err == nil {
			accepted++
			store.Delete(t.Context(), "keys/"+id.String())
			return
		}
		refused++
		if strings.HasSuffix(err.Error(), "not lines of one sheet") {
			sound[strings.ToUpper(string(typed))] = true
		} else if sheet[at] != '\n' && !strings.Contains(err.Error(), lineAt(at)) {
			t.Fatalf("at %d, %s, %q: %v", at, lineAt(at), typed[start:], err)
		}
	}
	for at := start; at < len(sheet)-1; at++ {
		for c := byte(' '); c < 0x7f; c++ {
			typed := bytes.Clone(sheet)
			typed[at] = c
			label := sheet[at] == ':' || at+1 < len(sheet) && sheet[at+1] == ':' || at+2 < len(sheet) && sheet[at+2] == ':' || at+3 < len(sheet) && sheet[at+3] == ':'
			if label || sheet[at] == '\n' {
				if c != sheet[at] && sheet[at] != ' ' {
					try(at, typed, true)
				}
				continue
			}
			try(at, typed, meaning(c) != meaning(sheet[at]))
		}
		if a, b := sheet[at], sheet[at+1]; a != ' ' && b != ' ' && a != '\n' && b != '\n' && a != b {
			typed := bytes.Clone(sheet)
			typed[at], typed[at+1] = b, a
			try(at, typed, true)
		}
	}
	if refused < 5*24*80 || accepted < 5*24 {
		t.Errorf("%d refused, %d accepted", refused, accepted)
	}
	if len(sound) > 3 { // once in 10^10 sheets
		t.Errorf("%d changes are found by the sum of the sheet alone", len(sound))
	}
	t.Logf("%d refused, %d accepted", refused, accepted)
}

func FuzzImport(f *testing.F) {
	store, r := repotest.New(f)
	sheet, err := r.Export(context.Background(), repotest.Passphrase)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sheet)
	f.Add(sheet[len(sheet)-200:])
	f.Add([]byte("1: 0"))
	f.Add([]byte("5:\n4:\n3:2:1:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := repo.Import(context.Background(), store, repo.ImportOptions{Sheet: b, Key: key(passB, "")})
		if err == nil {
			store.Delete(context.Background(), "keys/"+id.String())
		} else if len(err.Error()) > 1000 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}
