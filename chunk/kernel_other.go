//go:build !amd64 && !arm64

package chunk

// kernels is empty: the portable path does all.
var kernels = available()
