package ns8

import "strings"

// EnvironmentFile is the name of state/environment in the state directory.
const EnvironmentFile = environment

// IsEnvironment reports whether an entry of a Part is state/environment, which
// NethServer writes itself for the new module and which is not restored over that.
func IsEnvironment(prefix, p string) bool { return prefix == stateDir && p == environment }

// RenameKey returns under which key of Redis a saved one is restored for a module of
// another number: module/OLD/... becomes module/NEW/..., any other stays.
func RenameKey(from, to string) func(key string) string {
	return func(key string) string {
		if rest, ok := strings.CutPrefix(key, "module/"+from+"/"); ok {
			return "module/" + to + "/" + rest
		}
		return key
	}
}
