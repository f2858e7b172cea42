package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"vault/internal/app/config"
	apprun "vault/internal/app/run"
)

// insideVariable says that this program has put itself into a namespace, so that it
// does so once.
const insideVariable = "VAULT_IN_NAMESPACE"

// enterNamespace starts this program anew inside the user namespace of a rootless
// podman, in the place of this process, if applications have volumes there. Where
// there is no podman it returns, and reading the volume will tell.
func enterNamespace(c *config.Config, names []string) error {
	engine, needed := apprun.Namespace(c, names)
	if !needed || os.Getenv(insideVariable) != "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("enter the user namespace of podman: %w", err)
	}
	argv := engine.Unshare(append([]string{self}, os.Args[1:]...)...)
	path, err := exec.LookPath(argv[0])
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = syscall.Exec(path, argv, append(os.Environ(), insideVariable+"=1"))
	}
	return fmt.Errorf("enter the user namespace of podman: %w", err)
}
