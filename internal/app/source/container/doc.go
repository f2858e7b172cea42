// Package container finds the volumes of podman and docker, and translates the owners
// of what is in them.
//
// The idea. The engine is asked where a volume lies; from there on it is a directory
// like any other. In a rootless engine a file that belongs to user 33 in a container
// belongs to another number here, and to yet another on the next machine. So it is
// stored as belonging to 33 (Mapping.Saved), and restored as whatever the target's
// namespace has for 33 (Mapping.Rules).
//
// Caveats. Only the engine's own user and root can ask a rootless engine. Of them only
// root, or who is in the user namespace (see Unshare), can read what is in a volume:
// the other files belong to other numbers. A docker daemon with userns-remap is not
// recognised. Volumes of other drivers than "local", and those that are mounts, have
// a directory only while something uses them.
package container
