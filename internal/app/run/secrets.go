//go:build linux

package run

import (
	"os"
	"slices"

	"vault/internal/app/config"
)

// passphrases are the variables from which vault itself takes secrets.
var passphrases = []string{"VAULT_PASSWORD", "VAULT_NEW_PASSWORD", "VAULT_FROM_PASSWORD"}

// secretNames returns the names of all variables that a configuration says hold
// passwords: of repositories, of databases of whatever application, of mail servers.
func secretNames(c *config.Config) []string {
	list := slices.Clone(passphrases)
	add := func(p config.Password) {
		if p.PasswordEnv != "" {
			list = append(list, p.PasswordEnv)
		}
	}
	for _, r := range c.Repositories {
		add(r.Password)
	}
	for _, a := range c.Apps {
		for _, v := range a.Volumes {
			switch {
			case v.Postgres != nil:
				add(v.Postgres.Password)
			case v.MySQL != nil:
				add(v.MySQL.Password)
			case v.Redis != nil:
				add(v.Redis.Password)
			}
		}
	}
	for _, n := range c.Notify {
		if n.Email != nil {
			add(n.Email.Password)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// blank returns variables that take the place of secrets in the environment of
// programs that are not started as hooks are: those of databases, and commands whose
// output is a volume. A program that needs one is given it by name.
func (x *executor) blank() (env []string) {
	for _, name := range x.hide {
		if _, set := os.LookupEnv(name); set {
			env = append(env, name+"=")
		}
	}
	return env
}
