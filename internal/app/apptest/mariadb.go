//go:build linux

package apptest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// MariaDBServer is a running MariaDB. It listens on a socket alone.
type MariaDBServer struct {
	Socket string
	User   string // may do everything
	// Password of that user; empty.
	Password string
}

// mariadb are the servers of this process.
var mariadb = [2]func() (*MariaDBServer, error){sync.OnceValues(startMariaDB), sync.OnceValues(startMariaDB)}

// MariaDB returns the server of this process.
func MariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	return oneMariaDB(t, 0)
}

// OtherMariaDB returns a second one: that of another host.
func OtherMariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	return oneMariaDB(t, 1)
}

func oneMariaDB(t testing.TB, which int) *MariaDBServer {
	t.Helper()
	Need(t, "mariadbd", "mariadb-server", "/usr/sbin")
	Need(t, "mariadb", "mariadb-client")
	s, err := mariadb[which]()
	if err != nil {
		t.Fatalf("start MariaDB: %v", err)
	}
	return s
}

// installation is a directory of data that servers get a copy of.
var installation = sync.OnceValues(func() (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "data")
	if out, err := command(dir, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--innodb-log-file-size=8M").CombinedOutput(); err != nil {
		return "", fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	return data, nil
})

func startMariaDB() (*MariaDBServer, error) {
	made, err := installation()
	if err != nil {
		return nil, err
	}
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	s := &MariaDBServer{Socket: filepath.Join(dir, "s"), User: "root"}
	data := filepath.Join(dir, "data")
	if err := duplicate(made, data); err != nil {
		return nil, err
	}
	cmd := command(dir, "/usr/sbin/mariadbd", "--no-defaults", "--datadir="+data, "--socket="+s.Socket, "--skip-networking",
		"--pid-file="+filepath.Join(dir, "pid"), "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M")
	if _, err := launch(cmd, dir, syscall.SIGTERM, func(ctx context.Context) error {
		return exec.CommandContext(ctx, "mariadb", "--no-defaults", "-S", s.Socket, "-u", s.User, "-e", "select 1").Run()
	}); err != nil {
		return nil, err
	}
	return s, nil
}

// SQL runs statements in a database, none if the name is empty, and returns what they
// print: fields separated by tabs, rows by newlines.
func (s *MariaDBServer) SQL(t testing.TB, database, statements string) string {
	t.Helper()
	args := []string{"--no-defaults", "-S", s.Socket, "-u", s.User, "-BN"}
	if database != "" {
		args = append(args, database)
	}
	cmd := exec.Command("mariadb", args...)
	cmd.Stdin = strings.NewReader(statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", statements, err, out)
	}
	return strings.TrimSpace(string(out))
}
