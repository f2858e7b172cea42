package main

import "time"

// The JSON messages of schedules and health.

// unitMessage is one unit of systemd: what became of it, or what it would be.
type unitMessage struct {
	Type    string `json:"message_type"` // "unit"
	Unit    string `json:"unit"`
	Job     string `json:"job,omitempty"`
	Action  string `json:"action,omitempty"` // "written", "unchanged" or "removed"
	State   string `json:"state,omitempty"`
	Content string `json:"content,omitempty"`
}

// jobMessage is something that is done regularly.
type jobMessage struct {
	Type     string     `json:"message_type"` // "job"
	Kind     string     `json:"kind"`
	Name     string     `json:"name"`
	Schedule []string   `json:"schedule"`
	Poll     float64    `json:"poll_seconds,omitempty"`
	Next     *time.Time `json:"next,omitempty"`
	Units    string     `json:"units"`
}

// healthMessage says whether an application is well kept.
type healthMessage struct {
	Type    string         `json:"message_type"` // "health"
	App     string         `json:"app"`
	Healthy bool           `json:"healthy"`
	Aspects []healthAspect `json:"aspects"`
}

// healthAspect is one activity of it.
type healthAspect struct {
	Kind        string     `json:"kind"`
	Name        string     `json:"name,omitempty"`
	State       string     `json:"state"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
	Age         *float64   `json:"age_seconds,omitempty"`
	Due         *time.Time `json:"due,omitempty"`
	Failures    int        `json:"failures"`
	Message     string     `json:"message,omitempty"`
}
