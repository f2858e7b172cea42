package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"vault/repo"
)

func (a *app) keyExportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print a recovery sheet",
		Long: `Export prints the master key as lines for paper, with checksums. Whoever holds the
sheet can read the repository without a passphrase. key import makes a passphrase
from it.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to a new `file` that only you can read")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.changeKeys(cmd.Context(), nil, func(r *repo.Repo, current []byte, _ repo.NewKey) error {
			sheet, err := r.Export(cmd.Context(), current)
			if err != nil {
				return err
			}
			defer clear(sheet)
			m := sheetMessage{Type: "recovery_sheet", Repository: r.ID().String(), File: output}
			if output == "" {
				m.Sheet = string(sheet)
				a.ui.result("%s", sheet)
			} else if err := writeSecret(output, sheet); err != nil {
				return fmt.Errorf("export key: %w", err)
			}
			a.ui.message(m)
			return nil
		})
	}
	return cmd
}

// writeSecret makes a file that nobody else can read; never over another one.
func writeSecret(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (a *app) keyImportCommand() *cobra.Command {
	var f newKeyFlags
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Make a passphrase from a recovery sheet",
		Long: `Import reads the lines of a recovery sheet, from a file or typed on standard input,
and makes a key slot for a new passphrase. It asks for no other passphrase, and
works when all key slots are lost.`,
		Args: cobra.ExactArgs(1),
	}
	f.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.importKey(cmd.Context(), f, args[0]) }
	return cmd
}

// maxSheet is more than a sheet with its text has, in bytes.
const maxSheet = 64 << 10

func (a *app) importKey(ctx context.Context, f newKeyFlags, name string) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	p, err := a.place()
	if err != nil {
		return err
	}
	in := io.ReadCloser(os.Stdin)
	if name != "-" {
		if in, err = os.Open(name); err != nil {
			return fmt.Errorf("import key: %w", err)
		}
	}
	sheet, err := io.ReadAll(io.LimitReader(in, maxSheet))
	in.Close()
	defer clear(sheet)
	if err != nil {
		return fmt.Errorf("import key: read the sheet: %w", err)
	}
	be, err := a.storage(ctx, p)
	if err != nil {
		return p.wrap("open", err)
	}
	defer closing(be, &err)
	k, err := f.key(ctx)
	if err != nil {
		return err
	}
	defer clear(k.Passphrase)
	id, err := repo.Import(ctx, be, repo.ImportOptions{Sheet: sheet, Key: k, Env: a.env(p)})
	if err != nil {
		return err
	}
	a.ui.message(keyChangeMessage{Type: "key_change", Action: "imported", ID: id.String()})
	a.ui.info("made key %s; its passphrase opens the repository\n", id)
	return nil
}
