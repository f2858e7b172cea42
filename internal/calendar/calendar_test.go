package calendar

import (
	"strings"
	"testing"
	"time"
)

// TestErrors: a wrong expression is refused with what is wrong.
func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":               "empty",
		"25:00":          "25 is no hour: from 0 to 23",
		"12:60":          "60 is no minute",
		"12:00:60":       "60 is no second",
		"*-13-01":        "13 is no month",
		"Sat..Mon":       "run backwards",
		"fortnightly":    "want a day of the week",
		"03.00":          `want a time as 03:00 or 03:00:00 at ".00"`,
		"12:00 Foo/Bar":  `time zone "Foo/Bar" is not known`,
		"*-*~31":         "31 is no day from the end: from 1 to 28",
		"*:0/0":          "a step of 0 minutes",
		"8..6:00":        "the range from hour 8 to 6 runs backwards",
		"*-*-* 1:00 x y": "time zone",
		"0/24:00":        "a step of 24",
		"99999999999:00": "want a number (hour)",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Parse(strings.Repeat("1,", 300) + "1:00"); err == nil {
		t.Error("a list without end is taken")
	}
}

// TestNext: a few moments by hand, so that something is asserted without systemd.
func TestNext(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		v, err := time.ParseInLocation(time.DateTime, s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ text, after, want string }{
		{"daily", "2024-05-01 00:00:00", "2024-05-02 00:00:00"},
		{"03:00", "2024-05-01 02:59:59", "2024-05-01 03:00:00"},
		{"Mon..Fri 22:30", "2024-05-03 22:30:00", "2024-05-06 22:30:00"},
		{"*-*~01", "2024-02-10 00:00:00", "2024-02-29 00:00:00"},
		{"0/7:00", "2024-01-31 21:00:00", "2024-02-01 00:00:00"}, // systemd 252: 07:00
		{"02:30", "2024-03-30 12:00:00", "2024-04-01 02:30:00"},  // there is no 02:30 in between
		{"*-02-29 06:00", "2024-03-01 00:00:00", "2028-02-29 06:00:00"},
		{"12:00 UTC", "2024-07-01 00:00:00", "2024-07-01 14:00:00"},
	} {
		p, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Next(at(c.after)); !ok || !got.Equal(at(c.want)) {
			t.Errorf("%s after %s: %v %v, want %s", c.text, c.after, got, ok, c.want)
		}
	}
	list, err := ParseAll([]string{"10:00", "Sun 04:00", "2024-01-01"})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := list.Next(at("2024-05-04 10:00:00")); !ok || !got.Equal(at("2024-05-05 04:00:00")) {
		t.Errorf("of several: %v %v", got, ok)
	}
	if _, ok := list[2].Next(at("2024-01-01 00:00:00")); ok {
		t.Error("what is over elapses again")
	}
}

// TestTwice: where clocks are put back, a time counts once, and time goes on.
func TestTwice(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("02:30")
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2024, 10, 27, 0, 30, 0, 0, time.UTC)
	got, _ := c.Next(first.Add(-time.Hour).In(berlin))
	if !got.Equal(first) {
		t.Errorf("the first of two is %v", got)
	}
	if got, _ = c.Next(got); !got.Equal(time.Date(2024, 10, 28, 1, 30, 0, 0, time.UTC)) {
		t.Errorf("then %v", got)
	}
}

// FuzzParse: whatever is accepted elapses in the future, in order, at moments that
// its own fields have.
func FuzzParse(f *testing.F) {
	for _, text := range written {
		f.Add(text, int64(1_700_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		after := time.Unix(unix%(1<<33), 0).UTC()
		for range 3 {
			next, ok := c.Next(after)
			if !ok {
				return
			}
			if !next.After(after) {
				t.Fatalf("%q: %v is not after %v", text, next, after)
			}
			here := next
			if c.zone != nil {
				here = next.In(c.zone)
			}
			if c.weekdays != 0 && c.weekdays&(1<<((int(here.Weekday())+6)%7)) == 0 {
				t.Fatalf("%q: %v is of another weekday", text, here)
			}
			d := dateOf(here)
			days := c.day
			if c.fromEnd {
				days = days.fromEnd(d.monthLength())
			}
			for _, part := range []struct {
				c chain
				n int
			}{{c.year, d.year}, {c.month, d.month}, {days, d.day}, {c.hour, here.Hour()}, {c.minute, here.Minute()}, {c.second, here.Second()*1e6 + here.Nanosecond()/1000}} {
				if got, ok := part.c.next(part.n, part.n); !ok || got != part.n {
					t.Fatalf("%q: %v does not match", text, here)
				}
			}
			after = next
		}
	})
}
