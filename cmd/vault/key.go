package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vault/crypto"
	"vault/internal/display"
	"vault/repo"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List, add, remove and change passphrases",
		Long: `A repository has one master key, which each key slot holds sealed under a
passphrase. Removing a slot or changing a passphrase takes nothing back from
somebody who had the old one and read the repository.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", "key "+args[0])
			}
			return usagef("key: what is to be done? list, add, remove, passwd, export or import")
		},
	}
	cmd.AddCommand(a.keyListCommand(), a.keyAddCommand(), a.keyRemoveCommand(), a.keyPasswdCommand(), a.keyExportCommand(), a.keyImportCommand())
	return cmd
}

// newKeyFlags describe a key slot to be made.
type newKeyFlags struct {
	file, command, label string
	cost                 crypto.KDFCost
}

func (f *newKeyFlags) add(flags *pflag.FlagSet) {
	f.cost = crypto.DefaultKDFCost
	flags.StringVar(&f.file, "new-password-file", "", "`file` that holds the new passphrase")
	flags.StringVar(&f.command, "new-password-command", "", "shell `command` that prints the new passphrase")
	flags.StringVar(&f.label, "label", "", "name of the key, for people")
	addCost(flags, &f.cost)
}

// addCost adds the flags of the key derivation.
func addCost(flags *pflag.FlagSet, cost *crypto.KDFCost) {
	flags.Uint32Var(&cost.Time, "kdf-time", cost.Time, "passes of the key derivation (Argon2id)")
	flags.Uint32Var(&cost.Memory, "kdf-memory", cost.Memory, "memory of the key derivation, in KiB")
	flags.Uint8Var(&cost.Threads, "kdf-threads", cost.Threads, "lanes of the key derivation")
}

// check refuses what could only fail after somebody has typed a passphrase.
func (f *newKeyFlags) check() error {
	if err := f.cost.Validate(); err != nil {
		return usage(err)
	}
	if f.file != "" && f.command != "" {
		return usagef("--new-password-file and --new-password-command are both given: which one is meant?")
	}
	return nil
}

// key gets the new passphrase: from a file, a command, VAULT_NEW_PASSWORD, or
// typed twice.
func (f *newKeyFlags) key(ctx context.Context) (repo.NewKey, error) {
	k := repo.NewKey{Cost: f.cost, Label: f.label}
	variable, set := os.LookupEnv("VAULT_NEW_PASSWORD")
	var err error
	switch {
	case f.file != "":
		k.Passphrase, err = readPassphrase(f.file)
	case f.command != "":
		k.Passphrase, err = runPassphrase(ctx, f.command)
	case set:
		k.Passphrase = []byte(variable)
	default:
		k.Passphrase, err = askNewPassphrase(ctx)
	}
	switch {
	case err != nil:
		return k, fmt.Errorf("new passphrase: %w", err)
	case len(k.Passphrase) == 0:
		return k, usagef("the new passphrase is empty")
	case len(k.Passphrase) > maxPassphrase:
		return k, usagef("the new passphrase has more than %d bytes", maxPassphrase)
	}
	return k, nil
}

// openForKeys opens the repository and returns the passphrase that did it.
func (a *app) openForKeys(ctx context.Context) (*repo.Repo, []byte, error) {
	var current []byte
	a.learn = func(pass []byte) { current = bytes.Clone(pass) }
	defer func() { a.learn = nil }()
	r, err := a.open(ctx, nil)
	return r, current, err
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the key slots",
		Long: `List shows all key slots. What is known of a slot besides its id is sealed with
its passphrase, so label, host and time are shown only of those that the
passphrase given opens. The one in use is marked with *.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			r, current, err := a.openForKeys(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(r, &err)
			defer clear(current)
			list, err := r.ListKeys(cmd.Context(), current)
			if err != nil {
				return fmt.Errorf("list keys: %w", err)
			}
			t := table{{"", "ID", "LABEL", "HOST", "CREATED", "KEY DERIVATION", "STATE"}}
			for _, k := range list {
				t = append(t, a.showKey(k, k.ID == r.Slot()))
			}
			a.printTable(t, "no keys")
			return nil
		},
	}
}

func (a *app) showKey(k repo.KeyInfo, current bool) []string {
	m := keyMessage{Type: "key", ID: k.ID.String(), Current: current, Intact: k.Err == nil, Opened: k.Opened, Label: k.Label, Host: k.Host}
	row := []string{"", m.ID, "", "", "", "", "intact"}
	if current {
		row[0] = "*"
	}
	if k.Err != nil {
		m.Error, row[6] = k.Err.Error(), display.Line(oneLine(k.Err.Error()))
	} else {
		m.KDF = &kdfInfo{Time: k.Cost.Time, Memory: k.Cost.Memory, Threads: k.Cost.Threads}
		row[5] = fmt.Sprintf("%s, %d passes", display.Bytes(uint64(k.Cost.Memory)<<10), k.Cost.Time)
	}
	if k.Opened {
		created := k.Created.UTC()
		m.Created = &created
		row[2], row[3], row[4] = display.Line(k.Label), display.Line(k.Host), k.Created.Local().Format("2006-01-02 15:04")
	}
	a.ui.message(m)
	return row
}

// changeKeys is what add, remove and passwd share: open, get what is new, do it.
func (a *app) changeKeys(ctx context.Context, f *newKeyFlags, change func(r *repo.Repo, current []byte, k repo.NewKey) error) (err error) {
	if f != nil {
		if err := f.check(); err != nil {
			return err
		}
	}
	r, current, err := a.openForKeys(ctx)
	if err != nil {
		return err
	}
	defer closing(r, &err)
	defer clear(current)
	var k repo.NewKey
	if f != nil {
		if k, err = f.key(ctx); err != nil {
			return err
		}
		defer clear(k.Passphrase)
	}
	return change(r, current, k)
}

func (a *app) keyAddCommand() *cobra.Command {
	var f newKeyFlags
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a passphrase",
		Long: `Add makes a key slot for a further passphrase: from --new-password-file,
--new-password-command, VAULT_NEW_PASSWORD, or typed twice.`,
		Args: cobra.NoArgs,
	}
	f.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.changeKeys(cmd.Context(), &f, func(r *repo.Repo, current []byte, k repo.NewKey) error {
			id, err := r.AddKey(cmd.Context(), current, k)
			if err != nil {
				return err
			}
			a.ui.message(keyChangeMessage{Type: "key_change", Action: "added", ID: id.String()})
			a.ui.info("added key %s\n", id)
			return nil
		})
	}
	return cmd
}

func (a *app) keyPasswdCommand() *cobra.Command {
	var f newKeyFlags
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "Change the passphrase",
		Long: `Passwd makes a key slot for a new passphrase and then removes every slot that the
current one opens. If it is interrupted, at least one of the two is valid.`,
		Args: cobra.NoArgs,
	}
	f.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.changeKeys(cmd.Context(), &f, func(r *repo.Repo, current []byte, k repo.NewKey) error {
			if bytes.Equal(current, k.Passphrase) {
				return usagef("the new passphrase is the current one")
			}
			id, err := r.ChangePassphrase(cmd.Context(), current, k)
			if err != nil {
				return err
			}
			a.ui.message(keyChangeMessage{Type: "key_change", Action: "replaced", ID: id.String()})
			a.ui.info("the passphrase is changed; its key is %s\n", id)
			return nil
		})
	}
	return cmd
}

func (a *app) keyRemoveCommand() *cobra.Command {
	var o repo.RemoveKeyOptions
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a key slot",
		Long: `Remove deletes a key slot, given by its id or the beginning of it. The last intact
one is never removed, and the one that the passphrase given opens only with
--in-use.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&o.InUse, "in-use", false, "also the key that the passphrase given opens")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		return a.changeKeys(ctx, nil, func(r *repo.Repo, current []byte, _ repo.NewKey) error {
			id, err := keyByPrefix(ctx, r, args[0])
			if err != nil {
				return err
			}
			inUse, err := r.RemoveKey(ctx, current, id, o)
			if err != nil {
				return keyRefused(err)
			}
			m := keyChangeMessage{Type: "key_change", Action: "removed", ID: id.String()}
			if inUse != id && inUse != r.Slot() {
				m.InUse = inUse.String()
			}
			a.ui.message(m)
			a.ui.info("removed key %s\n", id)
			if m.InUse != "" {
				a.ui.info("the passphrase in use has the key %s now\n", m.InUse)
			}
			return nil
		})
	}
	return cmd
}

func keyRefused(err error) error {
	for _, c := range []struct {
		is   error
		hint string
	}{
		{repo.ErrLastKey, "add another one first: `vault key add`"},
		{repo.ErrKeyInUse, "if this passphrase is to open the repository no more: --in-use"},
		{repo.ErrAnchorKey, "give the passphrase of another key, or use `vault key passwd`"},
		{repo.ErrNoKey, "`vault key list` shows the keys"},
	} {
		if errors.Is(err, c.is) {
			return &failure{code: exitFailure, err: err, hint: c.hint}
		}
	}
	return err
}

// keyByPrefix finds the one key slot whose id begins so.
func keyByPrefix(ctx context.Context, r *repo.Repo, prefix string) (id crypto.SlotID, err error) {
	list, err := r.ListKeys(ctx, nil)
	if err != nil {
		return id, fmt.Errorf("list keys: %w", err)
	}
	var found []string
	for _, k := range list {
		if prefix != "" && strings.HasPrefix(k.ID.String(), strings.ToLower(prefix)) {
			id = k.ID
			found = append(found, k.ID.String())
		}
	}
	switch len(found) {
	case 0:
		return id, &failure{code: exitFailure, err: fmt.Errorf("%w: %q", repo.ErrNoKey, prefix), hint: "`vault key list` shows the keys"}
	case 1:
		return id, nil
	}
	return id, &failure{code: exitFailure, err: fmt.Errorf("key %q is not unique: %s", prefix, strings.Join(found, ", ")), hint: "give more digits"}
}
