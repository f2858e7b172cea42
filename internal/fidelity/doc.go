// Package fidelity builds trees that hold everything a Linux file system can
// hold, and compares trees by looking at them itself. Tests of backup and
// restore stand on it.
//
// The idea. Build makes a tree out of features, each of which has a name, such
// as "flags/immutable". Whether a file system, or this user, can hold a feature
// is found out by making it and looking at what came out: one that did not come
// out is taken away again and listed, so that a test can say which it expects.
// A tree that is to survive a move to another file system is built without the
// features that the other one left out.
//
// Scan looks at a tree with calls of its own - fstatat, readlinkat, listxattr,
// FS_IOC_GETFLAGS, FS_IOC_FIEMAP - and shares no code with what it judges. It goes
// from directory to directory by descriptor, so that no length of path matters.
// Compare lists the differences of two scans in words.
//
// Caveats. Access, change and birth times are not compared: nothing can set all
// of them. Holes shorter than a limit that the caller gives count as data.
// Inode flags by which a file system describes its own layout are left aside, and so is
// the second form in which XFS shows an ACL.
// A scan holds the whole tree in memory, but for contents, of which it has
// digests. The package needs Linux; elsewhere it is empty.
package fidelity
