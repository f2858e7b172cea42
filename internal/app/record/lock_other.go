//go:build !unix

package record

// lock is nothing where there is no flock: two results at one moment may lose one.
func lock(string) (unlock func(), err error) { return func() {}, nil }
