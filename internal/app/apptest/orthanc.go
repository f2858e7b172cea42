//go:build linux

package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vault/internal/porttest"
)

// orthancPlugin keeps the index of an Orthanc in PostgreSQL.
const orthancPlugin = "/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so"

// Orthanc is a DICOM server with its index in PostgreSQL. What the configuration has
// to know of the machine it gets from the environment: ORTHANC_PORT and ORTHANC_NAME
// are chosen here.
type Orthanc struct {
	Config string   // a file, or a directory of files
	Env    []string // further variables, "key=value"

	URL     string // without a slash at its end; another one after each start
	server  *server
	release func() // of the port
}

// OrthancUser is as whom it runs, who has to own its files.
func OrthancUser() (uid, gid int) {
	if os.Geteuid() == 0 {
		return nobody, nobody
	}
	return os.Geteuid(), os.Getegid()
}

// NeedOrthanc skips a test where it is not installed.
func NeedOrthanc(t testing.TB) {
	t.Helper()
	Need(t, "Orthanc", "orthanc", "/usr/sbin")
	Need(t, filepath.Base(orthancPlugin), "orthanc-postgresql", filepath.Dir(orthancPlugin))
}

// Start starts it and waits until it answers.
func (o *Orthanc) Start() error {
	if o.server != nil {
		return nil
	}
	var failed error
	for range 5 {
		taken, err := o.start()
		if err == nil || !taken {
			return err
		}
		failed = err
	}
	return failed
}

// start reports whether somebody else took the port that it was to listen on.
func (o *Orthanc) start() (taken bool, err error) {
	dir, err := Dir()
	if err != nil {
		return false, err
	}
	port, release, err := porttest.Keep()
	if err != nil {
		return false, err
	}
	name := "orthanc on " + strconv.Itoa(port) + " of " + dir
	cmd := command(dir, "/usr/sbin/Orthanc", o.Config)
	cmd.Env = append(cmd.Env, append([]string{"ORTHANC_PORT=" + strconv.Itoa(port), "ORTHANC_NAME=" + name}, o.Env...)...)
	s, err := launch(cmd, dir, syscall.SIGTERM, func(ctx context.Context) error { return answers(ctx, port, name) })
	if err != nil {
		release()
		return strings.Contains(err.Error(), "already in use"), err
	}
	o.server, o.release, o.URL = s, release, "http://127.0.0.1:"+strconv.Itoa(port)
	return false, nil
}

// answers checks that it is the right one that listens on a port.
func answers(ctx context.Context, port int, name string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/system", port), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var system struct{ Name string }
	if err := json.NewDecoder(response.Body).Decode(&system); err != nil {
		return err
	}
	if system.Name != name {
		return errors.New("another server has the port")
	}
	return nil
}

// Stop ends it as the system does, and waits.
func (o *Orthanc) Stop() { o.end(syscall.SIGTERM) }

// Kill ends it at once.
func (o *Orthanc) Kill() { o.end(syscall.SIGKILL) }

func (o *Orthanc) end(signal syscall.Signal) {
	if o.server != nil {
		o.server.quit = signal
		o.server.stop()
		o.release()
	}
	o.server, o.URL = nil, ""
}
