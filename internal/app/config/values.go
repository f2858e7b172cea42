package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vault/internal/match"
	"vault/snapshot"
)

// texter is a value that is written as one text. A struct that is one has a short
// form besides the mapping of its fields.
type texter interface {
	fromText(text string) error
}

// chooser is a texter of few texts.
type chooser interface {
	choices() []string
}

// Duration is a length of time: "90s", "1h30m", "7d", "2w".
type Duration time.Duration

// Std returns the duration as package time knows it, or otherwise if it is zero.
func (d Duration) Std(otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return time.Duration(d)
}

// String returns the duration in the form that is read.
func (d Duration) String() string {
	t := time.Duration(d)
	if t != 0 && t%(24*time.Hour) == 0 {
		return strconv.Itoa(int(t/(24*time.Hour))) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var errDuration = errors.New(`want a length of time such as "90s", "30m", "1h30m", "7d" or "2w"`)

func (d *Duration) fromText(text string) error {
	var sum time.Duration
	rest := text
	for _, unit := range []struct {
		name byte
		span time.Duration
	}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}} {
		head, tail, ok := strings.Cut(rest, string(unit.name))
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(head, 10, 14)
		if err != nil {
			return errDuration
		}
		sum, rest = sum+time.Duration(n)*unit.span, tail
	}
	if rest != "" {
		t, err := time.ParseDuration(rest)
		if err != nil || t < 0 || rest[0] == '+' || rest[0] == '-' {
			return errDuration
		}
		sum += t
	}
	if sum <= 0 {
		return errDuration
	}
	*d = Duration(sum)
	return nil
}

// Size is a number of bytes: "500K", "10MiB", "1G".
type Size int64

// String returns the size in the form that is read.
func (s Size) String() string {
	n, units := int64(s), []string{"", "K", "M", "G", "T", "P"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + units[i]
}

func (s *Size) fromText(text string) error {
	n, err := match.ParseSize(text)
	if err != nil {
		return fmt.Errorf("want a number of bytes such as 500K, 10M or 1G: %w", err)
	}
	*s = Size(n)
	return nil
}

// Count is a number of backups or periods; less than 0 is all of them.
type Count int

// String returns the number, or all.
func (c Count) String() string {
	if c < 0 {
		return "all"
	}
	return strconv.Itoa(int(c))
}

func (c *Count) fromText(text string) error {
	if text == "all" {
		*c = -1
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("want a number, or all")
	}
	*c = Count(n)
	return nil
}

// Span is a length of time by the calendar: "14d", "1y6m".
type Span struct{ snapshot.Span }

// String returns the span in the form that is read.
func (s Span) String() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit string
	}{{s.Years, "y"}, {s.Months, "m"}, {s.Days, "d"}, {s.Hours, "h"}} {
		if part.n != 0 {
			fmt.Fprintf(&b, "%d%s", part.n, part.unit)
		}
	}
	return b.String()
}

func (s *Span) fromText(text string) (err error) {
	s.Span, err = snapshot.ParseSpan(text)
	return err
}

// Band is an age range and what to keep of it: "1y=oldest".
type Band struct {
	snapshot.Band
	text string
}

// Bands are age ranges, youngest first.
type Bands []Band

// String returns the band as it was written.
func (b Band) String() string { return b.text }

func (b *Band) fromText(text string) (err error) {
	b.text = text
	b.Band, err = snapshot.ParseBand(text)
	return err
}

// Class says what becomes of a backup without the volume.
type Class string

// The classes.
const (
	Required    Class = "required"    // nothing is stored
	Recommended Class = "recommended" // the backup is partial
	Optional    Class = "optional"    // it is mentioned
)

func (Class) choices() []string { return []string{"required", "recommended", "optional"} }

// InitPolicy says whether a repository may be made.
type InitPolicy string

// The policies.
const (
	InitNever   InitPolicy = "never"
	InitIfEmpty InitPolicy = "if-empty"
)

func (InitPolicy) choices() []string { return []string{"never", "if-empty"} }

// PrunePol says whether runs prune.
type PrunePol string

// The policies.
const (
	PruneNever     PrunePol = "never"
	PruneForgotten PrunePol = "when-forgotten"
)

func (PrunePol) choices() []string { return []string{"never", "when-forgotten"} }

// EngineMode says whose volumes of a container engine are meant.
type EngineMode string

// The modes.
const (
	Rootless EngineMode = "rootless"
	Rootful  EngineMode = "rootful"
)

func (EngineMode) choices() []string { return []string{"rootless", "rootful"} }

// OnError says what the failure of a command does.
type OnError string

// What it does.
const (
	OnErrorFail   OnError = "fail"   // the run fails
	OnErrorWarn   OnError = "warn"   // it is mentioned, and the backup is partial
	OnErrorIgnore OnError = "ignore" // it is mentioned
)

func (OnError) choices() []string { return []string{"fail", "warn", "ignore"} }

// Moment is an outcome of which somebody is told.
type Moment string

// The moments.
const (
	OnFail      Moment = "fail"
	OnPartial   Moment = "partial"
	OnSuccess   Moment = "success"
	OnAlways    Moment = "always"
	OnRecovered Moment = "recovered" // the first success after a failure
)

// Moments are some of them; one alone needs no list.
type Moments []Moment

func (Moment) choices() []string {
	return []string{"fail", "partial", "success", "always", "recovered"}
}

// Strings is a list of texts; one alone needs no list.
type Strings []string

// Schedule is a list of OnCalendar expressions; one alone needs no list.
type Schedule []string

// Environment is variables or headers.
type Environment map[string]string

// List returns them as "NAME=value", sorted.
func (e Environment) List() []string {
	list := make([]string, 0, len(e))
	for k, v := range e {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// Tags are tags of backups, by key.
type Tags map[string]string

// List returns them sorted by key.
func (t Tags) List() []snapshot.Tag {
	list := make([]snapshot.Tag, 0, len(t))
	for k, v := range t {
		list = append(list, snapshot.Tag{Key: k, Value: v})
	}
	slices.SortFunc(list, func(a, b snapshot.Tag) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// Policy returns the retention policy. Nil keeps everything: it has no rule.
func (k *Keep) Policy() snapshot.Retention {
	if k == nil {
		return snapshot.Retention{}
	}
	p := snapshot.Retention{
		Last: int(k.Last), Hourly: int(k.Hourly), Daily: int(k.Daily), Weekly: int(k.Weekly), Monthly: int(k.Monthly), Yearly: int(k.Yearly),
		Within: k.Within.Span, WithinHourly: k.WithinHourly.Span, WithinDaily: k.WithinDaily.Span,
		WithinWeekly: k.WithinWeekly.Span, WithinMonthly: k.WithinMonthly.Span, WithinYearly: k.WithinYearly.Span,
	}
	if len(k.Tags) > 0 {
		p.Tags = k.Tags.List()
	}
	for _, b := range k.Ages {
		p.Bands = append(p.Bands, b.Band)
	}
	return p
}

// fromText is the short form of a destination: the name of a repository.
func (d *Destination) fromText(text string) error {
	d.Repo = text
	return nil
}

// fromText is the short form of a root: its directory.
func (r *Root) fromText(text string) error {
	r.Path = text
	return nil
}

// fromText is the short form of a Redis source: its key.
func (r *Redis) fromText(text string) error {
	r.Key = text
	return nil
}

// fromText is the short form of an SQLite source: its file.
func (s *SQLite) fromText(text string) error {
	s.Path = text
	return nil
}

// fromText is the short form of a container volume: its name.
func (c *Container) fromText(text string) error {
	c.Volume = text
	return nil
}

// fromText is the short form of a sidecar: yes or no.
func (s *Sidecar) fromText(text string) (err error) {
	if s.Enabled, err = strconv.ParseBool(text); err != nil {
		return errors.New("want true or false")
	}
	return nil
}
