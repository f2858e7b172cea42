package pins

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	m := In(dir)
	recall := func(place, want string) {
		t.Helper()
		if got, err := m.Recall(place); err != nil || got != want {
			t.Errorf("Recall(%q) = %q, %v; want %q", place, got, err, want)
		}
	}
	recall("/a", "")
	for _, step := range []struct{ place, id string }{{"/a", "1"}, {"/b", "2"}, {"/a", "3"}} {
		if err := m.Remember(step.place, step.id); err != nil {
			t.Fatal(err)
		}
		recall(step.place, step.id)
	}
	recall("/b", "2")
	recall("/c", "")
	info, err := os.Stat(m.File("/a"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info.Mode(), err)
	}
}

func TestUnreadable(t *testing.T) {
	m := In(t.TempDir())
	if err := m.Remember("/a", "1"); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(m.File("/a"))
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{
		"empty":         nil,
		"cut short":     good[:len(good)/2],
		"other place":   []byte(`{"location":"/b","repository_id":"1"}`),
		"no repository": []byte(`{"location":"/a"}`),
		"huge":          make([]byte, maxPin+1),
	} {
		if err := os.WriteFile(m.File("/a"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := m.Recall("/a"); err == nil {
			t.Errorf("%s: recalled %q", what, id)
		}
	}
}

func TestNoMemory(t *testing.T) {
	var m Memory
	if err := m.Remember("/a", "1"); err != nil {
		t.Fatal(err)
	}
	if id, err := m.Recall("/a"); id != "" || err != nil {
		t.Errorf("recalled %q, %v", id, err)
	}
}
