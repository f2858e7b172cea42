package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"vault/internal/app/config"
)

// mail sends a mail over SMTP. Without TLS it talks to this machine alone: neither
// password nor message cross a network that anybody reads.
func (s *Sender) mail(ctx context.Context, m *config.Email, title, text string) error {
	host, port, err := net.SplitHostPort(m.Server)
	number, numErr := strconv.Atoi(port)
	if err != nil || numErr != nil {
		return permanent{fmt.Errorf("server %q: want HOST:PORT", m.Server)}
	}
	password, err := mailPassword(ctx, m)
	if err != nil {
		return permanent{err}
	}
	options := []mail.Option{mail.WithPort(number), mail.WithTimeout(attemptTimeout), mail.WithoutNoop()}
	settings := &tls.Config{}
	if s.TLS != nil {
		settings = s.TLS.Clone()
	}
	settings.ServerName, settings.MinVersion = host, tls.VersionTLS12
	switch m.TLS {
	case "none":
		if !loopback(host) {
			return permanent{errors.New("tls: none is for this machine alone (localhost)")}
		}
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	case "tls":
		options = append(options, mail.WithSSL(), mail.WithTLSConfig(settings))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTLSConfig(settings))
	}
	if m.User != "" {
		auth := mail.SMTPAuthAutoDiscover
		if m.TLS == "none" {
			auth = mail.SMTPAuthPlainNoEnc
		}
		options = append(options, mail.WithSMTPAuth(auth), mail.WithUsername(m.User), mail.WithPassword(password))
	}
	c, err := mail.NewClient(host, options...)
	if err != nil {
		return permanent{err}
	}
	message := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := message.From(m.From); err != nil {
		return permanent{err}
	}
	if err := message.To(m.To...); err != nil {
		return permanent{err}
	}
	message.Subject(title)
	message.SetDate()
	message.SetMessageID()
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	message.SetBodyString(mail.TypeTextPlain, text)
	err = c.DialAndSendWithContext(ctx, message)
	var refused *mail.SendError
	if errors.As(err, &refused) && !refused.IsTemp() && refused.ErrorCode() >= 500 {
		return permanent{err}
	}
	return err
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// mailPassword returns the password, or "" if none is given.
func mailPassword(ctx context.Context, m *config.Email) (string, error) {
	if m.PasswordCommand == nil {
		return secret("", m.PasswordFile, m.PasswordEnv)
	}
	argv := m.PasswordCommand.Argv()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("password-command: %w", err)
	}
	return strings.TrimRight(out.String(), "\r\n"), nil
}
