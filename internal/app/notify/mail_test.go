package notify

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"vault/internal/app/config"
	"vault/internal/app/record"
)

// smtpServer is a mail server that keeps what it gets.
type smtpServer struct {
	l        net.Listener
	tls      *tls.Config
	implicit bool
	refuse   string // answer to RCPT, if any

	mu      sync.Mutex // guards what follows
	open    []net.Conn
	mails   []string
	auth    []string
	secured []bool
}

// certificates returns those of a server on loopback, and who trusts it.
func certificates(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: pool}
}

func (s *smtpServer) start(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.l = l
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open = append(s.open, c)
			s.mu.Unlock()
			wg.Go(func() { defer c.Close(); s.talk(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, c := range s.open { // a client that gives up may leave them to the collector
			c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

func (s *smtpServer) talk(c net.Conn) {
	secure := s.implicit
	if secure {
		c = tls.Server(c, s.tls)
	}
	r := bufio.NewReader(c)
	say := func(text string) { io.WriteString(c, text+"\r\n") }
	say("220 mail.test ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.test")
			if s.tls != nil && !secure {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN LOGIN")
		case "STARTTLS":
			say("220 go ahead")
			c = tls.Server(c, s.tls)
			r, secure = bufio.NewReader(c), true
		case "AUTH":
			_, b64, _ := strings.Cut(rest, " ")
			b, _ := base64.StdEncoding.DecodeString(b64)
			s.mu.Lock()
			s.auth = append(s.auth, string(b))
			s.mu.Unlock()
			say("235 welcome")
		case "RCPT":
			if s.refuse != "" {
				say(s.refuse)
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil || line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			s.mu.Lock()
			s.mails, s.secured = append(s.mails, b.String()), append(s.secured, secure)
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// TestMail: over STARTTLS, implicit TLS and plain on this machine; subject and text
// arrive as they were meant.
func TestMail(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	t.Setenv("MAIL_PASSWORD", "p w")
	for name, c := range map[string]*smtpServer{"starttls": {tls: serverTLS}, "tls": {tls: serverTLS, implicit: true}, "none": {}} {
		addr := c.start(t)
		s := sender(map[string]*config.Notify{"mail": {Subject: "Grüße: {{.App}} {{.Outcome}}",
			Email: &config.Email{Server: addr, TLS: name, From: "vault@web1.test", To: config.Strings{"a@x.test", "B <b@x.test>"}, User: "u", Password: config.Password{PasswordEnv: "MAIL_PASSWORD"}}}})
		s.TLS = clientTLS
		if f := s.Send(t.Context(), []string{"mail"}, NewEvent(activity(record.Failed), nil)); f != nil {
			t.Fatalf("%s: %v", name, f)
		}
		c.mu.Lock()
		if len(c.mails) != 1 || c.secured[0] != (name != "none") || len(c.auth) != 1 || c.auth[0] != "\x00u\x00p w" {
			t.Fatalf("%s: %d mails, secured %v, auth %q", name, len(c.mails), c.secured, c.auth)
		}
		m, err := mail.ReadMessage(strings.NewReader(c.mails[0]))
		c.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || subject != "Grüße: cloud failed" {
			t.Errorf("%s: subject %q %v", name, subject, err)
		}
		if to, err := m.Header.AddressList("To"); err != nil || len(to) != 2 || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-Id") == "" {
			t.Errorf("%s: header %v %v", name, m.Header, err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil || !strings.Contains(string(body), "Why:    open sftp://nas/vault: connection refused") || !strings.Contains(string(body), "x/y: permission denied") {
			t.Errorf("%s: %s %v", name, body, err)
		}
	}
}

// TestMailRefused: nothing goes over a network without TLS, nothing to a server whose
// certificate nobody knows, and a recipient who is refused is not tried again.
func TestMailRefused(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	plain, unknown := &smtpServer{}, &smtpServer{tls: serverTLS}
	picky := &smtpServer{tls: serverTLS, refuse: "550 no such user"}
	for name, c := range map[string]struct {
		server string
		tls    string
		trust  *tls.Config
		want   string
	}{
		"plain elsewhere":     {"mail.example:25", "none", nil, "for this machine alone"},
		"no STARTTLS there":   {plain.start(t), "", clientTLS, "STARTTLS"},
		"unknown certificate": {unknown.start(t), "", nil, "certificate"},
		"no such recipient":   {picky.start(t), "", clientTLS, "550"},
		"no port":             {"mail.example", "", nil, "want HOST:PORT"},
	} {
		s := sender(map[string]*config.Notify{"mail": {Email: &config.Email{Server: c.server, TLS: c.tls, From: "a@x.test", To: config.Strings{"b@x.test"}}}})
		s.TLS = c.trust
		f := s.Send(t.Context(), []string{"mail"}, NewEvent(activity(record.Failed), nil))
		if len(f) != 1 || !strings.Contains(f[0].Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, f, c.want)
		}
	}
	if len(plain.mails)+len(unknown.mails) != 0 {
		t.Error("a mail went out in the clear")
	}
}
