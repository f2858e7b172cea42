package sftp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"vault/backend"
)

// knownHosts holds the lines of known_hosts files (sshd(8), SSH_KNOWN_HOSTS
// FILE FORMAT) that can be understood.
type knownHosts struct {
	files []string // that were looked for
	lines []knownLine
}

type knownLine struct {
	marker string // "", "cert-authority" or "revoked"
	hosts  []string
	key    ssh.PublicKey
	where  string // file:line
}

// readKnownHosts reads files. Missing ones know nobody; lines that make no
// sense (old protocols, new algorithms) are passed over, as ssh does.
func readKnownHosts(files []string) (*knownHosts, error) {
	k := &knownHosts{files: files}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
		n := 0
		for line := range bytes.Lines(data) {
			n++
			marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
			if err != nil {
				continue
			}
			k.lines = append(k.lines, knownLine{marker, hosts, key, f + ":" + strconv.Itoa(n)})
		}
	}
	return k, nil
}

// hostLabel is how known_hosts calls a host.
func hostLabel(host string, port int) string {
	host = strings.ToLower(host)
	if port == 22 {
		return host
	}
	return "[" + host + "]:" + strconv.Itoa(port)
}

// matches reports whether a line is about the host of this label.
func (l *knownLine) matches(label string) bool {
	if len(l.hosts) == 1 && strings.HasPrefix(l.hosts[0], "|1|") {
		return matchHashed(l.hosts[0], label)
	}
	return matchPatterns(l.hosts, label)
}

// excludes reports whether a line says that it is not about a host.
func (l *knownLine) excludes(label string) bool {
	return slices.ContainsFunc(l.hosts, func(p string) bool {
		p, not := strings.CutPrefix(p, "!")
		return not && matchPatterns([]string{p}, label)
	})
}

// matchHashed matches "|1|salt|HMAC-SHA1(salt, name)".
func matchHashed(entry, label string) bool {
	parts := strings.Split(entry, "|")
	if len(parts) != 4 {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	want, err2 := base64.StdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(label))
	return hmac.Equal(mac.Sum(nil), want)
}

// hostChecker decides about the keys that one host shows.
type hostChecker struct {
	known *knownHosts
	host  string // as known_hosts calls it, without the port
	port  int
	err   error // the last refusal
}

func (c *hostChecker) label() string { return hostLabel(c.host, c.port) }

// relevant returns the lines about this host. A host on another port is also
// known by a line without one, unless there are lines with it.
func (c *hostChecker) relevant() []knownLine {
	for _, label := range []string{c.label(), hostLabel(c.host, 22)} {
		var list []knownLine
		for _, l := range c.known.lines {
			if l.matches(label) && !l.excludes(c.label()) {
				list = append(list, l)
			}
		}
		if slices.ContainsFunc(list, func(l knownLine) bool { return l.marker != "revoked" }) {
			return list
		}
	}
	return nil
}

// check is an ssh.HostKeyCallback.
func (c *hostChecker) check(_ string, remote net.Addr, key ssh.PublicKey) error {
	checker := ssh.CertChecker{
		IsHostAuthority: func(authority ssh.PublicKey, _ string) bool {
			return slices.ContainsFunc(c.relevant(), func(l knownLine) bool {
				return l.marker == "cert-authority" && sameKey(l.key, authority)
			})
		},
		IsRevoked:       func(cert *ssh.Certificate) bool { return c.revoked(cert.SignatureKey) || c.revoked(cert.Key) },
		HostKeyFallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { return c.checkPlain(key) },
	}
	c.err = checker.CheckHostKey(net.JoinHostPort(c.host, strconv.Itoa(c.port)), remote, key)
	if c.err != nil {
		if _, ok := c.err.(*dialError); !ok { // a certificate
			c.err = c.refuse(fmt.Errorf("the host certificate of %s is refused: %w", c.label(), c.err),
				"look at the certificate on the server: ssh-keygen -Lf /etc/ssh/ssh_host_*-cert.pub")
		}
	}
	return c.err
}

func (c *hostChecker) revoked(key ssh.PublicKey) bool {
	return slices.ContainsFunc(c.known.lines, func(l knownLine) bool {
		return l.marker == "revoked" && sameKey(l.key, key) && (l.matches(c.label()) || l.matches(hostLabel(c.host, 22)))
	})
}

func (c *hostChecker) checkPlain(key ssh.PublicKey) error {
	print := key.Type() + " " + ssh.FingerprintSHA256(key)
	if c.revoked(key) {
		return c.refuse(fmt.Errorf("the host key of %s is marked as revoked: %s", c.label(), print), "somebody may be in the way: do not use this server before its owner has explained it")
	}
	var others []knownLine
	for _, l := range c.relevant() {
		if l.marker == "" {
			if sameKey(l.key, key) {
				return nil
			}
			others = append(others, l)
		}
	}
	if len(others) == 0 {
		file := "~/.ssh/known_hosts"
		if len(c.known.files) > 0 {
			file = c.known.files[0]
		}
		return c.refuse(fmt.Errorf("the host key of %s is unknown: %s", c.label(), print),
			fmt.Sprintf("compare the fingerprint with the server's own (on the server: ssh-keygen -lf for each /etc/ssh/ssh_host_*.pub); if it is the same, append this line to %s: %s %s",
				file, c.label(), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))))
	}
	old := others[0]
	for _, l := range others {
		if l.key.Type() == key.Type() {
			old = l
		}
	}
	file, _, _ := strings.Cut(old.where, ":")
	return c.refuse(fmt.Errorf("the host key of %s has changed: it is now %s, but %s knows %s %s", c.label(), print, old.where, old.key.Type(), ssh.FingerprintSHA256(old.key)),
		fmt.Sprintf("somebody may be in the way, or the server was set up anew: ask its owner for the fingerprint; only if it is the new one, forget the old key: ssh-keygen -R '%s' -f %s", c.label(), file))
}

func (c *hostChecker) refuse(err error, hint string) error {
	return &dialError{marked: &marked{kind: backend.ErrUnreachable, err: err, hint: hint}}
}

func sameKey(a, b ssh.PublicKey) bool {
	return a.Type() == b.Type() && bytes.Equal(a.Marshal(), b.Marshal())
}

// algorithms returns the kinds of host key to ask the server for: first those
// by which it is known, or it would show a key of another kind, which nobody
// knows. Configured is the value of HostKeyAlgorithms.
func (c *hostChecker) algorithms(configured string) []string {
	all := append(ssh.SupportedAlgorithms().HostKeys, certAlgorithms...)
	switch {
	case configured == "":
	case strings.HasPrefix(configured, "+"):
		all = append(all, strings.Split(configured[1:], ",")...)
	case strings.HasPrefix(configured, "^"):
		all = append(strings.Split(configured[1:], ","), all...)
	case strings.HasPrefix(configured, "-"):
		without := strings.Split(configured[1:], ",")
		all = slices.DeleteFunc(all, func(a string) bool { return matchPatterns(without, a) })
	default:
		all = strings.Split(configured, ",")
	}
	var first, rest []string
	known := map[string]bool{}
	for _, l := range c.relevant() {
		switch l.marker {
		case "cert-authority":
			for _, a := range certAlgorithms {
				known[a] = true
			}
		case "":
			known[l.key.Type()] = true
			if l.key.Type() == ssh.KeyAlgoRSA {
				known[ssh.KeyAlgoRSASHA256], known[ssh.KeyAlgoRSASHA512] = true, true
			}
		}
	}
	seen := map[string]bool{}
	for _, a := range all {
		switch {
		case seen[a]:
		case known[a]:
			first = append(first, a)
		case !slices.Contains(certAlgorithms, a): // a certificate of nobody known helps nobody
			rest = append(rest, a)
		}
		seen[a] = true
	}
	return append(first, rest...)
}

var certAlgorithms = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}
