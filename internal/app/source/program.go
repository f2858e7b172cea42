package source

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoProgram says that a program is not installed.
var ErrNoProgram = errors.New("program not found")

// packages are the Debian packages of the programs that sources use.
var packages = map[string]string{
	"pg_dump": "postgresql-client", "pg_dumpall": "postgresql-client", "pg_restore": "postgresql-client",
	"psql": "postgresql-client", "createdb": "postgresql-client", "dropdb": "postgresql-client",
	"mariadb-dump": "mariadb-client", "mysqldump": "mariadb-client",
	"mariadb": "mariadb-client", "mysql": "mariadb-client",
	"sqlite3": "sqlite3",
	"podman":  "podman", "docker": "docker.io",
}

// Look returns the path of the first of several programs that is installed. If none
// is, the error is ErrNoProgram, and says which Debian package has the first.
func Look(programs ...string) (string, error) {
	for _, p := range programs {
		path, err := exec.LookPath(p)
		if err == nil {
			return filepath.Abs(path)
		}
		if strings.ContainsRune(p, os.PathSeparator) {
			return "", fmt.Errorf("%s: %w: %w", p, ErrNoProgram, errors.Unwrap(err))
		}
	}
	name := programs[0]
	if pkg := packages[name]; pkg != "" {
		return "", fmt.Errorf("%s: %w: on Debian it is in the package %s (apt-get install %s)", strings.Join(programs, ", "), ErrNoProgram, pkg, pkg)
	}
	return "", fmt.Errorf("%s: %w", strings.Join(programs, ", "), ErrNoProgram)
}
