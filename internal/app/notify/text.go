package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/display"
)

// maxText bounds what a template makes.
const maxText = 256 << 10

const defaultTitle = `vault: {{.What}} of {{.App}} {{.Outcome}}{{with .Host}} on {{.}}{{end}}`

const defaultText = `The {{.What}} of {{line .App}}{{with .Host}} on {{line .}}{{end}} {{.Outcome}}.
{{- with .Error}}

Why:    {{line .}}{{end}}
{{- with .Hint}}{{if not $.Error}}
{{end}}
To do:  {{line .}}{{end}}

Began:        {{time .Start}}
Took:         {{duration .Took}}{{if .Quiet}}, at rest for {{duration .Rest}}{{end}}
Destination:  {{with .Destination}}{{line .}}{{else}}none{{end}}
{{- if eq .Kind "backup"}}
Backup:       {{with .BackupID}}{{printf "%.12s" .}}, {{bytes $.BytesAdded}} new{{else}}nothing was stored{{end}}
{{- else}}{{with .BackupID}}
Backup:       {{printf "%.12s" .}}{{end}}{{end}}
{{- if ne .Result "success"}}
Last success: {{if .LastSuccess.IsZero}}never{{else}}{{time .LastSuccess}}{{end}}{{if gt .Failures 1}}; this is failure {{.Failures}} since{{end}}{{end}}
Exit code:    {{.ExitCode}}
{{- with .Volumes}}

Volumes:{{range .}}
  {{line .Name}}{{with .Class}} ({{.}}){{end}}: {{.State}}, {{count .Files "file"}}, {{bytes .Bytes}}{{with .Message}}: {{line .}}{{end}}{{end}}{{end}}
{{- with .Messages}}

Also:{{range .}}
  {{line .}}{{end}}{{end}}
`

var kindNames = map[record.Kind]string{
	record.Backup: "backup", record.Copy: "copy", record.Check: "check of the repository", record.Verify: "verification",
	record.Rehearsal: "trial restore", record.Retention: "retention", record.Restore: "restore",
}

// What names the kind of activity, as in "backup".
func (e Event) What() string {
	if name := kindNames[e.Kind]; name != "" {
		return name
	}
	return string(e.Kind)
}

// Outcome says in a few words how it ended, as in "failed".
func (e Event) Outcome() string {
	switch {
	case e.Begins:
		return "begins"
	case e.Recovered:
		return "works again"
	}
	switch e.Result {
	case record.Success:
		return "succeeded"
	case record.Partial:
		return "is partial"
	case record.Skipped:
		return "was skipped"
	}
	return "failed"
}

// Took is how long it took.
func (e Event) Took() time.Duration { return max(0, e.End.Sub(e.Start)) }

// Rest is how long the application was at rest.
func (e Event) Rest() time.Duration { return time.Duration(e.Quiet * float64(time.Second)) }

func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

func parseTemplate(text string, moment func(time.Time) string) (*template.Template, error) {
	return template.New("template").Option("missingkey=error").Funcs(template.FuncMap{
		"line": display.Line, "bytes": display.Bytes, "duration": display.Duration, "count": display.Count, "time": moment,
		"json": func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err },
	}).Parse(text)
}

// CheckTemplate says what is wrong with a template of a title or a text.
func CheckTemplate(text string) error {
	sample := Event{Activity: record.Activity{App: "app", Kind: record.Backup, Result: record.Failed, Volumes: []record.Volume{{Name: "data"}}, Messages: []string{"m"}}}
	_, err := execute(text, sample, localTime)
	return err
}

// bounded is a builder that refuses to grow without end.
type bounded struct{ strings.Builder }

var errTooLong = errors.New("the template makes too long a text")

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxText {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

func execute(text string, e Event, moment func(time.Time) string) (string, error) {
	t, err := parseTemplate(text, moment)
	if err != nil {
		return "", err
	}
	var b bounded
	if err := t.Execute(&b, e); err != nil {
		return "", err
	}
	return b.String(), nil
}

// render returns title and text for a target. A template that fails is no reason to
// say nothing: the usual text says it.
func (s *Sender) render(n *config.Notify, e Event) (title, text string, err error) {
	moment := s.Time
	if moment == nil {
		moment = localTime
	}
	title, err = execute(orText(n.Subject, defaultTitle), e, moment)
	if err != nil {
		if title, err = execute(defaultTitle, e, moment); err != nil {
			return "", "", err
		}
	}
	title = strings.TrimSpace(display.Line(title))
	text, wrong := execute(orText(n.Template, defaultText), e, moment)
	if wrong != nil {
		if text, err = execute(defaultText, e, moment); err != nil {
			return "", "", err
		}
		text += fmt.Sprintf("\nThe template of this notification is wrong: %v\n", wrong)
	}
	return title, text, nil
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
