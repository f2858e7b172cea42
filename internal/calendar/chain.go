package calendar

import (
	"fmt"
	"math"
)

// part is one number, or numbers in equal steps. In the expression it is START,
// START/STEP, START..STOP or START..STOP/STEP.
type part struct {
	start int
	stop  int // none if negative: as far as the unit goes
	step  int // 0: start alone
}

// chain is what may stand in one place; nil is everything.
type chain []part

// next returns the least number from from to limit that the chain has.
func (c chain) next(from, limit int) (int, bool) {
	if c == nil {
		return from, from <= limit
	}
	best := math.MaxInt
	for _, p := range c {
		v := p.start
		if v < from {
			if p.step == 0 {
				continue
			}
			v += (from - v + p.step - 1) / p.step * p.step
			if p.stop >= 0 && v > p.stop {
				continue
			}
		}
		best = min(best, v)
	}
	return best, best <= limit
}

// fromEnd returns the chain of days that these are in a month of so many days, 1
// being the last one. There are 28 of them in every month.
func (c chain) fromEnd(days int) chain {
	var out chain
	for _, p := range c {
		q := part{start: days + 1 - p.start, stop: -1, step: p.step}
		if p.stop > 0 {
			q.start, q.stop = days+1-p.stop, q.start
		}
		out = append(out, q)
	}
	return out
}

// unit is what a chain counts.
type unit struct {
	name     string
	min, max int
}

var (
	years   = unit{"year", minYear, maxYear}
	months  = unit{"month", 1, 12}
	days    = unit{"day", 1, 31}
	ends    = unit{"day from the end", 1, 28} // of a month; in February there are no more
	hours   = unit{"hour", 0, 23}
	minutes = unit{"minute", 0, 59}
	seconds = unit{"second", 0, minuteSpan - 1}
)

func (u unit) show(n int) string {
	if u == seconds {
		return fmt.Sprint(float64(n) / 1e6)
	}
	return fmt.Sprint(n)
}

// settle brings a chain into its one form, and refuses what cannot be meant. Years of
// two digits are those from 1970 to 2069.
func (c chain) settle(u unit) (chain, error) {
	for i := range c {
		p := &c[i]
		if u == years {
			p.start, p.stop = century(p.start), century(p.stop)
		}
		if p.stop > p.start && p.step > 0 {
			p.stop -= (p.stop - p.start) % p.step
		}
		if p.start == p.stop || p.stop > p.start && p.step > 0 && p.start+p.step > p.stop {
			p.step, p.stop = 0, -1
		}
		for _, n := range []int{p.start, p.stop} {
			if n != -1 && (n < u.min || n > u.max) {
				return nil, fmt.Errorf("%s is no %s: from %s to %s", u.show(n), u.name, u.show(u.min), u.show(u.max))
			}
		}
		last := u.max
		switch {
		case p.stop >= 0:
			last = p.stop
		case u == ends: // steps lead to the end of the month
			last = p.start + p.start - 1
		}
		switch {
		case p.stop >= 0 && p.stop < p.start:
			return nil, fmt.Errorf("the range from %s %s to %s runs backwards", u.name, u.show(p.start), u.show(p.stop))
		case p.step > u.max-u.min, p.start+p.step > last:
			return nil, fmt.Errorf("a step of %s from %s %s on leads out of the range", u.show(p.step), u.name, u.show(p.start))
		}
	}
	return c, nil
}

func century(n int) int {
	switch {
	case n > 0 && n < 70:
		return n + 2000
	case n >= 70 && n < 100:
		return n + 1900
	}
	return n
}
