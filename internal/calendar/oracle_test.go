package calendar

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// iterations is how many moments of each expression are compared.
const iterations = 4

// written are expressions that people write, and those at the edges of the grammar.
var written = []string{
	"minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "annually", "semiannually", "biannually", "bi-annually", "DAILY", "fortnightly",
	"03:00", "3:5", "03:00:30", "3", "24:00", "23:60", "12:00:60", "*:*", "*:*:*", "*:0/15", "*:00,15,30,45", "8..18:00", "8..18/2:30", "9..17/4:0/20:0/30", "0/6:00", "22..2:00",
	"Mon", "mon", "Monday", "Tues", "Mon,Wed,Fri", "Mon..Fri", "Mon-Fri", "Sat..Mon", "Sun", "Mon..Fri,Sun", "Mon,", "Mon, 10:00", "Mon,10:00", "Mon..", "Mon.Fri", "Mon..Sun", "Mon Tue",
	"Mon..Fri *-*-* 22:30", "Sat *-*-1..7 18:00:00", "Mon,Sun 12-*-* 2,1:23", "Wed *-1", "Wed-Wed,Wed *-1", "Wed, 17:48", "Wed..Sat,Tue 12-10-15 1:2:3", "*-*-7 0:0:0", "10-15",
	"monday *-12-* 17:00", "Mon,Fri *-*-3,1,2 *:30:45", "12,14,13,12:20,10,30", "12..14:10,20,30", "mon,fri *-1/2-1,3 *:30:45", "03-05 08:05:40", "08:05:40", "05:40", "Sat,Sun 12-05 08:05:40", "Sat,Sun 08:05:40",
	"2003-03-05 05:40", "05:40:23.4200004/3.1700005", "2003-02..04-05", "2003-03-05 05:40 UTC", "2003-03-05", "03-05", "weekly UTC", "Mon *-*-* 00:00:00 UTC", "hourly Europe/Berlin",
	"*-*~01", "*-02~03", "Mon *-*~07/1", "*-*~1..3", "*-*~28..31", "*-*~31", "*-*~31/7", "*-*~30/2", "*-*~29/2", "*-*~07..03", "*-*~03..07/2", "*-*~*", "*~01", "02~01..05 12:00", "*-02~03,05", "*-1~1 3:00",
	"2024-02-29", "*-02-29 06:00", "*-02-30", "Fri *-*-13", "29-02-29", "70-1-1", "99-12-31", "00-01-01", "2199-12-31", "2200-01-01", "1969-01-01", "2024/2-01-01", "2023..2025-06-15", "*-1..12/5-10",
	"*-*-* 02:30 Europe/Berlin", "*-*-* 02:00 Europe/Berlin", "*:0/30 Europe/Berlin", "*:*:0/20 America/New_York", "*-*-* 00:00 America/Santiago", "00:30 Australia/Lord_Howe", "*:15 Australia/Lord_Howe", "12:00 Foo/Bar", "12:00 Local", "12:00 utc", "12:00 UTC Europe/Berlin",
	"*:*:0/0.5", "*:*:3.33/10.05", "*:*:1.5..4.5/1", "*:*:1.5..2", "*:*:0/1", "*:*:59.999999", "*:*:0/60", "*:0/60", "0/24:00", "*-0-1", "*-13-1", "*-*-0", "*-*-32", "*-*-31", "*-*-31/1", "*-*-1/31", "1/2-1-1",
	"*-*-*", "*-*-* ", " daily", "daily ", "*-*-*  10:00", "-1:00", "+1:00", "1:-1", "1::1", ":00", "*:*:*:*", "1,,2:00", "1,:00", "1/0:00", "1..:00", "..3:00", "1..1:00", "1..2/5:00", "1..1/5:00", "**:00", "*/2:00", "*,1:00",
	"@1700000000", "@0", "@", "@-1", "@99999999999", "2030-01-01T00:00:00", "2030-01-01 00:00:00 +0200", "1:2 3", "0001:00", "*-*-* *:*:* *", "~", "-", "*~", "*-*-~1", "*~*~1", "*-*-*-*", "2024-*-*~1", "Mon *-*-* 25:00",
}

// moments are from where expressions are looked at, in UTC, with time zones to look
// in: ordinary ones, leap days, ends of years, and changes of clocks.
var moments = []struct {
	base, zone string
	changes    bool // clocks change on that day
}{
	{"2024-01-01 00:00:00", "UTC", false}, {"2023-12-31 23:59:59", "UTC", false}, {"2024-02-28 12:34:56", "UTC", false}, {"2023-02-28 23:00:00", "Europe/Berlin", false},
	{"2024-03-30 22:59:59", "Europe/Berlin", true}, {"2024-10-26 21:00:00", "Europe/Berlin", true}, {"2024-03-09 20:00:00", "America/New_York", true}, {"2024-11-02 20:00:00", "America/New_York", true},
	{"2024-09-07 20:00:00", "America/Santiago", true}, {"2024-10-05 03:00:00", "Australia/Lord_Howe", true}, {"2024-04-06 03:00:00", "Australia/Lord_Howe", true}, {"2099-06-15 10:20:30", "Asia/Kolkata", false},
}

// random returns an expression made by chance: mostly a valid one.
func random(r *rand.Rand) string {
	number := func(lo, hi int) string { return fmt.Sprintf([]string{"%d", "%02d"}[r.IntN(2)], lo+r.IntN(hi-lo+1)) }
	place := func(lo, hi int) string {
		var parts []string
		for range 1 + r.IntN(2) {
			switch r.IntN(6) {
			case 0:
				return "*"
			case 1:
				parts = append(parts, number(lo, hi)+"/"+number(1, (hi-lo)/2+1))
			case 2:
				parts = append(parts, number(lo, (lo+hi)/2)+".."+number((lo+hi)/2, hi))
			case 3:
				parts = append(parts, number(lo, lo+(hi-lo)/3)+".."+number((lo+hi)/2, hi)+"/"+number(1, (hi-lo)/3+1))
			default:
				parts = append(parts, number(lo, hi))
			}
		}
		return strings.Join(parts, ",")
	}
	var s []string
	names := []string{"Mon", "tue", "Wednesday", "Thu", "Fri", "sat", "SUNDAY"}
	if r.IntN(3) == 0 {
		a, b := r.IntN(7), r.IntN(7)
		s = append(s, names[a]+[]string{",", "..", "-"}[r.IntN(3)]+names[b])
	}
	if r.IntN(3) > 0 {
		year := "*"
		if r.IntN(4) == 0 {
			year = place(2024, 2030)
		}
		d := year + "-" + place(1, 12) + []string{"-", "-", "~"}[r.IntN(3)] + place(1, 31)
		if r.IntN(4) == 0 {
			_, d, _ = strings.Cut(d, "-")
		}
		s = append(s, d)
	}
	if r.IntN(4) > 0 || len(s) == 0 {
		t := place(0, 23) + ":" + place(0, 59)
		if r.IntN(2) == 0 {
			t += ":" + place(0, 59)
		}
		s = append(s, t)
	}
	if r.IntN(6) == 0 {
		s = append(s, []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"}[r.IntN(4)])
	}
	return strings.Join(s, " ")
}

// TestOracle compares with systemd: which expressions there are, and when they
// elapse.
func TestOracle(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze")
	}
	r := rand.New(rand.NewPCG(1, 2))
	list := append([]string{}, written...)
	for range 200 {
		list = append(list, random(r))
	}
	cases, elapses, refused, left, changed := 0, 0, 0, 0, 0
	for _, m := range moments {
		loc, err := time.LoadLocation(m.zone)
		if err != nil {
			t.Fatal(err)
		}
		base, err := time.Parse(time.DateTime, m.base)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range oracle(t, m.base, m.zone, list) {
			cases++
			got := ours(list[i], base.In(loc))
			if got != want && list[i] == "00-01-01" && got == "refused" {
				continue // it is accepted there, and never elapses
			}
			if got != want && strings.Contains(list[i], "/") {
				if skipped, ok := withoutFirsts(got, want, loc); ok {
					left += skipped
					continue
				}
			}
			if got != want && strings.Contains(list[i], "/") && m.changes {
				changed++ // a step leads out of the day whose clocks change: systemd skips a moment, or gives up
				continue
			}
			if got != want {
				t.Errorf("%q after %s in %s:\n ours    %s\n systemd %s", list[i], m.base, m.zone, got, want)
			}
			if want == "refused" {
				refused++
			} else {
				elapses += strings.Count(want, "|")
			}
		}
	}
	t.Logf("%d expressions at %d moments: %d cases, %d elapses and %d refusals agree; systemd leaves out %d on the first day of a month, and is lost %d times where a step meets a change of clocks",
		len(list), len(moments), cases, elapses, refused, left, changed)
	if refused < 100 || elapses < 1000 || left > 10 || changed > 15 {
		t.Errorf("too little was compared")
	}
}

// withoutFirsts reports whether the two differ only by moments on the first day of a
// month that systemd leaves out, and how many these are. It does so where a step
// (0/7:00) would lead out of the last day: the hour that is too much is carried into
// the next month, where the day begins with it.
func withoutFirsts(ours, theirs string, loc *time.Location) (left int, ok bool) {
	want := strings.Split(strings.TrimSuffix(theirs, "|"), "|")
	for _, text := range strings.Split(strings.TrimSuffix(ours, "|"), "|") {
		if len(want) > 0 && text == want[0] {
			want = want[1:]
			continue
		}
		at, err := time.Parse(time.DateTime, text)
		if err != nil || at.In(loc).Day() != 1 && at.Day() != 1 {
			return 0, false
		}
		left++
	}
	return left, left > 0
}

// ours returns the next moments as oracle does.
func ours(text string, after time.Time) string {
	c, err := Parse(text)
	if err != nil {
		return "refused"
	}
	var b strings.Builder
	for range iterations {
		next, ok := c.Next(after)
		if !ok {
			break
		}
		b.WriteString(next.UTC().Format(time.DateTime) + "|")
		after = next
	}
	return b.String()
}

var elapse = regexp.MustCompile(`^ *(Next elapse|Iter\. #\d+|\(in UTC\)): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+)$`)

// oracle asks systemd for the next moments of expressions.
func oracle(t *testing.T, base, zone string, list []string) []string {
	args := append([]string{"calendar", fmt.Sprintf("--iterations=%d", iterations), "--base-time=" + base + " UTC", "--"}, list...)
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "TZ="+zone, "LC_ALL=C", "SYSTEMD_COLORS=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output() // it fails for those it refuses
	// An expression that is refused leaves but an empty line.
	var results []string
	rest := string(out)
	for i, text := range list {
		block, after, ok := "", "", false
		if strings.HasPrefix(rest, "\n") { // refused
			block, after, ok = "", rest[1:], true
		} else if block, after, ok = strings.Cut(rest, "\n\n"); !ok && i < len(list)-1 {
			t.Fatalf("systemd-analyze ended at %q:\n%s%s", text, out, stderr.String())
		}
		rest = after
		if block == "" {
			results = append(results, "refused")
			continue
		}
		var b strings.Builder
		for _, line := range strings.Split(block, "\n") {
			if m := elapse.FindStringSubmatch(line); m != nil && m[3] == "UTC" {
				b.WriteString(m[2] + "|")
			}
		}
		results = append(results, b.String())
	}
	return results
}
