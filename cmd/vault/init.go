package main

import (
	"errors"

	"github.com/spf13/cobra"

	"vault/backend"
	"vault/chunk"
	"vault/crypto"
	"vault/pack"
	"vault/repo"
)

// initFlags are the parameters of a new repository.
type initFlags struct {
	chunker, compression, label string
	single, again, like         bool
	from                        fromFlags
	cost                        crypto.KDFCost
}

func (a *app) initCommand() *cobra.Command {
	f := initFlags{cost: crypto.DefaultKDFCost}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a new repository",
		Long: `Init makes a repository in a place that holds none; it never writes over one,
nor over the remains of one. The last component of the path is created if it is
missing, the ones before must exist: a disk that is not mounted is not filled up
by mistake. For the same reason init refuses a place in which this client has
seen a repository before, unless --again is given.

With --copy-chunker-from the new repository cuts data like the one that --from-repo
names: copies from there and backups made directly into the new one then find the
same data again. Who has the keys of the new one learns the secret by which both
cut.`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := f.options()
		if err != nil {
			return usage(err)
		}
		if f.like && cmd.Flags().Changed("chunker") {
			return usagef("--chunker and --copy-chunker-from are both given: which one is meant?")
		}
		if !f.like && f.from.given() {
			return usagef("what is there to take from the other repository? See --copy-chunker-from")
		}
		return a.init(cmd, o, f)
	}
	flags := cmd.Flags()
	flags.StringVar(&f.chunker, "chunker", chunk.AESWindow.String(), "where data is cut: aes-window or rabin")
	flags.StringVar(&f.compression, "compression", repo.DefaultParams().Compression.String(), "none, fastest, default, better or best")
	flags.StringVar(&f.label, "label", "", "name of the first key, for people")
	flags.BoolVar(&f.single, "single-writer", false, "accept a store that cannot be shared by several writers")
	flags.BoolVar(&f.again, "again", false, "also where this client has seen a repository that is gone now")
	flags.BoolVar(&f.like, "copy-chunker-from", false, "cut data like the repository --from-repo")
	f.from.add(flags)
	addCost(flags, &f.cost)
	return cmd
}

func (f *initFlags) options() (o repo.InitOptions, err error) {
	o = repo.InitOptions{Params: repo.DefaultParams(), Cost: f.cost, Label: f.label}
	var errs [3]error
	o.Params.Chunker.Algorithm, errs[0] = chunk.ParseAlgorithm(f.chunker)
	o.Params.Compression, errs[1] = pack.ParseLevel(f.compression)
	errs[2] = f.cost.Validate()
	if f.single {
		o.Params.Sharing = repo.SingleWriter
	}
	return o, errors.Join(errs[:]...)
}

func (a *app) init(cmd *cobra.Command, o repo.InitOptions, f initFlags) (err error) {
	ctx := cmd.Context()
	p, err := a.place()
	if err != nil {
		return err
	}
	be, err := a.storage(ctx, p)
	if err != nil {
		return p.wrap("initialise", err)
	}
	defer closing(be, &err)
	if f.again {
		p.seen = ""
	}
	if err := a.initiable(cmd, p, be); err != nil {
		return err
	}
	if f.like {
		from, err := a.openSource(ctx, f.from)
		if err != nil {
			return err
		}
		defer from.Close()
		o.ChunkerFrom = from
	}
	r, err := a.initAt(ctx, p, be, o)
	if err != nil {
		return err
	}
	a.ui.message(initMessage{Type: "initialized", ID: r.ID().String(), Repository: p.loc.String()})
	a.ui.info("initialised repository %s at %s\n", r.ID(), p)
	a.ui.info("Without the passphrase nothing can be restored: keep it in a second place.\n")
	return nil
}

// initiable refuses what init would refuse, before anybody types a passphrase.
func (a *app) initiable(cmd *cobra.Command, p place, be backend.Backend) error {
	switch status := repo.Probe(cmd.Context(), be); status.State {
	case repo.Uninitialised:
		return nil
	case repo.Sealed:
		return &failure{code: exitFailure, err: p.wrap("initialise", repo.ErrExists), hint: "`vault status` tells more about it"}
	default:
		return p.wrap("initialise", status.Err)
	}
}
