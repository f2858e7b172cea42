package archive

import (
	"time"

	"vault/snapshot"
)

// EventKind says what an Event tells.
type EventKind uint8

const (
	EventVolume   EventKind = iota + 1 // reading of a volume begins
	EventProgress                      // a sign of life, a few times a second
	EventItem                          // an entry is done; only if Options.Items is set
	EventNotice                        // see Notice
	EventExcluded                      // an entry is left out; only if Options.Items is set
	EventProblem                       // part of the source could not be read
)

// Status compares an entry with the parent backup.
type Status uint8

const (
	New        Status = iota + 1 // the parent has no entry of that name and type
	Changed                      // something about it differs
	Unmodified                   // nothing does
)

// String returns the status in lower case.
func (s Status) String() string {
	switch s {
	case New:
		return "new"
	case Changed:
		return "changed"
	case Unmodified:
		return "unmodified"
	}
	return "unknown"
}

// Event is one thing that happened, by value. The counters are those of the whole
// run so far.
type Event struct {
	Kind    EventKind
	Volume  string
	Path    string // relative to the volume's root, "." for the root; of EventProgress, a directory being read
	Message string // EventNotice, EventProblem

	Type   snapshot.Type // EventItem
	Status Status        // EventItem
	Size   uint64        // EventItem: bytes of a file

	Files       uint64 // files done
	Directories uint64 // directories done
	Bytes       uint64 // bytes looked at: read, passed over as holes, or taken over
}

// progressEvery is the time between signs of life.
const progressEvery = 200 * time.Millisecond

// observer counts and tells. It belongs to the goroutine that calls Run.
type observer struct {
	tell   func(Event)
	items  bool
	volume string
	files  uint64
	dirs   uint64
	bytes  func() uint64
	tick   *time.Ticker // nil if nobody listens
}

func (o *observer) emit(e Event) {
	if o.tell == nil {
		return
	}
	e.Volume, e.Files, e.Directories, e.Bytes = o.volume, o.files, o.dirs, o.bytes()
	o.tell(e)
}

// ticks returns the channel that says when a sign of life is due; nil blocks.
func (o *observer) ticks() <-chan time.Time {
	if o.tick == nil {
		return nil
	}
	return o.tick.C
}
