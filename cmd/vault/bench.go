package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"vault/backend"
	"vault/internal/display"
	"vault/internal/match"
	"vault/pack"
)

// benchMessage is one thing that was measured.
type benchMessage struct {
	Type        string  `json:"message_type"` // "bench"
	What        string  `json:"what"`         // split, name, seal, compress, round_trip, upload, download
	Level       string  `json:"level,omitempty"`
	Connections int     `json:"connections,omitempty"`
	Rate        float64 `json:"bytes_per_second,omitempty"`
	Ratio       float64 `json:"compression_ratio,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"` // of a round trip
}

// benchAdvice ends a benchmark.
type benchAdvice struct {
	Type        string  `json:"message_type"` // "bench_advice"
	Compression string  `json:"compression"`
	Rate        float64 `json:"expected_bytes_per_second"` // of plain data
	Connections int     `json:"connections,omitempty"`
	Bottleneck  string  `json:"bottleneck"` // processor or storage
}

func (a *app) benchCommand() *cobra.Command {
	var size string
	var machineOnly bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine and the store",
		Long: `Bench measures what a backup is made of: splitting, naming, sealing and compressing
on one processor, and then round trips, uploads and downloads at the place that
--repo or VAULT_REPO names. It says which compression the link can feed, and how
many transfers at once it takes to fill it.

It needs no passphrase and no repository there. What it uploads is random, goes to
names that mean nothing in a repository, and is deleted again; if it is
interrupted, too. --size bounds each object; up to 24 of them are uploaded and
downloaded. A directory that is missing is made, as init would. With --machine the
store is not looked at.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&size, "size", "4M", "upload and download objects of this `SIZE`")
	cmd.Flags().BoolVar(&machineOnly, "machine", false, "do not look at the store")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := match.ParseSize(size)
		if err != nil || n < 1<<10 || n > 64<<20 {
			return usagef("--size %q: want a size from 1K to 64M", size)
		}
		return a.bench(cmd.Context(), int(n), machineOnly)
	}
	return cmd
}

// bench measures and tells.
func (a *app) bench(ctx context.Context, size int, machineOnly bool) (err error) {
	b := &benchRun{a: a, ctx: ctx, size: size}
	var p place
	if !machineOnly {
		if p, err = a.place(); err != nil {
			return err
		}
		if b.be, err = a.storage(ctx, p); err != nil {
			return p.wrap("measure", err)
		}
		defer closing(b.be, &err)
	}
	if err := b.machine(); err != nil {
		return err
	}
	if b.be != nil {
		if err := b.store(); err != nil {
			return p.wrap("measure", err)
		}
	}
	b.advise()
	return nil
}

// benchRun is one benchmark under way.
type benchRun struct {
	a    *app
	ctx  context.Context
	be   backend.Backend // or nil
	size int

	levels   []benchMessage // of compressing
	fixed    float64        // seconds a byte of everything else, on one processor
	link     float64        // best rate of uploads; 0 if there is no store
	channels int            // transfers at once that came close to it
}

// tell reports one measurement.
func (b *benchRun) tell(m benchMessage) {
	m.Type = "bench"
	b.a.ui.message(m)
	what := m.What
	switch {
	case m.Level != "":
		what += " " + m.Level
	case m.Connections > 0:
		what += fmt.Sprintf(", %d at once", m.Connections)
	}
	if m.Seconds > 0 {
		b.a.ui.result("%-22s %8.1f ms\n", what, 1000*m.Seconds)
		return
	}
	ratio := ""
	if m.Ratio > 0 {
		ratio = fmt.Sprintf("   to %2.0f %%", 100/m.Ratio)
	}
	b.a.ui.result("%-22s %8.1f MB/s%s\n", what, m.Rate/1e6, ratio)
}

// choose returns the strongest compression at which a backup of data like that
// of the measurement is not slower than at any other.
func (b *benchRun) choose() benchAdvice {
	best := benchAdvice{Type: "bench_advice", Compression: pack.LevelNone.String(), Bottleneck: "processor", Connections: b.channels}
	for _, m := range append([]benchMessage{{Level: pack.LevelNone.String(), Rate: math.Inf(1), Ratio: 1}}, b.levels...) {
		rate, bottleneck := backupRate(b.fixed+1/m.Rate, m.Ratio, b.link)
		if rate > best.Rate*1.02 || rate > best.Rate*0.98 && bottleneck == "storage" && best.Bottleneck == "storage" {
			best.Compression, best.Rate, best.Bottleneck = m.Level, rate, bottleneck
		}
	}
	return best
}

// advise tells what to do.
func (b *benchRun) advise() {
	best := b.choose()
	b.a.ui.message(best)
	b.a.ui.result("\nadvice: --compression %s: about %.1f MB/s of data like this, bound by the %s\n",
		best.Compression, best.Rate/1e6, best.Bottleneck)
	if b.channels > 0 {
		b.a.ui.result("the store is at its best with %s at once\n", display.Count(uint64(b.channels), "transfer"))
	}
}

// benchLanes is how many processors work on one backup at most, as far as advice
// goes: others have work, too.
const benchLanes = 2

// backupRate returns at how many bytes a second of plain data a backup can go,
// and what bounds it: what a byte costs one processor, in seconds, or the link,
// 0 for none.
func backupRate(perByte, ratio, link float64) (rate float64, bottleneck string) {
	rate = benchLanes / perByte
	if sent := link * ratio; link > 0 && sent < rate {
		return sent, "storage"
	}
	return rate, "processor"
}

// noise is random bytes that cost nothing to make.
type noise struct{ state uint64 }

func (n *noise) Read(p []byte) (int, error) {
	for i := range p {
		n.state = n.state*6364136223846793005 + 1442695040888963407
		p[i] = byte(n.state >> 56)
	}
	return len(p), nil
}

// sampleText returns data that compresses about as source code and prose do.
func sampleText(size int) []byte {
	words := []string{"the", "backup", "of", "a", "tree", "return", "if", "err", "!=", "nil", "{", "}\n", "func", "volume", "0x1f", "value", "//", "=", "for", "range"}
	b, r := make([]byte, 0, size+32), &noise{state: 1}
	var pick [4]byte
	for len(b) < size {
		io.ReadFull(r, pick[:])
		b = append(append(b, words[int(pick[0])%len(words)]...), ' ')
		if pick[1] < 24 {
			b = strconv.AppendUint(b, uint64(pick[2])<<8|uint64(pick[3]), 10)
		}
	}
	return b[:size]
}

// timed calls f until a third of a second has passed, and returns bytes a second.
func timed(ctx context.Context, bytes int, f func() error) (float64, error) {
	if err := f(); err != nil { // warm
		return 0, err
	}
	start, n := time.Now(), 0
	for n == 0 || time.Since(start) < time.Second/3 { // once even where the machine is busy elsewhere that long
		if err := errors.Join(context.Cause(ctx), f()); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n*bytes) / time.Since(start).Seconds(), nil
}
