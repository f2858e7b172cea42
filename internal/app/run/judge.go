//go:build linux

package run

import (
	"errors"
	"fmt"
	"strings"

	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/display"
	"vault/snapshot"
)

// ErrRequired says that a required volume is missing, empty or too small.
var ErrRequired = errors.New("nothing was stored: a required volume is missing")

// judgement is what the classes of the volumes make of a backup.
type judgement struct {
	volumes []record.Volume
	notices []string
	err     error // why it must not be stored
}

// judge decides by the classes, and makes the backup say it: an optional volume that
// is missing is left out of it, a recommended one that is empty makes it partial.
func judge(b *snapshot.Backup, classes map[string]*config.Volume) judgement {
	var j judgement
	var missing []string
	kept := b.Volumes[:0:0]
	for i := range b.Volumes {
		v := b.Volumes[i]
		c := classes[v.Name]
		out := record.Volume{Name: v.Name, Class: string(c.Class), State: v.State.String(), Bytes: v.BytesProcessed, Files: v.Files.Total()}
		if len(v.Problems) > 0 {
			out.Message = problemText(v.Problems[0])
		}
		wrong := lacking(&v, c)
		switch {
		case wrong == "":
		case c.Class == config.Optional:
			out.Message = wrong
			j.notices = append(j.notices, fmt.Sprintf("optional volume %s: %s", display.Name(v.Name), wrong))
			if v.State == snapshot.Failed {
				out.State = "missing"
				j.volumes = append(j.volumes, out)
				continue
			}
		case c.Class == config.Recommended:
			out.Message = wrong
			if v.State == snapshot.Complete {
				v.State, v.ProblemCount = snapshot.Partial, v.ProblemCount+1
				v.Problems = append(v.Problems, snapshot.Problem{Path: ".", Message: wrong})
				out.State = v.State.String()
			}
		default:
			out.State, out.Message = snapshot.Failed.String(), wrong
			missing = append(missing, fmt.Sprintf("%s (%s)", display.Name(v.Name), wrong))
		}
		kept = append(kept, v)
		j.volumes = append(j.volumes, out)
	}
	b.Volumes = kept
	switch {
	case len(missing) > 0:
		j.err = fmt.Errorf("%w: %s", ErrRequired, strings.Join(missing, "; "))
	case len(kept) == 0:
		j.err = errNothing
	}
	return j
}

var errNothing = errors.New("nothing was stored: there is none of its volumes")

// lacking says why a volume does not count as there, or "".
func lacking(v *snapshot.Volume, c *config.Volume) string {
	switch {
	case v.State == snapshot.Failed && len(v.Problems) > 0:
		return problemText(v.Problems[0])
	case v.State == snapshot.Failed:
		return "it could not be read"
	case v.Files.Total() == 0 && v.Others == 0 && v.Root.IsDir():
		return "it is empty"
	case v.BytesProcessed < uint64(c.MinSize):
		return fmt.Sprintf("%s, at least %s are expected", display.Bytes(v.BytesProcessed), display.Bytes(uint64(c.MinSize)))
	}
	return ""
}

func problemText(p snapshot.Problem) string {
	if p.Path == "" || p.Path == "." {
		return p.Message
	}
	return p.Path + ": " + p.Message
}
