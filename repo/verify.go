package repo

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"vault/crypto"
)

// CheckRecords reads the small objects that [Repo.Refresh] has no need of - key
// slots, the config, sessions, gc records - and yields the name of each with
// what is wrong with it, or nil.
func (r *Repo) CheckRecords(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !yield(configName, r.checkConfig(ctx)) {
			return
		}
		for _, dir := range []string{keysDir, sessionsDir, gcDir} {
			for info, err := range r.be.List(ctx, dir) {
				if err != nil {
					yield(dir, fmt.Errorf("list: %w", err))
					return
				}
				if !OwnName(info.Name) {
					continue
				}
				err := r.checkRecord(ctx, info.Name)
				if isMissing(err) {
					continue // deleted since it was listed
				}
				if !yield(info.Name, err) {
					return
				}
			}
		}
	}
}

// checkConfig holds the stored config against what this Repo was opened with.
func (r *Repo) checkConfig(ctx context.Context) error {
	f, err := findKeys(ctx, r.be)
	if err != nil {
		return err
	}
	payload, err := crypto.OpenConfig(r.keys, f.config)
	if err != nil {
		return err
	}
	_, err = decodeParams(payload, f.head.Mandatory)
	return err
}

func (r *Repo) checkRecord(ctx context.Context, name string) (err error) {
	var payload []byte
	switch dir, rest, _ := strings.Cut(name, "/"); dir + "/" {
	case keysDir:
		_, err = readSlot(ctx, r.be, name)
	case sessionsDir:
		if payload, _, err = r.fetch(ctx, crypto.KindSession, name); err == nil {
			_, err = decodeSession(payload)
		}
	case gcDir:
		if strings.HasSuffix(rest, ".plan") {
			if payload, _, err = r.fetch(ctx, crypto.KindPlan, name); err == nil {
				_, err = decodePlan(payload)
			}
		} else if payload, _, err = r.fetch(ctx, crypto.KindDone, name); err == nil {
			_, err = decodeDone(payload)
		}
	}
	return err
}
