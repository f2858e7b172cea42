package notify

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vault/internal/app/record"
	"vault/internal/durable"
)

// The text format is that of Prometheus, version 0.0.4:
// https://prometheus.io/docs/instrumenting/exposition_formats/

// sample is one line of a metric.
type sample struct {
	labels []string // name, value, name, value ...
	value  float64
}

// family is a metric with its samples.
type family struct {
	name, help string
	samples    []sample
}

func (f *family) add(value float64, labels ...string) {
	f.samples = append(f.samples, sample{labels, value})
}

// Metrics renders what is on record of an application. All are gauges: they are what
// was the case when the file was written, which is when an activity ended.
func Metrics(r *record.Record, now time.Time) []byte {
	success := family{name: "vault_last_success_timestamp_seconds", help: "When the last complete and successful activity ended; 0 if there was none."}
	age := family{name: "vault_last_success_age_seconds", help: "Age of that when this was written; time() - vault_last_success_timestamp_seconds is the present one."}
	last := family{name: "vault_last_end_timestamp_seconds", help: "When the last activity ended, whatever its result."}
	result := family{name: "vault_last_result", help: "1 for the result of the last activity, 0 for the others."}
	code := family{name: "vault_last_exit_code", help: "Exit code of the last activity; 0 is fine, 3 is partial."}
	failures := family{name: "vault_failures_since_success", help: "How often it failed or was partial since the last success."}
	duration := family{name: "vault_duration_seconds", help: "How long the last activity took."}
	quiet := family{name: "vault_quiet_seconds", help: "How long the application was at rest during the last activity."}
	added := family{name: "vault_added_bytes", help: "New data of the last activity, before compression."}
	stored := family{name: "vault_stored_bytes", help: "New data of the last activity, as stored."}
	size := family{name: "vault_volume_bytes", help: "Content of a volume in the last backup that has one."}
	files := family{name: "vault_volume_files", help: "Files of a volume in the last backup that has one."}
	complete := family{name: "vault_volume_complete", help: "1 if the volume was complete in the last backup, 0 if not."}
	for i := range r.Series {
		s := &r.Series[i]
		l := []string{"app", r.App, "kind", string(s.Kind), "destination", s.Destination}
		at := float64(0)
		if s.LastSuccess != nil {
			at = seconds(s.LastSuccess.End)
			age.add(max(0, now.Sub(s.LastSuccess.End).Seconds()), l...)
		}
		success.add(at, l...)
		last.add(seconds(s.Last.End), l...)
		for _, k := range []record.Result{record.Success, record.Partial, record.Failed, record.Skipped} {
			is := 0.0
			if s.Last.Result == k {
				is = 1
			}
			result.add(is, append(l[:len(l):len(l)], "result", string(k))...)
		}
		code.add(float64(s.Last.ExitCode), l...)
		failures.add(float64(s.Failures), l...)
		duration.add(max(0, s.Last.End.Sub(s.Last.Start).Seconds()), l...)
		added.add(float64(s.Last.BytesAdded), l...)
		stored.add(float64(s.Last.BytesStored), l...)
		if s.Kind != record.Backup {
			continue
		}
		quiet.add(s.Last.Quiet, l...)
		of := func(v record.Volume) []string {
			return []string{"app", r.App, "destination", s.Destination, "volume", v.Name, "class", v.Class}
		}
		for _, v := range s.Last.Volumes {
			is := 0.0
			if v.State == "complete" {
				is = 1
			}
			complete.add(is, of(v)...)
		}
		if s.LastStored != nil {
			for _, v := range s.LastStored.Volumes {
				size.add(float64(v.Bytes), of(v)...)
				files.add(float64(v.Files), of(v)...)
			}
		}
	}
	var b strings.Builder
	for _, f := range []family{success, age, last, result, code, failures, duration, quiet, added, stored, size, files, complete} {
		f.write(&b)
	}
	return []byte(b.String())
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (f *family) write(b *strings.Builder) {
	if len(f.samples) == 0 {
		return
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", f.name, escapeHelp.Replace(f.help), f.name)
	for _, s := range f.samples {
		b.WriteString(f.name)
		for i := 0; i < len(s.labels); i += 2 {
			sep := ","
			if i == 0 {
				sep = "{"
			}
			fmt.Fprintf(b, `%s%s="%s"`, sep, s.labels[i], escapeLabel.Replace(strings.ToValidUTF8(s.labels[i+1], "\uFFFD")))
		}
		b.WriteString("} " + strconv.FormatFloat(s.value, 'f', -1, 64) + "\n")
	}
}

// WriteMetrics replaces the textfile of an application, DIR/vault_APP.prom, in one
// step. Everybody may read it, as the exporter is somebody else; the directory has to
// be there.
func WriteMetrics(dir string, r *record.Record, now time.Time) error {
	name := filepath.Join(dir, "vault_"+r.App+".prom")
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	if err := durable.WriteFile(name, Metrics(r, now), 0o644); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
