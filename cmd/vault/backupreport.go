package main

import (
	"fmt"
	"path"
	"slices"
	"time"

	"vault/crypto"
	"vault/internal/display"
	"vault/internal/save"
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
	case archive.EventExcluded:
		if r.ui.verbose > 1 {
			r.ui.item(itemMessage{Action: "excluded", Volume: e.Volume, Item: e.Path})
		}
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
	if m.Volume != "" && m.BackupID != "" { // one of many backups
		u.complain("error: backup %.12s: %s: %s", m.BackupID, display.Name(about), display.Line(oneLine(m.Error.Message)))
		return
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

// tell ends the output with a summary.
func (b *backupRun) tell(r *save.Report, state string) {
	k, id := &r.Backup, ""
	if r.Outcome == save.Committed {
		id = k.ID.String()
	}
	m := summaryMessage{Type: "summary", DryRun: b.f.dryRun, BackupID: id, State: state,
		BackupStart: k.Started.Std(), BackupEnd: k.Finished.Std(), TotalDuration: k.Duration().Seconds(),
		Volumes: []volumeInfo{}, Unmatched: unmatched(b.excludes)}
	committed := k
	if id == "" {
		committed = nil
	}
	for i := range k.Volumes {
		info := volumeInfoOf(committed, &k.Volumes[i])
		info.Excluded = r.Excluded[i]
		m.Excluded += info.Excluded
		m.Volumes = append(m.Volumes, info)
		m.counts.add(info.counts)
	}
	if len(m.Volumes) == 1 {
		m.SnapshotID = m.Volumes[0].SnapshotID
	}
	if len(k.Parents) > 0 {
		m.ParentID = slices.MaxFunc(k.Parents, crypto.SessionID.Compare).String()
	}
	b.a.ui.message(m)
	b.a.ui.backupSummary(m, k.ID.Short())
}

// backupSummary is the summary for people.
func (u *ui) backupSummary(m summaryMessage, short string) {
	what := "backup " + short + " stored"
	switch {
	case m.DryRun:
		what = "dry run, nothing is stored"
	case m.State == "unchanged":
		what = "nothing changed, no backup is stored"
	case m.BackupID == "":
		what = "nothing is stored"
	}
	u.info("%s: %s in %s\n", what, m.State, display.Duration(m.BackupEnd.Sub(m.BackupStart)))
	u.info("files        %d new, %d changed, %d unmodified\n", m.FilesNew, m.FilesChanged, m.FilesUnmodified)
	u.info("directories  %d new, %d changed, %d unmodified\n", m.DirsNew, m.DirsChanged, m.DirsUnmodified)
	u.info("processed    %s\n", display.Bytes(m.BytesProcessed))
	u.info("added        %s (stored %s)\n", display.Bytes(m.DataAdded), display.Bytes(m.DataAddedPacked))
	u.excludeSummary(m)
	if len(m.Volumes) > 1 || m.State != "complete" {
		for _, v := range m.Volumes {
			u.info("volume       %s: %s, %s processed\n", display.Name(v.Name), v.State, display.Bytes(v.BytesProcessed))
		}
	}
}

// excludeSummary tells what was left out, and which patterns did nothing. That is
// often as it should be, but a pattern with a mistake shows here.
func (u *ui) excludeSummary(m summaryMessage) {
	if m.Excluded > 0 {
		u.info("excluded     %s\n", display.Count(m.Excluded, "entry"))
	}
	const few = 3
	for i, pattern := range m.Unmatched {
		if i == few && u.verbose == 0 {
			u.info("unmatched    %s more, -v shows all\n", display.Count(uint64(len(m.Unmatched)-few), "pattern"))
			return
		}
		u.info("unmatched    %s\n", display.Line(pattern))
	}
}
