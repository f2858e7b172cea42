//go:build linux

package apptest

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// RedisServer is a running Redis that keeps nothing on disk. Over its socket and over
// loopback the default user needs a password.
type RedisServer struct {
	Socket   string
	Address  string // host:port
	Password string
}

// redis are the servers of this process.
var redis = [2]func() (*RedisServer, error){sync.OnceValues(startRedis), sync.OnceValues(startRedis)}

// Redis returns the server of this process.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	return oneRedis(t, 0)
}

// OtherRedis returns a second one: that of another host.
func OtherRedis(t testing.TB) *RedisServer {
	t.Helper()
	return oneRedis(t, 1)
}

func oneRedis(t testing.TB, which int) *RedisServer {
	t.Helper()
	Need(t, "redis-server", "redis-server")
	s, err := redis[which]()
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	return s
}

func startRedis() (*RedisServer, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	s := &RedisServer{Socket: filepath.Join(dir, "s"), Password: "redis-secret"}
	_, port, err := onPort(func(port int) (*server, error) {
		cmd := command(dir, "redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--unixsocket", s.Socket, "--unixsocketperm", "777",
			"--dir", dir, "--save", "", "--requirepass", s.Password)
		return launch(cmd, dir, syscall.SIGTERM, func(ctx context.Context) error {
			c, err := (&net.Dialer{}).DialContext(ctx, "unix", s.Socket)
			if err == nil {
				c.Close()
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return s, nil
}
