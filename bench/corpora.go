package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
)

// Corpus is data to save, and what becomes of it by the next day.
type Corpus struct {
	Name  string
	About string
	// Make writes the corpus under dir, which is empty. Scale 1 is the size that About tells.
	Make func(dir string, scale float64) error
	// Change turns it into the next day's: about one part in a hundred is another one.
	Change func(dir string, scale float64) error
}

// Corpora are those on which engines are compared, each from a fixed seed.
var Corpora = []Corpus{
	{"random", "one file of 512 MiB of random bytes; changed: 50 places of 100 KiB", makeRandom, changeRandom},
	{"text", "one file of 256 MiB of text; changed: 25 places of 100 KiB", makeText, changeText},
	{"small", "100,000 text files of 100 to 6000 bytes; changed: every hundredth", makeSmall, changeEveryHundredth},
	{"source", "the source tree of the Go toolchain, 11,000 files; changed: every hundredth", makeSource, changeEveryHundredth},
	{"image", "a disk image of 2 GiB, 22 % of it used, with holes; changed: one used block in a hundred", makeImage, changeImage},
	{"sql", "a database dump of 300 MB; changed: one row in a hundred updated, some inserted, some deleted", makeSQL, changeSQL},
}

func scaled(n int, scale float64) int { return max(1, int(float64(n)*scale)) }

// writeTo makes a file of what fill writes.
func writeTo(path string, fill func(w *bufio.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(fill(w), w.Flush(), f.Close())
}

// overwrite changes an existing file in place.
func overwrite(path string, change func(f *os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(change(f), f.Close())
}

func makeRandom(dir string, scale float64) error   { return makeFile(dir, Noise, scaled(512, scale)) }
func changeRandom(dir string, scale float64) error { return changeFile(dir, Noise, scaled(512, scale)) }
func makeText(dir string, scale float64) error     { return makeFile(dir, Text, scaled(256, scale)) }
func changeText(dir string, scale float64) error   { return changeFile(dir, Text, scaled(256, scale)) }

type filler func(b []byte, rng *rand.Rand, n int) []byte

// makeFile makes a file of so many MiB.
func makeFile(dir string, fill filler, size int) error {
	rng := rand.New(rand.NewPCG(1, 1))
	return writeTo(filepath.Join(dir, "file"), func(w *bufio.Writer) error {
		var block []byte
		for range size {
			block = fill(block[:0], rng, 1<<20)
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	})
}

// changeFile overwrites 100 KiB in each tenth MiB, at places by chance.
func changeFile(dir string, fill filler, size int) error {
	rng := rand.New(rand.NewPCG(1, 2))
	return overwrite(filepath.Join(dir, "file"), func(f *os.File) error {
		for range max(1, size/10) {
			if _, err := f.WriteAt(fill(nil, rng, 100<<10), rng.Int64N(int64(size)<<20-100<<10)); err != nil {
				return err
			}
		}
		return nil
	})
}

func makeSmall(dir string, scale float64) error {
	_, err := SmallFiles(dir, 2, scaled(100_000, scale))
	return err
}

func makeSource(dir string, scale float64) error {
	src := os.DirFS(filepath.Join(runtime.GOROOT(), "src"))
	left := scaled(100<<20, scale)
	return fs.WalkDir(src, ".", func(path string, d fs.DirEntry, err error) error {
		switch to := filepath.Join(dir, path); {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case !d.Type().IsRegular():
			return nil
		default:
			data, err := fs.ReadFile(src, path)
			if err != nil {
				return err
			}
			if left -= len(data); left < 0 && scale < 1 {
				return fs.SkipAll
			}
			return os.WriteFile(to, data, 0o644)
		}
	})
}

// changeEveryHundredth appends a line to every hundredth file, in the order of names.
func changeEveryHundredth(dir string, _ float64) error {
	n := 0
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if n++; n%100 != 0 {
			return nil
		}
		return overwrite(path, func(f *os.File) error {
			end, err := f.Seek(0, 2)
			if err == nil {
				_, err = fmt.Fprintf(f, "one more line at %d\n", end)
			}
			return err
		})
	})
}

// An image is made of extents of imageExtent bytes; of the first imageUsed of every
// imageEvery extents all blocks are used.
const (
	imageBlock  = 4 << 10
	imageExtent = 1 << 20
	imageUsed   = 22
	imageEvery  = 100
)

func makeImage(dir string, scale float64) error {
	rng := rand.New(rand.NewPCG(3, 1))
	path := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	return overwrite(path, func(f *os.File) error {
		extents := scaled(2048, scale)
		if err := f.Truncate(int64(extents) * imageExtent); err != nil {
			return err
		}
		for e := range extents {
			if e*imageUsed%imageEvery >= imageUsed {
				continue
			}
			var data []byte
			if rng.IntN(2) == 0 {
				data = Text(nil, rng, imageExtent)[:imageExtent]
			} else {
				data = Noise(nil, rng, imageExtent)
			}
			if _, err := f.WriteAt(data, int64(e)*imageExtent); err != nil {
				return err
			}
		}
		return nil
	})
}

func changeImage(dir string, scale float64) error {
	rng := rand.New(rand.NewPCG(3, 2))
	return overwrite(filepath.Join(dir, "disk.img"), func(f *os.File) error {
		for e := range scaled(2048, scale) {
			if e*imageUsed%imageEvery >= imageUsed || rng.IntN(4) > 0 {
				continue
			}
			// Neighbouring blocks, as a file system changes them.
			at := int64(e)*imageExtent + int64(rng.IntN(imageExtent/imageBlock-10))*imageBlock
			if _, err := f.WriteAt(Noise(nil, rng, 10*imageBlock), at); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeSQL and changeSQL write the dump of a table; row i is the same in both unless
// it was changed.
func makeSQL(dir string, scale float64) error   { return writeSQL(dir, scale, 1) }
func changeSQL(dir string, scale float64) error { return writeSQL(dir, scale, 2) }

func writeSQL(dir string, scale float64, day int) error {
	return writeTo(filepath.Join(dir, "dump.sql"), func(w *bufio.Writer) error {
		fmt.Fprintf(w, "-- dump\nCOPY public.files (id, parent, name, size, mtime, checksum) FROM stdin;\n")
		var text []byte
		for i := range scaled(2_800_000, scale) {
			rng := rand.New(rand.NewPCG(4, uint64(i)))
			name := Text(text[:0], rng, 40)
			size, sum := rng.IntN(1<<22), rng.Uint64()
			if day > 1 {
				switch i % 500 {
				case 17: // deleted
					continue
				case 130, 131, 132, 133: // updated
					size, sum = size+1, sum^0xffff
				case 404: // followed by a new one
					fmt.Fprintf(w, "%d\t%d\tnew\t1\t1700000000\t%016x\n", 1_000_000_000+i, i/7, sum)
				}
			}
			fmt.Fprintf(w, "%d\t%d\t%q\t%d\t%d\t%016x%016x\n", i, i/7, name, size, 1_600_000_000+i*13, sum, sum*31)
			text = name
		}
		_, err := fmt.Fprintf(w, "\\.\n\n-- dump complete\n")
		return err
	})
}
