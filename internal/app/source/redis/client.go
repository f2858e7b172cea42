package redis

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of what a server may answer.
const (
	maxLine  = 64 << 10
	maxBulk  = 512 << 20 // the server's own limit for a value
	maxArray = 1 << 20
	maxDepth = 16
)

// Error is what the server answers to a command that it refuses. Its first word is a
// code.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Code returns the first word: "BUSYKEY", "WRONGPASS", "NOAUTH", "NOPERM", "ERR".
func (e *Error) Code() string {
	code, _, _ := strings.Cut(e.Text, " ")
	return code
}

func hasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code() == code
}

// client is a connection. It speaks version 2 of the protocol
// (redis.io/docs/latest/develop/reference/protocol-spec). Safe for concurrent use.
type client struct {
	stop func() bool // of the watch over the context

	mu   sync.Mutex // guards what follows
	ctx  context.Context
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
}

// dial connects and chooses user and database. The connection ends with ctx.
func dial(ctx context.Context, s Server) (*client, error) {
	network, address := "tcp", s.Address
	switch {
	case address == "":
		address = "127.0.0.1:6379"
	case strings.HasPrefix(address, "/"):
		network = "unix"
	}
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, network, address)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("connect to Redis at %s: %w (is the server running, and is the address right?)", address, err)
	}
	c := &client{ctx: ctx, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriter(conn)}
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })
	if err := c.greet(s); err != nil {
		c.close()
		return nil, fmt.Errorf("Redis at %s: %w", address, err)
	}
	return c, nil
}

func (c *client) greet(s Server) error {
	if s.Password != "" {
		args := []string{"AUTH", s.Password}
		if s.User != "" {
			args = []string{"AUTH", s.User, s.Password}
		}
		if _, err := c.do(args...); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
	}
	if s.Database != 0 {
		if _, err := c.do("SELECT", strconv.Itoa(s.Database)); err != nil {
			return fmt.Errorf("choose database %d: %w", s.Database, err)
		}
	}
	_, err := c.do("PING")
	return err
}

func (c *client) close() {
	c.stop()
	c.conn.Close()
}

// do sends a command and returns the answer: a string, an int64, []byte, []any or
// nil. An answer that is an error is an *Error.
func (c *client) do(args ...string) (any, error) {
	answers, err := c.pipeline(args)
	if err != nil {
		return nil, err
	}
	if e, ok := answers[0].(*Error); ok {
		return nil, e
	}
	return answers[0], nil
}

// pipeline sends commands that are answered in order. An answer may be an *Error.
func (c *client) pipeline(commands ...[]string) ([]any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, args := range commands {
		fmt.Fprintf(c.out, "*%d\r\n", len(args))
		for _, a := range args {
			fmt.Fprintf(c.out, "$%d\r\n", len(a))
			c.out.WriteString(a)
			c.out.WriteString("\r\n")
		}
	}
	err := c.out.Flush()
	var answers []any
	for range commands {
		if err != nil {
			break
		}
		var a any
		a, err = readAnswer(c.in, 0)
		answers = append(answers, a)
	}
	if err == nil {
		return answers, nil
	}
	c.conn.Close() // what comes next would be the answer to something else
	if cause := context.Cause(c.ctx); cause != nil {
		return nil, cause
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("talk to Redis: %w", err)
}

var errProtocol = errors.New("not an answer of a Redis server")

// readAnswer reads one answer. It allocates no more than the server sends.
func readAnswer(in *bufio.Reader, depth int) (any, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 {
		return nil, fmt.Errorf("%w: an empty line", errProtocol)
	}
	text := string(line[1:])
	switch line[0] {
	case '+':
		return text, nil
	case '-':
		return &Error{text}, nil
	case ':':
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: number %.40q", errProtocol, text)
		}
		return n, nil
	case '$':
		return readBulk(in, text)
	case '*':
		return readArray(in, text, depth)
	}
	return nil, fmt.Errorf("%w: %.40q", errProtocol, line)
}

func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a line longer than %d bytes", errProtocol, maxLine)
	case err != nil:
		return nil, err
	case len(line) < 2 || line[len(line)-2] != '\r':
		return nil, fmt.Errorf("%w: %.40q", errProtocol, line)
	}
	return line[:len(line)-2], nil
}

// length parses the length of a bulk or an array, -1 for none.
func length(text string, limit int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < -1 || n > limit {
		return 0, fmt.Errorf("%w: length %.40q, limit %d", errProtocol, text, limit)
	}
	return n, nil
}

func readBulk(in *bufio.Reader, text string) (any, error) {
	n, err := length(text, maxBulk)
	if err != nil || n < 0 {
		return nil, err
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, in, n); err != nil {
		return nil, err
	}
	var end [2]byte
	if _, err := io.ReadFull(in, end[:]); err != nil {
		return nil, err
	}
	if end != [2]byte{'\r', '\n'} {
		return nil, fmt.Errorf("%w: a value of another length than it says", errProtocol)
	}
	return b.Bytes(), nil
}

func readArray(in *bufio.Reader, text string, depth int) (any, error) {
	n, err := length(text, maxArray)
	if err != nil || n < 0 {
		return nil, err
	}
	if depth >= maxDepth {
		return nil, fmt.Errorf("%w: lists nested too deeply", errProtocol)
	}
	list := []any{}
	for range n {
		a, err := readAnswer(in, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}
