package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vault/backend"
	"vault/chunk"
	"vault/crypto"
	"vault/pack"
)

// machine measures what one processor does with a byte.
func (b *benchRun) machine() error {
	master, err := crypto.NewMasterKey(rand.Reader)
	if err != nil {
		return err
	}
	keys := crypto.NewKeys(master, crypto.RepoID{1}, crypto.PreferredAEAD())
	object, err := keys.NewObject(crypto.KindPack, crypto.SessionID{}, rand.Reader)
	if err != nil {
		return err
	}
	chunker, err := chunk.New(chunk.DefaultParams(), keys.ChunkerSecret())
	if err != nil {
		return err
	}
	text := sampleText(8 << 20)
	const segment = 512 << 10
	splitter, ordinal := chunker.NewSplitter(), uint64(0)
	var sealed []byte
	for _, c := range []struct {
		what  string
		bytes int
		f     func() error
	}{
		{"split", len(text), func() error {
			splitter.Reset(bytes.NewReader(text))
			for {
				if _, err := splitter.Next(); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
			}
		}},
		{"name", segment, func() error { keys.BlobID(crypto.BlobData, text[:segment]); return nil }},
		{"seal", segment, func() error {
			ordinal++
			sealed = object.Seal(sealed[:0], crypto.NonceSegment, ordinal, nil, text[:segment])
			return nil
		}},
	} {
		rate, err := timed(b.ctx, c.bytes, c.f)
		if err != nil {
			return err
		}
		b.fixed += 1 / rate
		b.tell(benchMessage{What: c.what, Rate: rate})
	}
	return b.compression(text, segment)
}

// compression measures each level.
func (b *benchRun) compression(text []byte, segment int) error {
	for level := pack.LevelNone + 1; ; level++ {
		if _, err := pack.ParseLevel(level.String()); err != nil {
			return nil
		}
		coder, in, out := pack.NewCoder(level), 0, 0
		var packed []byte
		rate, err := timed(b.ctx, segment, func() error {
			at := in % (len(text) - segment)
			packed, _ = coder.Encode(packed[:0], text[at:at+segment])
			in, out = in+segment, out+len(packed)
			return nil
		})
		if err != nil {
			return err
		}
		m := benchMessage{What: "compress", Level: level.String(), Rate: rate, Ratio: float64(in) / float64(max(1, out))}
		b.levels = append(b.levels, m)
		b.tell(m)
	}
}

// benchPatience is after how long the next larger number of transfers is not
// tried any more.
const benchPatience = 10 * time.Second

// store measures the place. It deletes what it has stored, whatever happens.
func (b *benchRun) store() (err error) {
	if err := b.roundTrip(); err != nil {
		return err
	}
	var names []string
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), time.Minute)
		defer cancel()
		for _, name := range names {
			if derr := b.be.Delete(ctx, name); derr != nil && !errors.Is(derr, fs.ErrNotExist) {
				err = errors.Join(err, fmt.Errorf("delete what was measured with: %w", derr))
			}
		}
	}()
	var counts []int // of transfers at once
	var rates []float64
	for at := 1; at <= 8; at *= 2 {
		first := len(names)
		for range max(2, at) {
			names = append(names, probeName())
		}
		rate, took, err := b.transfers(names[first:], at, b.put)
		if err != nil {
			return err
		}
		counts, rates = append(counts, at), append(rates, rate)
		b.tell(benchMessage{What: "upload", Connections: at, Rate: rate})
		down, _, err := b.transfers(names[first:], at, b.get)
		if err != nil {
			return err
		}
		b.tell(benchMessage{What: "download", Connections: at, Rate: down})
		if took > benchPatience {
			break
		}
	}
	b.link = slices.Max(rates)
	for i := range rates {
		if rates[i] >= 0.9*b.link {
			b.channels = counts[i]
			break
		}
	}
	return nil
}

// probeName returns a name that means nothing in a repository (docs/format.md
// section 2), so that what a crash leaves harms nobody.
func probeName() string {
	var id [8]byte
	rand.Read(id[:])
	return "probe-" + hex.EncodeToString(id[:])
}

// roundTrip asks for what does not exist, the least that can be asked.
func (b *benchRun) roundTrip() error {
	var took []time.Duration
	for range 6 {
		start := time.Now()
		r, err := b.be.Get(b.ctx, probeName(), 0, -1)
		if err == nil {
			r.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.tell(benchMessage{What: "round_trip", Seconds: took[len(took)/2].Seconds()})
	return nil
}

// transfers moves the objects, so many at once, and returns bytes a second.
func (b *benchRun) transfers(names []string, at int, move func(context.Context, string) error) (float64, time.Duration, error) {
	start := time.Now()
	g, ctx := errgroup.WithContext(b.ctx)
	g.SetLimit(at)
	for _, name := range names {
		g.Go(func() error { return move(ctx, name) })
	}
	err := g.Wait()
	took := time.Since(start)
	return float64(len(names)*b.size) / took.Seconds(), took, err
}

func (b *benchRun) put(ctx context.Context, name string) error {
	data := make([]byte, b.size)
	rand.Read(data)
	return b.be.Put(ctx, name, data)
}

func (b *benchRun) get(ctx context.Context, name string) error {
	_, err := backend.ReadAll(ctx, b.be, name, int64(b.size))
	return err
}
