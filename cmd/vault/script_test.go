package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"vault": main, "collect": collectProgram, "commits": commitsProgram})
}

// suite is the tests, as opposed to the programs that TestMain stands for.
type suite struct{ *testing.M }

// Run has scripts begin with the usual action of SIGINT, which they send: a shell
// has what it runs in the background ignore it, and no process that is started
// there can tell.
func (s suite) Run() int {
	if signal.Ignored(os.Interrupt) {
		signal.Notify(make(chan os.Signal, 1), os.Interrupt) // what is caught is the usual again in children
	}
	return s.M.Run()
}

// TestScripts runs the scripts in testdata/script: the command line as users
// meet it. Beyond the usual commands they have
//
//	exits N PROGRAM ARG...     the program ends with the exit code N
//	asuser N PROGRAM ARG...    the same, without root's power to read everything
//	newrepo                    init, with the least cost of the key derivation
//	collect, commits           see programs_test.go
//	messages                   the last output is JSON lines as in docs/json.schema.json
//
// and the conditions
//
//	unprivileged               this is not root
//	mount                      file systems can be mounted, which not every root may do
//	attributes                 temporary files can have extended attributes and ACLs
//
// $FIXTURES holds data of real applications.
func TestScripts(t *testing.T) { testscript.Run(t, scriptParams()) }

func scriptParams() testscript.Params {
	return testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		UpdateScripts:      os.Getenv("UPDATE_GOLDEN") != "",
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "unprivileged":
				return os.Geteuid() != 0, nil
			case "mount":
				return mayMount()
			case "attributes":
				return haveAttributes()
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("VAULT_REPO", filepath.Join(e.WorkDir, "repo"))
			e.Setenv("VAULT_PASSWORD", "correct horse")
			e.Setenv("VAULT_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			fixtures, err := filepath.Abs("../../internal/app/verify/testdata")
			e.Setenv("FIXTURES", fixtures)
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"asuser":   asUser,
			"newrepo":  newRepo,
			"messages": messages,
		},
	}
}

// mayMount mounts a file system to see whether that is allowed.
var mayMount = sync.OnceValues(func() (bool, error) {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		return false, err
	}
	defer os.Remove(dir)
	if exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", dir).Run() != nil {
		return false, nil
	}
	return true, exec.Command("umount", dir).Run()
})

// haveAttributes sets an attribute and an ACL to see whether there are any.
var haveAttributes = sync.OnceValues(func() (bool, error) {
	f, err := os.CreateTemp("", "attributes")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return exec.Command("setfattr", "-n", "user.note", "-v", "x", f.Name()).Run() == nil &&
		exec.Command("setfacl", "-m", "u:1234:r-x", f.Name()).Run() == nil, nil
})

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// asUser takes the capabilities from root that let it read what modes forbid.
func asUser(ts *testscript.TestScript, neg bool, args []string) {
	if os.Geteuid() == 0 {
		args = append([]string{args[0], "setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"}, args[1:]...)
	}
	exits(ts, neg, args)
}

func newRepo(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("newrepo cannot be negated")
	}
	args = append([]string{"init", "--quiet", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1"}, args...)
	ts.Check(ts.Exec("vault", args...))
}

func messages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: messages")
	}
	s := loadSchema(ts)
	n := 0
	for _, stream := range []string{"stdout", "stderr"} {
		for line := range strings.Lines(ts.ReadFile(stream)) {
			n++
			if err := s.validate(strings.TrimSuffix(line, "\n")); err != nil {
				ts.Fatalf("%s: %v\n%s", stream, err, line)
			}
		}
	}
	if n == 0 {
		ts.Fatalf("no messages")
	}
}
