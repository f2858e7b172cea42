package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

const (
	maxParts     = 10_000 // the protocol's
	abortTimeout = 30 * time.Second
)

// putParts stores data as a multipart upload, which becomes the object, whole,
// when it is completed. One that fails is aborted, so that its parts cost
// nothing; what a crash leaves is for the bucket's lifecycle rules.
func (s *Store) putParts(ctx context.Context, name string, data []byte) error {
	size := max(s.cfg.PartSize, (len(data)+maxParts-1)/maxParts)
	opts := s.options(name)
	opts.StorageClass = s.class(ctx)
	token := rand.Text()
	opts.UserMetadata[tokenKey] = token
	if !s.cfg.NoChecksum {
		opts.UserMetadata["X-Amz-Checksum-Algorithm"] = "CRC32C"
	}
	var id string
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		id, err = s.core.NewMultipartUpload(ctx, s.cfg.Bucket, s.key(name), opts)
		return err
	})
	if err != nil {
		return err
	}
	parts := make([]minio.CompletePart, (len(data)+size-1)/size)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Connections)
	for i := range parts {
		group.Go(func() (err error) {
			parts[i], err = s.putPart(gctx, name, id, i+1, data[i*size:min(len(data), (i+1)*size)])
			return err
		})
	}
	err = group.Wait()
	if err == nil {
		err = s.complete(ctx, name, id, token, parts)
	}
	if err != nil {
		actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		s.core.AbortMultipartUpload(actx, s.cfg.Bucket, s.key(name), id) // best effort: the error to report is the first
	}
	return err
}

func (s *Store) putPart(ctx context.Context, name, id string, number int, data []byte) (minio.CompletePart, error) {
	part := minio.CompletePart{PartNumber: number}
	opts := minio.PutObjectPartOptions{Sha256Hex: s.payloadHash(data), DisableContentSha256: true, CustomHeader: http.Header{}}
	if !s.cfg.NoChecksum {
		part.ChecksumCRC32C = checksum(data)
		opts.CustomHeader.Set(checksumHeader, part.ChecksumCRC32C)
	}
	err := s.retry(ctx, func(ctx context.Context) error {
		got, err := s.core.PutObjectPart(ctx, s.cfg.Bucket, s.key(name), id, number, bytes.NewReader(data), int64(len(data)), opts)
		part.ETag = got.ETag
		return err
	})
	return part, err
}

// complete turns the parts into the object. When a repeated request finds no
// such upload, the object itself tells whether an earlier one has done it.
func (s *Store) complete(ctx context.Context, name, id, token string, parts []minio.CompletePart) error {
	open := false
	for try := 1; ; try++ {
		_, err := s.core.CompleteMultipartUpload(ctx, s.cfg.Bucket, s.key(name), id, parts, minio.PutObjectOptions{})
		if err == nil {
			return nil
		}
		if open && minio.ToErrorResponse(err).Code == "NoSuchUpload" {
			if there, lerr := s.look(ctx, name); lerr == nil && there.UserMetadata[tokenKey] == token {
				return nil
			}
			return err
		}
		open = open || !judge(err).unmade
		if !s.again(ctx, try, err) {
			return err
		}
	}
}
