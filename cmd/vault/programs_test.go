package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"vault/internal/location"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
)

// Programs for scripts, which work on the repository at VAULT_REPO with the engine
// itself:
//
//	collect [forget] [kill]   a garbage collection; with forget all backups are
//	                          forgotten before, with kill it gives up on every session
//	                          that has not committed, instead of waiting for it
//	commits N                 N small backups, as another host
func collectProgram() {
	withRepo(func(ctx context.Context, r *repo.Repo) error {
		kill := slices.Contains(os.Args, "kill")
		if slices.Contains(os.Args, "forget") {
			backups, err := r.Backups(ctx)
			for _, b := range backups {
				err = errors.Join(err, r.Forget(ctx, b.ID, repo.Event{}))
			}
			if err != nil {
				return err
			}
		}
		report, err := gc.Run(ctx, r, gc.Options{Limits: gc.Limits{MaxRepack: -1},
			Dead: func(w repo.Waiting) bool { return kill || sessionDead(w) }})
		fmt.Fprintf(os.Stderr, "collected: dropped %d, deleted %d, nothing %v\n", len(report.Dropped)+len(report.Served), report.Deleted, report.Nothing)
		return err
	})
}

func commitsProgram() {
	withRepo(func(ctx context.Context, r *repo.Repo) error {
		n, err := strconv.Atoi(os.Args[1])
		for range n {
			w, err := r.Begin(ctx, repo.WriterOptions{})
			if err != nil {
				return err
			}
			now := snapshot.TimeOf(time.Now())
			content := snapshot.Content{Inline: []byte("x")}
			if _, err = w.Commit(&snapshot.Backup{Time: now, Started: now, Finished: now, Host: "elsewhere", Volumes: []snapshot.Volume{{
				Name: "x", Kind: snapshot.VolumeStdin, State: snapshot.Complete,
				Root: &snapshot.Node{Type: snapshot.File, Mode: 0o600, Size: 1, Content: content}}}}); err != nil {
				return err
			}
		}
		return err
	})
}

func withRepo(work func(context.Context, *repo.Repo) error) {
	err := func() error {
		loc, err := location.Parse(os.Getenv("VAULT_REPO"))
		if err != nil {
			return err
		}
		be, err := loc.Open(context.Background(), location.Options{})
		if err != nil {
			return err
		}
		r, err := repo.Open(context.Background(), be, repo.OpenOptions{
			Passphrase: func() ([]byte, error) { return []byte(os.Getenv("VAULT_PASSWORD")), nil },
			Env:        repo.Env{Host: hostName(), PID: os.Getpid()},
		})
		if err != nil {
			return err
		}
		defer r.Close()
		return work(context.Background(), r)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
