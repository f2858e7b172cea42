package schedule

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vault/internal/app/config"
)

// marker is how the first line of every unit begins that was written here. Nothing
// without it is ever overwritten or removed.
const marker = "# Written by vault schedule install for "

// UnitOptions are what units say besides the jobs.
type UnitOptions struct {
	Program     string   // absolute path of vault
	Config      string   // absolute path of the configuration
	Environment []string // NAME=value, for the services
	User        bool     // units of a user's own manager
	Writable    []string // directories besides repositories to which jobs write
}

// Unit is a file of systemd.
type Unit struct {
	Name    string // as vault-run-nextcloud.timer
	Content string
	Job     string // ID of its job
}

// UnitName returns the name of a job's units, without suffix.
func UnitName(j Job) string { return "vault-" + string(j.Kind) + "-" + j.Name }

var descriptions = map[Kind]string{
	Run: "Backup of %s", Copy: "Copy %s of backups", Check: "Check of the repository %s", Verify: "Verification of backups of %s", Rehearse: "Trial restore of %s",
}

// Units renders jobs as units of systemd: for each a service and a timer.
func Units(c *config.Config, jobs []Job, o UnitOptions) []Unit {
	var list []Unit
	for _, j := range jobs {
		list = append(list, Unit{UnitName(j) + ".service", o.service(c, j), j.ID()})
		list = append(list, Unit{UnitName(j) + ".timer", o.timer(j), j.ID()})
	}
	return list
}

func (o UnitOptions) head(b *strings.Builder, description string) {
	fmt.Fprintf(b, "%s%s\n# It is written anew by the next install; your own changes belong into a drop-in (systemctl edit).\n", marker, plainLine(o.Config))
	fmt.Fprintf(b, "[Unit]\nDescription=%s\n", description)
}

func (o UnitOptions) timer(j Job) string {
	var b strings.Builder
	o.head(&b, "Times of: "+fmt.Sprintf(descriptions[j.Kind], j.Name))
	b.WriteString("\n[Timer]\n")
	for _, t := range j.Times {
		fmt.Fprintf(&b, "OnCalendar=%s\n", t)
	}
	if len(j.Times) > 0 {
		b.WriteString("# What was missed while the machine was off is caught up.\nPersistent=true\n")
	}
	if j.Poll > 0 {
		fmt.Fprintf(&b, "# The source is asked for new backups.\nOnActiveSec=1min\nOnUnitInactiveSec=%ds\n", int(j.Poll/time.Second))
	}
	if j.Delay > 0 {
		fmt.Fprintf(&b, "RandomizedDelaySec=%ds\n", int(j.Delay/time.Second))
	}
	b.WriteString("\n[Install]\nWantedBy=timers.target\n")
	return b.String()
}

func (o UnitOptions) service(c *config.Config, j Job) string {
	var b strings.Builder
	o.head(&b, fmt.Sprintf(descriptions[j.Kind], j.Name))
	if !o.User {
		b.WriteString("Wants=network-online.target\nAfter=network-online.target\n")
	}
	b.WriteString("\n[Service]\nType=oneshot\n")
	fmt.Fprintf(&b, "ExecStart=%s schedule do --config %s %s %s\n", quoted(o.Program), quoted(o.Config), j.Kind, quoted(j.Name))
	for _, v := range o.Environment {
		fmt.Fprintf(&b, "Environment=%s\n", strings.ReplaceAll(quoted(v), "$$", "$"))
	}
	fmt.Fprintf(&b, "# Variables of your own, as those of password-env.\nEnvironmentFile=-%s\n", strings.ReplaceAll(filepath.Join(filepath.Dir(o.Config), "vault.env"), "%", "%%"))
	b.WriteString(`# A backup takes as long as it takes; a stop is passed on to vault alone, which
# brings the application back before it ends.
TimeoutStartSec=infinity
TimeoutStopSec=15min
KillMode=mixed
# Others go first.
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
UMask=0077
`)
	b.WriteString("\n")
	o.harden(&b, c, j)
	return b.String()
}

// harden takes away what the job does not need. Each option says why it does no harm.
func (o UnitOptions) harden(b *strings.Builder, c *config.Config, j Job) {
	add := func(why string, lines ...string) {
		fmt.Fprintf(b, "# %s\n%s\n", why, strings.Join(lines, "\n"))
	}
	if o.User {
		if !j.Open {
			add("It runs no programs that gain rights. (More than this a user's own manager cannot take away without hiding files from the backup.)", "NoNewPrivileges=true")
		} else {
			add("Commands of the configuration, as podman with its newuidmap, may gain rights: nothing is taken away.")
		}
		return
	}
	add("Nothing here sets clocks or reads the kernel's log; no file that is to be backed up is hidden by this.",
		"ProtectClock=true", "ProtectKernelLogs=true", "LockPersonality=true", "RestrictRealtime=true")
	if j.Open {
		add("Commands of the configuration write where the application lives: only the system's own programs and /boot are read-only. No ProtectHome, PrivateTmp or PrivateDevices: these hide files from the backup or from the commands; no NoNewPrivileges: rootless containers need newuidmap.",
			"ProtectSystem=true")
		return
	}
	add("It runs no programs that gain rights.", "NoNewPrivileges=true")
	add("No commands of the configuration are run: all is read-only but the places below. Everything stays readable, so no ProtectHome and no PrivateTmp.", "ProtectSystem=strict")
	for _, dir := range o.writable(c, j) {
		fmt.Fprintf(b, "ReadWritePaths=-%s\n", quotedPath(dir))
	}
	add("No namespaces are made, no tunables set; the network is IP and Unix sockets.",
		"ProtectKernelTunables=true", "ProtectControlGroups=true", "ProtectHostname=true", "RestrictNamespaces=true",
		"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK", "MemoryDenyWriteExecute=true", "SystemCallArchitectures=native")
	if j.Kind != Run {
		add("No trees of this machine are read: these would hide /dev and /usr/lib/modules from a backup.", "PrivateDevices=true", "ProtectKernelModules=true")
	}
}

// writable returns the directories to which a job without commands writes: those of
// the options, local repositories, metrics.
func (o UnitOptions) writable(c *config.Config, j Job) []string {
	list := slices.Clone(o.Writable)
	metrics := []string{c.Defaults.Metrics}
	for _, r := range c.Repositories {
		dir := strings.TrimPrefix(r.URL, "file://")
		if !filepath.IsAbs(dir) {
			continue
		}
		list = append(list, dir)
		if r.Init == config.InitIfEmpty {
			list = append(list, filepath.Dir(dir))
		}
	}
	if a := c.Apps[j.Name]; a != nil {
		metrics = append(metrics, a.Metrics)
	}
	if k := c.Copies[j.Name]; k != nil {
		metrics = append(metrics, k.Metrics)
	}
	for _, dir := range metrics {
		if dir != "" {
			list = append(list, dir)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// quoted returns a word of a command line or an assignment as systemd reads it.
func quoted(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\n", `\n`).Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") || s == "" {
		return `"` + s + `"`
	}
	return s
}

func quotedPath(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "\n", `\n`).Replace(s)
	if strings.ContainsAny(s, " \t'\"") {
		return `"` + s + `"`
	}
	return s
}

// plainLine keeps a path on its line of a comment.
func plainLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }
