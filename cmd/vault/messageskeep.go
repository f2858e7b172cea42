package main

import "time"

// The JSON messages of what changes a repository after a backup: retention,
// tags, collection, keys. messages.go has the others.

// forgetMessage is what becomes of one backup.
type forgetMessage struct {
	Type        string            `json:"message_type"` // "retention"
	BackupID    string            `json:"backup_id"`
	Keep        bool              `json:"keep"`
	Reasons     []string          `json:"reasons"`
	Time        time.Time         `json:"time"`
	Host        string            `json:"hostname"`
	BackupGroup string            `json:"group"`
	Tags        []string          `json:"tags"`
	GroupKey    map[string]string `json:"group_key,omitempty"` // of a policy: what the backups of the series have in common
}

// forgetSummary ends a forget.
type forgetSummary struct {
	Type      string `json:"message_type"` // "summary"
	DryRun    bool   `json:"dry_run,omitempty"`
	Groups    int    `json:"groups,omitempty"`
	Kept      int    `json:"backups_kept"`
	Forgotten int    `json:"backups_forgotten"`
}

// unforgetMessage tells of one backup that was brought back.
type unforgetMessage struct {
	Type     string `json:"message_type"` // "unforgotten"
	BackupID string `json:"backup_id"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// tagMessage tells of the tags of one backup.
type tagMessage struct {
	Type     string   `json:"message_type"` // "tagged"
	BackupID string   `json:"backup_id"`
	DryRun   bool     `json:"dry_run,omitempty"`
	Changed  bool     `json:"changed"`
	Tags     []string `json:"tags"`
}

// planMessage is what a prune is going to do.
type planMessage struct {
	Type        string   `json:"message_type"` // "plan"
	DryRun      bool     `json:"dry_run,omitempty"`
	Dropped     []string `json:"backups_dropped"`     // forgotten
	Served      int      `json:"checkpoints_dropped"` // superseded
	PacksTotal  int      `json:"packs_total"`
	BytesTotal  int64    `json:"bytes_total"`
	PacksDelete int      `json:"packs_delete"`
	BytesDelete int64    `json:"bytes_delete"` // exactly
	PacksRepack int      `json:"packs_repack"`
	BytesRepack int64    `json:"bytes_repack"`
	BytesMoved  int64    `json:"bytes_moved"` // about: what of them stays
	PacksOrphan int      `json:"packs_unreferenced"`
	BytesOrphan int64    `json:"bytes_unreferenced"`
	BytesFreed  int64    `json:"bytes_freed"` // about, of all together
	BytesUnused int64    `json:"bytes_unused"`
}

// waitingMessage names a session that a prune waits for.
type waitingMessage struct {
	Type    string    `json:"message_type"` // "waiting"
	Session string    `json:"session_id"`
	Host    string    `json:"hostname"`
	PID     uint64    `json:"pid"`
	Since   time.Time `json:"since"`
}

// pruneSummary ends a prune that was no dry run.
type pruneSummary struct {
	Type        string  `json:"message_type"` // "summary"
	Nothing     bool    `json:"nothing_to_do"`
	Adopted     bool    `json:"finished_anothers_plan"`
	Dropped     int     `json:"backups_dropped_count"`
	Served      int     `json:"checkpoints_dropped"`
	Deleted     int     `json:"objects_deleted"`
	BytesFreed  int64   `json:"bytes_freed"`
	PacksStored int64   `json:"packs_stored"`
	BytesStored int64   `json:"bytes_stored"`
	PacksSpared int     `json:"packs_spared"`
	Temporary   int     `json:"temporary_files_deleted"`
	Held        int     `json:"objects_held"`
	Extended    int     `json:"locks_extended"`
	Duration    float64 `json:"total_duration"`
}

// keyMessage is one key slot.
type keyMessage struct {
	Type    string     `json:"message_type"` // "key"
	ID      string     `json:"key_id"`
	Current bool       `json:"current"` // it is the one that opened the repository
	Intact  bool       `json:"intact"`
	Error   string     `json:"error,omitempty"`
	Opened  bool       `json:"opened"` // by the passphrase given; what follows is known of such a slot only
	Label   string     `json:"label,omitempty"`
	Host    string     `json:"hostname,omitempty"`
	Created *time.Time `json:"created,omitempty"`
	KDF     *kdfInfo   `json:"kdf,omitempty"`
}

type kdfInfo struct {
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memory_kib"`
	Threads uint8  `json:"threads"`
}

// keyChangeMessage tells of a key slot that was made or removed.
type keyChangeMessage struct {
	Type   string `json:"message_type"` // "key_change"
	Action string `json:"action"`       // "added", "removed", "replaced" or "imported"
	ID     string `json:"key_id"`
	InUse  string `json:"current_key_id,omitempty"` // if it is another one now
}

// sheetMessage carries a recovery sheet.
type sheetMessage struct {
	Type       string `json:"message_type"` // "recovery_sheet"
	Repository string `json:"repository_id"`
	Sheet      string `json:"sheet,omitempty"` // unless it went to a file
	File       string `json:"file,omitempty"`
}

// repairSummary ends a repair.
type repairSummary struct {
	Type              string  `json:"message_type"` // "summary"
	DryRun            bool    `json:"dry_run,omitempty"`
	Nothing           bool    `json:"nothing_to_do"`
	IndexDamaged      int     `json:"index_segments_damaged"`
	PacksDamaged      int     `json:"packs_damaged"`
	PacksIndexed      int     `json:"packs_indexed"` // sound packs that no index described
	BackupsUnreadable int     `json:"backups_unreadable"`
	BlobsRescuable    int64   `json:"blobs_rescuable"`
	BlobsRescued      int64   `json:"blobs_rescued"`
	BlobsLost         int     `json:"blobs_lost"`
	BackupsLacking    int     `json:"backups_lacking"` // that refer to lost blobs
	Removed           int     `json:"objects_removed"` // unreadable records that were given up
	Duration          float64 `json:"total_duration"`
}
