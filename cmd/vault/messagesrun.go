package main

import "time"

// The JSON messages of applications.

// configMessage is a mistake in a configuration.
type configMessage struct {
	Type    string `json:"message_type"` // "config_error"
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// appMessage is one application and what was done for it last.
type appMessage struct {
	Type        string     `json:"message_type"` // "app"
	App         string     `json:"app"`
	Description string     `json:"description,omitempty"`
	Destination string     `json:"destination"`
	Schedule    []string   `json:"schedule"`
	Result      string     `json:"result,omitempty"`
	Last        *time.Time `json:"last,omitempty"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
	Failures    int        `json:"failures"`
}

// appConfigMessage is the effective configuration of an application.
type appConfigMessage struct {
	Type   string `json:"message_type"` // "app_config"
	App    string `json:"app"`
	Config any    `json:"config"`
}

// phaseMessage is one step of a run.
type phaseMessage struct {
	Type  string `json:"message_type"` // "phase"
	App   string `json:"app"`
	Phase string `json:"phase"`
	Text  string `json:"text,omitempty"`
}

// runMessage is how the run of one application ended.
type runMessage struct {
	Type        string          `json:"message_type"` // "run"
	App         string          `json:"app"`
	DryRun      bool            `json:"dry_run,omitempty"`
	Result      string          `json:"result"`
	Code        int             `json:"code"`
	Destination string          `json:"destination"`
	BackupID    string          `json:"backup_id,omitempty"`
	Start       time.Time       `json:"start"`
	End         time.Time       `json:"end"`
	Seconds     float64         `json:"seconds_used"`
	Quiet       float64         `json:"quiet_seconds"`
	Volumes     []runVolumeInfo `json:"volumes"`
	Planned     []string        `json:"planned,omitempty"`
	BytesAdded  uint64          `json:"data_added"`
	BytesStored uint64          `json:"data_added_packed"`
	Kept        int             `json:"backups_kept"`
	Forgotten   int             `json:"backups_forgotten"`
	Extended    int             `json:"locks_extended,omitempty"` // objects
	Messages    []string        `json:"messages,omitempty"`
	Message     string          `json:"message,omitempty"`
	Hint        string          `json:"hint,omitempty"`
}

// runVolumeInfo is what became of one volume.
type runVolumeInfo struct {
	Name    string `json:"name"`
	Class   string `json:"class,omitempty"`
	State   string `json:"state"`
	Bytes   uint64 `json:"bytes_processed"`
	Files   uint64 `json:"files"`
	Message string `json:"message,omitempty"`
}

// appRestoredMessage is how the restore of an application ended.
type appRestoredMessage struct {
	Type     string          `json:"message_type"` // "app_restored"
	App      string          `json:"app"`
	DryRun   bool            `json:"dry_run,omitempty"`
	Result   string          `json:"result"`
	Code     int             `json:"code"`
	Source   string          `json:"source"`
	BackupID string          `json:"backup_id,omitempty"`
	Start    time.Time       `json:"start"`
	End      time.Time       `json:"end"`
	Seconds  float64         `json:"seconds_used"`
	Quiet    float64         `json:"quiet_seconds"`
	Volumes  []runVolumeInfo `json:"volumes"`
	Planned  []string        `json:"planned,omitempty"`
	Messages []string        `json:"messages,omitempty"`
	Message  string          `json:"message,omitempty"`
	Hint     string          `json:"hint,omitempty"`
}

// appRehearsedMessage is how the trial restore of an application ended.
type appRehearsedMessage struct {
	Type          string          `json:"message_type"` // "app_rehearsed"
	App           string          `json:"app"`
	Result        string          `json:"result"`
	Code          int             `json:"code"`
	Source        string          `json:"source"`
	BackupID      string          `json:"backup_id,omitempty"`
	Start         time.Time       `json:"start"`
	End           time.Time       `json:"end"`
	Seconds       float64         `json:"seconds_used"`
	Volumes       []runVolumeInfo `json:"volumes"`
	Scratch       string          `json:"scratch,omitempty"` // what was kept
	ScratchBase64 string          `json:"scratch_base64,omitempty"`
	Messages      []string        `json:"messages,omitempty"`
	Message       string          `json:"message,omitempty"`
	Hint          string          `json:"hint,omitempty"`
}

// appCopiedMessage is how a configured copy of the backups of one application ended.
type appCopiedMessage struct {
	Type        string    `json:"message_type"`  // "app_copied"
	App         string    `json:"app,omitempty"` // none: backups of no application
	DryRun      bool      `json:"dry_run,omitempty"`
	Result      string    `json:"result"`
	Code        int       `json:"code"`
	Copy        string    `json:"copy"`
	BackupID    string    `json:"backup_id,omitempty"` // the newest that the target has, as it is in the source
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Seconds     float64   `json:"seconds_used"`
	Copied      int       `json:"backups_copied"`
	BytesAdded  uint64    `json:"data_added"`
	BytesStored uint64    `json:"data_added_packed"`
	Kept        int       `json:"backups_kept"`
	Forgotten   int       `json:"backups_forgotten"`
	Extended    int       `json:"locks_extended,omitempty"` // objects
	Messages    []string  `json:"messages,omitempty"`
	Message     string    `json:"message,omitempty"`
	Hint        string    `json:"hint,omitempty"`
}
