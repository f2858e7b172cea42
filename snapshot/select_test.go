package snapshot

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
)

// sample returns backups as (id, time, host, group, state) of one volume "v".
func sample() []*Backup {
	mk := func(id byte, sec int64, host, group string, state State, tags ...Tag) *Backup {
		return &Backup{ID: crypto.SessionID{0, 0, 0, 0, 0, id}, Time: Time{Sec: sec}, Host: host, Group: group, Tags: tags,
			Volumes: []Volume{{Name: "v", State: state}, {Name: host, State: Complete}}}
	}
	return []*Backup{
		mk(4, 40, "a", "", Partial),
		mk(3, 20, "a", "", Complete, Tag{"k", "1"}),
		mk(2, 20, "a", "", Complete, Tag{"k", "1"}, Tag{"k", "2"}),
		mk(1, 10, "a", "", Complete),
		mk(5, 50, "b", "x", Complete),
		mk(6, 60, "b", "y", Partial),
	}
}

func ids(bs []*Backup) (s string) {
	for _, b := range bs {
		s += string('0' + b.ID[5])
	}
	return s
}

func TestSelect(t *testing.T) {
	at := func(sec int64) *Time { return &Time{Sec: sec} }
	for name, tt := range map[string]struct {
		f    Filter
		want string
	}{
		"all":       {Filter{}, "123456"},
		"host":      {Filter{Host: "a"}, "1234"},
		"group":     {Filter{Group: "y"}, "6"},
		"no host":   {Filter{Host: "c"}, ""},
		"tag":       {Filter{Tags: []Tag{{"k", "1"}}}, "23"},
		"both tags": {Filter{Tags: []Tag{{"k", "1"}, {"k", "2"}}}, "2"},
		"volume":    {Filter{Volume: "b"}, "56"},
		"before":    {Filter{Before: at(20)}, "1"},
		"after":     {Filter{After: at(20)}, "456"},
		"between":   {Filter{After: at(10), Before: at(50)}, "234"},
	} {
		if got := ids(Select(sample(), tt.f)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestLatest(t *testing.T) {
	for name, tt := range map[string]struct {
		f      Filter
		want   string
		groups int
	}{
		"complete, ties by id": {Filter{Host: "a"}, "3", 0},
		"partial allowed":      {Filter{Host: "a", AllowPartial: true}, "4", 0},
		"several hosts":        {Filter{}, "", 3},
		"several groups":       {Filter{Host: "b"}, "", 2},
		"one group":            {Filter{Host: "b", Group: "x"}, "5", 0},
		"only partial":         {Filter{Group: "y"}, "", 0},
		"only partial, fine":   {Filter{Group: "y", AllowPartial: true}, "6", 0},
		"none":                 {Filter{Host: "c"}, "", 0},
		"before":               {Filter{Host: "a", Before: &Time{Sec: 20}}, "1", 0},
	} {
		b, err := Latest(sample(), tt.f)
		var ge *GroupsError
		switch {
		case tt.want != "":
			if err != nil || ids([]*Backup{b}) != tt.want {
				t.Errorf("%s: %v, %v", name, b, err)
			}
		case tt.groups > 0:
			if !errors.As(err, &ge) || len(ge.Groups) != tt.groups {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.Is(err, ErrNoBackup):
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
	_, err := Latest(sample(), Filter{})
	if want := `several groups match: "a", "b/x", "b/y"`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestByOrigin: a copy is found by the ids of its origin, which never hide a
// backup's own.
func TestByOrigin(t *testing.T) {
	all := sample()
	far := crypto.SessionID{9, 9, 9}
	all[2].Origin = &Origin{ID: far}
	all[3].Origin = &Origin{ID: all[0].ID}
	volume := all[2].Volumes[0].Name
	for p, want := range map[string]Match{
		far.String():                        {Backup: all[2]},
		far.Short():                         {Backup: all[2]},
		VolumeID(far, volume).String():      {Backup: all[2], Volume: &all[2].Volumes[0]},
		all[0].ID.String():                  {Backup: all[0]},
		all[3].ID.String():                  {Backup: all[3]},
		all[2].ID.String():                  {Backup: all[2]},
		VolumeID(all[2].ID, volume).Short(): {Backup: all[2], Volume: &all[2].Volumes[0]},
	} {
		if m, err := ByPrefix(all, p); err != nil || m != want {
			t.Errorf("%s: %+v, %v, want %+v", p, m, err, want)
		}
	}
	all[1].Origin = &Origin{ID: far}
	var amb *AmbiguousError
	if _, err := ByPrefix(all, far.String()); !errors.As(err, &amb) {
		t.Errorf("two copies: %v", err)
	}
}

func TestByPrefix(t *testing.T) {
	all := sample()
	text := all[0].ID.String() // 0000000040 0...
	snap := all[1].Volumes[0].SnapshotID(all[1]).String()
	for _, p := range []string{text, text[:11], strings.ToUpper(text), strings.ReplaceAll(text, "0", "O")} {
		if m, err := ByPrefix(all, p); err != nil || m.Backup != all[0] || m.Volume != nil || m.ID() != text {
			t.Errorf("%q: %+v, %v", p, m, err)
		}
	}
	for _, p := range []string{snap, snap[:12], strings.ToUpper(snap[:12]), strings.ReplaceAll(snap, "1", "l")} {
		if m, err := ByPrefix(all, p); err != nil || m.Backup != all[1] || m.Volume != &all[1].Volumes[0] || m.ID() != snap {
			t.Errorf("%q: %+v, %v", p, m, err)
		}
	}
	var amb *AmbiguousError
	if _, err := ByPrefix(all, "0000000"); !errors.As(err, &amb) || len(amb.Candidates) < len(all) ||
		!strings.Contains(err.Error(), all[3].ID.String()) || !slices.IsSortedFunc(amb.Candidates, func(a, b Match) int { return strings.Compare(a.ID(), b.ID()) }) {
		t.Errorf("ambiguous: %v", err)
	}
	for _, p := range []string{"", "7zzzzzzz", "u", "0-", " ", text + "0", "é"} {
		if m, err := ByPrefix(all, p); !errors.Is(err, ErrNoBackup) {
			t.Errorf("%q: %+v, %v", p, m, err)
		}
	}
}
