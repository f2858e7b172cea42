package snapshot

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"vault/crypto"
	"vault/internal/wire"
)

var testSID = crypto.SessionID{0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}

func fullBackup() *Backup {
	return &Backup{
		ID: testSID, NewestDone: [32]byte{1}, Origin: &Origin{Repo: crypto.RepoID{2}, ID: crypto.SessionID{3}},
		Time: Time{1700000000, 5}, Started: Time{1700000001, 0}, Finished: Time{1700000061, 500_000_000},
		Host: "host", User: "user", Program: "vault 1.0", Group: "nightly",
		Tags:    []Tag{{"a", "1"}, {"a", "2"}, {"b", ""}},
		Parents: []crypto.SessionID{{1}, {2}}, Index: [][32]byte{{1}, {2}},
		Volumes: []Volume{
			{Name: "/home", Kind: VolumePath, Source: "/home", State: Complete, ScanStarted: Time{1700000002, 3},
				Files: Counts{1, 2, 3}, Directories: Counts{4, 5, 6}, Others: 7, BytesProcessed: 8, BytesAdded: 9, BytesStored: 10,
				Root: &Node{Type: Directory, Mode: 0o755, Tree: crypto.ID{5}}},
			{Name: "db", Kind: VolumeCommand, Source: "pg_dump x", State: Failed, ProblemCount: 100, Problems: []Problem{{"db", "exit status 1"}, {"", ""}}},
			{Name: "in", Kind: VolumeStdin, State: Partial, Root: fileNode("", 5)},
		},
	}
}

func TestCommitRoundTrip(t *testing.T) {
	for name, c := range map[string]*Commit{
		"backup":     {Kind: CommitBackup, Generation: 7, Backup: fullBackup()},
		"checkpoint": {Kind: CommitCheckpoint, Backup: &Backup{ID: testSID, Host: "h", Index: [][32]byte{{4}, {5}}}},
		"killed":     {Kind: CommitKilled, Generation: 8},
		"small":      {Kind: CommitBackup, Backup: &Backup{ID: testSID, Volumes: []Volume{{Kind: VolumePath, State: Failed}}}},
	} {
		b, err := EncodeCommit(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := DecodeCommit(testSID, b)
		clear(b)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestCommitBytes(t *testing.T) {
	c := &Commit{Kind: CommitBackup, Generation: 300, Backup: &Backup{Time: Time{-1, 2}, Host: "h",
		Tags:    []Tag{{"k", "v"}},
		Volumes: []Volume{{Name: "n", Kind: VolumeStdin, Source: "s", State: Partial, Others: 5, ProblemCount: 2, Root: &Node{Type: FIFO}}}}}
	want := "01" + "01" + "ac02" + // version, kind, generation
		strings.Repeat("00", 32) + "00" + // done, origin
		"0102" + "0000" + "0000" + // time, started, finished
		"0168" + "00" + "00" + "00" + // host, user, program, group
		"01" + "016b" + "0176" + "00" + "00" + // tags, parents, index
		"01" + "016e" + "03" + "0173" + "02" + "0000" + // one volume: name, kind, source, state, scan
		"000000" + "000000" + "05" + "000000" + "02" + "00" + // counters, problems
		"01" + "04" + "00" + "00" + "00" + "00" + "0000" + "0000" + "00"
	b, err := EncodeCommit(c)
	if err != nil || hex.EncodeToString(b) != want {
		t.Errorf("commit\n%x, %v, want\n%s", b, err, want)
	}
}

func TestCommitSorts(t *testing.T) {
	k := fullBackup()
	sorted, err := EncodeCommit(&Commit{Kind: CommitBackup, Backup: k})
	if err != nil {
		t.Fatal(err)
	}
	k.Tags = []Tag{{"b", ""}, {"a", "2"}, {"a", "1"}, {"a", "2"}}
	k.Parents = []crypto.SessionID{{2}, {1}, {2}}
	k.Index = [][32]byte{{2}, {2}, {1}}
	k.Volumes[0], k.Volumes[2] = k.Volumes[2], k.Volumes[0]
	got, err := EncodeCommit(&Commit{Kind: CommitBackup, Backup: k})
	if err != nil || !bytes.Equal(got, sorted) {
		t.Errorf("order matters: %v", err)
	}
	if k.Tags[0].Key != "b" || k.Volumes[0].Name != "in" {
		t.Error("the backup was changed")
	}
}

func TestCommitRefusedByEncoder(t *testing.T) {
	for name, f := range map[string]func(*Commit){
		"kind":             func(c *Commit) { c.Kind = 4 },
		"killed backup":    func(c *Commit) { c.Kind = CommitKilled },
		"no backup":        func(c *Commit) { c.Backup = nil },
		"no volumes":       func(c *Commit) { c.Backup.Volumes = nil },
		"checkpoint trees": func(c *Commit) { c.Kind = CommitCheckpoint },
		"empty checkpoint": func(c *Commit) { c.Kind = CommitCheckpoint; c.Backup.Volumes, c.Backup.Index = nil, nil },
		"volumes":          func(c *Commit) { c.Backup.Volumes = make([]Volume, 4097) },
		"two of a name":    func(c *Commit) { c.Backup.Volumes[1].Name = "in" },
		"volume kind":      func(c *Commit) { c.Backup.Volumes[0].Kind = 0 },
		"state":            func(c *Commit) { c.Backup.Volumes[0].State = 4 },
		"failed with root": func(c *Commit) { c.Backup.Volumes[0].State = Failed },
		"no root":          func(c *Commit) { c.Backup.Volumes[0].Root = nil },
		"bad root":         func(c *Commit) { c.Backup.Volumes[0].Root = &Node{} },
		"problems lie":     func(c *Commit) { c.Backup.Volumes[1].ProblemCount = 1 },
		"65 problems":      func(c *Commit) { c.Backup.Volumes[1].Problems = make([]Problem, 65) },
		"host":             func(c *Commit) { c.Backup.Host = strings.Repeat("h", 257) },
		"program":          func(c *Commit) { c.Backup.Program = strings.Repeat("p", 65) },
		"tag value":        func(c *Commit) { c.Backup.Tags[0].Value = strings.Repeat("v", 4097) },
		"tags":             func(c *Commit) { c.Backup.Tags = make([]Tag, 1025) },
		"parents":          func(c *Commit) { c.Backup.Parents = make([]crypto.SessionID, 65) },
		"nanoseconds":      func(c *Commit) { c.Backup.Finished.Nsec = 1e9 },
	} {
		c := &Commit{Kind: CommitBackup, Backup: fullBackup()}
		f(c)
		if b, err := EncodeCommit(c); err == nil {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
}

func TestCommitRefusedByDecoder(t *testing.T) {
	good, err := EncodeCommit(&Commit{Kind: CommitBackup, Backup: fullBackup()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range good { // cut short at every place
		if _, err := DecodeCommit(testSID, good[:i]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	replace := func(old, new string) []byte {
		if bytes.Count(good, []byte(old)) != 1 {
			t.Fatalf("%q occurs %d times", old, bytes.Count(good, []byte(old)))
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for name, b := range map[string][]byte{
		"trailing byte":    append(bytes.Clone(good), 0),
		"version":          append([]byte{2}, good[1:]...),
		"kind 4":           append([]byte{1, 4}, good[2:]...),
		"killed with more": append([]byte{1, 2}, good[2:]...),
		"tags unsorted":    replace("\x01a\x011\x01a\x012", "\x01a\x012\x01a\x011"),
		"tag twice":        replace("\x01a\x011\x01a\x012", "\x01a\x012\x01a\x012"),
		"volumes unsorted": replace("\x05/home\x01\x05", "\x05zhome\x01\x05"),
		"volume kind":      replace("\x02in\x03", "\x02in\x04"),
		"state 0":          replace("\x05/home\x01\x05/home\x01", "\x05/home\x01\x05/home\x00"),
		"failed with root": replace("\x05/home\x01\x05/home\x01", "\x05/home\x01\x05/home\x03"),
		"no root, partial": replace("pg_dump x\x03", "pg_dump x\x02"),
		"problems lie":     replace("\x64\x02\x02db", "\x01\x02\x02db"),
	} {
		if _, err := DecodeCommit(testSID, b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBackupMethods(t *testing.T) {
	b := fullBackup()
	if b.Complete() || b.State() != Partial {
		t.Error("a backup with a failed volume is complete")
	}
	b.Volumes = b.Volumes[:1]
	if !b.Complete() || b.State() != Complete {
		t.Error("a backup of complete volumes is partial")
	}
	if (&Backup{}).Complete() {
		t.Error("a backup of nothing is complete")
	}
	if d := b.Duration(); d != time.Minute+500*time.Millisecond {
		t.Errorf("duration %v", d)
	}
	if b.Volume("/home") != &b.Volumes[0] || b.Volume("x") != nil {
		t.Error("volume by name")
	}
	if c := b.Volumes[0].Files; c.Total() != 6 {
		t.Errorf("total %d", c.Total())
	}
	at := time.Date(1900, 1, 2, 3, 4, 5, 6, time.UTC)
	if got := TimeOf(at); !got.Std().Equal(at) || got.Sec >= 0 || got.Nsec != 6 {
		t.Errorf("%v becomes %+v", at, got)
	}
}

func TestSnapshotID(t *testing.T) {
	b := fullBackup()
	h := crypto.FileHash([]byte("vault/1/snapshot\x00" + string(testSID[:]) + "/home"))
	id := b.Volumes[0].SnapshotID(b)
	if !bytes.Equal(id[:], h[:16]) {
		t.Errorf("snapshot id %x", id)
	}
	if len(id.String()) != 26 || len(id.Short()) != 12 || !strings.HasPrefix(id.String(), id.Short()) {
		t.Errorf("texts %q, %q", id, id.Short())
	}
	if id == b.Volumes[1].SnapshotID(b) || id == VolumeID(crypto.SessionID{}, "/home") {
		t.Error("snapshot ids are not distinct")
	}
}

func FuzzCommit(f *testing.F) {
	for _, c := range []*Commit{{Kind: CommitBackup, Backup: fullBackup()}, {Kind: CommitKilled},
		{Kind: CommitCheckpoint, Backup: &Backup{Index: [][32]byte{{4}}}}} {
		b, err := EncodeCommit(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommit(testSID, b)
		if err != nil {
			return
		}
		again, err := EncodeCommit(c)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x re-encodes to %x, %v", b, again, err)
		}
	})
}
