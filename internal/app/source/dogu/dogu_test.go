package dogu

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vault/crypto"
	"vault/snapshot"
)

func TestParse(t *testing.T) {
	text, err := os.ReadFile("testdata/dogu.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []Volume{{Name: "files", Path: "/usr/share/webapps/redmine/files", UID: 1000, GID: 1000}, {Name: "plugins", Path: "/var/tmp/redmine/plugins", UID: 1000},
		{Name: "localConfig", Path: "/var/ces/config", UID: 1000, GID: 1000, Clients: true}}
	if d.Name != "official/redmine" || d.Short() != "redmine" || d.Version != "5.1.3-1" || !slices.Equal(d.Volumes, want) {
		t.Errorf("%+v", d)
	}
	if dir := d.Dir("/var/lib/ces/redmine/volumes", d.Volumes[0]); dir != "/var/lib/ces/redmine/volumes/files" {
		t.Error(dir)
	}
	// As the system's registry writes it.
	d, err = Parse([]byte(`{"name":"testing/jenkins","volumes":[{"name":"custom.init.groovy.d","path":"/x","owner":"1000","group":"1000","needsbackup":true,"clients":null}]}`))
	if err != nil || len(d.Volumes) != 1 || d.Volumes[0].UID != 1000 {
		t.Errorf("in lower case: %+v, %v", d, err)
	}
	for what, bad := range map[string]string{
		"no JSON": "x", "a list": "[]", "nothing": "{}", "outside": volume(`"Name":"../etc"`), "no name": volume(`"Name":""`), "a slash": volume(`"Name":"a/b"`),
		"an owner": volume(`"Name":"a","Owner":"redmine"`), "negative": volume(`"Name":"a","Group":"-1"`), "too large": volume(`"Name":"a","Owner":"4294967295"`),
		"twice": `{"Name":"x/y","Volumes":[{"Name":"a","NeedsBackup":true},{"Name":"a","NeedsBackup":true}]}`, "large": `{"Name":"` + strings.Repeat("x", maxDescriptor) + `"}`,
	} {
		if d, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", what, d)
		}
	}
}

func volume(fields string) string {
	return `{"Name":"x/y","Volumes":[{` + fields + `,"NeedsBackup":true}]}`
}

// Ages are in hours. The boundaries are the system's own: a backup of exactly 7 days
// belongs to the first week.
func TestPolicies(t *testing.T) {
	now := time.Date(2019, 3, 1, 1, 1, 0, 0, time.UTC)
	const day = 24
	for _, c := range []struct {
		policy     string
		ages, want []int
	}{
		{"keepAll", []int{0, 1, 5000 * day}, []int{0, 1, 5000 * day}},
		{"removeAllButKeepLatest", []int{3, 1, 500 * day}, []int{1}},
		{"keepLastSevenDays", []int{0, 1, 2, 6 * day, 7 * day, 7*day + 1, 8 * day, 400 * day}, []int{0, 1, 2, 6 * day, 7 * day}},
		{"keep7Days1Month1Quarter1Year",
			[]int{0, 1, 7 * day, 7*day + 1, 8 * day, 29 * day, 30 * day, 30*day + 1, 89 * day, 90 * day, 95 * day, 179 * day, 181 * day, 360 * day, 360*day + 1},
			[]int{0, 1, 7 * day, 30 * day, 90 * day, 179 * day, 360 * day}},
		{"keep7Days1Month1Quarter1Year", []int{200 * day, 100 * day, 20 * day}, []int{20 * day, 100 * day, 200 * day}},
		{"keep7Days1Month1Quarter1Year", []int{12 * day, 11 * day, 10 * day}, []int{12 * day}},
	} {
		p, err := Policy(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		var list []*snapshot.Backup
		for i, age := range c.ages {
			list = append(list, &snapshot.Backup{ID: crypto.SessionID{byte(i + 1)}, Time: snapshot.TimeOf(now.Add(-time.Duration(age) * time.Hour)),
				Volumes: []snapshot.Volume{{Name: "v", State: snapshot.Complete}}})
		}
		var got []int
		for _, d := range p.Apply(list, now, time.UTC) {
			if d.Keep() {
				got = append(got, int(now.Sub(d.Backup.Time.Std()).Hours()))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s of %v keeps %v, want %v", c.policy, c.ages, got, c.want)
		}
	}
	if _, err := Policy("keepSome"); err == nil || !strings.Contains(err.Error(), Policies[3]) {
		t.Errorf("%v", err)
	}
	for _, name := range Policies {
		if p, err := Policy(name); err != nil || p.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(volume(`"Name":"a","Owner":"1"`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := Parse(b); err == nil {
			_ = fmt.Sprint(d.Short(), len(d.Volumes))
			for _, v := range d.Volumes {
				if !strings.HasPrefix(d.Dir("/r", v), "/r/") {
					t.Fatalf("%q lies outside", v.Name)
				}
			}
		}
	})
}
