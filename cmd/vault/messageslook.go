package main

import "time"

// The JSON messages of commands that look into backups. messages.go has the
// others.

// matchMessage is one line of `vault find`.
type matchMessage struct {
	Type     string `json:"message_type"` // "match"
	BackupID string `json:"backup_id"`
	ShortID  string `json:"short_id"`
	nodeInfo
}

// changeMessage is one line of `vault diff`.
type changeMessage struct {
	Type         string   `json:"message_type"` // "change"
	Kind         string   `json:"kind"`         // "added", "removed", "changed" or "metadata"
	Volume       string   `json:"volume"`
	VolumeBase64 string   `json:"volume_base64,omitempty"`
	Path         string   `json:"path"`
	PathBase64   string   `json:"path_base64,omitempty"`
	NodeType     string   `json:"type"`
	What         []string `json:"what,omitempty"`
	OldSize      uint64   `json:"old_size"`
	NewSize      uint64   `json:"new_size"`
}

// diffSummary ends a diff.
type diffSummary struct {
	Type         string `json:"message_type"` // "summary"
	From         string `json:"from_backup_id"`
	To           string `json:"to_backup_id"`
	Added        uint64 `json:"added"`
	Removed      uint64 `json:"removed"`
	Changed      uint64 `json:"changed"`
	Metadata     uint64 `json:"metadata"`
	BytesAdded   uint64 `json:"bytes_added"`
	BytesRemoved uint64 `json:"bytes_removed"`
}

// usageFigures are what one backup or several take.
type usageFigures struct {
	Files   uint64 `json:"files"`
	Restore uint64 `json:"restore_bytes"`
	Blobs   uint64 `json:"blobs"`
	Plain   uint64 `json:"plain_bytes"`
	Stored  uint64 `json:"stored_bytes"`
}

// usageMessage is one backup in `vault stats`: what no earlier one of the list has.
type usageMessage struct {
	Type     string    `json:"message_type"` // "usage"
	BackupID string    `json:"backup_id"`
	Time     time.Time `json:"time"`
	Host     string    `json:"hostname"`
	Group    string    `json:"group"`
	usageFigures
}

// statsSummary ends `vault stats`.
type statsSummary struct {
	Type    string `json:"message_type"` // "summary"
	Backups int    `json:"backups"`
	usageFigures
	Compression   float64 `json:"compression_ratio"`
	Deduplication float64 `json:"deduplication_ratio"`
	Packs         uint64  `json:"repository_packs"`
	PackBytes     uint64  `json:"repository_bytes"`
}
