// Package sqlite saves databases of SQLite that are in use, and brings them back.
//
// The idea. The program sqlite3 copies the database page by page into a private file,
// within one transaction that reads: what the copy holds was all there at one moment,
// also what was still in the write-ahead log. The copy keeps the places of the pages,
// so it is deduplicated against the one before. It is checked, read into the
// repository and removed - by the next run, if this one is killed.
//
// Caveats. The copy is the one plaintext dump that touches a disk, as large as the
// database with its log; File.TempDir says where. While it is made, writers of a
// database that does not use the write-ahead log wait: as long as copying takes, or
// until their patience ends. A database with a write-ahead log can be read only where
// its directory can be written, or while somebody has it open. An encrypted database
// is none to the program.
package sqlite
