package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vault/internal/durable"
)

// Note adds messages to a result that is on record already, wherever it stands. If
// it is not there any more nothing happens.
func (s Store) Note(a Activity, messages []string) error {
	name, err := s.file(a.App)
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(s.dir, ".record.lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("record of %s: %w", a.App, err)
	}
	defer unlock()
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	r, err := s.Load(a.App)
	if err != nil {
		return err
	}
	if !r.note(a, messages) {
		return nil
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = durable.WriteFile(name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("record of %s: %w", a.App, err)
	}
	return nil
}

// note adds messages to every place of a result, and reports whether there is one.
func (r *Record) note(a Activity, messages []string) (found bool) {
	a.limit()
	add := func(b *Activity) {
		if b != nil && b.Kind == a.Kind && b.Destination == a.Destination && b.Start.Equal(a.Start) && b.End.Equal(a.End) {
			b.Messages = append(b.Messages[:len(b.Messages):len(b.Messages)], messages...)
			b.limit()
			found = true
		}
	}
	for i := range r.Series {
		s := &r.Series[i]
		add(&s.Last)
		add(s.LastSuccess)
		if s.LastStored != s.LastSuccess {
			add(s.LastStored)
		}
	}
	for i := range r.History {
		add(&r.History[i])
	}
	return found
}
