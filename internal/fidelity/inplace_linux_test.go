package fidelity

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// imageBytes is the size of the image that is restored in place: 256 MiB, or what
// VAULT_TEST_IMAGE says in MiB (3000 for what the project promises).
func imageBytes(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv("VAULT_TEST_IMAGE")
	if text == "" {
		return 256 << 20
	}
	n, err := strconv.ParseInt(text, 10, 32)
	must(t, err)
	return n << 20
}

// TestInPlace: an image of which one block in a hundred was changed, here and
// there, is restored by writing one block in a hundred. Besides the report, the
// system calls are counted.
func TestInPlace(t *testing.T) {
	const block = 4096
	size := imageBytes(t)
	base, err := filepath.EvalSymlinks(tempDir(t)) // as strace tells it
	must(t, err)
	src := filepath.Join(base, "src")
	must(t, os.Mkdir(src, 0o755))
	image := filepath.Join(src, "image")
	must(t, makeImage(image, size))
	mtime := time.Unix(1_700_000_000, 123)
	must(t, os.Chtimes(image, time.Time{}, mtime))
	r := newRepository(t, nil)
	r.vault(t, 0, "backup", "-q", "img="+src)
	want := scan(t, src)

	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	must(t, err)
	rng := rand.New(rand.NewPCG(7, 7))
	changed := map[int64]bool{}
	for len(changed) < int(size/block/100) {
		changed[rng.Int64N(size/block)] = true
	}
	junk := make([]byte, block)
	for b := range changed {
		junk[0]++
		_, err := f.WriteAt(junk, b*block)
		must(t, err)
	}
	must(t, f.Close())
	before, err := os.Stat(image)
	must(t, err)

	cmd := r.command("restore", "latest", "--target", base, "--volume", "img=src", "--json")
	trace := filepath.Join(base, "trace")
	strace, err := exec.LookPath("strace")
	if err != nil {
		missing(t, "%v", err)
	}
	cmd.Args = append([]string{strace, "-f", "-y", "-e", "trace=pwrite64,write,ftruncate,fallocate,copy_file_range,pwritev", "-o", trace, vault}, cmd.Args[1:]...)
	cmd.Path = strace
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sum := result{stdout: string(out)}.summary(t)
	counted := writtenTo(t, trace, image)
	share := func(n uint64) float64 { return 100 * float64(n) / float64(size) }
	t.Logf("image of %d MiB, %.2f %% changed: reported %d bytes (%.2f %%), counted %d bytes (%.2f %%)", size>>20,
		share(uint64(len(changed)*block)), sum.Written, share(sum.Written), counted, share(counted))
	if share(counted) > 1.1 || sum.Written != counted {
		t.Error("more than the changed blocks was written, or the report does not tell")
	}
	after, err := os.Stat(image)
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the image was replaced")
	}
	same(t, want, scan(t, src))
}

func makeImage(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	b := builder{rng: rand.New(rand.NewPCG(5, 5))}
	for n := int64(0); n < size; n += 1 << 20 {
		part := b.bytes(256 << 10)
		for range 4 { // each quarter differs in its first bytes
			part[0]++
			w.Write(part)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// writtenTo returns how many bytes a record of strace says were written to a file.
func writtenTo(t *testing.T, trace, file string) (sum uint64) {
	t.Helper()
	f, err := os.Open(trace)
	must(t, err)
	defer f.Close()
	result := regexp.MustCompile(`= (\d+)$`)
	unfinished := map[string]bool{} // by thread
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		thread, call, _ := strings.Cut(line, " ")
		call = strings.TrimSpace(call)
		name, args, _ := strings.Cut(call, "(")
		fd, _, _ := strings.Cut(args, ",")
		ours := strings.HasSuffix(fd, "<"+file+">")
		if strings.HasPrefix(call, "<...") {
			ours, unfinished[thread] = unfinished[thread], false
			name, _, _ = strings.Cut(strings.TrimPrefix(call, "<... "), " ")
		} else if strings.Contains(call, "<unfinished") {
			unfinished[thread] = ours
			continue
		}
		if !ours {
			continue
		}
		m := result.FindStringSubmatch(line)
		if m == nil || name != "pwrite64" && name != "write" {
			t.Errorf("unexpected call: %.200s", line)
			continue
		}
		n, err := strconv.ParseUint(m[1], 10, 64)
		must(t, err)
		sum += n
	}
	return sum
}

// TestKilled: a restore that was killed is finished by another without writing
// again what is right, into a new directory and into one that was there.
func TestKilled(t *testing.T) {
	base := tempDir(t)
	src := filepath.Join(base, "src")
	must(t, os.Mkdir(src, 0o755))
	for i := range 60 {
		must(t, makeImage(filepath.Join(src, fmt.Sprintf("f%02d", i)), 1<<20))
	}
	must(t, makeImage(filepath.Join(src, "large"), 60<<20))
	want := scan(t, src)
	total := uint64(120 << 20)
	r := newRepository(t, nil)
	r.vault(t, 0, "backup", "-q", "v="+src)
	for _, existed := range []bool{false, true} {
		out := filepath.Join(base, fmt.Sprintf("out-%t", existed))
		written := killAt(t, r, out, existed, total/2)
		sum := r.vault(t, 0, "restore", "latest", "--target", out, "--json").summary(t)
		t.Logf("directory existed: %t: killed after %d MiB of %d, then wrote %d MiB and kept %d MiB", existed, written>>20, total>>20, sum.Written>>20, sum.Kept>>20)
		// What each of four workers had begun of small files is written again; with
		// everything it would be some 60 MiB.
		if slack := uint64(16 << 20); sum.Written+written > total+slack {
			t.Errorf("%d bytes were written twice", sum.Written+written-total)
		}
		same(t, want, scan(t, filepath.Join(out, "v"))) // nothing is left of what was begun
	}
}

// killAt kills a restore when about n bytes are there, and returns how many are. If it
// was faster than that is noticed, another one is begun.
func killAt(t *testing.T, r repository, out string, existed bool, n uint64) uint64 {
	t.Helper()
	for range 20 {
		must(t, os.RemoveAll(out))
		must(t, os.Mkdir(out, 0o755))
		if existed {
			must(t, os.Mkdir(filepath.Join(out, "v"), 0o755))
		}
		if killedAt(t, r, out, n) {
			return dataIn(t, out)
		}
	}
	t.Fatal("each restore ended before it could be killed")
	return 0
}

// killedAt reports whether the restore was killed before it ended.
func killedAt(t *testing.T, r repository, out string, n uint64) bool {
	t.Helper()
	size := func() (sum uint64) {
		filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
			if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
				sum += allocated(st)
			}
			return nil
		})
		return sum
	}
	cmd := r.command("restore", "latest", "--target", out, "-q")
	cmd.Env = append(cmd.Env, "GOMAXPROCS=2") // four workers, however many cores there are
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			must(t, err)
			return false
		default:
		}
		if size() >= n {
			cmd.Process.Kill()
			return <-ended != nil
		}
		time.Sleep(time.Millisecond)
	}
}

func allocated(st os.FileInfo) uint64 { return uint64(st.Sys().(*syscall.Stat_t).Blocks) * 512 }

// dataIn returns how many bytes of the files below a directory are not zero
// blocks: space that was only reserved does not count.
func dataIn(t *testing.T, dir string) (sum uint64) {
	t.Helper()
	var zero [4096]byte
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for b := range slices.Chunk(data, len(zero)) {
			if string(b) != string(zero[:len(b)]) {
				sum += uint64(len(b))
			}
		}
		return err
	}))
	return sum
}
