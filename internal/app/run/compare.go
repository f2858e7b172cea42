//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"vault/internal/app/config"
	"vault/internal/display"
	"vault/snapshot"
)

// presets are lists of fields that must agree before data of one instance is put in the
// place of another's.
var presets = map[string][]string{
	"ocis": { // ids by which the data names its owner, and passwords that the services share
		"idp.ldap.bind_password", "idm.service_user_passwords.idp_password", "idm.service_user_passwords.reva_password",
		"system_user_id", "auth_basic.auth_providers.ldap.bind_password", "users.drivers.ldap.bind_password",
		"groups.drivers.ldap.bind_password", "storage_users.mount_id", "gateway.storage_registry.storage_users_mount_id",
	},
}

// maxCompared bounds a file whose fields are compared.
const maxCompared = 4 << 20

// compare makes sure that what is there is the instance that was backed up. Where
// there is nothing yet, there is nothing to compare. Values are not told: they may be
// secrets.
func (b *bringing) compare(ctx context.Context) error {
	for _, c := range b.app.Restore.Compare {
		var p *part
		for i := range b.parts {
			if b.parts[i].saved.Name == c.Volume {
				p = &b.parts[i]
			}
		}
		saved := b.backup.Volume(c.Volume)
		if saved == nil || saved.Root == nil {
			b.notice(fmt.Sprintf("nothing to compare: the backup has no volume %s", display.Name(c.Volume)))
			continue
		}
		with := c.With
		if with == "" {
			if p == nil || p.place == "" {
				continue // it is not restored here
			}
			with = filepath.Join(p.place, c.File)
		}
		differing, err := b.differing(ctx, &c, saved.Root, with)
		if err != nil {
			return fmt.Errorf("compare %s of the backup with %s: %w", display.Name(filepath.Join(c.Volume, c.File)), display.Name(with), err)
		}
		if len(differing) == 0 {
			continue
		}
		err = fmt.Errorf("%w: %s and the backup differ in %s", ErrIdentity, display.Name(with), strings.Join(differing, ", "))
		if !b.o.OtherIdentity {
			return err
		}
		b.notice(err.Error())
	}
	return nil
}

// differing returns the fields that differ.
func (b *bringing) differing(ctx context.Context, c *config.Compare, root *snapshot.Node, with string) ([]string, error) {
	here, err := readLimited(with)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := root
	for name := range strings.SplitSeq(filepath.ToSlash(c.File), "/") {
		if name == "" || name == "." {
			continue
		}
		if !n.IsDir() {
			return nil, fs.ErrNotExist
		}
		if n, err = snapshot.Lookup(ctx, b.repo, n.Tree, name); err != nil {
			return nil, err
		}
	}
	if n.Type != snapshot.File || n.Size > maxCompared {
		return nil, fmt.Errorf("it is a %v of %d bytes", n.Type, n.Size)
	}
	in := snapshot.NewReader(ctx, b.repo, n)
	there, err := io.ReadAll(io.NewSectionReader(in, 0, in.Size()))
	if err != nil {
		return nil, err
	}
	return differingFields(here, there, append(append([]string{}, presets[c.Preset]...), c.Fields...))
}

// differingFields compares fields of two YAML files. One that neither has agrees.
func differingFields(a, b []byte, fields []string) (list []string, err error) {
	defer func() { // the parser is not ours
		if r := recover(); r != nil {
			err = errors.New("it is not YAML")
		}
	}()
	var x, y map[string]any
	if err := yaml.Unmarshal(a, &x); err != nil {
		return nil, fmt.Errorf("what is there is not YAML: %s", firstLine(err))
	}
	if err := yaml.Unmarshal(b, &y); err != nil {
		return nil, fmt.Errorf("what was backed up is not YAML: %s", firstLine(err))
	}
	for _, f := range fields {
		if v, w := lookup(x, f), lookup(y, f); fmt.Sprint(v) != fmt.Sprint(w) {
			list = append(list, f)
		}
	}
	return list, nil
}

// firstLine leaves out the excerpt, which may hold secrets.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func lookup(m map[string]any, field string) any {
	head, rest, more := strings.Cut(field, ".")
	v := m[head]
	if !more {
		return v
	}
	inner, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	return lookup(inner, rest)
}
