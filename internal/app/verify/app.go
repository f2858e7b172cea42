package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/pick"
	"vault/internal/app/record"
	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

// Options say which backup of which application is verified.
type Options struct {
	Config   *config.Config
	StateDir string // where the result is recorded; "" records nothing
	Machine  string // this one, for the record
	// Open opens the repository of a destination.
	Open func(ctx context.Context, d config.Destination) (*repo.Repo, error)
	// Explain returns the exit code of an error, and what to do about it.
	Explain func(err error) (code int, hint string)

	App          string              // as it is configured here
	Repo         *config.Destination // instead of the application's own: a copy
	ID           string              // a Backup ID or the beginning of one; "" is the newest complete backup
	Host         string              // where it was backed up, if several hosts have an application of the name
	AllowPartial bool                // the newest backup may be a partial one

	Baseline      string // file of findings that are known, instead of the configuration's
	WriteBaseline bool   // write what is found into that file, which need not exist

	Found func(f Finding, known bool) // called by one goroutine at a time
	Now   func() time.Time            // nil means time.Now
}

// Report is how a verification ended: what is recorded, and the counts.
type Report struct {
	record.Activity
	Checks   []Summary
	Problems uint64 // that are not in the baseline
	Known    uint64 // that are
	Warnings uint64
	Gone     uint64 // problems of the baseline that are there no more
	Err      error

	Unrecorded error // why the result is not on record
}

// Reasons for a verification not to succeed.
var (
	// ErrFindings says that the backup is not what the application needs.
	ErrFindings = errors.New("the backup is not as the application needs it")
	// ErrNothing says that the configuration names no check.
	ErrNothing = errors.New("no verify section says how the application's backups are checked")
	// ErrNoBaseline says that there is no file to write findings into.
	ErrNoBaseline = errors.New("no file is named for the findings that are known")
)

// maxTold is how many problems the record of a verification lists.
const maxTold = 20

// App verifies a backup of an application as its configuration says, and records the
// result. An interrupted verification is not recorded.
func App(ctx context.Context, o Options) Report {
	v := &verification{o: o, app: o.Config.Apps[o.App]}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	v.report.Activity = record.Activity{App: o.App, Kind: record.Verify, Host: o.Machine, Start: now()}
	err := v.run(ctx)
	p := &v.report
	p.Err, p.End, p.Result = err, now(), record.Success
	if err != nil {
		p.Result, p.Error = record.Failed, err.Error()
		if o.Explain != nil {
			p.ExitCode, p.Hint = o.Explain(err)
		}
	}
	if v.app != nil && o.StateDir != "" && ctx.Err() == nil {
		if err := record.In(o.StateDir).Add(p.Activity); err != nil {
			p.Unrecorded = err // which does not change how it ended
		}
	}
	return v.report
}

// verification is one under way.
type verification struct {
	o        Options
	app      *config.App
	report   Report
	repo     *repo.Repo
	backup   *snapshot.Backup
	baseline Baseline // what is known
	now      Baseline // what is found
}

func (v *verification) run(ctx context.Context) error {
	if v.app == nil {
		return fmt.Errorf("there is no application %q in %s", v.o.App, v.o.Config.File)
	}
	to := v.app.To
	if v.o.Repo != nil {
		to = v.o.Repo
	}
	v.report.Destination = to.Repo
	if to.Path != "" {
		v.report.Destination += "/" + to.Path
	}
	y := v.app.Verify
	if y == nil || y.Ocis == nil && y.OrthancPG == nil && y.SQLTail == nil {
		return ErrNothing
	}
	file, err := v.known(y)
	if err != nil {
		return err
	}
	if v.repo, err = v.o.Open(ctx, *to); err != nil {
		return err
	}
	defer v.repo.Close()
	v.backup, err = pick.Backup(ctx, v.repo, v.o.ID, snapshot.Filter{Group: v.app.Name, Host: v.o.Host, AllowPartial: v.o.AllowPartial})
	if err != nil {
		return err
	}
	v.report.BackupID = v.backup.ID.String()
	if err := v.checks(ctx, y); err != nil {
		return err
	}
	for k := range v.baseline {
		if !v.now[k] {
			v.report.Gone++
		}
	}
	if v.o.WriteBaseline {
		return v.now.Write(file)
	}
	if n := v.report.Problems; n > 0 {
		return fmt.Errorf("%w: %s", ErrFindings, display.Count(n, "problem"))
	}
	return nil
}

// known reads the baseline, and returns the name of its file.
func (v *verification) known(y *config.Verify) (file string, err error) {
	v.baseline, v.now = Baseline{}, Baseline{}
	file = v.o.Baseline
	if file == "" && y.Ocis != nil {
		file = y.Ocis.Baseline
	}
	switch {
	case v.o.WriteBaseline && file == "":
		return "", ErrNoBaseline
	case v.o.WriteBaseline || file == "":
		return file, nil
	}
	v.baseline, err = ReadBaseline(file)
	return file, err
}

// volume returns the root of a volume of the backup.
func (v *verification) volume(name string) (*snapshot.Node, error) {
	vol := v.backup.Volume(name)
	if vol == nil {
		return nil, fmt.Errorf("backup %s has no volume %s", v.backup.ID.Short(), display.Name(name))
	}
	if vol.Root == nil {
		return nil, fmt.Errorf("volume %s of backup %s had failed: there is nothing to check", display.Name(name), v.backup.ID.Short())
	}
	return vol.Root, nil
}

// checks carries out all checks, also when one of them cannot be.
func (v *verification) checks(ctx context.Context, y *config.Verify) error {
	r := &Reader{Source: v.repo, Found: v.found}
	var errs []error
	done := func(s Summary, err error) {
		v.report.Checks = append(v.report.Checks, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Check, err))
		}
	}
	if y.Ocis != nil {
		done(v.ocis(ctx, r, y.Ocis))
	}
	if y.OrthancPG != nil && ctx.Err() == nil {
		done(v.orthanc(ctx, r, y.OrthancPG))
	}
	if y.SQLTail != nil {
		for _, name := range y.SQLTail.Volumes {
			if ctx.Err() != nil {
				break
			}
			root, err := v.volume(name)
			if err != nil {
				done(Summary{Check: "sql-tail", Volume: name}, err)
				continue
			}
			done(SQLTail(ctx, r, Dump{Volume: name, Root: root, Expect: y.SQLTail.Expect}))
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

func (v *verification) ocis(ctx context.Context, r *Reader, y *config.VerifyOcis) (s Summary, err error) {
	t := OcisTree{Volume: y.Volume, Path: y.Root}
	if t.Root, err = v.volume(y.Volume); err == nil && y.Blobs != "" {
		t.Blobs, err = v.volume(y.Blobs)
	}
	if err != nil {
		return Summary{Check: "ocis", Volume: y.Volume}, err
	}
	return Ocis(ctx, r, t)
}

func (v *verification) orthanc(ctx context.Context, r *Reader, y *config.VerifyOrthancPG) (s Summary, err error) {
	t := OrthancTree{DumpVolume: y.Dump, ImagesVolume: y.Images, Path: y.Root}
	if t.Dump, err = v.volume(y.Dump); err == nil {
		t.Images, err = v.volume(y.Images)
	}
	if err != nil {
		return Summary{Check: "orthanc-pg", Volume: y.Dump}, err
	}
	return Orthanc(ctx, r, t)
}

// found counts a finding.
func (v *verification) found(f Finding) {
	known := v.o.WriteBaseline || v.baseline.Knows(f)
	v.now.Add(f)
	switch {
	case f.Severity == Problem && known:
		v.report.Known++
	case f.Severity == Problem:
		if v.report.Problems++; len(v.report.Messages) < maxTold {
			v.report.Messages = append(v.report.Messages, f.Check+": "+f.Volume+": "+f.String())
		}
	case f.Severity == Warning:
		v.report.Warnings++
	}
	if v.o.Found != nil {
		v.o.Found(f, known && f.Severity == Problem)
	}
}
