package calendar

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of an expression.
const (
	maxText  = 4096
	maxParts = 240
)

// words are expressions that have a name.
var words = map[string]string{
	"minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": "*-*-* 00:00:00", "weekly": "Mon *-*-* 00:00:00",
	"monthly": "*-*-01 00:00:00", "quarterly": "*-01,04,07,10-01 00:00:00",
	"yearly": "*-01-01 00:00:00", "annually": "*-01-01 00:00:00", "anually": "*-01-01 00:00:00",
	"semiannually": "*-01,07-01 00:00:00", "semi-annually": "*-01,07-01 00:00:00", "biannually": "*-01,07-01 00:00:00", "bi-annually": "*-01,07-01 00:00:00",
}

// Parse parses an expression. Errors say what is wrong, but not in which expression.
func Parse(text string) (*Calendar, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("it has more than %d bytes", maxText)
	}
	c := &Calendar{text: text}
	rest, err := c.zoned(text)
	if err != nil {
		return nil, err
	}
	if rest == "" {
		return nil, errors.New("it is empty")
	}
	if long, ok := words[strings.ToLower(rest)]; ok {
		rest = long
	}
	if at, ok := strings.CutPrefix(rest, "@"); ok {
		return c, c.epoch(at)
	}
	p := &parser{rest: rest}
	if c.weekdays, err = p.weekdays(); err != nil {
		return nil, err
	}
	if err := c.dateAndTime(p); err != nil {
		return nil, err
	}
	return c, nil
}

// zoned takes a time zone from the end.
func (c *Calendar) zoned(text string) (rest string, err error) {
	i := strings.LastIndexByte(text, ' ')
	if i < 0 {
		return text, nil
	}
	name := text[i+1:]
	if strings.EqualFold(name, "utc") {
		c.zone = time.UTC
		return text[:i], nil
	}
	if name == "" || !letter(name[0]) || name == "Local" {
		return text, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return "", fmt.Errorf("the time zone %q is not known here", name)
	}
	c.zone = zone
	return text[:i], nil
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// epoch takes seconds since 1970.
func (c *Calendar) epoch(text string) error {
	n, err := strconv.ParseUint(text, 10, 36)
	t := time.Unix(int64(n), 0).UTC()
	if err != nil || t.Year() > maxYear {
		return fmt.Errorf("@%s: want seconds since 1970", text)
	}
	one := func(n int) chain { return chain{{start: n, stop: -1}} }
	c.zone = time.UTC
	c.year, c.month, c.day = one(t.Year()), one(int(t.Month())), one(t.Day())
	c.hour, c.minute, c.second = one(t.Hour()), one(t.Minute()), one(t.Second()*1e6)
	return nil
}

type parser struct{ rest string }

func (p *parser) peek() byte {
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *parser) skip(prefix string) bool {
	after, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = after
	return ok
}

func (p *parser) spaces() { p.rest = strings.TrimLeft(p.rest, " ") }

var weekdayNames = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

// weekday takes the name of a day, whole or its first three letters.
func (p *parser) weekday() (int, bool) {
	for i, long := range weekdayNames {
		for _, name := range []string{long, long[:3]} {
			if len(p.rest) < len(name) || !strings.EqualFold(p.rest[:len(name)], name) {
				continue
			}
			if after := p.rest[len(name):]; after == "" || strings.IndexByte("-., ", after[0]) >= 0 {
				p.rest = after
				return i, true
			}
		}
	}
	return 0, false
}

// weekdays takes a list of days and ranges of days from the beginning, if there is
// one.
func (p *parser) weekdays() (set uint8, err error) {
	if !letter(p.peek()) {
		return 0, nil
	}
	for {
		first, ok := p.weekday()
		if !ok {
			return 0, fmt.Errorf("want a day of the week at %q, as Mon", p.rest)
		}
		last := first
		if p.skip("..") || p.skip("-") {
			if last, ok = p.weekday(); !ok {
				return 0, fmt.Errorf("want a day of the week at %q, as Mon", p.rest)
			}
			if last < first {
				return 0, fmt.Errorf("the days from %s to %s run backwards: name those before the end of the week and those after it", weekdayNames[first], weekdayNames[last])
			}
		}
		for d := first; d <= last; d++ {
			set |= 1 << d
		}
		more := p.skip(",")
		switch {
		case p.peek() == 0, p.peek() == ' ':
			p.spaces()
			return set % (1<<7 - 1), nil // all days are no condition
		case !more:
			return 0, fmt.Errorf("want a comma or a space at %q", p.rest)
		}
	}
}

// number takes a number without sign. Seconds are in microseconds and may have
// decimals.
func (p *parser) number(u unit) (int, error) {
	digits := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
	if digits == 0 || digits > 9 {
		return 0, fmt.Errorf("want a number (%s) at %q", u.name, p.rest)
	}
	n, err := strconv.Atoi(p.rest[:digits])
	if err != nil {
		return 0, err
	}
	p.rest = p.rest[digits:]
	if u != seconds {
		return n, nil
	}
	n *= 1e6
	if len(p.rest) < 2 || p.rest[0] != '.' || p.rest[1] < '0' || p.rest[1] > '9' {
		return n, nil
	}
	end := len(p.rest) - len(strings.TrimLeft(p.rest[1:], "0123456789"))
	decimals := (p.rest[1:end] + "0000000")[:7] // the seventh rounds
	p.rest = p.rest[end:]
	micro, err := strconv.Atoi(decimals)
	return n + (micro+5)/10, err
}

// chain takes what stands in one place of a date or time, up to one of the
// characters in ends, or the end.
func (p *parser) chain(u unit) (chain, error) {
	if p.skip("*") {
		if u == seconds {
			return chain{{start: 0, stop: -1, step: 1e6}}, nil
		}
		return nil, nil
	}
	var c chain
	for {
		one := part{stop: -1}
		var err error
		if one.start, err = p.number(u); err != nil {
			return nil, err
		}
		unitStep := 1
		if u == seconds {
			unitStep = 1e6
		}
		if p.skip("..") {
			if one.stop, err = p.number(u); err != nil {
				return nil, err
			}
			one.step = unitStep
		}
		switch {
		case p.skip("/"):
			if one.step, err = p.number(u); err != nil {
				return nil, err
			}
			if one.step == 0 {
				return nil, fmt.Errorf("a step of 0 %ss", u.name)
			}
		case u == seconds && one.stop >= 0 && one.start+one.step > one.stop:
			return nil, errors.New("a range of less than a second needs a step")
		}
		if c = append(c, one); len(c) > maxParts {
			return nil, fmt.Errorf("more than %d %ss", maxParts, u.name)
		}
		if !p.skip(",") {
			return c, nil
		}
	}
}

// dateAndTime takes the rest. Whether it begins with a date or a time is seen by what
// comes after its first number.
func (c *Calendar) dateAndTime(p *parser) (err error) {
	whole := p.rest
	if p.rest == "" {
		return c.clock(p)
	}
	if len(whole) > 1 && strings.TrimLeft(whole, "*0123456789,./") != "" && dateFirst(whole) {
		if err := c.date(p); err != nil {
			return err
		}
	}
	return c.clock(p)
}

// dateFirst reports whether a text begins with a date.
func dateFirst(s string) bool {
	i := strings.IndexAny(s, ":-~ ")
	return i >= 0 && (s[i] == '-' || s[i] == '~')
}

// date takes [YEAR-]MONTH-DAY, with ~ before the day to count from the end.
func (c *Calendar) date(p *parser) error {
	texts, _, _ := strings.Cut(p.rest, " ")
	order := []unit{months, days}
	if strings.Count(texts, "-")+strings.Count(texts, "~") > 1 {
		order = []unit{years, months, days}
	}
	for i, u := range order {
		list, err := p.chain(u)
		if c.fromEnd && u == days {
			u = ends
		}
		if err == nil {
			list, err = list.settle(u)
		}
		if err != nil {
			return err
		}
		switch u {
		case years:
			c.year = list
		case months:
			c.month = list
		case days, ends:
			c.day = list
		}
		switch {
		case i == len(order)-1:
			if p.peek() != 0 && p.peek() != ' ' {
				return fmt.Errorf("want the end of the date at %q", p.rest)
			}
		case p.skip("-"):
		case i == len(order)-2 && p.skip("~"):
			c.fromEnd = true
		default:
			return fmt.Errorf("want - at %q, as in 2030-01-31", p.rest)
		}
	}
	if c.day == nil {
		c.fromEnd = false
	}
	p.spaces()
	return nil
}

// clock takes HOUR:MINUTE[:SECOND], or nothing, which is midnight.
func (c *Calendar) clock(p *parser) (err error) {
	zero := chain{{start: 0, stop: -1}}
	c.hour, c.minute, c.second = zero, zero, zero
	if p.rest == "" {
		return nil
	}
	for i, u := range []unit{hours, minutes, seconds} {
		if i > 0 && !p.skip(":") {
			if i == 2 && p.rest == "" {
				break
			}
			return fmt.Errorf("want a time as 03:00 or 03:00:00 at %q", p.rest)
		}
		list, err := p.chain(u)
		if err == nil {
			list, err = list.settle(u)
		}
		if err != nil {
			return err
		}
		*[]*chain{&c.hour, &c.minute, &c.second}[i] = list
	}
	if p.rest != "" {
		return fmt.Errorf("want the end at %q", p.rest)
	}
	return nil
}
