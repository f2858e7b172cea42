package main

import "time"

// The JSON messages of verifications of applications.

// findingMessage is one thing that a verification has found.
type findingMessage struct {
	Type         string `json:"message_type"` // "finding"
	App          string `json:"app"`
	Check        string `json:"check"`
	Rule         string `json:"rule"`
	Severity     string `json:"severity"` // "problem", "warning" or "note"
	Known        bool   `json:"known"`
	Volume       string `json:"volume"`
	Object       string `json:"object"`
	ObjectBase64 string `json:"object_base64,omitempty"`
	Text         string `json:"text"`
}

// appVerifiedMessage is how the verification of an application ended.
type appVerifiedMessage struct {
	Type     string            `json:"message_type"` // "app_verified"
	App      string            `json:"app"`
	Result   string            `json:"result"`
	Code     int               `json:"code"`
	Source   string            `json:"source"`
	BackupID string            `json:"backup_id,omitempty"`
	Start    time.Time         `json:"start"`
	End      time.Time         `json:"end"`
	Seconds  float64           `json:"seconds_used"`
	Checks   []verifiedByCheck `json:"checks"`
	Problems uint64            `json:"problems"`
	Known    uint64            `json:"known"`
	Gone     uint64            `json:"known_gone"`
	Warnings uint64            `json:"warnings"`
	Message  string            `json:"message,omitempty"`
	Hint     string            `json:"hint,omitempty"`
}

// verifiedByCheck is what one check has looked at.
type verifiedByCheck struct {
	Check   string `json:"check"`
	Volume  string `json:"volume"`
	Objects uint64 `json:"objects"`
	Blobs   uint64 `json:"blobs_read"`
	Bytes   uint64 `json:"bytes_read"`
}
