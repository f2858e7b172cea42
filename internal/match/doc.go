// Package match decides which entries of a directory tree a list of patterns
// means: what a backup leaves out, and what a restore brings back.
//
// The idea. A pattern is compiled once into components, the parts between its
// slashes, and a [Dir] says how far every pattern has got on the way down to a
// directory. Asking a Dir about one of its entries looks at the entry's name
// alone: patterns for names are compared with it, and of the patterns for paths
// only those that are still possible in this directory, each at the component
// where it stands. Entering a directory advances them by one component; most
// drop out at once, and a Dir in which nothing changes is its own child. So the
// cost of an entry depends neither on its depth nor on most of the patterns.
//
// A component is matched by scanning with one point of return, the last star,
// and of the "**" in a pattern only the last one passed is remembered; both are
// exact, so no pattern makes the work for a name exceed its length times the
// length of the pattern.
//
// # Dialects
//
// [Gitignore] is gitignore(5) as git 2.39 implements it, down to its corners:
//
//   - "**" counts as special next to slashes, and also right after the literal
//     beginning of a pattern with a slash: "/a**/b" matches "ab" and "ax/y/b".
//   - A bracket expression that is not closed, an unknown [:class:] and a
//     backslash at the end make a pattern that never matches (see
//     [Rule.CanMatch]). So does an empty component, as in "a//b".
//   - [:space:] is space, tab, newline and carriage return.
//   - A line of a file ends at a NUL byte; a carriage return before the newline
//     and a UTF-8 byte order mark at the beginning do not count.
//   - Patterns for [ParseArgs] are taken as they are: there, "#" begins no
//     comment and spaces at the end count.
//
// With Options.Fold the case of ASCII letters does not count, anywhere. Git with
// core.ignoreCase differs in two places: there, an upper case letter after a
// backslash, or alone in brackets, matches nothing.
//
// [Restic] is the dialect of restic's exclude lists. A pattern is cleaned, as
// path.Clean does, and split at slashes; the parts are those of path.Match, to
// which "?" and brackets mean characters of UTF-8, not bytes; a part "**" is any
// number of directories, none included. A pattern that begins with a slash is
// anchored (see Set.Path), any other matches at every depth. What lies below a
// match is matched too, until a later "!" pattern says otherwise. Differences:
// the case of letters beyond ASCII always counts; names of the directories above
// the volume are compared with anchored patterns only; and of several "**" in
// one pattern each may stand for nothing, on short paths too. Variables are
// expanded where Options.Expand is given, which is meant for the lines of files,
// never for arguments.
//
// # Caveats
//
// Names are bytes in any encoding, without slash or NUL. Nothing here reads files
// or follows symbolic links: a link to a directory is not a directory.
package match
