// Package backend defines how the engine stores bytes: whole named objects,
// written atomically and durably, whose meaning the storage does not know.
//
// A driver (local, mem, sftp, s3) never sees a key or a plaintext. Everything
// the commit protocol needs from storage is in the six methods of [Backend];
// above all Create, which decides races between writers and collectors on
// different machines. Package backendtest holds the contract as a test suite
// that every driver must pass.
//
// Caveats that callers must live with:
//
//   - An error from Put or Create other than fs.ErrExist leaves the outcome
//     open: after a time-out or a failed directory sync the object may or may
//     not be there, now or later. Records made with Create therefore carry a
//     random nonce, so that the owner of an existing record can be told.
//   - Deleting is not required to be durable: an object deleted just before a
//     power cut may be there again afterwards.
//   - No object's name may be a directory of another's: "a" and "a/b" exclude
//     each other on file systems, so no caller uses both.
package backend

import (
	"context"
	"io"
	"iter"
)

// Backend stores whole named objects atomically and durably, ignorant of
// their meaning. It is safe for concurrent use.
//
// Names are slash-separated relative paths such as "config" or
// "packs/ab/<hex>"; [Check] says which are valid, and every method refuses
// others with an error that matches [ErrName] before touching the storage.
//
// Every method gives up when its context is done, with an error that matches
// the context's; what was under way by then may still happen. After Close
// every method fails with fs.ErrClosed.
type Backend interface {
	// Put stores data under name, atomically replacing what is there: a
	// concurrent reader sees all of the old object or all of the new one.
	// When Put returns nil the object is durable. When it fails, the old
	// object is still whole. Data is neither retained nor changed.
	Put(ctx context.Context, name string, data []byte) error

	// Create stores data under name only if no object has that name: exactly
	// one of any number of racing Creates wins, everyone else gets an error
	// that matches fs.ErrExist, and nobody ever sees a loser's data. The
	// object is durable when Create returns nil. Data is neither retained
	// nor changed.
	Create(ctx context.Context, name string, data []byte) error

	// Get returns a reader of the n bytes that start at offset off; n < 0
	// reads to the end. A missing object is an error that matches
	// fs.ErrNotExist. A range that starts or ends past the object's end is
	// an error, from Get or at the latest io.ErrUnexpectedEOF from the
	// reader; a range that ends exactly at the end is not. The reader
	// belongs to the caller, who must close it, is for one goroutine, and
	// keeps reading the same version of the object if that is replaced or
	// deleted meanwhile, or fails. It reads under ctx, which must live as
	// long as the reader.
	Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)

	// List yields every object whose name starts with prefix, in ascending
	// byte order of whole names. The prefix is "" or a valid name followed by
	// "/"; one that no object has yields nothing. The listing holds every
	// object whose Put or Create returned before the first step of the loop
	// and which was not deleted since; objects made or deleted during the
	// loop may or may not appear. What it shows is durable, and every later
	// listing shows it too until it is deleted: callers act upon what they see. It is lazy: a caller that stops early pays
	// little. A driver's own temporary files are not shown; files that
	// strangers left in the place are, as they are, so a name may fail
	// [Check]. After yielding an error the sequence ends.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes the object. A missing one is an error that matches
	// fs.ErrNotExist where the storage tells, and none where asking would
	// double the requests. One that the storage holds until a date is
	// [ErrLocked].
	Delete(ctx context.Context, name string) error

	// Close releases what the backend holds. Open readers stay usable until
	// they are closed themselves.
	Close() error
}

// Info describes one listed object.
type Info struct {
	Name string
	Size int64 // bytes
}

// SingleWriter is what a driver implements whose storage may be unable to create
// exclusively. The method says that there is one writer only: from then on
// Create looks whether there is an object, and stores it after that, where it
// cannot do both in one step. It is called before the store is used.
type SingleWriter interface{ SingleWriter() }

// Mover is what the drivers of distant stores implement: Moved returns how many
// bytes were sent and received so far, those of requests that have failed and of those
// under way included. Who waits for a store that is slow sees by it that it is not dead.
type Mover interface{ Moved() int64 }

// Local is what the driver of a directory of this machine implements: Directory
// returns its path, so that a backup of what lies around it can leave it out.
type Local interface{ Directory() string }

// bulkKey marks the context of a Put whose object is bulk.
type bulkKey struct{}

// Bulk returns a context that says of the objects which are put under it that
// they are bulk: the most of all bytes, read seldom, and never needed to find out
// what is stored. A driver may keep them where storing is cheap and reading dear.
// Names do not tell: a pack of trees has one as a pack of data has. It is a
// context, so that whoever wraps a backend passes it on.
func Bulk(ctx context.Context) context.Context { return context.WithValue(ctx, bulkKey{}, true) }

// IsBulk reports whether ctx comes from [Bulk].
func IsBulk(ctx context.Context) bool { return ctx.Value(bulkKey{}) != nil }
