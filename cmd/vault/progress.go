package main

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// statusLine is one line on a terminal that is written over and over. A single
// line needs no library; it leaves nothing behind and survives narrow windows.
type statusLine struct {
	out io.Writer // nil: no terminal, nothing is drawn

	mu    sync.Mutex // guards what follows
	drawn bool
	last  time.Time
}

// lineEvery is the least time between two drawings.
const lineEvery = 150 * time.Millisecond

// draw shows the text that f returns, unless it did so a moment ago.
func (l *statusLine) draw(f func() string) {
	if l.out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last) < lineEvery {
		return
	}
	l.last, l.drawn = now, true
	io.WriteString(l.out, "\r\x1b[K"+shorten(f(), width()-1))
}

// clear removes the line, before something else is written.
func (l *statusLine) clear() {
	if l.out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drawn {
		l.drawn = false
		io.WriteString(l.out, "\r\x1b[K")
	}
}

func width() int {
	if w, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// shorten cuts s to at most n characters. Wide ones may still wrap.
func shorten(s string, n int) string {
	count := 0
	for i := range s {
		if count == n {
			return s[:i]
		}
		count++
	}
	return s
}

// ticker says when a JSON status line is due: at most twice a second.
type ticker struct {
	mu   sync.Mutex // guards last
	last time.Time
}

const messageEvery = 500 * time.Millisecond

func (t *ticker) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.last) < messageEvery {
		return false
	}
	t.last = now
	return true
}
