package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io/fs"

	"github.com/minio/minio-go/v7"

	"vault/backend"
)

// tokenKey is the user metadata that tells whose create or multipart upload
// made an object. It arrives as X-Amz-Meta-Vault-Token.
const tokenKey = "Vault-Token"

// Put implements [backend.Backend]. Data of more than [Config].PartSize bytes
// goes up in parts, several at once. Under a context of [backend.Bulk] the object
// is of [Config].StorageClass.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := s.begin(ctx, "put", name); err != nil {
		return err
	}
	var err error
	if len(data) > s.cfg.PartSize {
		err = s.putParts(ctx, name, data)
	} else {
		p := s.prepare(name, data)
		p.opts.StorageClass = s.class(ctx)
		err = s.retry(ctx, func(ctx context.Context) error { return s.send(ctx, p) })
	}
	if err != nil {
		return s.failed(ctx, "put", name, err)
	}
	return nil
}

// Create implements [backend.Backend], with a single conditional PUT: the
// completion of an upload in parts is conditional on few stores only. When its
// own earlier request turns out to have succeeded, Create returns nil.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	if err := s.begin(ctx, "create", name); err != nil {
		return err
	}
	if err := s.create(ctx, name, data); err != nil {
		return s.failed(ctx, "create", name, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context, name string, data []byte) error {
	token := rand.Text()
	p := s.prepare(name, data)
	p.opts.UserMetadata[tokenKey] = token
	if s.unguarded.Load() {
		return s.createUnguarded(ctx, p)
	}
	p.opts.SetMatchETagExcept("*")
	open := false // an earlier request may have taken effect, or may yet
	for try := 1; ; try++ {
		err := s.send(ctx, p)
		if err == nil {
			return nil
		}
		v := judge(err)
		switch {
		case v.kind == fs.ErrExist && open:
			if there, err := s.settle(ctx, p, token); there {
				return err
			}
			return s.exists(p) // it is gone by now, but it was there
		case v.kind == fs.ErrExist:
			return s.exists(p)
		case errors.Is(v.kind, errors.ErrUnsupported):
			return &backend.Error{Op: "create", Place: s.place, Name: name, Kind: errors.ErrUnsupported, Err: opaque(err),
				Hint: "the store cannot create exclusively: only a single writer is safe here"}
		}
		open = open || !v.unmade
		if !s.again(ctx, try, err) {
			return err
		}
		ctx = cautious(ctx, err)
		if v.network && open {
			// A store that finds the object there need not read the data, and
			// may break off before its answer has arrived, every time.
			if there, err := s.settle(ctx, p, token); there {
				return err
			}
		}
	}
}

// createUnguarded creates on a store that cannot do it exclusively.
func (s *Store) createUnguarded(ctx context.Context, p *upload) error {
	_, err := s.look(ctx, p.name)
	switch {
	case err == nil:
		return s.exists(p)
	case judge(err).kind != fs.ErrNotExist:
		return err
	}
	return s.retry(ctx, func(ctx context.Context) error { return s.send(ctx, p) })
}

// settle tells whether there is an object where a create is to be repeated,
// and if so what that means for the create. An object that cannot be looked at
// counts as there.
func (s *Store) settle(ctx context.Context, p *upload, token string) (there bool, err error) {
	info, err := s.look(ctx, p.name)
	switch {
	case err == nil && info.UserMetadata[tokenKey] == token:
		return true, nil
	case err == nil:
		return true, s.exists(p)
	case judge(err).kind == fs.ErrNotExist:
		return false, nil
	}
	return true, err
}

func (s *Store) exists(p *upload) error {
	return &backend.Error{Op: "create", Place: s.place, Name: p.name, Kind: fs.ErrExist, Err: fs.ErrExist}
}

// upload is one PUT that is ready to be sent, as often as need be.
type upload struct {
	name string
	data []byte
	sha  string
	opts minio.PutObjectOptions
}

// prepare computes what the request says about its data. The checksums are
// those of a request that is known in advance, since the trailing ones need
// TLS. Over plain HTTP the signature covers the data as well.
func (s *Store) prepare(name string, data []byte) *upload {
	p := &upload{name: name, data: data, opts: s.options(name)}
	p.sha = s.payloadHash(data)
	if !s.cfg.NoChecksum {
		p.opts.UserMetadata[checksumHeader] = checksum(data)
	}
	return p
}

// options returns what every new object of that name carries.
func (s *Store) options(name string) minio.PutObjectOptions {
	opts := minio.PutObjectOptions{
		UserMetadata:         map[string]string{},
		DisableContentSha256: true, // no signing in chunks: the hash is given, or TLS protects the data
		DisableMultipart:     true,
	}
	s.cfg.ObjectLock.mark(&opts, name, s.now())
	return opts
}

// class returns the storage class of an object that is put under ctx, "" for the
// bucket's default.
func (s *Store) class(ctx context.Context) string {
	if backend.IsBulk(ctx) {
		return s.cfg.StorageClass
	}
	return ""
}

// send makes one request.
func (s *Store) send(ctx context.Context, p *upload) error {
	_, err := s.core.PutObject(ctx, s.cfg.Bucket, s.key(p.name), bytes.NewReader(p.data), int64(len(p.data)), "", p.sha, p.opts)
	return err
}

const checksumHeader = "X-Amz-Checksum-Crc32c"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the CRC-32C of data as S3 writes it.
func checksum(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)))
}

// payloadHash returns the hash of data that goes into the signature, or "" if
// the data stays unsigned because TLS protects it.
func (s *Store) payloadHash(data []byte) string {
	if s.wire.secure {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
