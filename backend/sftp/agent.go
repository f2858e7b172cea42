package sftp

import (
	"os"
	"strings"
)

// agentSocket returns where the agent listens: as the caller says, else as the
// host's IdentityAgent says, else $SSH_AUTH_SOCK.
func agentSocket(given, identityAgent string) string {
	for _, s := range []string{given, identityAgent} {
		switch {
		case strings.EqualFold(s, "none"):
			return ""
		case s == "SSH_AUTH_SOCK" || s == "":
		default:
			return s
		}
	}
	return os.Getenv("SSH_AUTH_SOCK")
}
