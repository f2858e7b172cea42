// Package redis saves keys of a Redis server, or of one that speaks its protocol, and
// brings them back.
//
// The idea. Keys is an archive.Tree. A single key is a volume that is one file, whose
// bytes are exactly what the command DUMP gives: such a file can be loaded with
// RESTORE by any program, and files that other programs wrote with DUMP can be loaded
// here. Several keys are a directory with a file each, named as source.EscapeName
// says. When a key expires is an attribute of its file, user.redis.expires: a moment
// in milliseconds since 1970.
//
// The protocol is spoken here: ten commands and five kinds of answers need no library.
//
// Caveats. Each key is saved consistently, but not all at one moment: the application
// must be at rest if that matters. A value must fit into memory. DUMP needs a user who
// may run it. Connections are not encrypted: use a socket or the loopback interface.
// Values can be loaded by servers of the same or a later version.
package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"vault/internal/app/source"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Server says where a server is and who asks it.
type Server struct {
	Address  string // host:port or the path of a socket; "" is 127.0.0.1:6379
	User     string // "" is the default user
	Password string // "" for none
	Database int
}

// Keys is an archive.Tree of one key, or of all that match a pattern.
type Keys struct {
	Server
	Key     string // the one key, or
	Pattern string // a glob as the command SCAN takes it
}

// The attributes of a saved key.
const attrExpires = "user.redis.expires"

// ErrNoKey says that there is nothing to save.
var ErrNoKey = errors.New("no such key")

// Describe implements archive.Source.
func (k Keys) Describe() (snapshot.VolumeKind, string) {
	if k.Pattern != "" {
		return snapshot.VolumeCommand, "redis keys " + k.Pattern
	}
	return snapshot.VolumeCommand, "redis dump " + k.Key
}

// Prewarm says that nothing is gained by reading the keys before the application is at
// rest: each is read whole to see whether it has changed.
func (Keys) Prewarm() bool { return false }

// Preflight checks that the server answers and lets one in.
func (s Server) Preflight(ctx context.Context) error {
	c, err := dial(ctx, s)
	if err != nil {
		return err
	}
	c.close()
	return nil
}

// Entries implements archive.Tree.
func (k Keys) Entries(ctx context.Context) iter.Seq2[archive.Entry, error] {
	return func(yield func(archive.Entry, error) bool) {
		c, err := dial(ctx, k.Server) // ends with ctx: keys are read after they were listed
		if err != nil {
			yield(archive.Entry{}, err)
			return
		}
		s := &saver{client: c}
		if s.exact, err = c.knows("PEXPIRETIME"); err != nil {
			yield(archive.Entry{}, err)
			return
		}
		if k.Pattern == "" {
			yield(s.only(k.Key))
			return
		}
		names, err := c.scan(k.Pattern)
		if err != nil {
			yield(archive.Entry{}, err)
			return
		}
		for _, name := range names {
			key, err := source.UnescapeName(name)
			if err == nil && len(name) > snapshot.MaxName {
				err = fmt.Errorf("key %.100q...: its name is too long to be stored", key)
			}
			if !yield(s.entry(name, key), err) || err != nil {
				return
			}
		}
	}
}

// only returns the entry of a single key, which must exist.
func (s *saver) only(key string) (archive.Entry, error) {
	n, err := s.do("EXISTS", key)
	if err == nil && n != int64(1) {
		err = ErrNoKey
	}
	if err != nil {
		return archive.Entry{}, fmt.Errorf("key %q: %w", key, err)
	}
	return s.entry("", key), nil
}

// knows reports whether the server has a command.
func (c *client) knows(command string) (bool, error) {
	answer, err := c.do("COMMAND", "INFO", command)
	if hasCode(err, "NOPERM") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for the commands: %w", err)
	}
	list, ok := answer.([]any)
	return ok && len(list) == 1 && list[0] != nil, nil
}

// scan returns the escaped names of the keys that match a pattern, in order.
func (c *client) scan(pattern string) ([]string, error) {
	found := map[string]bool{}
	for cursor := "0"; ; {
		answer, err := c.do("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
		if err != nil {
			return nil, fmt.Errorf("list the keys: %w", err)
		}
		next, keys, err := page(answer)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			found[source.EscapeName(k)] = true // a key may come twice
		}
		if cursor = next; cursor == "0" {
			break
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("pattern %q: %w", pattern, ErrNoKey)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// page takes an answer to SCAN apart.
func page(answer any) (next string, keys []string, err error) {
	parts, ok := answer.([]any)
	if !ok || len(parts) != 2 {
		return "", nil, fmt.Errorf("list the keys: %w", errProtocol)
	}
	cursor, ok := parts[0].([]byte)
	list, isList := parts[1].([]any)
	if !ok || !isList {
		return "", nil, fmt.Errorf("list the keys: %w", errProtocol)
	}
	for _, k := range list {
		b, ok := k.([]byte)
		if !ok {
			return "", nil, fmt.Errorf("list the keys: %w", errProtocol)
		}
		keys = append(keys, string(b))
	}
	return string(cursor), keys, nil
}

// saver dumps keys. Safe for concurrent use.
type saver struct {
	*client
	exact bool // the server tells when a key expires, not only in how long
}

func (s *saver) entry(name, key string) archive.Entry {
	return archive.Entry{Path: name, Node: snapshot.Node{Type: snapshot.File, Mode: 0o600},
		Open: func(_ context.Context, n *snapshot.Node) (io.ReadCloser, error) {
			value, expires, err := s.dump(key)
			if err != nil {
				return nil, fmt.Errorf("dump key %q: %w", key, err)
			}
			n.Size = uint64(len(value))
			if expires > 0 {
				n.Xattrs = []snapshot.Xattr{{Name: attrExpires, Value: strconv.AppendInt(nil, expires, 10)}}
			}
			return io.NopCloser(bytes.NewReader(value)), nil
		}}
}

// dump returns a value and when it expires, 0 for never, of one moment. The error of a
// key that is gone is fs.ErrNotExist.
func (s *saver) dump(key string) (value []byte, expires int64, err error) {
	when := []string{"PTTL", key}
	if s.exact {
		when[0] = "PEXPIRETIME"
	}
	answers, err := s.pipeline([]string{"MULTI"}, []string{"DUMP", key}, when, []string{"TIME"}, []string{"EXEC"})
	if err != nil {
		return nil, 0, err
	}
	for _, a := range answers { // the first says why the others were refused
		if e, ok := a.(*Error); ok {
			return nil, 0, e
		}
	}
	list, ok := answers[4].([]any)
	if !ok || len(list) != 3 {
		return nil, 0, errProtocol
	}
	if e, ok := list[0].(*Error); ok {
		return nil, 0, e
	}
	if list[0] == nil {
		return nil, 0, fs.ErrNotExist
	}
	value, isValue := list[0].([]byte)
	expires, isTime := list[1].(int64)
	if !isValue || !isTime {
		return nil, 0, errProtocol
	}
	if _, err := checkValue(value); err != nil {
		return nil, 0, err
	}
	if expires > 0 && !s.exact {
		now, err := milliseconds(list[2])
		if err != nil {
			return nil, 0, err
		}
		expires += now
	}
	return value, max(expires, 0), nil
}

// milliseconds returns an answer to TIME in milliseconds since 1970.
func milliseconds(answer any) (int64, error) {
	list, _ := answer.([]any)
	var n [2]int64
	for i := range n {
		if len(list) != len(n) {
			return 0, errProtocol
		}
		b, _ := list[i].([]byte)
		v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return 0, errProtocol
		}
		n[i] = v
	}
	return n[0]*1000 + n[1]/1000, nil
}
