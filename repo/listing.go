package repo

import (
	"context"

	"vault/backend"
)

// listing is a listing under way.
type listing struct {
	done  chan struct{}
	names []string
	err   error
}

// ahead lists what is stored under a prefix while something else is asked.
func ahead(ctx context.Context, be backend.Backend, prefix string) *listing {
	l := &listing{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for info, err := range be.List(ctx, prefix) {
			if err != nil {
				l.err = err
				return
			}
			l.names = append(l.names, info.Name)
		}
	}()
	return l
}

// wait returns the names, in order.
func (l *listing) wait() ([]string, error) {
	<-l.done
	return l.names, l.err
}
