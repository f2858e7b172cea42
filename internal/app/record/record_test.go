package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

var moment = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func activity(r Result, hour int) Activity {
	return Activity{App: "web", Kind: Backup, Destination: "main", Result: r, Start: moment.Add(time.Duration(hour) * time.Hour),
		End: moment.Add(time.Duration(hour)*time.Hour + time.Minute), Volumes: []Volume{{Name: "db", State: "complete", Bytes: 7}}}
}

func TestSeries(t *testing.T) {
	s := In(t.TempDir())
	for i, r := range []Result{Success, Failed, Partial, Skipped, Failed} {
		if err := s.Add(activity(r, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(Activity{App: "web", Kind: Copy, Destination: "off", Result: Success}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Load("web")
	if err != nil {
		t.Fatal(err)
	}
	b := r.Get(Backup, "main")
	if b == nil || b.Failures != 3 || b.Last.Result != Failed || !b.LastSuccess.Start.Equal(moment) || !b.LastStored.Start.Equal(moment.Add(2*time.Hour)) {
		t.Errorf("%+v", b)
	}
	if len(r.History) != 6 || r.Get(Copy, "off") == nil || r.Get(Copy, "main") != nil {
		t.Errorf("%+v", r)
	}
	if err := s.Add(activity(Success, 9)); err != nil {
		t.Fatal(err)
	}
	if r, _ = s.Load("web"); r.Get(Backup, "main").Failures != 0 {
		t.Error("a success does not end the row of failures")
	}
	if apps, err := s.Apps(); err != nil || !reflect.DeepEqual(apps, []string{"web"}) {
		t.Errorf("%v, %v", apps, err)
	}
}

func TestBounds(t *testing.T) {
	s := In(t.TempDir())
	for i := range MaxHistory + 5 {
		a := activity(Failed, i)
		a.Error = strings.Repeat("x", 3*maxText)
		a.Volumes = make([]Volume, maxVolumes+1)
		if err := s.Add(a); err != nil {
			t.Fatal(err)
		}
		if i == 2 { // the rest without so much text
			break
		}
	}
	r, err := s.Load("web")
	if err != nil {
		t.Fatal(err)
	}
	for i := range MaxHistory + MaxSeries + 5 {
		a := activity(Success, 10+i)
		a.Destination = fmt.Sprint(i)
		r.Add(a)
	}
	if len(r.History) != MaxHistory || len(r.Series) != MaxSeries || r.Get(Backup, "main") != nil {
		t.Errorf("%d results, %d series", len(r.History), len(r.Series))
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

// TestHistory: what is asked every few minutes, or fails so often, does not crowd out
// the rest.
func TestHistory(t *testing.T) {
	r := Record{Version: version, App: "web"}
	add := func(k Kind, destination string, result Result, idle bool, at int) {
		a := activity(result, at)
		a.Kind, a.Destination, a.Idle = k, destination, idle
		r.Add(a)
	}
	count := func(k Kind, destination string) (n int) {
		for _, a := range r.History {
			if a.Kind == k && a.Destination == destination {
				n++
			}
		}
		return n
	}
	for i := range 10 {
		add(Backup, "main", Success, false, 1000*i)
		add(Copy, "off", Success, false, 1000*i+1)
		for j := range 90 {
			add(Copy, "off", Success, true, 1000*i+2+j)
			add(Copy, "other", Success, true, 1000*i+2+j)
		}
	}
	if b, c, o := count(Backup, "main"), count(Copy, "off"), count(Copy, "other"); b != 10 || c != 20 || o != 1 {
		t.Errorf("%d backups, %d copies off, %d others; want 10, 20, 1", b, c, o)
	}
	if last := r.History[len(r.History)-1]; !last.Idle || last.Start != r.Get(Copy, "other").Last.Start {
		t.Errorf("the last is %+v", last)
	}
	for i := range 500 {
		add(Copy, "off", Failed, false, 20000+i)
	}
	if b, c := count(Backup, "main"), count(Copy, "off"); len(r.History) != MaxHistory || b != 10 || c != MaxHistory-11 {
		t.Errorf("%d results, %d backups, %d copies", len(r.History), b, c)
	}
	for i := range 500 { // and the other way round
		add(Backup, "main", Success, false, 30000+i)
	}
	if b, c := count(Backup, "main"), count(Copy, "off"); b < 49 || c < 49 || count(Copy, "other") != 1 {
		t.Errorf("%d backups, %d copies", b, c)
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

func TestTogether(t *testing.T) {
	s := In(t.TempDir())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a := activity(Success, i)
			a.Destination = fmt.Sprint(i)
			if err := s.Add(a); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r, err := s.Load("web"); err != nil || len(r.Series) != 20 {
		t.Errorf("%d of 20 results, %v", len(r.Series), err)
	}
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s := In(dir)
	if err := s.Add(activity(Success, 0)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "apps", "web.json")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{
		"empty":         "",
		"cut off":       string(good[:len(good)/2]),
		"unknown field": strings.Replace(string(good), `"version"`, `"surprise": 1, "version"`, 1),
		"another app":   strings.ReplaceAll(string(good), `"web"`, `"mail"`),
		"mixed":         strings.Replace(string(good), `"app": "web"`, `"app": "mail"`, 1),
		"unknown kind":  strings.ReplaceAll(string(good), `"backup"`, `"dance"`),
		"more after it": string(good) + "{}",
	} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load("web"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Add(activity(Failed, 1)); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if r, err := s.Load("web"); err != nil || len(r.History) != 1 {
		t.Errorf("after a damage: %+v, %v", r, err)
	}
	if err := os.WriteFile(name, []byte(`{"version":2,"new":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(activity(Failed, 2)); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
	if b, _ := os.ReadFile(name); string(b) != `{"version":2,"new":1}` {
		t.Error("a record of a newer program was replaced")
	}
	for _, app := range []string{"", "../x", "a/b", ".x"} {
		if _, err := s.Load(app); err == nil {
			t.Errorf("%q is accepted", app)
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := Record{Version: version, App: "web"}
	r.Add(activity(Partial, 1))
	b, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1,"app":"a","series":[],"history":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
