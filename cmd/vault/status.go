package main

import (
	"context"

	"github.com/spf13/cobra"

	"vault/backend"
	"vault/internal/display"
	"vault/repo"
)

func (a *app) statusCommand() *cobra.Command {
	var adopt bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell which state the repository is in",
		Long: `Status looks at what exists and at the errors the storage gives, and tells which
state the repository is in; it exits with that state's code:

  0   ready, or sealed: sound, but no passphrase was given to open it
  10  uninitialised: no repository there
  12  wrong_key: the passphrase opens no key slot
  13  damaged: config or keys are missing or unreadable while other objects exist
  14  unreachable: the storage cannot be asked
  1   unsupported: made by a newer program

It writes nothing and asks for no passphrase: one that is given by variable,
file or command is tried.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&adopt, "adopt", false, "remember the repository that is here now instead of the one seen before")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := a.place()
		if err != nil {
			return err
		}
		s := a.look(cmd.Context(), p)
		if adopt && s.ID != "" {
			a.remember(p, s.ID)
			p.seen = s.ID
		}
		return a.tellStatus(cmd, p, s)
	}
	return cmd
}

// look asks what is there.
func (a *app) look(ctx context.Context, p place) statusMessage {
	m := statusMessage{Type: "status", Repository: p.loc.String()}
	be, err := a.storage(ctx, p)
	if err != nil {
		m.setState(repo.StateOf(err), err)
		return m
	}
	defer be.Close()
	s := repo.Probe(ctx, be)
	m.setState(s.State, s.Err)
	if s.State != repo.Uninitialised && s.State != repo.Unreachable && s.Repo != ([16]byte{}) {
		m.ID, m.Slots = s.Repo.String(), s.Slots
	}
	if s.State == repo.Sealed && a.hasPassphrase() {
		a.lookInside(ctx, p, be, &m)
	}
	return m
}

// lookInside opens the repository and reads its records.
func (a *app) lookInside(ctx context.Context, p place, be backend.Backend, m *statusMessage) {
	r, err := repo.Open(ctx, be, repo.OpenOptions{
		Passphrase: func() ([]byte, error) { return a.passphrase(ctx, false) },
		Env:        a.env(p),
	})
	if err != nil {
		m.setState(repo.StateOf(err), err)
		return
	}
	params := r.Params()
	m.Cipher, m.Chunker, m.Compression = r.AEAD().String(), params.Chunker.Algorithm.String(), params.Compression.String()
	m.Sharing = params.Sharing.String()
	backups, err := r.Backups(ctx)
	if err != nil {
		m.setState(repo.StateOf(err), err)
		return
	}
	m.setState(repo.Ready, nil)
	n := len(backups)
	m.Backups = &n
}

func (m *statusMessage) setState(s repo.State, err error) {
	m.State, m.Code, m.err = s.String(), stateCode(s), err
	m.Evidence = ""
	if err != nil {
		m.Evidence = err.Error()
	}
}

// tellStatus prints the state and returns its code as a failure.
func (a *app) tellStatus(cmd *cobra.Command, p place, m statusMessage) error {
	if m.err != nil {
		m.Hint = hint(cmd, m.Code, m.err)
	}
	switch {
	case p.seen != "" && m.ID == "" && m.Code != 0:
		m.Expected = p.seen
		if backend.Hint(m.err) == "" { // the storage knows better, if it knows
			mounted := "is it mounted? This client has seen the repository " + p.seen + " here"
			if m.Code == exitDamaged {
				mounted = m.Hint + "; or is something else mounted? This client has seen the repository " + p.seen + " here"
			}
			m.Hint = mounted
		}
	case p.seen != "" && m.ID != "" && m.ID != p.seen:
		f := p.replaced(m.ID).(*failure)
		m.State, m.Code, m.Evidence = repo.Unreachable.String(), f.code, f.Error()
		m.Expected, m.Hint, m.err = p.seen, f.hint, f
	}
	a.ui.message(m)
	a.ui.result("repository  %s\nstate       %s\n", p, m.State)
	for _, row := range []struct{ name, value string }{
		{"id", m.ID}, {"evidence", m.Evidence}, {"hint", m.Hint},
		{"cipher", m.Cipher}, {"chunker", m.Chunker}, {"compression", m.Compression}, {"sharing", m.Sharing},
	} {
		if row.value != "" {
			a.ui.result("%-11s %s\n", row.name, display.Line(oneLine(row.value)))
		}
	}
	if m.Slots > 0 {
		a.ui.result("key slots   %d\n", m.Slots)
	}
	if m.Backups != nil {
		a.ui.result("backups     %d\n", *m.Backups)
	}
	if m.Code == 0 && m.err == nil {
		return nil
	}
	code := m.Code
	if code == 0 {
		code = exitFailure
	}
	return &failure{code: code, err: m.err, told: true}
}
