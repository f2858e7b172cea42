package main

import (
	"fmt"
	"sync"
	"time"

	"vault/internal/display"
	"vault/repo/check"
)

// checkReport shows what happens during a check. It is called by several
// goroutines at once.
type checkReport struct {
	ui    *ui
	start time.Time
	tick  ticker

	mu     sync.Mutex // guards newest
	newest check.Progress
}

// last returns the progress that had come furthest.
func (r *checkReport) last() check.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest
}

func (r *checkReport) observe(p check.Progress) {
	r.mu.Lock()
	r.newest.Packs, r.newest.PacksTotal = max(r.newest.Packs, p.Packs), max(r.newest.PacksTotal, p.PacksTotal)
	r.newest.Bytes, r.newest.BytesTotal = max(r.newest.Bytes, p.Bytes), max(r.newest.BytesTotal, p.BytesTotal)
	r.newest.Directories = max(r.newest.Directories, p.Directories)
	p = r.newest
	r.mu.Unlock()

	elapsed := time.Since(r.start)
	r.ui.line.draw(func() string {
		return fmt.Sprintf("[%s] %d of %s, %s of %s read, %s", display.Duration(elapsed), p.Packs, display.Count(uint64(p.PacksTotal), "pack"),
			display.Bytes(uint64(p.Bytes)), display.Bytes(uint64(p.BytesTotal)), display.Count(uint64(p.Directories), "directory"))
	})
	if r.ui.json && r.tick.due() {
		m := progressMessage{Type: "status", SecondsElapsed: elapsed.Seconds(), TotalFiles: uint64(p.PacksTotal), FilesDone: uint64(p.Packs),
			DirsDone: uint64(p.Directories), TotalBytes: uint64(p.BytesTotal), BytesDone: uint64(p.Bytes)}
		r.ui.message(m)
	}
}
