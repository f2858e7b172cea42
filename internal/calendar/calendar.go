// Package calendar says when an OnCalendar expression of systemd elapses: daily,
// "03:00", "Mon..Fri *-*-* 22:30", "*-*~01" (the last day of each month), as
// systemd.time(7) describes them.
//
// The idea. An expression is one list of numbers for each part of a date and a time
// of day. Days are walked through one after another, months and years that do not
// match in one step, and on a day that matches the times are walked through in the
// same way. Nothing asks a clock: the moment is a parameter.
//
// Caveats, all of them as systemd has it. A time that does not exist, since clocks
// are put forward, is left out; one that exists twice counts once, the first time.
// Seconds have six decimals at most. After the year 2199 nothing elapses. Other than
// there, of names of time zones only UTC and those of the IANA's data base are known:
// no abbreviations of the local one, which differ from machine to machine.
package calendar

import (
	"time"
)

// Calendar is a parsed expression. It does not change, and is safe for concurrent use.
type Calendar struct {
	text     string
	weekdays uint8 // bit 0 is Monday; 0 means every day
	year     chain
	month    chain
	day      chain
	fromEnd  bool // day counts from the end of the month: 1 is the last day
	hour     chain
	minute   chain
	second   chain // microseconds
	zone     *time.Location
}

// String returns the expression as it was written.
func (c *Calendar) String() string { return c.text }

// Times are expressions any of which counts.
type Times []*Calendar

// ParseAll parses expressions. The error says which one is wrong.
func ParseAll(texts []string) (Times, error) {
	var list Times
	for _, text := range texts {
		c, err := Parse(text)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// Next returns the first moment after the given one at which one of them elapses, or
// false.
func (t Times) Next(after time.Time) (next time.Time, ok bool) {
	for _, c := range t {
		if at, found := c.Next(after); found && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok
}

// Next returns the first moment after the given one at which the expression elapses,
// in the expression's time zone or else in that of the moment; false if there is
// none until the year 2199.
func (c *Calendar) Next(after time.Time) (time.Time, bool) {
	loc := c.zone
	if loc == nil {
		loc = after.Location()
	}
	from := after.Truncate(time.Microsecond).Add(time.Microsecond).In(loc)
	d := dateOf(from)
	h, m, s := from.Clock()
	tod := (int64(h)*60+int64(m))*minuteSpan + int64(s)*1e6 + int64(from.Nanosecond()/1000)
	for {
		found, ok := c.nextDate(d)
		if !ok {
			return time.Time{}, false
		}
		if found != d {
			tod = 0
		}
		if at, ok := c.onDate(found, tod, after, loc); ok {
			return at, true
		}
		d, tod = found.add(1), 0
	}
}

// onDate returns the first moment of a day, not before the time of day tod, that is
// after the given one.
func (c *Calendar) onDate(d date, tod int64, after time.Time, loc *time.Location) (time.Time, bool) {
	for {
		t, ok := c.nextTime(tod)
		if !ok {
			return time.Time{}, false
		}
		at, exists := instant(d, t, after, loc)
		switch {
		case exists && at.After(after):
			return at, true
		case exists:
			tod = t + 1e6
		default: // clocks are put forward: on from where they are put to
			end := at.In(loc)
			if dateOf(end) != d {
				return time.Time{}, false
			}
			h, m, s := end.Clock()
			tod = max(t+1e6, (int64(h)*60+int64(m))*minuteSpan+int64(s)*1e6)
		}
	}
}

const (
	minuteSpan = 60 * 1e6 // microseconds
	minYear    = 1970
	maxYear    = 2199
)

// nextTime returns the first time of day that matches and is not before tod, in
// microseconds since midnight.
func (c *Calendar) nextTime(tod int64) (int64, bool) {
	h, m, s := int(tod/(60*minuteSpan)), int(tod/minuteSpan%60), int(tod%minuteSpan)
	for {
		hour, ok := c.hour.next(h, 23)
		if !ok {
			return 0, false
		}
		if hour > h {
			h, m, s = hour, 0, 0
		}
		minute, ok := c.minute.next(m, 59)
		if !ok {
			h, m, s = h+1, 0, 0
			continue
		}
		if minute > m {
			m, s = minute, 0
		}
		second, ok := c.second.next(s, minuteSpan-1)
		if !ok {
			m, s = m+1, 0
			continue
		}
		return (int64(h)*60+int64(m))*minuteSpan + int64(second), true
	}
}

// nextDate returns the first date that matches and is not before d.
func (c *Calendar) nextDate(d date) (date, bool) {
	for {
		year, ok := c.year.next(d.year, maxYear)
		if !ok {
			return d, false
		}
		if year > d.year {
			d = date{year, 1, 1}
		}
		month, ok := c.month.next(d.month, 12)
		if !ok {
			d = date{d.year + 1, 1, 1}
			continue
		}
		if month > d.month {
			d = date{d.year, month, 1}
		}
		days := d.monthLength()
		list := c.day
		if c.fromEnd {
			list = list.fromEnd(days)
		}
		day, ok := list.next(d.day, days)
		if !ok {
			d = date{d.year, d.month + 1, 1}
			continue
		}
		d.day = day
		if c.weekdays == 0 || c.weekdays&(1<<d.weekday()) != 0 {
			return d, true
		}
		d.day++
	}
}

// date is a day of the civil calendar. The month may be 13 and the day one too many
// on the way to the next.
type date struct{ year, month, day int }

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, int(m), d}
}

func (d date) utc() time.Time {
	return time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, time.UTC)
}

func (d date) add(days int) date { return dateOf(d.utc().AddDate(0, 0, days)) }

func (d date) monthLength() int { return date{d.year, d.month + 1, 0}.utc().Day() }

// weekday returns the day of the week, from 0 for Monday.
func (d date) weekday() int { return (int(d.utc().Weekday()) + 6) % 7 }

// instant returns the first moment that has a date and time of day and is after the
// given one; the last one that has it if none is. If there is none at all it returns
// false, and the moment at which clocks are put forward over it.
func instant(d date, tod int64, after time.Time, loc *time.Location) (time.Time, bool) {
	civil := d.utc().Add(time.Duration(tod) * time.Microsecond)
	_, before := civil.Add(-24 * time.Hour).In(loc).Zone()
	_, behind := civil.Add(24 * time.Hour).In(loc).Zone()
	first := civil.Add(-time.Duration(before) * time.Second).In(loc)
	second := civil.Add(-time.Duration(behind) * time.Second).In(loc)
	if second.Before(first) {
		first, second = second, first
	}
	same := func(t time.Time) bool {
		_, offset := t.Zone()
		return t.Add(time.Duration(offset) * time.Second).Equal(civil)
	}
	switch {
	case same(first) && (first.After(after) || !same(second)):
		return first, true
	case same(second):
		return second, true
	}
	// Both miss: the later one is behind the change.
	start, _ := second.ZoneBounds()
	return start, false
}
