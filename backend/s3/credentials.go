package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
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
type Credentials struct {
	AccessKey    string
	SecretKey    string
	SessionToken string
	Profile      string // a section of the shared files
	File         string // instead of the shared files
	Anonymous    bool   // requests are not signed
}

// How long the metadata service of an instance may take to answer. Where there
// is none, nothing answers at all.
const metadataTimeout = 3 * time.Second

var errNoCredentials = errors.New("no credentials found in the environment, the shared files or the instance's role")

func newCredentials(c Credentials) *credentials.Credentials {
	switch {
	case c.AccessKey != "" || c.SecretKey != "":
		return credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken)
	case c.Anonymous:
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous)
	}
	file := &credentials.FileAWSCredentials{Filename: c.File, Profile: c.Profile}
	if c.File != "" || c.Profile != "" {
		return credentials.New(&chain{list: []credentials.Provider{file}, asked: true})
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: metadataTimeout}).DialContext,
		ResponseHeaderTimeout: metadataTimeout,
	}}
	return credentials.New(&chain{list: []credentials.Provider{
		&credentials.EnvAWS{}, file, &credentials.IAM{Client: client, Region: os.Getenv("AWS_REGION"), Endpoint: os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")},
	}})
}

// chain asks one provider after the other. The library's own chain answers
// with anonymous credentials when nobody has any, which would show as a refusal
// by the store.
type chain struct {
	list  []credentials.Provider
	asked bool // the user named the one provider: its error is the answer

	mu   sync.Mutex // guards from
	from credentials.Provider
}

// Retrieve implements [credentials.Provider].
func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

// RetrieveWithCredContext implements [credentials.Provider].
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	for _, p := range c.list {
		v, err := p.RetrieveWithCredContext(cc)
		if err != nil && cc != nil && cc.Context != nil && cc.Context.Err() != nil {
			return credentials.Value{}, cc.Context.Err()
		}
		if err != nil && c.asked {
			return credentials.Value{}, fmt.Errorf("read the credentials' file: %w", err)
		}
		if err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
			continue
		}
		c.mu.Lock()
		c.from = p
		c.mu.Unlock()
		return v, nil
	}
	return credentials.Value{}, errNoCredentials
}

// IsExpired implements [credentials.Provider].
func (c *chain) IsExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.from == nil || c.from.IsExpired()
}

// credentialError is a failure to find credentials. No request was made.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return e.err.Error() }

// probeCredentials finds out whether there are credentials.
func probeCredentials(ctx context.Context, creds *credentials.Credentials) error {
	cc := &credentials.CredContext{Client: http.DefaultClient, Context: ctx}
	if _, err := creds.GetWithContext(cc); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &credentialError{err}
	}
	return nil
}
