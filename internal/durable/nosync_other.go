//go:build !linux || vault_portable

package durable

import (
	"errors"
	"syscall"
)

// ignoreNoDirSync takes a file system that cannot sync directories as one that
// did; see the package comment.
func ignoreNoDirSync(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
