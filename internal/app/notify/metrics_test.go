package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"vault/internal/app/record"
)

// read parses a textfile as Prometheus does.
func read(t *testing.T, name string) map[string]*dto.MetricFamily {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(f)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value returns the value of the sample whose labels include those given.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	f := families[name]
	if f == nil {
		t.Fatalf("no %s", name)
	}
	if f.GetType() != dto.MetricType_GAUGE || f.GetHelp() == "" {
		t.Errorf("%s: type %v, help %q", name, f.GetType(), f.GetHelp())
	}
	for _, m := range f.Metric {
		has := map[string]string{}
		for _, l := range m.Label {
			has[l.GetName()] = l.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && has[labels[i]] == labels[i+1]
		}
		if fits {
			return m.GetGauge().GetValue()
		}
	}
	t.Fatalf("%s has no sample with %q", name, labels)
	return 0
}

// TestMetrics reads what is written as Prometheus does, with names that need escapes.
func TestMetrics(t *testing.T) {
	good, bad := activity(record.Success), activity(record.Failed)
	odd := "a \"quoted\" \\ back\nslash"
	good.Volumes[1].Name = odd
	bad.Start, bad.End = start.Add(24*time.Hour), start.Add(24*time.Hour+5*time.Second)
	bad.Volumes = nil
	r := record.Record{App: "cloud"}
	r.Add(good)
	r.Add(bad)
	r.Add(record.Activity{App: "cloud", Kind: record.Copy, Destination: odd, Result: record.Failed, ExitCode: 14, Start: start, End: start})
	dir := t.TempDir()
	now := start.Add(25 * time.Hour)
	if err := WriteMetrics(dir, &r, now); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "vault_cloud.prom")
	m := read(t, name)
	backup := []string{"app", "cloud", "kind", "backup", "destination", "main"}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"vault_last_success_timestamp_seconds", backup, float64(good.End.Unix())},
		{"vault_last_success_age_seconds", backup, now.Sub(good.End).Seconds()},
		{"vault_last_success_timestamp_seconds", []string{"kind", "copy", "destination", odd}, 0},
		{"vault_last_end_timestamp_seconds", backup, float64(bad.End.Unix())},
		{"vault_last_result", append(backup, "result", "failed"), 1},
		{"vault_last_result", append(backup, "result", "success"), 0},
		{"vault_last_exit_code", backup, 14},
		{"vault_failures_since_success", backup, 1},
		{"vault_duration_seconds", backup, 5},
		{"vault_volume_bytes", []string{"volume", odd, "class", "recommended"}, 1 << 30},
		{"vault_volume_files", []string{"volume", odd}, 4711},
		{"vault_added_bytes", backup, 3 << 20},
	} {
		if got := value(t, m, c.name, c.labels...); got != c.want {
			t.Errorf("%s %q: %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	r.Add(good)
	if err := WriteMetrics(dir, &r, now); err != nil {
		t.Fatal(err)
	}
	if got := value(t, read(t, name), "vault_volume_complete", "volume", odd); got != 0 {
		t.Errorf("a partial volume is complete: %v", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if err := WriteMetrics(filepath.Join(dir, "none"), &r, now); err == nil || !strings.Contains(err.Error(), "metrics: ") {
		t.Errorf("without its directory: %v", err)
	}
}
