//go:build linux

package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vault/internal/durable"
)

// scratch is where an application is restored for trial: a directory that nobody but
// its owner can enter, whose name is written down before it is made, so that whoever
// comes after a crash can remove it, and nothing else.
type scratch struct {
	Version int       `json:"version"`
	App     string    `json:"app"`
	Dir     string    `json:"dir"`
	Started time.Time `json:"started"`
	Kept    bool      `json:"kept,omitempty"` // somebody wants to look at it
}

const (
	scratchVersion = 1
	scratchPrefix  = "vault-rehearsal-"
	scratchDigits  = 16
	maxScratchNote = 64 << 10
)

// Reasons why a scratch place stays.
var (
	errScratchNote    = errors.New("the note about the scratch place is damaged")
	errScratchMounted = errors.New("something is mounted in it")
	errScratchAlien   = errors.New("it was not made by a trial restore")
)

func rehearsals(stateDir string) string { return filepath.Join(stateDir, "rehearsals") }

func scratchNote(stateDir, app string) string {
	return filepath.Join(rehearsals(stateDir), app+".json")
}

// newScratch makes a scratch place below a directory that is there.
func newScratch(stateDir, app, parent string, now time.Time) (*scratch, error) {
	var random [scratchDigits / 2]byte
	rand.Read(random[:])
	s := &scratch{Version: scratchVersion, App: app, Dir: filepath.Join(parent, scratchPrefix+app+"-"+hex.EncodeToString(random[:])), Started: now.UTC()}
	err := os.MkdirAll(rehearsals(stateDir), 0o700)
	if err == nil {
		err = s.write(stateDir)
	}
	if err == nil {
		if err = os.Mkdir(s.Dir, 0o700); err != nil {
			err = errors.Join(err, removeFile(scratchNote(stateDir, app)))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("scratch place: %w", err)
	}
	return s, nil
}

func (s *scratch) write(stateDir string) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(scratchNote(stateDir, s.App), append(data, '\n'), 0o600)
}

// readScratch returns the scratch place that the last trial restore of an application
// has left, nil if there is none.
func readScratch(stateDir, app string) (*scratch, error) {
	f, err := os.Open(scratchNote(stateDir, app))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("scratch place: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxScratchNote+1))
	if err != nil {
		return nil, fmt.Errorf("scratch place: %w", err)
	}
	s, err := decodeScratch(data)
	if err == nil && s.App != app {
		err = fmt.Errorf("%w: it is that of %q", errScratchNote, s.App)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return s, nil
}

// decodeScratch takes nothing but what newScratch writes: the directory that is named
// will be removed with all that is in it.
func decodeScratch(data []byte) (*scratch, error) {
	s := new(scratch)
	if len(data) > maxScratchNote {
		return nil, fmt.Errorf("%w: more than %d bytes", errScratchNote, maxScratchNote)
	}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%w: %w", errScratchNote, err)
	}
	digits, ok := strings.CutPrefix(filepath.Base(s.Dir), scratchPrefix+s.App+"-")
	if _, err := hex.DecodeString(digits); s.Version != scratchVersion || !ok || err != nil || len(digits) != scratchDigits || !filepath.IsAbs(s.Dir) || filepath.Clean(s.Dir) != s.Dir {
		return nil, fmt.Errorf("%w: version %d, %q", errScratchNote, s.Version, s.Dir)
	}
	return s, nil
}

// tidyRehearsal removes what a trial restore of an application has left behind. Who
// calls it holds the lock of trial restores.
func (o *Options) tidyRehearsal(app string) error {
	s, err := readScratch(o.StateDir, app)
	if errors.Is(err, errScratchNote) { // it does not say what there is to remove
		o.warn(app, err.Error())
		return removeFile(scratchNote(o.StateDir, app))
	}
	if s == nil || err != nil {
		return err
	}
	o.tell(app, "tidy", "removing "+s.Dir+", of a trial restore that began at "+s.Started.Local().Format(time.DateTime))
	return s.remove(o.StateDir)
}

// sweepRehearsal is tidyRehearsal for whoever comes along, unless somebody is at work
// there or wants to look at it. What goes wrong is told.
func (o *Options) sweepRehearsal(ctx context.Context, app string) {
	if s, err := readScratch(o.StateDir, app); err == nil && (s == nil || s.Kept) {
		return
	}
	unlock, err := lockApp(ctx, rehearsals(o.StateDir), app, false, nil)
	if errors.Is(err, ErrBusy) {
		return
	}
	if err == nil {
		defer unlock()
		if s, rerr := readScratch(o.StateDir, app); rerr == nil && (s == nil || s.Kept) {
			return // it has ended meanwhile
		}
		err = o.tidyRehearsal(app)
	}
	if err != nil {
		o.warn(app, err.Error())
	}
}

// remove removes a scratch place with all that is in it, and forgets it. It does not
// look into what somebody has mounted there.
func (s *scratch) remove(stateDir string) error {
	err := removeScratch(s.Dir)
	if err == nil {
		err = removeFile(scratchNote(stateDir, s.App))
	}
	if err != nil {
		return fmt.Errorf("remove the scratch place %s: %w", s.Dir, err)
	}
	return nil
}

func removeScratch(dir string) error {
	var st syscall.Stat_t
	err := syscall.Lstat(dir, &st)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode&syscall.S_IFMT != syscall.S_IFDIR, int(st.Uid) != os.Geteuid():
		return errScratchAlien
	}
	if below, err := mountsBelow(dir); err != nil || len(below) > 0 {
		return errors.Join(err, fmt.Errorf("%w: %s", errScratchMounted, strings.Join(below, ", ")))
	}
	if os.RemoveAll(dir) == nil {
		return nil
	}
	unlockTree(dir)
	return os.RemoveAll(dir)
}

// unlockTree makes directories writable, and takes away the flags that keep files from
// being removed, which are restored as well.
func unlockTree(dir string) {
	const locked = 0x10 | 0x20 // FS_IMMUTABLE_FL, FS_APPEND_FL of linux/fs.h
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if e == nil || !e.IsDir() && !e.Type().IsRegular() {
			return nil
		}
		if f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
			if have, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil && have&locked != 0 {
				unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(have&^locked))
			}
			f.Close()
		}
		if !e.IsDir() {
			return nil
		}
		return os.Chmod(path, 0o700) // before it is read
	})
}

// mountsBelow returns what is mounted on a directory or below it.
func mountsBelow(dir string) (list []string, err error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = eachMount(f, func(at, _ string) {
		if at == real || strings.HasPrefix(at, real+"/") {
			list = append(list, at)
		}
	})
	slices.Sort(list)
	return list, err
}

func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(name))
}
