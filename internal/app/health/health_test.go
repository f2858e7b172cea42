package health

import (
	"errors"
	"slices"
	"testing"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
)

const text = `
version: 1
repositories:
  main: {url: /srv/vault, password-file: /k, check: {schedule: "Sun 06:00 UTC"}}
  off: {url: /srv/off, password-file: /k}
apps:
  cloud: {to: main, schedule: "03:00 UTC", random-delay: 30m, rehearse: {schedule: monthly}, volumes: {d: {path: /d}}}
  limited: {to: main, health: {max-age: 2h, max-check-age: 30d}, volumes: {d: {path: /d}}}
  byhand: {to: off, volumes: {d: {path: /d}}}
copies:
  offsite: {from: main, to: off, apps: [cloud], after: cloud}
  nightly: {from: main, to: off, apps: [cloud, far], schedule: "05:00 UTC"}
`

func at(t *testing.T, s string) time.Time {
	v, err := time.ParseInLocation(time.DateTime, s, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type done struct {
	kind        record.Kind
	destination string
	result      record.Result
	start       string
}

// TestHealth: what is on record, when it is asked, and what is said.
func TestHealth(t *testing.T) {
	c, err := config.Parse("vault.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := []done{
		{record.Check, "main", record.Success, "2026-03-01 06:00:00"}, // a Sunday
		{record.Rehearsal, "main", record.Success, "2026-03-01 07:00:00"},
		{record.Backup, "main", record.Success, "2026-03-03 03:00:00"},
		{record.Copy, "offsite", record.Success, "2026-03-03 03:20:00"},
		{record.Copy, "nightly", record.Success, "2026-03-03 05:00:00"},
	}
	add := func(more ...done) []done { return append(slices.Clone(good), more...) }
	for name, c2 := range map[string]struct {
		app  string
		done []done
		now  string
		want map[string]State // by kind and name; others are fine
	}{
		"all well":                {"cloud", good, "2026-03-03 12:00:00", nil},
		"the next is not missed":  {"cloud", good, "2026-03-04 04:29:00", nil},
		"the next is missed":      {"cloud", good, "2026-03-04 04:31:00", map[string]State{"backup main": Late}},
		"a partial one is none":   {"cloud", add(done{record.Backup, "main", record.Partial, "2026-03-04 03:00:00"}), "2026-03-04 12:00:00", map[string]State{"backup main": Late, "copy nightly": Late}},
		"a failure is no success": {"cloud", add(done{record.Backup, "main", record.Failed, "2026-03-04 03:00:00"}), "2026-03-04 03:10:00", nil},
		"a copy that waits":       {"cloud", add(done{record.Backup, "main", record.Success, "2026-03-04 03:00:00"}), "2026-03-04 06:00:00", nil},
		"a copy that lags":        {"cloud", add(done{record.Backup, "main", record.Success, "2026-03-04 03:00:00"}), "2026-03-04 06:30:00", map[string]State{"copy nightly": Late}},
		"a copy after it lags":    {"cloud", add(done{record.Backup, "main", record.Success, "2026-03-04 03:00:00"}, done{record.Backup, "main", record.Success, "2026-03-05 03:00:00"}, done{record.Copy, "nightly", record.Success, "2026-03-05 05:00:00"}), "2026-03-05 04:00:00", map[string]State{"copy offsite": Late}},
		"too young for a check":   {"cloud", good[2:], "2026-03-03 12:00:00", map[string]State{"check main": Unknown, "rehearsal main": Unknown}},
		"old enough for a check":  {"cloud", append(slices.Clone(good[2:]), done{record.Backup, "main", record.Success, "2026-03-09 03:00:00"}, done{record.Copy, "offsite", record.Success, "2026-03-09 04:00:00"}, done{record.Copy, "nightly", record.Success, "2026-03-09 05:00:00"}), "2026-03-09 12:00:00", map[string]State{"check main": Never, "rehearsal main": Unknown}},
		"a check that failed":     {"cloud", add(done{record.Check, "main", record.Failed, "2026-03-02 06:00:00"}), "2026-03-03 12:00:00", map[string]State{"check main": Failed}},
		"one that is good again":  {"cloud", add(done{record.Check, "main", record.Failed, "2026-03-02 06:00:00"}, done{record.Check, "main", record.Success, "2026-03-02 07:00:00"}), "2026-03-03 12:00:00", nil},
		"a rehearsal that failed": {"cloud", add(done{record.Rehearsal, "main", record.Failed, "2026-03-02 06:00:00"}), "2026-03-03 12:00:00", map[string]State{"rehearsal main": Failed}},
		"never a good rehearsal":  {"cloud", append(slices.Clone(good[:1]), append(slices.Clone(good[2:]), done{record.Rehearsal, "main", record.Partial, "2026-03-02 06:00:00"})...), "2026-03-03 12:00:00", map[string]State{"rehearsal main": Failed}},
		"a check is missed":       {"cloud", add(done{record.Backup, "main", record.Success, "2026-03-08 03:00:00"}, done{record.Copy, "offsite", record.Success, "2026-03-08 04:00:00"}, done{record.Copy, "nightly", record.Success, "2026-03-08 05:00:00"}), "2026-03-08 12:00:00", map[string]State{"check main": Late}},
		"nothing on record":       {"cloud", nil, "2026-03-03 12:00:00", map[string]State{"backup main": Never, "check main": Never, "rehearsal main": Never, "copy offsite": Unknown, "copy nightly": Unknown}},
		"within its limit":        {"limited", good[:3], "2026-03-03 05:00:00", nil},
		"beyond its limit":        {"limited", good[:3], "2026-03-03 05:02:00", map[string]State{"backup main": Late}},
		"nothing is promised":     {"byhand", nil, "2026-03-03 05:02:00", map[string]State{"backup off": Unknown}},
		"tried, and never done":   {"byhand", []done{{record.Backup, "off", record.Failed, "2026-03-03 03:00:00"}}, "2026-03-03 05:02:00", map[string]State{"backup off": Never}},
		"an app that lives afar":  {"far", good[4:], "2026-03-04 05:59:00", nil},
		"the clock was wrong": {"cloud", []done{{record.Check, "main", record.Success, "2031-03-01 06:00:00"}, {record.Rehearsal, "main", record.Success, "2031-03-01 07:00:00"}, {record.Backup, "main", record.Success, "2031-03-03 03:00:00"},
			{record.Copy, "nightly", record.Success, "2031-03-03 05:00:00"}, {record.Copy, "offsite", record.Success, "2031-03-03 05:00:00"}, {record.Backup, "main", record.Partial, "2026-03-03 03:00:00"}}, "2026-03-05 12:00:00",
			map[string]State{"backup main": Late, "check main": Late, "rehearsal main": Late, "copy nightly": Never, "copy offsite": Never}},
		"whose copy is missed":     {"far", good[4:], "2026-03-04 06:01:00", map[string]State{"copy nightly": Late}},
		"and one never copied yet": {"far", nil, "2026-03-04 06:01:00", map[string]State{"copy nightly": Never}},
	} {
		r := record.Record{App: c2.app}
		for _, d := range c2.done {
			r.Add(record.Activity{App: c2.app, Kind: d.kind, Destination: d.destination, Result: d.result, Start: at(t, d.start), End: at(t, d.start).Add(time.Minute)})
		}
		got := Of(c, c2.app, &r, nil, at(t, c2.now))
		healthy := true
		for _, a := range got.Aspects {
			want := c2.want[string(a.Kind)+" "+a.Name]
			if want == "" {
				want = Fine
			}
			healthy = healthy && (want == Fine || want == Unknown)
			if a.State != want {
				t.Errorf("%s: %s %s is %s, want %s (age %s, due %s)", name, a.Kind, a.Name, a.State, want, a.Age, a.Due)
			}
		}
		if len(got.Aspects) == 0 || got.Healthy() != healthy {
			t.Errorf("%s: %d aspects, healthy %v", name, len(got.Aspects), got.Healthy())
		}
	}
	if got := Of(c, "cloud", nil, errors.New("the record is damaged"), at(t, "2026-03-03 12:00:00")); got.Healthy() {
		t.Error("a damaged record is healthy")
	}
	if got := Names(c); !slices.Equal(got, []string{"byhand", "cloud", "far", "limited"}) {
		t.Errorf("names %v", got)
	}
}
