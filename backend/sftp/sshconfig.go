package sftp

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hostConfig is what ssh_config(5) says about one host, as far as it is used
// here. Lists are in order of preference.
type hostConfig struct {
	alias          string
	hostName, user string
	port           int
	identities     []string
	identitiesOnly bool
	identityAgent  string
	proxyJump      string // "" or a list of hops
	proxyCommand   string
	knownHosts     []string
	hostKeyAlias   string
	hostKeyAlgos   string
}

// sshConfig holds the lines of the configuration files.
type sshConfig struct {
	home, localUser string
	files           []string
}

func newSSHConfig(home string, files []string) *sshConfig {
	c := &sshConfig{home: home, files: files}
	if u, err := user.Current(); err == nil {
		c.localUser = u.Username
	} else {
		c.localUser = os.Getenv("USER")
	}
	return c
}

// maxInclude bounds how deeply files include each other, as ssh does.
const maxInclude = 16

// lookUp collects what is said about the host that the user calls alias. The
// first value that is obtained wins; identity files add up.
func (c *sshConfig) lookUp(alias, userName string) (hostConfig, error) {
	values := map[string][]string{}
	if userName != "" {
		values["user"] = []string{userName}
	}
	for _, f := range c.files {
		if err := c.read(f, alias, true, values, 0); err != nil {
			return hostConfig{}, err
		}
	}
	return c.resolve(alias, values)
}

// read adds the options of one file that apply to alias. One that does not
// exist says nothing. Active says whether the block that includes the file
// applies.
func (c *sshConfig) read(file, alias string, active bool, values map[string][]string, depth int) error {
	if depth > maxInclude {
		return fmt.Errorf("%s: files include each other too deeply", file)
	}
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ssh configuration: %w", err)
	}
	outer := active
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		key, args, err := splitOption(line)
		switch {
		case err != nil:
			return fmt.Errorf("%s:%d: %w", file, n, err)
		case key == "":
		case key == "host":
			active = outer && matchPatterns(args, alias)
		case key == "match":
			active = outer && c.match(args, alias, values)
		case !active || len(args) == 0:
		case key == "include":
			for _, a := range args {
				if err := c.include(file, a, alias, values, depth); err != nil {
					return err
				}
			}
		case key == "identityfile":
			values[key] = append(values[key], args[0])
		case values[key] == nil:
			values[key] = args
		}
	}
	return nil
}

func (c *sshConfig) include(from, pattern, alias string, values map[string][]string, depth int) error {
	pattern = c.expandHome(pattern)
	if !filepath.IsAbs(pattern) {
		dir := filepath.Join(c.home, ".ssh")
		if strings.HasPrefix(from, "/etc/") {
			dir = "/etc/ssh"
		}
		pattern = filepath.Join(dir, pattern)
	}
	list, err := filepath.Glob(pattern)
	if err != nil {
		return fmt.Errorf("%s: include %s: %w", from, pattern, err)
	}
	for _, f := range list {
		if err := c.read(f, alias, true, values, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// match decides a Match line. Criteria that would need to run a program or to
// ask for canonical names do not match.
func (c *sshConfig) match(args []string, alias string, values map[string][]string) bool {
	for i := 0; i < len(args); i++ {
		criterion, not := strings.CutPrefix(strings.ToLower(args[i]), "!")
		if criterion == "all" {
			if not {
				return false
			}
			continue
		}
		if i++; i >= len(args) {
			return false
		}
		subject := ""
		switch criterion {
		case "host":
			subject = alias
			if v := values["hostname"]; v != nil {
				subject = strings.ReplaceAll(v[0], "%h", alias)
			}
		case "originalhost":
			subject = alias
		case "user":
			subject = c.localUser
			if v := values["user"]; v != nil {
				subject = v[0]
			}
		case "localuser":
			subject = c.localUser
		default:
			return false
		}
		if matchPatterns(strings.Split(args[i], ","), subject) == not {
			return false
		}
	}
	return len(args) > 0
}

// splitOption splits a line into its lower-case keyword and arguments. "Key
// value", "Key=value" and quotes are understood, comments are not returned.
func splitOption(line string) (key string, args []string, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", nil, nil
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(line), nil, nil
	}
	key = strings.ToLower(line[:end])
	rest := strings.TrimLeft(line[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	if key == "proxycommand" {
		return key, []string{rest}, nil
	}
	for rest != "" && rest[0] != '#' {
		var arg string
		if rest[0] == '"' {
			var ok bool
			if arg, rest, ok = strings.Cut(rest[1:], `"`); !ok {
				return "", nil, fmt.Errorf("a quote that does not end")
			}
		} else if end := strings.IndexAny(rest, " \t"); end >= 0 {
			arg, rest = rest[:end], rest[end:]
		} else {
			arg, rest = rest, ""
		}
		args = append(args, arg)
		rest = strings.TrimLeft(rest, " \t")
	}
	return key, args, nil
}

// matchPatterns reports whether a list of patterns with "*", "?" and "!"
// matches: some pattern does, and no negated one.
func matchPatterns(patterns []string, s string) bool {
	s = strings.ToLower(s)
	found := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(strings.ToLower(p), "!")
		if wildcard(p, s) {
			if not {
				return false
			}
			found = true
		}
	}
	return found
}

// wildcard matches "*" and "?", in time proportional to the product of the lengths.
func wildcard(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// resolve turns collected options into what is used.
func (c *sshConfig) resolve(alias string, values map[string][]string) (hostConfig, error) {
	first := func(key, otherwise string) string {
		if v := values[key]; len(v) > 0 {
			return v[0]
		}
		return otherwise
	}
	none := func(s string) string {
		if strings.EqualFold(s, "none") {
			return ""
		}
		return s
	}
	h := hostConfig{
		alias:          alias,
		hostName:       strings.ReplaceAll(strings.ReplaceAll(first("hostname", alias), "%h", alias), "%%", "%"),
		user:           first("user", c.localUser),
		port:           22,
		identitiesOnly: strings.EqualFold(first("identitiesonly", "no"), "yes"),
		identityAgent:  first("identityagent", ""),
		proxyJump:      none(first("proxyjump", "")),
		proxyCommand:   none(first("proxycommand", "")),
		hostKeyAlias:   first("hostkeyalias", ""),
		hostKeyAlgos:   first("hostkeyalgorithms", ""),
	}
	if p := first("port", ""); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return h, fmt.Errorf("ssh configuration of %s: %q is no port", alias, p)
		}
		h.port = n
	}
	for _, f := range values["identityfile"] {
		if none(f) != "" {
			h.identities = append(h.identities, c.expand(f, h))
		}
	}
	user, global := values["userknownhostsfile"], values["globalknownhostsfile"]
	if user == nil {
		user = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	if global == nil {
		global = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	for _, f := range slices.Concat(user, global) {
		if none(f) != "" {
			h.knownHosts = append(h.knownHosts, c.expand(f, h))
		}
	}
	if h.identityAgent != "" && !strings.EqualFold(h.identityAgent, "none") && h.identityAgent != "SSH_AUTH_SOCK" {
		h.identityAgent = c.expand(h.identityAgent, h)
	}
	return h, nil
}

func (c *sshConfig) expandHome(s string) string {
	if rest, ok := strings.CutPrefix(s, "~/"); ok {
		return filepath.Join(c.home, rest)
	}
	return s
}

// expand replaces "~", ${NAME} and the percent tokens in a file's name.
func (c *sshConfig) expand(s string, h hostConfig) string {
	s = c.expandHome(s)
	if name, ok := strings.CutPrefix(s, "$"); ok && !strings.HasPrefix(name, "{") {
		return os.Getenv(name) // IdentityAgent $NAME
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if rest := s[i:]; strings.HasPrefix(rest, "${") {
			if end := strings.IndexByte(rest, '}'); end > 0 {
				b.WriteString(os.Getenv(rest[2:end]))
				i += end
				continue
			}
		}
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case '%':
			b.WriteByte('%')
		case 'd':
			b.WriteString(c.home)
		case 'h':
			b.WriteString(h.hostName)
		case 'n':
			b.WriteString(h.alias)
		case 'p':
			b.WriteString(strconv.Itoa(h.port))
		case 'r':
			b.WriteString(h.user)
		case 'u':
			b.WriteString(c.localUser)
		default:
			b.WriteString(s[i-1 : i+1])
		}
	}
	return b.String()
}

// homeDir returns the home directory: $HOME first, as users expect who set it.
func homeDir() string {
	if h := os.Getenv("HOME"); h != "" {
		return h
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return "/"
}
