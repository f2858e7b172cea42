package config

import (
	"maps"
	"slices"
)

// fill gives applications and volumes what the defaults say and they do not.
func (c *Config) fill() {
	d := &c.Defaults
	for _, a := range c.Apps {
		if a.To == nil {
			a.To = d.To
		}
		if a.Keep == nil {
			a.Keep = d.Keep
		}
		if a.Schedule == nil {
			a.Schedule = d.Schedule
		}
		if a.Notify == nil {
			a.Notify = d.Notify
		}
		if a.Health == nil {
			a.Health = d.Health
		}
		a.RandomDelay = or(a.RandomDelay, d.RandomDelay)
		a.Metrics = or(a.Metrics, d.Metrics)
		a.Host = or(a.Host, d.Host)
		a.Timeout = or(a.Timeout, d.Timeout)
		a.HookTimeout = or(a.HookTimeout, d.HookTimeout)
		if len(d.Environment) > 0 {
			env := maps.Clone(d.Environment)
			maps.Copy(env, a.Environment)
			a.Environment = env
		}
		for i, vol := range a.written(c.at) {
			vol.rank = i
			vol.Class = or(vol.Class, Required)
			if k := vol.Kind(); k == "path" || k == "container" {
				vol.Exclude = append(slices.Clone(d.Exclude), vol.Exclude...)
			}
		}
		for i := range a.Dogus {
			a.Dogus[i].Class = or(a.Dogus[i].Class, Required)
		}
	}
	for _, o := range c.Copies {
		if o.Notify == nil {
			o.Notify = d.Notify
		}
		o.Metrics = or(o.Metrics, d.Metrics)
	}
}

// written returns the volumes in the order of the file.
func (a *App) written(at positions) []*Volume {
	list := slices.Collect(maps.Values(a.Volumes))
	slices.SortFunc(list, func(x, y *Volume) int {
		p, q := at["apps."+a.Name+".volumes."+x.Name], at["apps."+a.Name+".volumes."+y.Name]
		if p.line != q.line {
			return p.line - q.line
		}
		return p.column - q.column
	})
	return list
}

// VolumeList returns the volumes in the order in which they were written, which is
// the order in which they are read.
func (a *App) VolumeList() []*Volume {
	list := slices.Collect(maps.Values(a.Volumes))
	slices.SortFunc(list, func(x, y *Volume) int { return x.rank - y.rank })
	return list
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
