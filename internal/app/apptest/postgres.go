//go:build linux

package apptest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// PostgresServer is a running PostgreSQL. Over its socket everybody may connect as
// any role without a password, but as the role "nobody" only the system's user of
// that name; over the loopback interface a password is asked for.
type PostgresServer struct {
	Socket   string // directory of the socket
	Port     int    // of the socket, and of 127.0.0.1
	User     string // a superuser
	Password string // of that user
}

// postgres are the servers of this process.
var postgres = [2]func() (*PostgresServer, error){sync.OnceValues(startPostgres), sync.OnceValues(startPostgres)}

const (
	debianPlace = "/usr/lib/postgresql/*/bin"

	postgresUser     = "keeper"
	postgresPassword = "a secret 'with quotes"
)

// Postgres returns the server of this process.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	return onePostgres(t, 0)
}

// OtherPostgres returns a second one: that of another host.
func OtherPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	return onePostgres(t, 1)
}

func onePostgres(t testing.TB, which int) *PostgresServer {
	t.Helper()
	Need(t, "initdb", "postgresql", debianPlace)
	Need(t, "psql", "postgresql-client")
	s, err := postgres[which]()
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return s
}

// cluster is a directory of data that servers get a copy of: copying takes less time
// than initdb.
var cluster = sync.OnceValues(func() (string, error) {
	bin, err := postgresBin()
	if err != nil {
		return "", err
	}
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	data, secret := filepath.Join(dir, "data"), filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(postgresPassword), 0o644); err != nil {
		return "", err
	}
	if out, err := command(dir, filepath.Join(bin, "initdb"), "-D", data, "-U", postgresUser, "--pwfile="+secret, "-N", "-E", "UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=scram-sha-256").CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	hba := "local all nobody peer\nlocal all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	return data, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o644)
})

func postgresBin() (string, error) {
	found, err := filepath.Glob(filepath.Join(debianPlace, "initdb"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no initdb in %s: %w", debianPlace, err)
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func startPostgres() (*PostgresServer, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	made, err := cluster()
	if err != nil {
		return nil, err
	}
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{Socket: dir, User: postgresUser, Password: postgresPassword}
	data := filepath.Join(dir, "data")
	if err := duplicate(made, data); err != nil {
		return nil, err
	}
	_, s.Port, err = onPort(func(port int) (*server, error) {
		cmd := command(dir, filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-p", strconv.Itoa(port),
			"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB")
		return launch(cmd, dir, syscall.SIGQUIT, func(ctx context.Context) error {
			return exec.CommandContext(ctx, "psql", "-XAtq", "-h", dir, "-p", strconv.Itoa(port), "-U", s.User, "-d", "postgres", "-c", "select 1").Run()
		})
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// SQL runs statements in a database as the superuser and returns what they print:
// fields separated by |, rows by newlines.
func (s *PostgresServer) SQL(t testing.TB, database, statements string) string {
	t.Helper()
	cmd := exec.Command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", s.Socket, "-p", strconv.Itoa(s.Port), "-U", s.User, "-d", database)
	cmd.Stdin = strings.NewReader(statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", statements, err, out)
	}
	return strings.TrimSpace(string(out))
}
