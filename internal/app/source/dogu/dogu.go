// Package dogu reads the descriptor of a dogu of the Cloudogu EcoSystem, a dogu.json,
// and knows that system's rules for what to keep.
//
// The idea. A dogu's volumes whose field NeedsBackup is true are what its backup
// consists of; each has a directory of its name below one directory of the dogu, and an
// owner and group that it must have after a restore. Both versions of the format have
// these fields.
//
// Caveats. Only the fields that a backup needs are read; others may be there. A volume
// with Clients is one that some installations make in another way, and may have no
// directory there. Its rules for retention count days of 24 hours from now,
// not calendar days; that is what snapshot.Retention.Bands do, apart from the change to
// and from summer time.
package dogu

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vault/snapshot"
)

// Dogu is what a descriptor says about backups.
type Dogu struct {
	Name    string // with its namespace: "official/redmine"
	Version string
	Volumes []Volume
}

// Volume is a volume that needs a backup.
type Volume struct {
	Name     string
	Path     string // in the container
	UID, GID uint32
	// Clients says that some installations make the volume otherwise than as a directory.
	Clients bool
}

// maxDescriptor bounds a descriptor.
const maxDescriptor = 4 << 20

// descriptor is the part of a dogu.json that counts here. The names of fields are the
// same in lower case in some places; package json does not mind.
type descriptor struct {
	Name, Version string
	Volumes       []struct {
		Name, Path, Owner, Group string
		NeedsBackup              bool
		Clients                  []json.RawMessage
	}
}

// Parse reads a descriptor.
func Parse(text []byte) (*Dogu, error) {
	if len(text) > maxDescriptor {
		return nil, fmt.Errorf("dogu.json: %d bytes, limit %d", len(text), maxDescriptor)
	}
	var d descriptor
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("dogu.json: %w", err)
	}
	if d.Name == "" {
		return nil, errors.New("dogu.json: it has no name: is it the descriptor of a dogu?")
	}
	out := &Dogu{Name: d.Name, Version: d.Version}
	for _, v := range d.Volumes {
		if !v.NeedsBackup {
			continue
		}
		made := Volume{Name: v.Name, Path: v.Path, Clients: len(v.Clients) > 0}
		err := checkName(v.Name)
		if err == nil && slices.ContainsFunc(out.Volumes, func(o Volume) bool { return o.Name == v.Name }) {
			err = errors.New("it is there twice")
		}
		if err == nil {
			made.UID, err = number("owner", v.Owner)
		}
		if err == nil {
			made.GID, err = number("group", v.Group)
		}
		if err != nil {
			return nil, fmt.Errorf("dogu.json: %s: volume %q: %w", d.Name, v.Name, err)
		}
		out.Volumes = append(out.Volumes, made)
	}
	return out, nil
}

// checkName returns an error unless a name can be that of a volume of a backup, and so
// of a directory.
func checkName(name string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
	}
	if name == "" || name == "." || name == ".." || strings.TrimFunc(name, plain) != "" {
		return errors.New("a name has letters, digits and ._-")
	}
	return nil
}

// number parses an owner; none is root, and root is the one name that is known.
func number(what, text string) (uint32, error) {
	if text == "" || text == "root" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("the %s %q is no number", what, text)
	}
	return uint32(n), nil
}

// Short returns the name without its namespace, which is also that of the dogu's
// directory: "redmine".
func (d *Dogu) Short() string { return d.Name[strings.LastIndexByte(d.Name, '/')+1:] }

// Dir returns the directory of a volume, given that of all volumes of the dogu:
// /var/lib/ces/redmine/volumes, for instance.
func (d *Dogu) Dir(root string, v Volume) string { return filepath.Join(root, v.Name) }

// Policies are the names of that system's rules for what to keep.
var Policies = []string{"keepAll", "removeAllButKeepLatest", "keepLastSevenDays", "keep7Days1Month1Quarter1Year"}

// Policy returns one of Policies: what to keep of the backups of one application.
//
//	keepAll                       everything
//	removeAllButKeepLatest        the newest
//	keepLastSevenDays             all of the last 7 days
//	keep7Days1Month1Quarter1Year  all of 7 days, and the oldest of each of the days
//	                              8-30, 31-90, 91-180 and 181-360
func Policy(name string) (snapshot.Retention, error) {
	days := func(n int) snapshot.Span { return snapshot.Span{Hours: 24 * n} }
	week := snapshot.Band{Until: days(7), Keep: snapshot.KeepAll}
	oldest := func(n int) snapshot.Band { return snapshot.Band{Until: days(n), Keep: snapshot.KeepOldest} }
	switch name {
	case "keepAll":
		return snapshot.Retention{Last: -1}, nil
	case "removeAllButKeepLatest":
		return snapshot.Retention{Last: 1}, nil
	case "keepLastSevenDays":
		return snapshot.Retention{Bands: []snapshot.Band{week}}, nil
	case "keep7Days1Month1Quarter1Year":
		return snapshot.Retention{Bands: []snapshot.Band{week, oldest(30), oldest(90), oldest(180), oldest(360)}}, nil
	}
	return snapshot.Retention{}, fmt.Errorf("unknown policy %q: it is one of %s", name, strings.Join(Policies, ", "))
}
