//go:build linux

package source

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// Account is a user of this system as whom programs are run.
type Account struct {
	Name     string
	Home     string
	UID, GID uint32
	Groups   []uint32 // further groups
}

// LookupAccount returns the account of a name or number.
func LookupAccount(name string) (*Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		var byID error
		if u, byID = user.LookupId(name); byID != nil {
			return nil, fmt.Errorf("account %q: %w", name, err)
		}
	}
	a := &Account{Name: u.Username, Home: u.HomeDir}
	if a.UID, err = number(u.Uid); err == nil {
		a.GID, err = number(u.Gid)
	}
	if err != nil {
		return nil, fmt.Errorf("account %q: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of account %q: %w", name, err)
	}
	for _, text := range groups {
		if g, err := number(text); err == nil && g != a.GID {
			a.Groups = append(a.Groups, g)
		}
	}
	return a, nil
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// Credential returns what a process is started with to run as the account, nil if
// this process runs as it already. A nil Account is nobody else.
func (a *Account) Credential() *syscall.Credential {
	if a == nil || int(a.UID) == os.Geteuid() {
		return nil
	}
	return &syscall.Credential{Uid: a.UID, Gid: a.GID, Groups: a.Groups}
}

// Env returns the variables that tell a program who it runs as.
func (a *Account) Env() []string {
	if a == nil {
		return nil
	}
	env := []string{"USER=" + a.Name, "LOGNAME=" + a.Name, "HOME=" + a.Home}
	// The session of whoever started this process is not the account's.
	runtime := "/run/user/" + strconv.FormatUint(uint64(a.UID), 10)
	if _, err := os.Stat(runtime); err == nil {
		return append(env, "XDG_RUNTIME_DIR="+runtime, "DBUS_SESSION_BUS_ADDRESS=unix:path="+runtime+"/bus")
	}
	return append(env, "XDG_RUNTIME_DIR=", "DBUS_SESSION_BUS_ADDRESS=")
}
