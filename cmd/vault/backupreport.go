package main

import (
	"fmt"
	"path"
	"time"

	"vault/internal/display"
	"vault/snapshot/archive"
)

// backupReport shows what happens while a backup is read. The engine calls it
// from one goroutine at a time.
type backupReport struct {
	ui     *ui
	start  time.Time
	tick   ticker
	errors uint64
}

func newBackupReport(u *ui) *backupReport { return &backupReport{ui: u, start: time.Now()} }

func (r *backupReport) observe(e archive.Event) {
	switch e.Kind {
	case archive.EventProblem:
		r.errors++
		r.ui.problem(problemMessage{During: "archival", Volume: e.Volume, Item: e.Path, Error: problemText{e.Message}})
	case archive.EventNotice:
		r.ui.warn(path.Join(e.Volume, e.Path), fmt.Errorf("%s", e.Message))
	case archive.EventItem:
		r.item(e)
	default:
		r.progress(e)
	}
}

// item tells of one entry: with -v of what is new or changed, twice of all.
func (r *backupReport) item(e archive.Event) {
	if e.Status == archive.Unmodified && r.ui.verbose < 2 {
		return
	}
	r.ui.item(itemMessage{Action: e.Status.String(), Volume: e.Volume, Item: e.Path, Size: e.Size})
}

func (r *backupReport) progress(e archive.Event) {
	elapsed := time.Since(r.start)
	r.ui.line.draw(func() string {
		return fmt.Sprintf("[%s] %s, %s: %s", display.Duration(elapsed), display.Count(e.Files, "file"),
			display.Bytes(e.Bytes), display.Name(path.Join(e.Volume, e.Path)))
	})
	if !r.ui.json || !r.tick.due() {
		return
	}
	m := progressMessage{Type: "status", SecondsElapsed: elapsed.Seconds(), FilesDone: e.Files, DirsDone: e.Directories,
		BytesDone: e.Bytes, ErrorCount: r.errors}
	if e.Path != "" && lossless(e.Volume+e.Path) == "" {
		m.CurrentFiles = []string{path.Join(e.Volume, e.Path)}
	}
	r.ui.message(m)
}

// problem tells of something that is not as it should be.
func (u *ui) problem(m problemMessage) {
	if u.json {
		m.Type, m.VolumeBase64, m.ItemBase64 = "error", lossless(m.Volume), lossless(m.Item)
		u.errorMessage(m)
		return
	}
	about := m.Object
	if m.Volume != "" {
		about = path.Join(m.Volume, m.Item)
	}
	if about == "" {
		u.complain("error: %s", display.Line(oneLine(m.Error.Message)))
		return
	}
	u.complain("error: %s: %s", display.Name(about), display.Line(oneLine(m.Error.Message)))
}

// item tells of one entry.
func (u *ui) item(m itemMessage) {
	if u.json {
		m.Type, m.VolumeBase64, m.ItemBase64 = "verbose_status", lossless(m.Volume), lossless(m.Item)
		u.message(m)
		return
	}
	u.info("%-10s %s\n", m.Action, display.Name(path.Join(m.Volume, m.Item)))
}
