//go:build linux

package run

import (
	"os"

	"vault/internal/app/config"
	"vault/internal/app/source/container"
)

// Namespace returns the rootless engine whose user namespace this process has to be in
// for what applications have in volumes of containers, false if it needs none: it is
// root's, or it is in one already. What belongs to others in a volume can only be read
// and given away there.
func Namespace(c *config.Config, apps []string) (container.Engine, bool) {
	if os.Geteuid() == 0 || container.Unshared() {
		return container.Engine{}, false
	}
	for _, name := range apps {
		for _, e := range enginesOf(c.Apps[name]) {
			if e.program == "docker" {
				continue // its volumes are root's
			}
			if found, err := e.engine(); err == nil && (found.As == nil || int(found.As.UID) == os.Geteuid()) {
				found.As = nil
				return found, true
			}
		}
	}
	return container.Engine{}, false
}

// enginesOf returns the engines that an application has volumes of.
func enginesOf(a *config.App) (list []engine) {
	for _, r := range a.Roots {
		if r.Podman == config.Rootless {
			list = append(list, rootEngine(r))
		}
	}
	for _, v := range a.VolumeList() {
		if v.Container != nil {
			list = append(list, engineOf(v.Container))
		}
	}
	return list
}
