package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Retention is a policy: which backups of a group to keep. A backup is kept if
// any rule keeps it. The rules by period - hour, day, ISO week, month, year -
// keep the newest backup of each of the last n periods that have one, and n < 0
// means every period. A partial backup takes no complete one's place: within a
// period the newest complete one is kept, and a partial one only where there is
// no other.
type Retention struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int

	// Within keeps everything that is at most this much older than the newest
	// backup; the others do the same, but one for each period.
	Within, WithinHourly, WithinDaily, WithinWeekly, WithinMonthly, WithinYearly Span

	Tags  []Tag  // backups that have one of these; an empty value matches any
	Bands []Band // by age at the time of asking
}

// Band is an age range and what to keep of it: the backups that are older than
// the end of the band before, and at most Until old.
type Band struct {
	Until Span
	Keep  BandRule
}

// BandRule says what to keep of a band.
type BandRule uint8

const (
	KeepAll    BandRule = 1
	KeepOldest BandRule = 2
	KeepNewest BandRule = 3
)

// Span is a length of time by the calendar.
type Span struct{ Years, Months, Days, Hours int }

// IsZero reports whether the span is empty.
func (s Span) IsZero() bool { return s == Span{} }

// Before returns t moved back by the span.
func (s Span) Before(t time.Time) time.Time {
	return t.AddDate(-s.Years, -s.Months, -s.Days).Add(-time.Duration(s.Hours) * time.Hour)
}

// ErrSpan says that a text is no span.
var ErrSpan = errors.New(`a span of time looks like "1y6m", "14d" or "2d12h": years, months, weeks, days, hours`)

// ParseSpan reads "2y5m7d3h"; "w" is seven days. Every unit may come once, in
// falling order.
func ParseSpan(text string) (s Span, err error) {
	rest, units := text, "ymwdh"
	if rest == "" {
		return s, fmt.Errorf("%q: %w", text, ErrSpan)
	}
	for rest != "" {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n, aerr := strconv.Atoi(rest[:digits])
		if aerr != nil || digits == len(rest) || n > 100_000 {
			return Span{}, fmt.Errorf("%q: %w", text, ErrSpan)
		}
		unit := rest[digits]
		at := 0
		for at < len(units) && units[at] != unit {
			at++
		}
		if at == len(units) {
			return Span{}, fmt.Errorf("%q: %w", text, ErrSpan)
		}
		switch unit {
		case 'y':
			s.Years = n
		case 'm':
			s.Months = n
		case 'w':
			s.Days = 7 * n
		case 'd':
			s.Days += n
		case 'h':
			s.Hours = n
		}
		rest, units = rest[digits+1:], units[at+1:]
	}
	return s, nil
}

// IsZero reports whether the policy has no rule: it would keep nothing.
func (p *Retention) IsZero() bool {
	return p.Last == 0 && p.Hourly == 0 && p.Daily == 0 && p.Weekly == 0 && p.Monthly == 0 && p.Yearly == 0 &&
		p.Within.IsZero() && p.WithinHourly.IsZero() && p.WithinDaily.IsZero() && p.WithinWeekly.IsZero() &&
		p.WithinMonthly.IsZero() && p.WithinYearly.IsZero() && len(p.Tags) == 0 && len(p.Bands) == 0
}

// Decision is what a policy says of one backup.
type Decision struct {
	Backup  *Backup
	Reasons []string // why it is kept; none: it is not
}

// Keep reports whether the backup is kept.
func (d Decision) Keep() bool { return len(d.Reasons) > 0 }

// Apply decides about the backups of one group, and returns the decisions
// newest first. Periods begin and end by the clock of zone; now is the time
// from which bands count.
func (p *Retention) Apply(backups []*Backup, now time.Time, zone *time.Location) []Decision {
	list := make([]Decision, len(backups))
	for i, b := range backups {
		list[i].Backup = b
	}
	slices.SortFunc(list, func(a, b Decision) int {
		return cmp.Or(b.Backup.Time.Compare(a.Backup.Time), b.Backup.ID.Compare(a.Backup.ID))
	})
	if len(list) == 0 {
		return list
	}
	keepLast(list, p.Last)
	newest := list[0].Backup.Time.Std().In(zone)
	for _, k := range periods {
		keepPeriods(list, k, *k.count(p), time.Time{}, zone)
		if within := *k.within(p); !within.IsZero() {
			keepPeriods(list, k, -1, within.Before(newest), zone)
		}
	}
	keepWithin(list, p.Within, newest)
	keepTags(list, p.Tags)
	keepBands(list, p.Bands, now)
	return list
}

// keepLast keeps the n newest complete backups, and partial ones only while
// nothing complete is newer.
func keepLast(list []Decision, n int) {
	complete, partial := 0, 0
	for i := range list {
		d := &list[i]
		switch {
		case d.Backup.Complete() && (n < 0 || complete < n):
			complete++
		case !d.Backup.Complete() && complete == 0 && (n < 0 || partial < n):
			partial++
		default:
			continue
		}
		d.Reasons = append(d.Reasons, "last")
	}
}

// period is a kind of period: its name, and the number of the one that a time
// lies in.
type period struct {
	name   string
	number func(t time.Time) int
	count  func(p *Retention) *int
	within func(p *Retention) *Span
}

var periods = []period{
	{"hourly", func(t time.Time) int { return (t.Year()*1000+t.YearDay())*24 + t.Hour() }, func(p *Retention) *int { return &p.Hourly }, func(p *Retention) *Span { return &p.WithinHourly }},
	{"daily", func(t time.Time) int { return t.Year()*1000 + t.YearDay() }, func(p *Retention) *int { return &p.Daily }, func(p *Retention) *Span { return &p.WithinDaily }},
	{"weekly", func(t time.Time) int { y, w := t.ISOWeek(); return y*100 + w }, func(p *Retention) *int { return &p.Weekly }, func(p *Retention) *Span { return &p.WithinWeekly }},
	{"monthly", func(t time.Time) int { return t.Year()*100 + int(t.Month()) }, func(p *Retention) *int { return &p.Monthly }, func(p *Retention) *Span { return &p.WithinMonthly }},
	{"yearly", func(t time.Time) int { return t.Year() }, func(p *Retention) *int { return &p.Yearly }, func(p *Retention) *Span { return &p.WithinYearly }},
}

// keepPeriods keeps one backup of each of the last n periods that have one and
// that are not before since.
func keepPeriods(list []Decision, k period, n int, since time.Time, zone *time.Location) {
	for i := 0; i < len(list) && n != 0; {
		first := k.number(list[i].Backup.Time.Std().In(zone))
		best := -1
		for ; i < len(list) && k.number(list[i].Backup.Time.Std().In(zone)) == first; i++ {
			if list[i].Backup.Time.Std().Before(since) {
				continue
			}
			if best < 0 || !list[best].Backup.Complete() && list[i].Backup.Complete() {
				best = i
			}
		}
		if best < 0 {
			return
		}
		reason := k.name
		if !since.IsZero() {
			reason = "within " + reason
		}
		list[best].Reasons = append(list[best].Reasons, reason)
		n--
	}
}

func keepWithin(list []Decision, span Span, newest time.Time) {
	if span.IsZero() {
		return
	}
	since := span.Before(newest)
	for i := range list {
		if !list[i].Backup.Time.Std().Before(since) {
			list[i].Reasons = append(list[i].Reasons, "within")
		}
	}
}

func keepTags(list []Decision, tags []Tag) {
	for i := range list {
		for _, want := range tags {
			if slices.ContainsFunc(list[i].Backup.Tags, func(t Tag) bool { return t.Key == want.Key && (want.Value == "" || t.Value == want.Value) }) {
				list[i].Reasons = append(list[i].Reasons, "tag "+want.Key)
			}
		}
	}
}

// keepBands goes through the bands from the youngest to the oldest. Within a
// band a complete backup is preferred to a partial one.
func keepBands(list []Decision, bands []Band, now time.Time) {
	at := 0
	for _, band := range bands {
		until := band.Until.Before(now)
		var in []*Decision
		for ; at < len(list) && !list[at].Backup.Time.Std().Before(until); at++ {
			in = append(in, &list[at])
		}
		if band.Keep != KeepAll {
			if whole := slices.DeleteFunc(slices.Clone(in), func(d *Decision) bool { return !d.Backup.Complete() }); len(whole) > 0 {
				in = whole
			}
			if band.Keep == KeepOldest {
				in = in[max(0, len(in)-1):]
			} else {
				in = in[:min(1, len(in))]
			}
		}
		for _, d := range in {
			d.Reasons = append(d.Reasons, "age")
		}
	}
}
