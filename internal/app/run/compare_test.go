//go:build linux

package run

import (
	"reflect"
	"strings"
	"testing"
)

func TestDifferingFields(t *testing.T) {
	const here = "system_user_id: 1\nidm: {service_user_passwords: {idp_password: secret}}\nstorage_users: {mount_id: a}\n"
	for _, c := range []struct {
		name, there string
		fields      []string
		want        []string
	}{
		{"the same", here, presets["ocis"], nil},
		{"another value", strings.Replace(here, "mount_id: a", "mount_id: b", 1), presets["ocis"], []string{"storage_users.mount_id"}},
		{"another password", strings.Replace(here, "secret", "other", 1), presets["ocis"], []string{"idm.service_user_passwords.idp_password"}},
		{"missing on one side", "system_user_id: 1\n", []string{"system_user_id", "storage_users.mount_id"}, []string{"storage_users.mount_id"}},
		{"missing on both sides", here, []string{"nosuch.field"}, nil},
		{"not a mapping on the way", here, []string{"system_user_id.more"}, nil},
		{"other fields do not count", here + "log: debug\n", presets["ocis"], nil},
		{"another order", "storage_users: {mount_id: a}\nsystem_user_id: 1\nidm:\n  service_user_passwords:\n    idp_password: secret\n", presets["ocis"], nil},
	} {
		if got, err := differingFields([]byte(here), []byte(c.there), c.fields); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	for _, bad := range []string{"[", "- a\n- b\n", "a: [secret"} {
		_, err := differingFields([]byte(here), []byte(bad), presets["ocis"])
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if len(presets["ocis"]) != 9 {
		t.Errorf("%d fields of ocis", len(presets["ocis"]))
	}
}
