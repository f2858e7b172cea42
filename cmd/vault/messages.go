package main

import (
	"time"

	"vault/snapshot"
)

// The JSON messages, one object a line, described in docs/json.md and
// docs/json.schema.json. Names follow restic's where the meaning is the same.
// Texts that come from file systems may not be valid UTF-8; then the field of
// the same name with "_base64" carries the bytes.

type exitMessage struct {
	Type    string `json:"message_type"` // "exit_error"
	Code    int    `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

type warningMessage struct {
	Type    string `json:"message_type"` // "warning"
	Object  string `json:"object"`
	Message string `json:"message"`
}

// problemMessage is about one entry that could not be read, or not be restored.
type problemMessage struct {
	Type         string      `json:"message_type"` // "error"
	Error        problemText `json:"error"`
	During       string      `json:"during"` // "archival", "restore", "check", "repair" or "copy"
	Volume       string      `json:"volume,omitempty"`
	VolumeBase64 string      `json:"volume_base64,omitempty"`
	Item         string      `json:"item,omitempty"`
	ItemBase64   string      `json:"item_base64,omitempty"`
	Object       string      `json:"object,omitempty"`
	BackupID     string      `json:"backup_id,omitempty"`
}

type problemText struct {
	Message string `json:"message"`
}

type initMessage struct {
	Type       string `json:"message_type"` // "initialized"
	ID         string `json:"id"`
	Repository string `json:"repository"`
}

type versionMessage struct {
	Type      string `json:"message_type"` // "version"
	Version   string `json:"version"`
	GoVersion string `json:"go_version"`
	System    string `json:"go_os"`
	Arch      string `json:"go_arch"`
	Format    int    `json:"format"`
}

// statusMessage is what `vault status` found.
type statusMessage struct {
	Type        string `json:"message_type"` // "status"
	State       string `json:"state"`
	Code        int    `json:"code"`
	Repository  string `json:"repository"`
	ID          string `json:"id,omitempty"`
	Expected    string `json:"expected_id,omitempty"`
	Slots       int    `json:"key_slots,omitempty"`
	Evidence    string `json:"evidence,omitempty"`
	Hint        string `json:"hint,omitempty"`
	Cipher      string `json:"cipher,omitempty"`
	Chunker     string `json:"chunker,omitempty"`
	Compression string `json:"compression,omitempty"`
	Sharing     string `json:"sharing,omitempty"`
	Backups     *int   `json:"backups,omitempty"`

	err error
}

// progressMessage is a sign of life.
type progressMessage struct {
	Type           string   `json:"message_type"` // "status"
	SecondsElapsed float64  `json:"seconds_elapsed"`
	PercentDone    float64  `json:"percent_done,omitempty"`
	TotalFiles     uint64   `json:"total_files,omitempty"`
	FilesDone      uint64   `json:"files_done"`
	DirsDone       uint64   `json:"dirs_done,omitempty"`
	TotalBytes     uint64   `json:"total_bytes,omitempty"`
	BytesDone      uint64   `json:"bytes_done"`
	ErrorCount     uint64   `json:"error_count,omitempty"`
	CurrentFiles   []string `json:"current_files,omitempty"`
}

// itemMessage tells of one entry, with -v.
type itemMessage struct {
	Type         string `json:"message_type"` // "verbose_status"
	Action       string `json:"action"`
	Volume       string `json:"volume,omitempty"`
	VolumeBase64 string `json:"volume_base64,omitempty"`
	Item         string `json:"item"`
	ItemBase64   string `json:"item_base64,omitempty"`
	Size         uint64 `json:"size,omitempty"`
}

// counts are the figures that a backup and each of its volumes have.
type counts struct {
	FilesNew        uint64 `json:"files_new"`
	FilesChanged    uint64 `json:"files_changed"`
	FilesUnmodified uint64 `json:"files_unmodified"`
	DirsNew         uint64 `json:"dirs_new"`
	DirsChanged     uint64 `json:"dirs_changed"`
	DirsUnmodified  uint64 `json:"dirs_unmodified"`
	Others          uint64 `json:"other_entries"`
	FilesProcessed  uint64 `json:"total_files_processed"`
	BytesProcessed  uint64 `json:"total_bytes_processed"`
	DataAdded       uint64 `json:"data_added"`
	DataAddedPacked uint64 `json:"data_added_packed"`
	ErrorCount      uint64 `json:"error_count"`
}

func countsOf(v *snapshot.Volume) counts {
	return counts{
		FilesNew: v.Files.New, FilesChanged: v.Files.Changed, FilesUnmodified: v.Files.Unmodified,
		DirsNew: v.Directories.New, DirsChanged: v.Directories.Changed, DirsUnmodified: v.Directories.Unmodified,
		Others: v.Others, FilesProcessed: v.Files.Total(), BytesProcessed: v.BytesProcessed,
		DataAdded: v.BytesAdded, DataAddedPacked: v.BytesStored, ErrorCount: v.ProblemCount,
	}
}

func (c *counts) add(d counts) {
	c.FilesNew += d.FilesNew
	c.FilesChanged += d.FilesChanged
	c.FilesUnmodified += d.FilesUnmodified
	c.DirsNew += d.DirsNew
	c.DirsChanged += d.DirsChanged
	c.DirsUnmodified += d.DirsUnmodified
	c.Others += d.Others
	c.FilesProcessed += d.FilesProcessed
	c.BytesProcessed += d.BytesProcessed
	c.DataAdded += d.DataAdded
	c.DataAddedPacked += d.DataAddedPacked
	c.ErrorCount += d.ErrorCount
}

// volumeInfo describes one volume of a backup.
type volumeInfo struct {
	Name         string `json:"name"`
	NameBase64   string `json:"name_base64,omitempty"`
	SnapshotID   string `json:"snapshot_id,omitempty"`
	Kind         string `json:"kind"`
	Source       string `json:"source"`
	SourceBase64 string `json:"source_base64,omitempty"`
	State        string `json:"state"`
	counts
	Excluded uint64        `json:"entries_excluded,omitempty"` // a directory is one
	Problems []problemInfo `json:"problems,omitempty"`         // the first ones
}

type problemInfo struct {
	Item       string `json:"item"`
	ItemBase64 string `json:"item_base64,omitempty"`
	Message    string `json:"message"`
}

func volumeInfoOf(b *snapshot.Backup, v *snapshot.Volume) volumeInfo {
	info := volumeInfo{Name: v.Name, NameBase64: lossless(v.Name), Kind: v.Kind.String(),
		Source: v.Source, SourceBase64: lossless(v.Source), State: v.State.String(), counts: countsOf(v)}
	if b != nil && v.Root != nil {
		info.SnapshotID = v.SnapshotID(b).String()
	}
	for _, p := range v.Problems {
		info.Problems = append(info.Problems, problemInfo{Item: p.Path, ItemBase64: lossless(p.Path), Message: p.Message})
	}
	return info
}

// summaryMessage ends a backup.
type summaryMessage struct {
	Type       string `json:"message_type"` // "summary"
	DryRun     bool   `json:"dry_run,omitempty"`
	BackupID   string `json:"backup_id,omitempty"`   // if something was committed
	SnapshotID string `json:"snapshot_id,omitempty"` // if it has one volume
	ParentID   string `json:"parent,omitempty"`      // the newest of the backups compared with
	State      string `json:"state"`                 // "complete", "partial", "failed" or "unchanged"
	counts
	Excluded      uint64       `json:"entries_excluded,omitempty"`
	Unmatched     []string     `json:"unmatched_patterns,omitempty"` // that have matched nothing
	TotalDuration float64      `json:"total_duration"`               // seconds
	BackupStart   time.Time    `json:"backup_start"`
	BackupEnd     time.Time    `json:"backup_end"`
	Volumes       []volumeInfo `json:"volumes"`
}

// backupMessage is one line of `vault backups`.
type backupMessage struct {
	Type     string            `json:"message_type"` // "backup"
	ID       string            `json:"backup_id"`
	ShortID  string            `json:"short_id"`
	Time     time.Time         `json:"time"`
	Host     string            `json:"hostname"`
	User     string            `json:"username"`
	Group    string            `json:"group"`
	Tags     []string          `json:"tags"`
	State    string            `json:"state"`
	Parents  []string          `json:"parents,omitempty"`
	Program  string            `json:"program_version"`
	Duration float64           `json:"total_duration"`
	Volumes  []volumeInfo      `json:"volumes"`
	Origin   map[string]string `json:"origin,omitempty"`
}

// snapshotMessage is one line of `vault snapshots`, and of `vault backups ID`.
type snapshotMessage struct {
	Type     string    `json:"message_type"` // "snapshot"
	ID       string    `json:"id"`
	ShortID  string    `json:"short_id"`
	BackupID string    `json:"backup_id"`
	Time     time.Time `json:"time"`
	Host     string    `json:"hostname"`
	User     string    `json:"username"`
	Group    string    `json:"group"`
	Tags     []string  `json:"tags"` // backup-id=... among them
	volumeInfo
}

// restoreMessage ends a restore.
type restoreMessage struct {
	Type          string  `json:"message_type"` // "summary"
	DryRun        bool    `json:"dry_run,omitempty"`
	BackupID      string  `json:"backup_id"`
	Target        string  `json:"target"`
	TargetBase64  string  `json:"target_base64,omitempty"`
	SecondsUsed   float64 `json:"seconds_elapsed"`
	FilesRestored uint64  `json:"files_restored"`
	Directories   uint64  `json:"dirs_restored"`
	Others        uint64  `json:"other_entries"`
	Skipped       uint64  `json:"files_skipped"`
	Unchanged     uint64  `json:"files_unchanged"`
	Deleted       uint64  `json:"files_deleted"`
	BytesWritten  uint64  `json:"bytes_restored"`
	BytesKept     uint64  `json:"bytes_kept"`
	BytesVerified uint64  `json:"bytes_verified"`
	ErrorCount    uint64  `json:"error_count"`
	NoticeCount   uint64  `json:"notice_count"`
	// NoticeKinds counts notices by what could not be set.
	NoticeKinds map[string]uint64 `json:"notice_kinds,omitempty"`
}

// nodeMessage is one line of `vault ls`.
type nodeMessage struct {
	Type string `json:"message_type"` // "node"
	nodeInfo
}

// nodeInfo describes one entry of a tree.
type nodeInfo struct {
	Volume       string    `json:"volume"`
	VolumeBase64 string    `json:"volume_base64,omitempty"`
	Path         string    `json:"path"`
	PathBase64   string    `json:"path_base64,omitempty"`
	Kind         string    `json:"type"`
	Mode         uint32    `json:"mode"`
	Permissions  string    `json:"permissions"`
	UID          uint32    `json:"uid"`
	GID          uint32    `json:"gid"`
	User         string    `json:"user,omitempty"`
	Group        string    `json:"group,omitempty"`
	Size         uint64    `json:"size"`
	MTime        time.Time `json:"mtime"`
	Target       string    `json:"linktarget,omitempty"`
	TargetBase64 string    `json:"linktarget_base64,omitempty"`
}

// checkMessage ends a check.
type checkMessage struct {
	Type        string  `json:"message_type"` // "summary"
	Errors      uint64  `json:"num_errors"`
	Packs       int64   `json:"packs_checked"`
	BytesRead   int64   `json:"bytes_read"`
	Directories int64   `json:"dirs_checked"`
	Duration    float64 `json:"total_duration"`
}
