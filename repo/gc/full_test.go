package gc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
)

// disk is a store of limited size.
type disk struct {
	*mem.Backend
	mu   sync.Mutex // guards what follows
	size int64      // bytes that there are; less than 0: any number
}

func (d *disk) room(ctx context.Context, name string, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size < 0 {
		return nil
	}
	used := int64(n)
	for info, err := range d.List(ctx, "") {
		if err != nil {
			return err
		}
		used += info.Size
	}
	if used > d.size {
		return &backend.Error{Op: "put", Place: "disk", Name: name, Err: backend.ErrNoSpace}
	}
	return nil
}

func (d *disk) Put(ctx context.Context, name string, b []byte) error {
	if err := d.room(ctx, name, len(b)); err != nil {
		return err
	}
	return d.Backend.Put(ctx, name, b)
}

func (d *disk) Create(ctx context.Context, name string, b []byte) error {
	if err := d.room(ctx, name, len(b)); err != nil {
		return err
	}
	return d.Backend.Create(ctx, name, b)
}

// fill leaves no byte of room.
func (d *disk) fill(t *testing.T) {
	d.size = 0
	for info, err := range d.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		d.size += info.Size
	}
}

// fullDisk makes a repository of three backups that share much, of which one is
// forgotten, on a disk with not one byte left.
func fullDisk(t *testing.T, ballast int) (d *disk, backups []*snapshot.Backup, contents []repotest.Content) {
	be, backups, contents := three(t)
	d = &disk{Backend: be, size: -1}
	r := repotest.OpenEnv(t, d, repo.Env{Ballast: ballast})
	if err := r.Reserve(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.fill(t)
	return d, backups, contents
}

// TestFullDisk: with a ballast, forgetting and pruning work where nothing can be
// stored; what can go without being moved goes, and there is a ballast again. With more
// room nothing is left that could go.
func TestFullDisk(t *testing.T) {
	const ballast = 24 << 10
	for _, limits := range []gc.Limits{{MaxRepack: 0}, {MaxRepack: -1}} {
		t.Run(fmt.Sprint(limits), func(t *testing.T) {
			d, backups, contents := fullDisk(t, ballast)
			t.Cleanup(func() { repotest.MustCheck(t, d) })
			if err := d.Put(t.Context(), "packs/00/00", []byte{1}); !errors.Is(err, backend.ErrNoSpace) {
				t.Fatalf("the disk is not full: %v", err)
			}
			r := repotest.OpenEnv(t, d, repo.Env{Ballast: ballast})
			if _, err := repotest.Backup(t.Context(), r, repotest.MakeContent(99, 20)); !errors.Is(err, backend.ErrNoSpace) {
				t.Errorf("a backup on a full disk: %v", err)
			}
			if count(t, d, "ballast") != 1 {
				t.Error("a backup has taken the ballast")
			}
			mustForget(t, r, backups[0])
			mustForget(t, r, backups[1])
			before := bytesIn(t, d)
			o := atOnce()
			o.Limits = limits
			report := mustRun(t, r, o)
			if freed := before - bytesIn(t, d); freed <= 0 || freed != report.FreedSize {
				t.Errorf("freed %d bytes, reported %d", freed, report.FreedSize)
			}
			mustRestore(t, d, backups[2], contents[2])
			if count(t, d, "ballast") != 1 {
				t.Error("no ballast is there when there is room again")
			}
			d.size = -1
			mustRun(t, repotest.OpenEnv(t, d, repo.Env{Ballast: ballast}), thorough())
			mustRestore(t, d, backups[2], contents[2])
			fresh, fr := repotest.New(t)
			repotest.MustBackup(t, fr, contents[2])
			if got, want := bytesIn(t, d), bytesIn(t, fresh); got > want+want/5 {
				t.Errorf("%d bytes in packs, %d in a fresh repository", got, want)
			}
		})
	}
}

// TestNoBallastNoRoom: without it nothing is changed, and the error says why.
func TestNoBallastNoRoom(t *testing.T) {
	d, backups, contents := fullDisk(t, 0)
	t.Cleanup(func() { repotest.MustCheck(t, d) })
	r := repotest.Open(t, d)
	if err := r.Forget(t.Context(), backups[1].ID, repo.Event{}); !errors.Is(err, backend.ErrNoSpace) {
		t.Errorf("forget: %v", err)
	}
	before := strings.Join(repotest.Objects(t, d), " ")
	if _, err := gc.Run(t.Context(), r, thorough()); !errors.Is(err, backend.ErrNoSpace) {
		t.Errorf("prune: %v", err)
	}
	if after := strings.Join(repotest.Objects(t, d), " "); after != before {
		t.Errorf("objects:\n%s\nbefore:\n%s", after, before)
	}
	mustRestore(t, d, backups[1], contents[1])
}

// TestAnothersPlanOnAFullDisk: somebody who had room has planned to move blobs, and
// the disk is full before it comes to that. Whoever finishes the plan spares the
// packs that they lie in.
func TestAnothersPlanOnAFullDisk(t *testing.T) {
	be, backups, contents := three(t)
	d := &disk{Backend: be, size: -1}
	t.Cleanup(func() { repotest.MustCheck(t, d) })
	mustForget(t, repotest.Open(t, d), backups[1])
	r := repotest.Open(t, d)
	o := thorough()
	planned := false
	o.Planned = func(r gc.Report) { planned = len(r.Repack) > 0 }
	d.fill(t)
	d.size += 12_000 // for the records, not for a pack
	report := mustRun(t, r, o)
	if !planned || report.Spared == 0 {
		t.Fatalf("planned to repack: %v; spared %d packs", planned, report.Spared)
	}
	for _, i := range []int{0, 2} {
		mustRestore(t, d, backups[i], contents[i])
	}
	d.size = -1
	mustRun(t, repotest.Open(t, d), thorough())
	for _, i := range []int{0, 2} {
		mustRestore(t, d, backups[i], contents[i])
	}
	clean, cr := repotest.New(t)
	repotest.MustBackup(t, cr, contents[0])
	repotest.MustBackup(t, cr, contents[2])
	if got, want := bytesIn(t, d), bytesIn(t, clean); got > want+want/5 {
		t.Errorf("%d bytes in packs, %d in a fresh repository", got, want)
	}
}

// TestFreedIsExact: what a plan says will be freed is what then is, if nothing is
// moved; and what a report says was freed is, always.
func TestFreedIsExact(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits gc.Limits
		forget []int
	}{
		{"nothing forgotten", gc.Limits{MaxRepack: -1}, nil},
		{"deleting only", gc.Limits{MaxRepack: 0}, []int{0, 1}},
		{"all forgotten", gc.Limits{MaxRepack: -1}, []int{0, 1, 2}},
		{"thorough", gc.Limits{MaxRepack: -1}, []int{1}},
		{"half unused may stay", gc.Limits{MaxUnused: 0.5, MaxRepack: -1}, []int{0, 1}},
		{"bounded repacking", gc.Limits{MaxRepack: 70_000}, []int{0, 1}},
		{"small packs", gc.Limits{MaxUnused: 1, MaxRepack: -1, Small: 64 << 10}, []int{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			be, backups, _ := three(t)
			t.Cleanup(func() { repotest.MustCheck(t, be) })
			suspend(t, be, repotest.MakeContent(77, 9)) // its packs are named by nothing
			for _, i := range tt.forget {
				mustForget(t, repotest.Open(t, be), backups[i])
			}
			before := bytesIn(t, be)
			o := atOnce()
			o.Limits = tt.limits
			var plan gc.Report
			o.Planned = func(r gc.Report) { plan = r }
			report := mustRun(t, repotest.Open(t, be), o)
			freed := before - bytesIn(t, be)
			if report.FreedSize != freed {
				t.Errorf("%d bytes freed, reported %d", freed, report.FreedSize)
			}
			if len(plan.Repack) == 0 && plan.FreedSize != freed {
				t.Errorf("%d bytes freed, planned %d", freed, plan.FreedSize)
			}
			if plan.UnnamedBytes == 0 {
				t.Error("no unreferenced pack was seen")
			}
			if tt.limits.MaxRepack > 0 && plan.RepackBytes > tt.limits.MaxRepack {
				t.Errorf("%d bytes to repack, at most %d wanted", plan.RepackBytes, tt.limits.MaxRepack)
			}
			t.Logf("planned %d, freed %d, repacked %d packs", plan.FreedSize, freed, len(plan.Repack))
		})
	}
}
