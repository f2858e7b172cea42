// Package restore writes saved trees back, safely.
//
// What is restored may be hostile, and so may be who else writes to the target
// meanwhile. So nothing is ever reached by a path: every call names one entry
// of a directory that is held open, and no symlink below the target is
// followed. New files are created exclusively with mode 0600 - under the final
// name in a directory that this run made itself, elsewhere under a temporary
// name that is renamed at the end - and get data, owner, attributes and ACLs,
// mode, and times, in this order, through the open descriptor. Directories made
// here have mode 0700 until their last entry is done. The symlinks of a
// directory come after its files and subdirectories; a hard link is made only
// to an inode that this run made; inode flags come last. Setuid, setgid and
// file capabilities are not set on a file whose owner could not be set.
//
// One goroutine walks the tree in its order and makes the directories; workers
// write the files, and share the ranges of large ones. Directory descriptors
// are counted and bounded, whatever the number and depth of directories; no
// list of all files is held. Of millions of files that wait for their other names
// most wait in a file that has no name, in the volume's directory.
//
// Existing files are kept, corrected, updated in place or replaced as the
// Policy says. One that has further hard links, or belongs to somebody who
// should not own it, is never written to: it is replaced. Flags that lock an
// existing file or directory are taken off for as long as it takes, if the
// backup has them as well; a lock that it does not know stays, and is reported.
//
// A volume that has many more entries or bytes than its record says stops the
// run, so that a small repository cannot fill a disk without saying so.
//
// Caveats. Access times and change times are not restored. Sockets are not
// made: a socket without its process is of no use. A file updated in place holds
// a mixture while that lasts; it then has mode 0600 and not its saved time, and
// a later run completes it. A run that is killed can leave temporary files
// (names that begin with ".vault-restore-") and, in directories that it made,
// incomplete files with mode 0600; one that is interrupted leaves large files
// so. A later run completes the large ones and replaces the others under their
// final names; Delete removes what is left. Who can rename directories of the
// target while it is being restored can move what is written to places where
// they could have moved it afterwards as well.
//
// On systems other than Linux an os.Root takes the place of the held
// descriptors, and attributes, devices, holes and inode flags are not restored.
package restore
