package sim

import (
	"fmt"
	"os"
	"reflect"
	"strings"
)

// Kind says what sort of thing went wrong.
type Kind string

// The kinds of violation.
const (
	Loss    Kind = "loss"        // a backup that must be there is not, or not whole
	Alarm   Kind = "false alarm" // somebody reports damage where there is none
	Garbage Kind = "garbage"     // something is left that nobody needs
	Stuck   Kind = "stuck"       // a schedule does not end, or a collection at its end fails
)

// Violation is what a schedule found.
type Violation struct {
	Kind Kind
	Step int
	Err  error
}

// Error implements error.
func (v *Violation) Error() string { return fmt.Sprintf("step %d: %s: %v", v.Step, v.Kind, v.Err) }

// Unwrap returns what was found.
func (v *Violation) Unwrap() error { return v.Err }

// Issue is a fault of the engine that is known and not mended yet: schedules
// that meet it end there and are counted, and fail nothing.
type Issue struct {
	Name string
	Kind Kind
	Text string // in the violation's
}

// Known are the issues as of now. Each has a test of its own, which is skipped
// while the issue is in this list. With SIM_KNOWN=1 in the environment nothing is
// skipped and every instance fails: for whoever mends them.
var Known = []Issue{}

const checkpointIssue = "a checkpoint's segment names packs that were deleted"

// Checkpoints says whether schedules have checkpoints. While the issue of that
// name is known they have none, since the loss that follows looks like any other.
var Checkpoints = true

// issue returns the known issue that v is an instance of, or "".
func (v *Violation) issue() string {
	for _, i := range Known {
		if os.Getenv("SIM_KNOWN") == "" && i.Kind == v.Kind && strings.Contains(v.Error(), i.Text) {
			return i.Name
		}
	}
	return ""
}

// Add sums up.
func (t *Tally) Add(o Tally) {
	a, b := reflect.ValueOf(t).Elem(), reflect.ValueOf(o)
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
}
