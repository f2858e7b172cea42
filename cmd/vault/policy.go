package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"vault/snapshot"
)

// policyFlags are a retention policy on the command line.
type policyFlags struct {
	policy   snapshot.Retention
	spans    map[string]*string
	targets  map[string]*snapshot.Span
	keepTags []string
	bands    []string
}

func (f *policyFlags) add(flags *pflag.FlagSet) {
	p := &f.policy
	for _, c := range []struct {
		name string
		n    *int
		help string
	}{
		{"last", &p.Last, "keep the newest `N` complete backups"},
		{"hourly", &p.Hourly, "keep the newest backup of each of the last `N` hours that have one"},
		{"daily", &p.Daily, "likewise of `N` days"},
		{"weekly", &p.Weekly, "likewise of `N` weeks (Monday to Sunday)"},
		{"monthly", &p.Monthly, "likewise of `N` months"},
		{"yearly", &p.Yearly, "likewise of `N` years"},
	} {
		flags.Var((*keepCount)(c.n), "keep-"+c.name, c.help)
	}
	f.spans = map[string]*string{}
	f.targets = map[string]*snapshot.Span{}
	for _, c := range []struct {
		name string
		span *snapshot.Span
		help string
	}{
		{"within", &p.Within, "keep all at most `SPAN` older than the newest, such as 14d or 1y6m"},
		{"within-hourly", &p.WithinHourly, "keep one of each hour of the last `SPAN`"},
		{"within-daily", &p.WithinDaily, "keep one of each day of the last `SPAN`"},
		{"within-weekly", &p.WithinWeekly, "keep one of each week of the last `SPAN`"},
		{"within-monthly", &p.WithinMonthly, "keep one of each month of the last `SPAN`"},
		{"within-yearly", &p.WithinYearly, "keep one of each year of the last `SPAN`"},
	} {
		name := "keep-" + c.name
		f.spans[name] = flags.String(name, "", c.help)
		f.targets[name] = c.span
	}
	flags.StringArrayVar(&f.keepTags, "keep-tag", nil, "`KEY[=VALUE]`: keep backups with this tag (repeatable)")
	flags.StringArrayVar(&f.bands, "keep-age", nil,
		"`SPAN=all|oldest|newest`: of the backups up to this age, and beyond that of the band before, keep these (repeatable)")
}

// retention returns the policy, or a usage error.
func (f *policyFlags) retention() (snapshot.Retention, error) {
	var errs []error
	for name, text := range f.spans {
		if *text == "" {
			continue
		}
		span, err := snapshot.ParseSpan(*text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s %w", name, err))
		}
		*f.targets[name] = span
	}
	for _, text := range f.keepTags {
		key, value, _ := strings.Cut(text, "=")
		if key == "" {
			errs = append(errs, fmt.Errorf("--keep-tag %q: the key is empty", text))
		}
		f.policy.Tags = append(f.policy.Tags, snapshot.Tag{Key: key, Value: value})
	}
	for _, text := range f.bands {
		band, err := snapshot.ParseBand(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--keep-age %w", err))
		}
		f.policy.Bands = append(f.policy.Bands, band)
	}
	if err := errors.Join(errs...); err != nil {
		return f.policy, usage(err)
	}
	return f.policy, nil
}

// keepCount is a number of backups or periods to keep, or all of them.
type keepCount int

func (c *keepCount) String() string { return fmt.Sprint(int(*c)) }
func (c *keepCount) Type() string   { return "N" }

func (c *keepCount) Set(text string) error {
	if text == "all" || text == "unlimited" {
		*c = -1
		return nil
	}
	var n int
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil || n < 0 || fmt.Sprint(n) != text {
		return errors.New("want a number, or all")
	}
	*c = keepCount(n)
	return nil
}
