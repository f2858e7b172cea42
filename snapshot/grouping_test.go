package snapshot

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseGrouping(t *testing.T) {
	for text, want := range map[string]string{
		"":               "",
		"host,group":     "host group",
		"group":          "group",
		"volume,tag:app": "volume tag:app",
		"tag:a,tag:b":    "tag:a tag:b",
		"tag:with:colon": "tag:with:colon",
		"host,host":      "error",
		"tag:a,tag:a":    "error",
		"tag:":           "error",
		"host,":          "error",
		"paths":          "error",
		"host, group":    "error",
	} {
		g, err := ParseGrouping(text)
		var names []string
		for _, f := range g {
			names = append(names, f.String())
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("ParseGrouping(%q): %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestSplit(t *testing.T) {
	var list []*Backup
	for i, s := range []struct{ host, group, tags, volumes string }{
		{"b", "", "app=x", "db html"},
		{"a", "g", "app=y", "html db"},
		{"a", "g", "app=x other=y", "db"},
		{"b", "", "", "db"},
		{"a", "", "app=x", "db html"},
		{"a", "g", "app=y app=x", "html"},
		{"a", "g", "app=x app=y", "html"},
	} {
		b := &Backup{Host: s.host, Group: s.group, Time: Time{Sec: int64(100 - i)}}
		b.ID[15] = byte(i)
		for _, v := range strings.Fields(s.volumes) {
			b.Volumes = append(b.Volumes, Volume{Name: v})
		}
		for _, v := range strings.Fields(s.tags) {
			key, value, _ := strings.Cut(v, "=")
			b.Tags = append(b.Tags, Tag{key, value})
		}
		list = append(list, b)
	}
	for by, want := range map[string]string{ // numbers of backups, oldest first
		"":           "[6 5 4 3 2 1 0]",
		"host,group": "[4] [6 5 2 1] [3 0]",
		"group,host": "[4] [3 0] [6 5 2 1]",
		"volume":     "[3 2] [4 1 0] [6 5]", // whatever their order
		"tag:app":    "[3] [4 2 0] [6 5] [1]",
	} {
		g, err := ParseGrouping(by)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range g.Split(list) {
			var ids []byte
			for _, b := range k.Backups {
				ids = append(ids, b.ID[15])
			}
			got = append(got, fmt.Sprint(ids))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("by %q: %s, want %s", by, s, want)
		}
	}
	if g := DefaultGrouping.Split(nil); len(g) != 0 {
		t.Errorf("groups of nothing: %v", g)
	}
}

func TestParseBand(t *testing.T) {
	for text, want := range map[string]Band{
		"7d=all":      {Until: Span{Days: 7}, Keep: KeepAll},
		"1y6m=oldest": {Until: Span{Years: 1, Months: 6}, Keep: KeepOldest},
		"2w=newest":   {Until: Span{Days: 14}, Keep: KeepNewest},
		"7d":          {}, "7d=": {}, "=all": {}, "7d=some": {}, "x=all": {},
	} {
		got, err := ParseBand(text)
		if (err != nil) != (want == Band{}) || err == nil && got != want {
			t.Errorf("ParseBand(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}
