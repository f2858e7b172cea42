package main

import (
	"fmt"
	"path"
	"sync"
	"time"

	"vault/internal/display"
	"vault/snapshot"
	"vault/snapshot/restore"
)

// restoreReport shows what happens during a restore. It is called by several
// goroutines at once.
type restoreReport struct {
	ui         *ui
	start      time.Time
	tick       ticker
	totalFiles uint64
	totalBytes uint64
	all        bool // every entry of which there is something to say is shown, also without -v

	mu    sync.Mutex // guards what follows
	files uint64
	bytes uint64
	bad   uint64
}

func newRestoreReport(u *ui, volumes []restore.Volume) *restoreReport {
	r := &restoreReport{ui: u, start: time.Now()}
	for _, v := range volumes {
		r.totalFiles += v.Files.Total()
		r.totalBytes += v.BytesProcessed
	}
	return r
}

func (r *restoreReport) observe(e restore.Event) {
	r.mu.Lock()
	r.bytes += e.Bytes
	if e.Type == snapshot.File && e.Verb != restore.Wrote {
		r.files++
	}
	if e.Verb == restore.Failed {
		r.bad++
	}
	files, bytes, bad := r.files, r.bytes, r.bad
	r.mu.Unlock()

	if e.Verb != restore.Wrote && (r.ui.verbose > 1 || (r.ui.verbose == 1 || r.all) && e.Verb != restore.Unchanged) {
		r.ui.item(itemMessage{Action: e.Verb.String(), Volume: e.Volume, Item: e.Path, Size: e.Bytes})
	}
	elapsed := time.Since(r.start)
	r.ui.line.draw(func() string {
		return fmt.Sprintf("[%s] %d of %s, %s of %s: %s", display.Duration(elapsed), files, display.Count(r.totalFiles, "file"),
			display.Bytes(bytes), display.Bytes(r.totalBytes), display.Name(path.Join(e.Volume, e.Path)))
	})
	if r.ui.json && r.tick.due() {
		m := progressMessage{Type: "status", SecondsElapsed: elapsed.Seconds(), TotalFiles: r.totalFiles, FilesDone: files,
			TotalBytes: r.totalBytes, BytesDone: bytes, ErrorCount: bad}
		if r.totalBytes > 0 {
			m.PercentDone = min(1, float64(bytes)/float64(r.totalBytes))
		}
		r.ui.message(m)
	}
}
