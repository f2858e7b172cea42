// Package stats measures what backups take in a repository.
//
// Every blob is counted once, with the oldest of the backups that are measured
// and refer to it, so that the figures add up. What a blob takes as stored is
// its share, by plain bytes, of the compressed segment that it lies in.
package stats

import (
	"context"
	"fmt"

	"vault/crypto"
	"vault/index"
	"vault/repo"
	"vault/snapshot"
)

// Sizes are figures of one backup or of several.
type Sizes struct {
	Files   uint64 // restored files
	Restore uint64 // bytes that a restore writes, as recorded by the backup
	Blobs   uint64 // different blobs, data and directory pages
	Plain   uint64 // their bytes
	Stored  uint64 // likewise as stored
}

func (s *Sizes) add(t Sizes) {
	s.Files, s.Restore, s.Blobs = s.Files+t.Files, s.Restore+t.Restore, s.Blobs+t.Blobs
	s.Plain, s.Stored = s.Plain+t.Plain, s.Stored+t.Stored
}

// Report is what was measured.
type Report struct {
	Backups []Sizes // in the order given: blobs that no earlier one has
	Total   Sizes
	Packs   uint64 // of the whole repository, whatever was measured
	Bytes   uint64 // of those packs
}

// Measure reads the directories of the backups, each different one once. Its
// memory is one bit for each row of the index.
func Measure(ctx context.Context, r *repo.Repo, backups []*snapshot.Backup) (Report, error) {
	var report Report
	ix, err := r.Index(ctx)
	if err != nil {
		return report, err
	}
	m := &meter{ctx: ctx, r: r, ix: ix, marks: ix.NewMarks()}
	for _, b := range backups {
		m.sizes = Sizes{}
		for i := range b.Volumes {
			v := &b.Volumes[i]
			if v.Root == nil {
				continue
			}
			m.sizes.Files += v.Files.Total()
			m.sizes.Restore += v.BytesProcessed
			if err := m.volume(v.Root); err != nil {
				return report, fmt.Errorf("measure backup %s volume %q: %w", b.ID.Short(), v.Name, err)
			}
		}
		report.Backups = append(report.Backups, m.sizes)
		report.Total.add(m.sizes)
	}
	seen := map[[32]byte]struct{}{}
	for s := range ix.Segments() {
		for p := range s.Packs() {
			if _, twice := seen[p.ID]; !twice {
				seen[p.ID] = struct{}{}
				report.Packs++
				report.Bytes += uint64(p.Size)
			}
		}
	}
	return report, nil
}

type meter struct {
	ctx   context.Context
	r     *repo.Repo
	ix    *index.Index
	marks *index.Marks
	sizes Sizes
	pages []crypto.ID // to be read
}

func (m *meter) volume(root *snapshot.Node) error {
	for ref := range snapshot.RefsOf(root) {
		if err := m.visit(ref); err != nil {
			return err
		}
	}
	var page []byte
	for len(m.pages) > 0 {
		last := len(m.pages) - 1
		id := m.pages[last]
		m.pages = m.pages[:last]
		var err error
		if page, err = m.r.Get(m.ctx, crypto.BlobTree, id, page); err != nil {
			return err
		}
		for ref, err := range snapshot.Refs(page) {
			if err == nil {
				err = m.visit(ref)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *meter) visit(ref snapshot.Ref) error {
	known, first := m.marks.Mark(ref.Kind, ref.ID)
	if !known {
		return fmt.Errorf("%s blob %s: the index does not know it", ref.Kind, ref.ID)
	}
	if !first {
		return nil
	}
	for loc := range m.ix.Lookup(ref.ID) {
		if loc.Kind == ref.Kind && loc.Raw > 0 {
			m.sizes.Blobs++
			m.sizes.Plain += uint64(loc.Length)
			m.sizes.Stored += max(1, uint64(loc.Length)*uint64(loc.Stored)/uint64(loc.Raw))
			break
		}
	}
	if ref.Kind == crypto.BlobTree {
		m.pages = append(m.pages, ref.ID)
	}
	return nil
}
