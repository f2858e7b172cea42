package pick

import (
	"errors"
	"strings"
	"testing"
	"time"

	"vault/internal/repotest"
	"vault/internal/save"
	"vault/snapshot"
	"vault/snapshot/archive"
)

func TestBackup(t *testing.T) {
	be, r := repotest.New(t)
	defer repotest.MustCheck(t, be)
	dir := t.TempDir()
	ids := map[string]string{}
	for i, b := range []snapshot.Backup{{Group: "web", Host: "a", User: "old"}, {Group: "web", Host: "a", User: "new"}, {Group: "mail", Host: "a"}, {Group: "mail", Host: "b"}, {Host: "a", User: "nobody"}} {
		b.Time = snapshot.TimeOf(time.Unix(int64(i), 0))
		out, err := save.Run(t.Context(), r, save.Options{Backup: b, Volumes: []archive.Volume{{Name: "v", Source: archive.Path{Path: dir}}}})
		if err != nil || out.Outcome != save.Committed {
			t.Fatalf("%v, %v, %v", out.Outcome, out.Err, err)
		}
		ids[b.Group+b.Host+b.User] = out.Backup.ID.String()
	}
	r = repotest.Open(t, be)
	for _, c := range []struct {
		id     string
		filter snapshot.Filter
		want   string
		err    string
	}{
		{"", snapshot.Filter{Group: "web"}, "webanew", ""},
		{ids["webaold"], snapshot.Filter{Group: "web"}, "webaold", ""},
		{strings.ToUpper(ids["webaold"]), snapshot.Filter{Group: "web", Host: "b"}, "webaold", ""},
		{"", snapshot.Filter{Group: "mail", Host: "b"}, "mailb", ""},
		{"", snapshot.Filter{Group: "mail"}, "", "the newest backup of mail: "},
		{"", snapshot.Filter{Group: "shop"}, "", "the newest backup of shop: "},
		{ids["mailb"], snapshot.Filter{Group: "web"}, "", "is one of mail, not of web"},
		{ids["anobody"], snapshot.Filter{Group: "web"}, "", "is one of no application, not of web"},
		{"zzzz", snapshot.Filter{Group: "web"}, "", "backup zzzz: "},
	} {
		b, err := Backup(t.Context(), r, c.id, c.filter)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q of %+v: %v, want %q", c.id, c.filter, err, c.err)
			}
		case err != nil || b.ID.String() != ids[c.want]:
			t.Errorf("%q of %+v: %v, %v, want %s", c.id, c.filter, b, err, c.want)
		}
	}
	if _, err := Backup(t.Context(), r, "", snapshot.Filter{Group: "shop"}); !errors.Is(err, snapshot.ErrNoBackup) {
		t.Error(err)
	}
}
