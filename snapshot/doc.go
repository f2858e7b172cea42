// Package snapshot describes saved trees: the nodes of a volume, the pages in
// which directories and long contents are stored, and the commit record that
// joins volumes into one backup (docs/format.md, sections 2, 9 and 11).
//
// A directory is a sorted list of entries. Up to a few hundred of them are one
// page; more are cut into pages at places that depend on a keyed hash of the
// names, so the pages are a pure function of the entries, and one new entry in
// a directory of a million writes a handful of pages. The items of a long file
// are cut in the same way. DirWriter and ContentWriter build such lists with
// memory for one page a level; DirReader, Items, Walk and the other readers
// stream them with the same bound, and check order, names, counts and levels
// across pages as they go.
//
// Everything here is a value or a pure function over a Sink or a Source, which
// the store implements. The package neither reads files nor knows packs.
//
// Two caveats. Readers check what a list claims about itself, not that it was
// cut where the rule says: that takes the repository's keys and would protect
// nobody. And a tree may name one directory many times, so 64 small directories
// can describe 2^64 entries: memory stays bounded, but whoever walks what
// others wrote must bound the time, by Walker.MaxEntries or by remembering the
// directories that were seen (Refs).
package snapshot
