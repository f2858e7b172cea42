package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/minio/minio-go/v7"

	"vault/backend"
)

// Answers that no store gives, but a web page does that stands before the
// network, or at a wrong address.
var (
	errNoETag    = errors.New("the answer carries no ETag, as a store's would")
	errWordy     = errors.New("the answer to a deletion has a text")
	errNoListing = errors.New("the answer is no listing")
	errTooMuch   = errors.New("the answer is larger than a store's")
)

// verdict is what a failed request means.
type verdict struct {
	kind      error // as in [backend.Error]
	hint      string
	temporary bool // the same request may succeed later
	unmade    bool // the store has certainly not done what was asked
	network   bool // nothing that speaks HTTP has answered
}

// judge decides from the evidence: a status and code that the store gave, or
// the error of the network.
func judge(err error) verdict {
	var api minio.ErrorResponse
	var cred *credentialError
	var network *netError
	switch {
	case err == fs.ErrNotExist:
		return verdict{kind: fs.ErrNotExist, unmade: true}
	case errors.Is(err, errNoETag), errors.Is(err, errWordy), errors.Is(err, errNoListing), errors.Is(err, errTooMuch):
		return verdict{kind: backend.ErrUnreachable, unmade: true, hint: notS3}
	case errors.As(err, &network):
		return judgeNetwork(network.err)
	case errors.As(err, &api):
		return judgeAnswer(api)
	case errors.As(err, &cred) && cred.temporary:
		return verdict{kind: backend.ErrUnreachable, unmade: true, temporary: true, network: cred.network, hint: cred.hint}
	case errors.As(err, &cred):
		return verdict{kind: backend.ErrPermission, unmade: true, hint: cred.hint}
	}
	return verdict{}
}

// codes are the answers whose meaning does not follow from their status. The
// names are Amazon's, MinIO's (X...), Ceph's and B2's.
var codes = map[string]verdict{
	"NoSuchKey":                          {kind: fs.ErrNotExist, unmade: true},
	"NoSuchUpload":                       {unmade: true, hint: "somebody has aborted the upload: is there a lifecycle rule for unfinished ones?"},
	"NoSuchVersion":                      {kind: fs.ErrNotExist, unmade: true},
	"NoSuchBucket":                       {kind: backend.ErrUnreachable, unmade: true, hint: "the bucket does not exist: check its name, region and endpoint, or create it"},
	"InvalidBucketName":                  {kind: backend.ErrUnreachable, unmade: true, hint: "check the bucket's name"},
	"PermanentRedirect":                  {kind: backend.ErrUnreachable, unmade: true, hint: wrongRegion},
	"TemporaryRedirect":                  {kind: backend.ErrUnreachable, unmade: true, temporary: true},
	"InvalidRegion":                      {kind: backend.ErrUnreachable, unmade: true, hint: wrongRegion},
	"IllegalLocationConstraintException": {kind: backend.ErrUnreachable, unmade: true, hint: wrongRegion},
	"AuthorizationHeaderMalformed":       {kind: backend.ErrPermission, unmade: true, hint: wrongRegion},

	"XAdminUserNotFound":             {kind: backend.ErrPermission, unmade: true, hint: "the store does not know the access key"},
	"InvalidAccessKeyId":             {kind: backend.ErrPermission, unmade: true, hint: "the store does not know the access key"},
	"SignatureDoesNotMatch":          {kind: backend.ErrPermission, unmade: true, hint: "the secret key does not belong to the access key"},
	"ExpiredToken":                   {kind: backend.ErrPermission, unmade: true, hint: "the session token has expired: get a new one"},
	"InvalidToken":                   {kind: backend.ErrPermission, unmade: true, hint: "the session token is not valid"},
	"AccountProblem":                 {kind: backend.ErrPermission, unmade: true, hint: "the account needs the provider's attention"},
	"RequestTimeTooSkewed":           {kind: backend.ErrPermission, unmade: true, hint: "this machine's clock and the store's differ too much"},
	"RequestExpired":                 {kind: backend.ErrPermission, unmade: true, hint: "this machine's clock and the store's differ too much"},
	"InvalidObjectState":             {unmade: true, hint: "the object is in an archive tier: restore it to a tier that can be read"},
	"InvalidStorageClass":            {unmade: true, hint: "the store does not know this storage class"},
	"ObjectLocked":                   {kind: backend.ErrLocked, unmade: true},
	"XMinioStorageFull":              full,
	"QuotaExceeded":                  full,
	"XMinioAdminBucketQuotaExceeded": full,
	"InsufficientCapacity":           full,
	"storage_cap_exceeded":           full,

	// These come with status 200 too: the answer to the completion of an upload
	// begins before the store knows how it ends. Amazon says to make it again.
	"InternalError":               ailing,
	"InternalFailure":             ailing,
	"ServiceUnavailable":          ailing,
	"SlowDown":                    slow,
	"SlowDownRead":                slow,
	"SlowDownWrite":               slow,
	"TooManyRequests":             slow,
	"Throttling":                  slow,
	"ThrottlingException":         slow,
	"RequestThrottled":            slow,
	"RequestLimitExceeded":        slow,
	"RequestTimeout":              {kind: backend.ErrUnreachable, temporary: true},
	"OperationAborted":            {kind: backend.ErrUnreachable, temporary: true, unmade: true},
	"ConditionalRequestConflict":  {temporary: true, unmade: true},
	"BadDigest":                   {temporary: true, unmade: true, hint: changed},
	"InvalidDigest":               {temporary: true, unmade: true, hint: changed},
	"XAmzContentChecksumMismatch": {temporary: true, unmade: true, hint: changed},
	"XAmzContentSHA256Mismatch":   {temporary: true, unmade: true, hint: changed},
	"IncompleteBody":              {kind: backend.ErrUnreachable, temporary: true, unmade: true},
}

const (
	wrongRegion = "the bucket is in another region or at another endpoint"
	notS3       = "is this the address of an S3 store?"
	changed     = "the data changed on its way: check the network and this machine's memory"
)

var (
	full   = verdict{kind: backend.ErrNoSpace, unmade: true, hint: "free some space, or raise the quota"}
	ailing = verdict{kind: backend.ErrUnreachable, temporary: true, hint: "the store reports an error of its own"}
	slow   = verdict{kind: backend.ErrUnreachable, temporary: true, hint: "the store asks for fewer requests"}
)

func judgeAnswer(api minio.ErrorResponse) verdict {
	if api.StatusCode == http.StatusNotFound && api.XMLName.Local != "Error" {
		// The library takes any 404 for a missing object. Without the store's
		// own words it may come from whatever else listens there.
		return verdict{kind: backend.ErrUnreachable, unmade: true, hint: notS3}
	}
	if v, ok := codes[api.Code]; ok {
		return v
	}
	switch status := api.StatusCode; status {
	case http.StatusNotFound, http.StatusGone:
		return verdict{kind: backend.ErrUnreachable, unmade: true, hint: notS3}
	case http.StatusUnauthorized, http.StatusForbidden:
		return verdict{kind: backend.ErrPermission, unmade: true, hint: "check the key, and what its policy allows on the bucket"}
	case http.StatusProxyAuthRequired:
		return verdict{kind: backend.ErrPermission, unmade: true, hint: "the proxy wants credentials"}
	case http.StatusPreconditionFailed:
		return verdict{kind: fs.ErrExist, unmade: true}
	case http.StatusConflict:
		return verdict{temporary: true, unmade: true}
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return verdict{kind: errors.ErrUnsupported, unmade: true}
	case http.StatusInsufficientStorage:
		return full
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, 499:
		return slow
	case 0: // the library's own errors have no status, or an answer could not be understood
		return verdict{}
	default:
		if status >= 500 {
			return ailing
		}
		return verdict{unmade: true}
	}
}

func judgeNetwork(err error) verdict {
	var (
		dns     *net.DNSError
		dial    *net.OpError
		unknown x509.UnknownAuthorityError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	v := verdict{kind: backend.ErrUnreachable, network: true, temporary: true}
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		v.unmade, v.hint = true, "the host is unknown: check the endpoint's name and the network"
	case errors.As(err, &unknown), errors.As(err, &verify):
		v.temporary, v.unmade = false, true
		v.hint = "the server's certificate is not trusted: give its issuer's, or check the endpoint"
	case errors.As(err, &record), errors.As(err, &alert), strings.HasSuffix(err.Error(), "server gave HTTP response to HTTPS client"):
		v.temporary, v.unmade = false, true
		v.hint = "the server does not speak TLS here: an endpoint without TLS begins with http://"
	case errors.Is(err, syscall.ECONNREFUSED):
		v.unmade, v.hint = true, "nothing listens there: is the server running, and is the port right?"
	case errors.As(err, &dial) && dial.Op == "dial":
		v.unmade, v.hint = true, "check the endpoint and the network"
	default:
		v.hint = "the network or the store broke off"
	}
	return v
}

// failed describes the failure of one operation, whose cause is the context's
// error if that is done.
func (s *Store) failed(ctx context.Context, op, name string, err error) error {
	var known *backend.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known):
		return err
	}
	v := judge(err)
	if minio.ToErrorResponse(err).Code == "InvalidRequest" && s.cfg.ObjectLock.Mode != "" && v.hint == "" {
		v.hint = "was the bucket made with object lock?"
	}
	return &backend.Error{Op: op, Place: s.place, Name: name, Kind: v.kind, Err: opaque(err), Hint: v.hint}
}

// opaque returns err in the words that a user should see, and without what has
// a meaning of its own to callers of a backend.
func opaque(err error) error {
	var api minio.ErrorResponse
	var network *netError
	for _, mine := range []error{errNoETag, errWordy, errNoListing, errTooMuch} {
		if errors.Is(err, mine) {
			return mine // without the library's words around it
		}
	}
	switch {
	case errors.As(err, &api):
		return errors.New(describe(api))
	case errors.As(err, &network):
		return errors.New(network.Error())
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrPermission),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New(err.Error())
	}
	return err
}

// maxMessage is how much of a store's own words is passed on.
const maxMessage = 300

// describe returns a store's answer on one line, without control characters.
func describe(api minio.ErrorResponse) string {
	text := api.Code
	if api.Message != "" && api.Message != api.Code {
		text += ": " + api.Message
	}
	text = printable(text)
	if api.StatusCode != 0 {
		text += fmt.Sprintf(" (HTTP %d)", api.StatusCode)
	}
	return text
}

// printable returns no more of a stranger's words than fit on a line.
func printable(text string) string {
	if len(text) > maxMessage {
		text = text[:maxMessage] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
