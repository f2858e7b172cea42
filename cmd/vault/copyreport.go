package main

import (
	"fmt"
	"strings"
	"time"

	"vault/crypto"
	"vault/internal/display"
	"vault/repo/transfer"
)

// copyMessage is what became of one backup that the target should have.
type copyMessage struct {
	Type      string    `json:"message_type"` // "copy"
	BackupID  string    `json:"backup_id"`    // in the source
	CopyID    string    `json:"copy_id,omitempty"`
	Outcome   string    `json:"outcome"` // "copied", "present", "forgotten", "older", "damaged", "gone" or "pending"
	Time      time.Time `json:"time"`
	Host      string    `json:"hostname"`
	Group     string    `json:"group"`
	State     string    `json:"state"`
	BaseID    string    `json:"base_id,omitempty"` // the backup whose copy it was compared with
	BlobsRead int64     `json:"blobs_read,omitempty"`
	BytesRead int64     `json:"bytes_read,omitempty"`
	Added     int64     `json:"data_added,omitempty"`
	Packed    int64     `json:"data_added_packed,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// copySummary ends a copy.
type copySummary struct {
	Type      string  `json:"message_type"` // "summary"
	DryRun    bool    `json:"dry_run,omitempty"`
	Copied    int     `json:"backups_copied"`
	Present   int     `json:"backups_present"`
	Forgotten int     `json:"backups_forgotten"`
	Older     int     `json:"backups_older"`
	Failed    int     `json:"backups_failed"`
	Pending   int     `json:"backups_pending"`
	BlobsRead int64   `json:"blobs_read"`
	BytesRead int64   `json:"bytes_read"`
	Added     int64   `json:"data_added"`
	Packed    int64   `json:"data_added_packed"`
	Alike     bool    `json:"chunker_alike"` // backups made directly into the target find the same data again
	Duration  float64 `json:"total_duration"`
}

// copyReport shows what happens during a copy. The engine calls it from one
// goroutine at a time.
type copyReport struct {
	ui     *ui
	dryRun bool
	start  time.Time
	tick   ticker
	before transfer.Bytes // of the backups that are done
	told   map[crypto.SessionID]bool
}

func newCopyReport(u *ui, dryRun bool) *copyReport {
	return &copyReport{ui: u, dryRun: dryRun, start: time.Now(), told: map[crypto.SessionID]bool{}}
}

func (r *copyReport) observe(e transfer.Event) {
	elapsed := time.Since(r.start)
	if e.Kind == transfer.EventEnd {
		r.one(&e.Copy)
		r.before.Read += e.Done.Read
		return
	}
	r.ui.line.draw(func() string {
		return fmt.Sprintf("[%s] backup %d of %d, %s of %s: %s read, %s stored", display.Duration(elapsed), e.Nth, e.Of, e.Copy.Backup.ID.Short(),
			display.Line(e.Copy.Backup.Host), display.Bytes(uint64(e.Done.Read)), display.Bytes(uint64(e.Done.Stored)))
	})
	if r.ui.json && r.tick.due() {
		r.ui.message(progressMessage{Type: "status", SecondsElapsed: elapsed.Seconds(), TotalFiles: uint64(e.Of), FilesDone: uint64(e.Nth - 1),
			BytesDone: uint64(r.before.Read + e.Done.Read)})
	}
}

// one tells what became of one backup.
func (r *copyReport) one(c *transfer.Copy) {
	b := c.Backup
	if r.told[b.ID] {
		return
	}
	r.told[b.ID] = true
	m := copyMessage{Type: "copy", BackupID: b.ID.String(), Outcome: c.Outcome.String(), Time: b.Time.Std(), Host: b.Host, Group: b.Group, State: b.State().String(),
		BlobsRead: c.Bytes.Blobs, BytesRead: c.Bytes.Read, Added: c.Bytes.Added, Packed: c.Bytes.Stored}
	if c.Outcome == transfer.Copied || c.Outcome == transfer.Present || c.Outcome == transfer.Forgotten {
		m.CopyID = c.ID.String()
	}
	if c.Base != nil {
		m.BaseID = c.Base.ID.String()
	}
	if c.Err != nil {
		m.Error = c.Err.Error()
		r.ui.problem(problemMessage{During: "copy", BackupID: m.BackupID, Error: problemText{m.Error}})
	}
	r.ui.message(m)
	names := make([]string, len(b.Volumes))
	for i := range b.Volumes {
		names[i] = display.Name(b.Volumes[i].Name)
	}
	what := fmt.Sprintf("%s  %s  %s  %s", b.ID.Short(), localTime(b.Time), display.Line(b.Key().String()), strings.Join(names, " "))
	switch {
	case c.Outcome == transfer.Copied:
		r.ui.info("copied    %s\n          as %s: %s read, %s added (stored %s)\n", what, c.ID.Short(),
			display.Bytes(uint64(c.Bytes.Read)), display.Bytes(uint64(c.Bytes.Added)), display.Bytes(uint64(c.Bytes.Stored)))
	case c.Outcome == transfer.Pending && r.dryRun:
		r.ui.result("would copy  %s\n", what)
	case c.Err != nil || r.dryRun || r.ui.verbose > 0:
		r.ui.info("%-9s %s\n", c.Outcome, what)
	}
}

// tell ends the output: with those that were not begun, and a summary.
func (r *copyReport) tell(done *transfer.Report, alike bool) {
	for i := range done.Copies {
		switch c := &done.Copies[i]; c.Outcome {
		case transfer.Present, transfer.Forgotten, transfer.Older, transfer.Pending:
			r.one(c)
		}
	}
	t := done.Total
	m := copySummary{Type: "summary", DryRun: r.dryRun, Copied: done.Count(transfer.Copied), Present: done.Count(transfer.Present),
		Forgotten: done.Count(transfer.Forgotten), Older: done.Count(transfer.Older), Failed: done.Count(transfer.Damaged) + done.Count(transfer.Gone),
		Pending: done.Count(transfer.Pending), BlobsRead: t.Blobs, BytesRead: t.Read, Added: t.Added, Packed: t.Stored, Alike: alike,
		Duration: time.Since(r.start).Seconds()}
	r.ui.message(m)
	if r.dryRun {
		r.ui.info("would copy %s of %d\n", display.Count(uint64(m.Pending), "backup"), len(done.Copies))
		return
	}
	var passed string // those that are no failure and not copied either
	if m.Present > 0 {
		passed += fmt.Sprintf(", %d here already", m.Present)
	}
	if m.Forgotten > 0 {
		passed += fmt.Sprintf(", %d forgotten here", m.Forgotten)
	}
	r.ui.info("copied %s of %d%s in %s: %s read, %s added (stored %s)\n", display.Count(uint64(m.Copied), "backup"), len(done.Copies), passed,
		display.Duration(time.Since(r.start)), display.Bytes(uint64(t.Read)), display.Bytes(uint64(t.Added)), display.Bytes(uint64(t.Stored)))
}
