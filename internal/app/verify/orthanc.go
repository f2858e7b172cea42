package verify

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/sync/errgroup"

	"vault/snapshot"
)

// OrthancTree says where the index of an Orthanc and its files lie in a backup.
type OrthancTree struct {
	DumpVolume   string
	Dump         *snapshot.Node // root of the volume
	ImagesVolume string
	Images       *snapshot.Node // root of the volume
	Path         string         // of the files in that volume; "" looks at the usual places
}

// attachment is a row of attachedfiles.
type attachment struct {
	id         key
	size       uint64 // of the file
	plain      uint64 // before compression
	hash       [md5.Size]byte
	plainHash  [md5.Size]byte
	has        uint8
	compressed bool
	found      bool
}

// Which values an attachment has.
const (
	hasHash uint8 = 1 << iota
	hasPlainHash
	hasLength
	hasPlain
)

// orthanc is the check of one Orthanc.
type orthanc struct {
	checker
	dumpVolume string
	list       []attachment
	noHash     int
}

// Orthanc compares the attachments in the index of an Orthanc with its files: each is
// there, as long as it must be, with the content that the index says.
func Orthanc(ctx context.Context, r *Reader, t OrthancTree) (Summary, error) {
	o := &orthanc{checker: checker{Reader: r, ctx: ctx, sum: Summary{Check: "orthanc-pg", Volume: t.DumpVolume}}, dumpVolume: t.DumpVolume}
	list, err := o.dumps(t.Dump)
	if err != nil {
		return o.sum, err
	}
	if len(list) == 0 {
		o.problem("dump-missing", t.DumpVolume, "the volume holds no dump")
		return o.sum, nil
	}
	newest := slices.MaxFunc(list, func(a, b dumpFile) int { return a.node.MTime.Compare(b.node.MTime) })
	if err := o.index(newest); err != nil {
		return o.sum, err
	}
	o.sum.Volume = t.ImagesVolume
	o.sum.Objects = uint64(len(o.list))
	images, path, err := o.storage(t)
	if err != nil {
		return o.sum, err
	}
	return o.sum, o.files(path, images)
}

// index reads the attachments of a dump.
func (o *orthanc) index(d dumpFile) error {
	err := o.text(d.node, []string{"--data-only", "--table=attachedfiles"}, func(r *bufio.Reader, _ bool) error {
		seen, err := rows(r, "attachedfiles", o.row)
		if err == nil && seen == 0 {
			err = fmt.Errorf("%w: it has no table attachedfiles", errSQL)
		}
		return err
	})
	var lost failed
	switch {
	case err == nil || o.ctx.Err() != nil || errors.Is(err, ErrNoPgRestore):
		if o.ctx.Err() != nil {
			return context.Cause(o.ctx)
		}
	case errors.As(err, &lost):
		return o.unreadable(d.path, lost.error)
	default:
		o.problem("dump-damaged", d.path, "%v", err)
		err = nil
	}
	slices.SortFunc(o.list, func(a, b attachment) int { return bytes.Compare(a.id[:], b.id[:]) })
	if o.noHash > 0 {
		o.warn("hash-missing", d.path, "%d attachments have no md5 in the index: only their sizes are compared", o.noHash)
	}
	return err
}

// row takes in one row of attachedfiles.
func (o *orthanc) row(v map[string]value) error {
	id, ok := uuid(v["uuid"].text)
	if !ok {
		return fmt.Errorf("%w: %.50q is no UUID", errSQL, v["uuid"].text)
	}
	a := attachment{id: id}
	number := func(name string, to *uint64, bit uint8) error {
		f, ok := v[name]
		if !ok || f.null {
			return nil
		}
		n, err := strconv.ParseUint(f.text, 10, 63)
		if err != nil {
			return fmt.Errorf("%w: %s is %.50q", errSQL, name, f.text)
		}
		*to, a.has = n, a.has|bit
		return nil
	}
	digest := func(name string, to []byte, bit uint8) {
		if b, err := hex.DecodeString(v[name].text); err == nil && len(b) == md5.Size {
			copy(to, b)
			a.has |= bit
		}
	}
	if err := errors.Join(number("compressedsize", &a.size, hasLength), number("uncompressedsize", &a.plain, hasPlain)); err != nil {
		return err
	}
	digest("compressedhash", a.hash[:], hasHash)
	digest("uncompressedhash", a.plainHash[:], hasPlainHash)
	switch kind := v["compressiontype"].text; kind {
	case "1":
		if a.has&hasHash == 0 && a.has&hasPlainHash != 0 {
			a.hash, a.has = a.plainHash, a.has|hasHash
		}
		a.has &^= hasPlainHash | hasPlain
	case "2":
		a.compressed = true
	default:
		return fmt.Errorf("%w: compressiontype is %.50q", errSQL, kind)
	}
	if a.has&(hasHash|hasPlainHash) == 0 {
		o.noHash++
	}
	o.list = append(o.list, a)
	return nil
}

// storages are where the files may lie in a volume. Of directories 00 to ff one may be
// called as one of these.
var storages = []string{"", "storage", "OrthancStorage", "db"}

// sampled is how many attachments are looked for to find out where they lie.
const sampled = 32

// storage finds the directory of the files: where most of a sample of the attachments
// are. If there is none anywhere, it is the first that there is and that is not the root.
func (o *orthanc) storage(t OrthancTree) (*snapshot.Node, string, error) {
	if t.Path != "" {
		n, err := o.at(t.Images, t.Path)
		if err == nil && !n.IsDir() {
			err = fs.ErrNotExist
		}
		if err != nil {
			return nil, "", fmt.Errorf("volume %s: directory %s: %w", t.ImagesVolume, t.Path, err)
		}
		return n, t.Path, nil
	}
	if !t.Images.IsDir() {
		return nil, "", fmt.Errorf("volume %s is a %s, not a directory of files", t.ImagesVolume, t.Images.Type)
	}
	best, most, path := t.Images, 0, ""
	for _, p := range storages {
		n, err := o.at(t.Images, p)
		if err != nil || !n.IsDir() {
			continue
		}
		if found := o.sample(n); found > most || most == 0 && path == "" {
			best, most, path = n, found, p
		}
	}
	return best, path, context.Cause(o.ctx)
}

// sample returns how many attachments of a sample have a file below a directory.
func (o *orthanc) sample(dir *snapshot.Node) (found int) {
	n := min(sampled, len(o.list))
	for i := range n {
		id := (&ids{}).text(o.list[i*len(o.list)/n].id)
		if _, err := o.at(dir, shortShard(id)); err == nil {
			found++
		}
	}
	return found
}

// files compares the files with the attachments, in the order of the tree and several
// at a time: aa/bb/UUID.
func (o *orthanc) files(path string, dir *snapshot.Node) error {
	group, ctx := errgroup.WithContext(o.ctx)
	group.SetLimit(o.workers())
	var walk func(path string, dir *snapshot.Node, depth int) error
	walk = func(path string, dir *snapshot.Node, depth int) error {
		for n, err := range snapshot.ReadDir(o.ctx, o.Source, dir.Tree) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return o.unreadable(path, err)
			}
			p := join(path, n.Name)
			if depth < 2 {
				if n.IsDir() && len(n.Name) == 2 {
					if err := walk(p, n, depth+1); err != nil {
						return err
					}
				}
				continue
			}
			a := o.named(n.Name)
			if a == nil || p != join(o.root(path), shortShard(n.Name)) {
				o.warn("file-orphan", p, "no attachment names it: %d bytes", n.Size)
				continue
			}
			a.found = true
			group.Go(func() error { return o.compare(p, n, *a) })
		}
		return nil
	}
	err := walk(path, dir, 0)
	if gerr := group.Wait(); gerr != nil {
		return gerr
	}
	if err != nil {
		return err
	}
	for i := range o.list {
		if a := &o.list[i]; !a.found {
			id := (&ids{}).text(a.id)
			o.problem("file-missing", join(path, shortShard(id)), "the file of the attachment %s, %d bytes, is missing", id, a.size)
		}
	}
	return nil
}

// root returns the directory of files, of one two levels below it.
func (o *orthanc) root(path string) string {
	if len(path) <= 5 {
		return ""
	}
	return path[:len(path)-6]
}

// shortShard is the path of a file as Orthanc cuts it: aa/bb/UUID.
func shortShard(id string) string {
	if len(id) < 4 {
		return id
	}
	return id[:2] + "/" + id[2:4] + "/" + id
}

// named returns the attachment of a file's name, or nil.
func (o *orthanc) named(name string) *attachment {
	k, ok := uuid(name)
	if !ok {
		return nil
	}
	i := sort.Search(len(o.list), func(i int) bool { return bytes.Compare(o.list[i].id[:], k[:]) >= 0 })
	if i == len(o.list) || o.list[i].id != k {
		return nil
	}
	return &o.list[i]
}

// compare compares one file with its attachment.
func (o *orthanc) compare(path string, n *snapshot.Node, a attachment) error {
	if n.Type != snapshot.File {
		o.problem("file-missing", path, "a %s instead of a file", n.Type)
		return nil
	}
	if a.has&hasLength != 0 && n.Size != a.size {
		o.problem("file-size", path, "the file has %d bytes, the index says %d", n.Size, a.size)
		return nil
	}
	if a.has&(hasHash|hasPlainHash) == 0 {
		return nil
	}
	in := o.open(n)
	defer in.Close()
	sum := md5.New()
	stored := io.TeeReader(in, sum)
	var inner error
	if a.compressed && a.has&hasPlainHash != 0 {
		inner = o.inflate(stored, a)
	}
	if _, err := io.Copy(io.Discard, stored); err != nil {
		return o.unreadable(path, err)
	}
	o.compared(n.Size)
	switch {
	case a.has&hasHash != 0 && [md5.Size]byte(sum.Sum(nil)) != a.hash:
		o.problem("file-content", path, "the file has another md5 than the index says")
	case inner != nil:
		o.problem("file-content", path, "unpacked, the file is not what the index says: %v", inner)
	}
	return nil
}

// inflate compares what a compressed file holds: | length 8, little endian | zlib |.
func (o *orthanc) inflate(r io.Reader, a attachment) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	plain := binary.LittleEndian.Uint64(head[:])
	if a.has&hasPlain != 0 && plain != a.plain {
		return fmt.Errorf("%d bytes instead of %d", plain, a.plain)
	}
	sum := md5.New()
	if plain > 0 {
		z, err := zlib.NewReader(r)
		if err != nil {
			return err
		}
		n, err := io.Copy(sum, io.LimitReader(z, int64(min(plain, 1<<62))+1))
		if err != nil {
			return err
		}
		if uint64(n) != plain {
			return errors.New("it is not as long as it says")
		}
	}
	if [md5.Size]byte(sum.Sum(nil)) != a.plainHash {
		return errors.New("another md5")
	}
	return nil
}
