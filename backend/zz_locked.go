package backend

import "errors"

var ErrLocked = errors.New("object locked")
