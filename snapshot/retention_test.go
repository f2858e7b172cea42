package snapshot

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// on makes backups at the given times ("2026-03-01 14:05"); a trailing "~"
// makes one partial.
func on(t *testing.T, times ...string) []*Backup {
	t.Helper()
	var list []*Backup
	for i, text := range times {
		text, partial := strings.CutSuffix(text, "~")
		at, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		b := &Backup{Time: TimeOf(at), Volumes: []Volume{{Name: "v", State: Complete}}}
		b.ID[15] = byte(i)
		if partial {
			b.Volumes[0].State = Partial
		}
		list = append(list, b)
	}
	return list
}

func TestRetention(t *testing.T) {
	days := []string{"2026-03-01 10:00", "2026-03-02 10:00", "2026-03-02 22:00", "2026-03-03 10:00", "2026-03-04 09:00", "2026-03-04 10:00"}
	tests := []struct {
		name   string
		policy Retention
		times  []string
		want   string // kept, oldest first, as day.hour
	}{
		{"nothing kept by nothing", Retention{}, days, ""},
		{"last 2", Retention{Last: 2}, days, "04.09 04.10"},
		{"last of fewer", Retention{Last: 99}, days, "01.10 02.10 02.22 03.10 04.09 04.10"},
		{"all", Retention{Last: -1}, days, "01.10 02.10 02.22 03.10 04.09 04.10"},
		{"the newest of each of 3 days", Retention{Daily: 3}, days, "02.22 03.10 04.10"},
		{"days without a backup do not count", Retention{Daily: 2}, []string{"2026-01-01 00:00", "2026-03-02 00:00"}, "01.00 02.00"},
		{"hourly", Retention{Hourly: 2}, []string{"2026-03-01 10:05", "2026-03-01 10:55", "2026-03-01 11:00"}, "01.10 01.11"},
		{"rules add up", Retention{Last: 1, Daily: 2}, days, "03.10 04.10"},
		{"ISO weeks: Sunday and Monday differ", Retention{Weekly: 2}, []string{"2026-03-01 10:00", "2026-03-02 10:00", "2026-03-03 10:00"}, "01.10 03.10"},
		{"a year's last week belongs to the next year", Retention{Weekly: 1}, []string{"2025-12-29 00:00", "2026-01-01 00:00"}, "01.00"},
		{"within counts from the newest", Retention{Within: Span{Days: 1}}, days, "03.10 04.09 04.10"},
		{"within daily", Retention{WithinDaily: Span{Days: 2}}, days, "02.22 03.10 04.10"},
		{"a partial one does not replace a complete one", Retention{Last: 1}, []string{"2026-03-01 10:00", "2026-03-02 10:00~"}, "01.10 02.10"},
		{"a partial one older than a complete one goes", Retention{Last: 1}, []string{"2026-03-01 10:00~", "2026-03-02 10:00"}, "02.10"},
		{"complete before partial within a day", Retention{Daily: 1}, []string{"2026-03-01 10:00", "2026-03-01 12:00~"}, "01.10"},
		{"partial where there is nothing else", Retention{Daily: 1}, []string{"2026-03-01 12:00~"}, "01.12"},
		{"bands: 7 days all, then the oldest of month and quarter",
			Retention{Bands: []Band{{Span{Days: 7}, KeepAll}, {Span{Months: 1}, KeepOldest}, {Span{Months: 3}, KeepOldest}}},
			[]string{"2025-11-01 00:00", "2026-01-05 00:00", "2026-02-01 00:00", "2026-02-10 00:00", "2026-02-20 00:00", "2026-03-03 00:00", "2026-03-09 00:00"},
			"05.00 10.00 03.00 09.00"},
	}
	now := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var kept []string
			for _, d := range slices.Backward(tt.policy.Apply(on(t, tt.times...), now, time.UTC)) {
				if d.Keep() {
					kept = append(kept, d.Backup.Time.Std().Format("02.15"))
				}
			}
			if got := strings.Join(kept, " "); got != tt.want {
				t.Errorf("kept %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRetentionTags(t *testing.T) {
	list := on(t, "2026-03-01 10:00", "2026-03-02 10:00", "2026-03-03 10:00")
	list[0].Tags = []Tag{{"keep", "forever"}}
	list[1].Tags = []Tag{{"keep", "no"}}
	p := Retention{Last: 1, Tags: []Tag{{"keep", "forever"}}}
	got := p.Apply(list, time.Now(), time.UTC)
	if !got[0].Keep() || got[1].Keep() || !got[2].Keep() {
		t.Errorf("%+v", got)
	}
}

func TestRetentionZone(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	p := Retention{Daily: 2}
	list := on(t, "2026-03-01 22:30", "2026-03-01 23:30")
	if got := p.Apply(list, time.Now(), berlin); !got[0].Keep() || !got[1].Keep() {
		t.Error("23:30 UTC is the next day in Berlin")
	}
	if got := p.Apply(list, time.Now(), time.UTC); !got[0].Keep() || got[1].Keep() {
		t.Error("both are one day in UTC")
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]Span{
		"1y": {Years: 1}, "2y5m7d3h": {2, 5, 7, 3}, "14d": {Days: 14}, "2w": {Days: 14}, "1w2d": {Days: 9}, "48h": {Hours: 48},
	} {
		if got, err := ParseSpan(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "7", "7x", "-1d", "1d1y", "1d1d", "1.5d", "99999999999d", " 1d"} {
		if got, err := ParseSpan(text); !errors.Is(err, ErrSpan) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}
