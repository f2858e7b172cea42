package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Credentials says who asks. What is given first wins: a key, then Anonymous,
// then a profile or file, then the environment (AWS_ACCESS_KEY_ID and so on),
// the shared files (~/.aws/credentials and ~/.aws/config, or where AWS_PROFILE
// and AWS_SHARED_CREDENTIALS_FILE point), and the role of the instance or
// container. AWS_EC2_METADATA_SERVICE_ENDPOINT says where the former's metadata
// service is, if not at its usual address.
//
// One that is there but fails is told and not passed over: the next would be another
// identity. A service that gives credentials is asked again as a store is, when it
// could not be reached, was unwell, or has given some before.
type Credentials struct {
	AccessKey    string
	SecretKey    string
	SessionToken string
	Profile      string // a section of the shared files
	File         string // instead of the shared files
	Anonymous    bool   // requests are not signed
}

// How long the metadata service of an instance may take to be reached, and any
// service that gives credentials to answer. Where there is no metadata service,
// nothing is reached at all.
const (
	metadataTimeout = 3 * time.Second
	roleTimeout     = 10 * time.Second
)

func newCredentials(c Credentials) *credentials.Credentials {
	switch {
	case c.AccessKey != "" || c.SecretKey != "":
		return credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken)
	case c.Anonymous:
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous)
	}
	client := &http.Client{Timeout: roleTimeout, Transport: &roleTransport{&http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: metadataTimeout}).DialContext,
		ResponseHeaderTimeout: roleTimeout,
	}}}
	files := &fileSource{FileAWSCredentials: &credentials.FileAWSCredentials{Filename: c.File, Profile: c.Profile}, named: c.File != "" || c.Profile != ""}
	if files.named {
		return credentials.New(&chain{client: client, list: []credentials.Provider{files}})
	}
	files.named = os.Getenv("AWS_PROFILE") != ""
	role := &credentials.IAM{Client: client, Region: os.Getenv("AWS_REGION"), Endpoint: os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")}
	return credentials.New(&chain{client: client, list: []credentials.Provider{&credentials.EnvAWS{}, files, &roleSource{role}}})
}

// chain asks one provider after the other for the first that has credentials, and
// only that one from then on: another is another identity. The library's own chain
// answers with anonymous credentials when nobody has any, which would show as a
// refusal by the store, and passes over a provider that fails.
type chain struct {
	client *http.Client
	list   []credentials.Provider

	mu   sync.Mutex // guards from
	from credentials.Provider
}

// Retrieve implements [credentials.Provider].
func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

// RetrieveWithCredContext implements [credentials.Provider]. Its errors are those of
// the context, or a [credentialError].
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	own := &credentials.CredContext{Client: c.client, Context: ctx} // the store's client is for the store
	c.mu.Lock()
	list, known := c.list, c.from != nil
	if known {
		list = []credentials.Provider{c.from}
	}
	c.mu.Unlock()
	none := &credentialError{err: errNoCredentials, hint: giveKey}
	for _, p := range list {
		v, err := p.RetrieveWithCredContext(own)
		var failed *credentialError
		switch {
		case err != nil && ctx.Err() != nil:
			return credentials.Value{}, ctx.Err()
		case errors.As(err, &failed) && !failed.none:
			failed.temporary = failed.temporary || known // it could, and will again
			return credentials.Value{}, failed
		case err != nil:
			none.err = fmt.Errorf("%w: %s", none.err, err)
		case v.AccessKeyID != "" && v.SecretAccessKey != "":
			c.mu.Lock()
			c.from = p
			c.mu.Unlock()
			return v, nil
		}
	}
	none.temporary = known
	return credentials.Value{}, none
}

// IsExpired implements [credentials.Provider].
func (c *chain) IsExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.from == nil || c.from.IsExpired()
}

var errNoCredentials = errors.New("no credentials found in the environment, the shared files or the instance's role")

// credentialError is a failure to find credentials. The store was not asked. It hides
// its cause from errors.Is: that of a missing file has a meaning to users of a backend.
type credentialError struct {
	err       error
	hint      string
	temporary bool // the same provider may have them later
	network   bool // and nothing has answered
	none      bool // there is no such provider here: others may have them
}

func (e *credentialError) Error() string { return printable(e.err.Error()) }

const (
	giveKey   = "give a key with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of ~/.aws/credentials"
	mendFile  = "mend ~/.aws/credentials and ~/.aws/config, or what AWS_PROFILE and AWS_SHARED_CREDENTIALS_FILE point to, or give a key with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	checkRole = "check the role of this instance or container, and the service that gives its credentials"
)

// fileSource has credentials of the shared files.
type fileSource struct {
	*credentials.FileAWSCredentials
	named bool // the user named the profile or file: it has to be there
}

// RetrieveWithCredContext implements [credentials.Provider].
func (f *fileSource) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := f.FileAWSCredentials.RetrieveWithCredContext(cc)
	if err == nil {
		return v, nil
	}
	e := &credentialError{err: fmt.Errorf("read the credentials' file: %w", plainly(err)), hint: mendFile, none: !f.named && absent(err)}
	e.temporary, e.network = hiccup(err)
	return v, e
}

// absent reports whether there are no shared files, or no default profile in them.
// An error of the library's has no type for the latter.
func absent(err error) bool {
	if _, herr := os.UserHomeDir(); herr != nil && err.Error() == herr.Error() {
		return true
	}
	path, ok := err.(*fs.PathError) // not what is wrapped: that is about something that a file names
	return ok && path.Op == "open" && errors.Is(err, fs.ErrNotExist) || err.Error() == `section "default" does not exist`
}

// plainly returns an error of the files without the line that it is about, which may
// hold a secret.
func plainly(err error) error {
	for _, mistake := range []string{"key-value delimiter not found", "empty key name", "missing closing key quote", "unclosed section"} {
		if strings.HasPrefix(err.Error(), mistake) {
			return errors.New(mistake)
		}
	}
	return err
}

// roleSource has credentials of the role of an instance or container.
type roleSource struct{ *credentials.IAM }

// roleVariables say that this machine has a role, and where it is asked for.
var roleVariables = []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}

// RetrieveWithCredContext implements [credentials.Provider]. Where nothing says that
// there is a role, and nothing answers at the usual address, there is none.
func (r *roleSource) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := r.IAM.RetrieveWithCredContext(cc)
	if err == nil {
		return v, nil
	}
	e := &credentialError{err: fmt.Errorf("ask for the role's credentials: %w", err), hint: checkRole}
	e.temporary, e.network = hiccup(err)
	said := slices.ContainsFunc(roleVariables, func(name string) bool { return os.Getenv(name) != "" })
	e.none = !said && (e.network || !e.temporary)
	return v, e
}

// roleTransport makes an error of the answers that a service gives when it fails or
// wants to be asked less, so that these can be told from a refusal.
type roleTransport struct{ http.RoundTripper }

// roleError is a failure of a service that gives credentials.
type roleError struct {
	err      error
	answered bool
}

func (e *roleError) Error() string { return e.err.Error() }
func (e *roleError) Unwrap() error { return e.err }

// RoundTrip implements [http.RoundTripper].
func (t *roleTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, &roleError{err: err}
	}
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		resp.Body.Close()
		return nil, &roleError{err: errors.New(resp.Status), answered: true}
	}
	return resp, nil
}

// hiccup reports whether err is a failure that time can mend, and whether nothing
// answered.
func hiccup(err error) (temporary, network bool) {
	var role *roleError
	var sts credentials.ErrorResponse
	switch {
	case errors.As(err, &role):
		return true, !role.answered
	case errors.As(err, &sts):
		// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
		return sts.STSError.Code == "IDPCommunicationError" || codes[sts.STSError.Code].temporary, false
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded), false // an answer that ended early
}

// probeCredentials finds out whether there are credentials.
func (s *Store) probeCredentials(ctx context.Context, creds *credentials.Credentials) error {
	return s.retry(ctx, func(ctx context.Context) error {
		_, err := creds.GetWithContext(&credentials.CredContext{Context: ctx})
		return err
	})
}
