package s3

import (
	"os"
	"time"

	"github.com/minio/minio-go/v7"
)

// Limits and defaults. The part sizes are the protocol's.
const (
	defaultEndpoint    = "s3.amazonaws.com"
	defaultPartSize    = 32 << 20
	minPartSize        = 5 << 20
	maxPartSize        = 5 << 30
	defaultConnections = 16
	defaultStall       = time.Minute
	maxPrefix          = 500 // with a name's 512 bytes below the 1024 of a key
)

// MaxLock is the longest time for which objects can be locked.
const MaxLock = 36500 * 24 * time.Hour

// Config says where a repository is and how to treat the store. The zero value
// of every field but Bucket is a sensible default.
type Config struct {
	Endpoint string // "host", "host:port" or either after "https://" or "http://"; "" is Amazon's
	Region   string // "" is AWS_REGION, AWS_DEFAULT_REGION, or else the store is asked once
	Bucket   string
	Prefix   string // key prefix without surrounding slashes, "" is the whole bucket
	Style    Style

	Credentials Credentials
	CACert      string // PEM file of certificates to trust instead of the system's

	StorageClass string // of what is put as [backend.Bulk] only; "" is the bucket's default
	ObjectLock   ObjectLock
	PartSize     int // bytes; a larger Put goes up in parts of this size, 0 is 32 MiB

	// NoChecksum leaves out the CRC-32C of uploads, for stores that refuse
	// requests which carry one.
	NoChecksum bool

	Connections   int   // requests at once, each over a connection of its own; 0 is 16
	LimitUpload   int64 // bytes a second over all connections, 0 is no limit
	LimitDownload int64

	Stall time.Duration // a request without progress for so long is given up; 0 is a minute
	Retry Retry

	Warn  func(text string) // is told once of what weakens the repository; may be nil
	Trace func(op string)   // is called before every request, see [Ops]; concurrently; may be nil
	Now   func() time.Time  // the clock for lock dates; nil is time.Now
}

// Style says where in the URL the bucket's name goes.
type Style int

// The styles. StyleAuto is the host name for Amazon and a few others, the path
// for everyone else.
const (
	StyleAuto Style = iota
	StylePath
	StyleHost
)

func (s Style) lookup() minio.BucketLookupType {
	switch s {
	case StylePath:
		return minio.BucketLookupPath
	case StyleHost:
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupAuto
}

// Retry says how failures that time can mend are treated: up to Tries requests
// in all, with pauses that double from Base to Max and are shortened at random
// by up to a half. Before the store has answered for the first time, a network
// failure is tried no more than three times: a wrong address shall not take a
// minute.
type Retry struct {
	Tries int           // 0 is 10
	Base  time.Duration // 0 is 200 ms
	Max   time.Duration // 0 is 10 s
}

// withDefaults returns the configuration with its zero values replaced.
func (c Config) withDefaults() Config {
	c.PartSize = or(c.PartSize, defaultPartSize)
	c.Connections = or(c.Connections, defaultConnections)
	c.Stall = or(c.Stall, defaultStall)
	c.Retry.Tries = or(c.Retry.Tries, 10)
	c.Retry.Base = or(c.Retry.Base, 200*time.Millisecond)
	c.Retry.Max = or(c.Retry.Max, 10*time.Second)
	c.Region = or(c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ObjectLock.Applies == nil {
		c.ObjectLock.Applies = needed
	}
	return c
}

// or returns the first value that is not zero.
func or[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}
