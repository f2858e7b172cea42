package check

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"vault/internal/match"
	"vault/pack"
	"vault/repo"
)

// Subset is a part of the packs whose data is read.
//
// Buckets divide them by name: whoever reads bucket 1 to n in turn has read
// every pack that was there all the while. A share or a number of bytes is a
// random choice, another one every time.
type Subset struct {
	Bucket, Buckets uint64  // 1..Buckets; 0: not by bucket
	Share           float64 // of the bytes of all packs, 0..1
	Bytes           int64   // at least one pack, and no more than needed
}

// ParseSubset reads "2/7", "5%" or "1G".
func ParseSubset(text string) (s Subset, err error) {
	if n, t, ok := strings.Cut(text, "/"); ok {
		var nerr, terr error
		s.Bucket, nerr = strconv.ParseUint(n, 10, 32)
		s.Buckets, terr = strconv.ParseUint(t, 10, 32)
		if nerr != nil || terr != nil || s.Bucket < 1 || s.Bucket > s.Buckets {
			return Subset{}, fmt.Errorf("subset %q: want n/t with n from 1 to t", text)
		}
		return s, nil
	}
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(p > 0 && p <= 100) {
			return Subset{}, fmt.Errorf("subset %q: want more than 0%% and at most 100%%", text)
		}
		return Subset{Share: p / 100}, nil
	}
	if s.Bytes, err = match.ParseSize(text); err != nil || s.Bytes == 0 {
		return Subset{}, fmt.Errorf("subset %q: want a bucket as 1/7, a share as 5%%, or a size as 1G", text)
	}
	return s, nil
}

// Choose returns a value for Options.Read. Chance decides where the subset
// leaves the choice; it is not used by buckets.
func (s Subset) Choose(ctx context.Context, r *repo.Repo, chance *rand.Rand) (func(pack.ID, uint32) bool, error) {
	if s.Buckets > 0 {
		return func(id pack.ID, _ uint32) bool {
			return binary.BigEndian.Uint64(id[:8])%s.Buckets == s.Bucket-1
		}, nil
	}
	ix, err := r.Index(ctx)
	if err != nil {
		return nil, err
	}
	sizes := map[pack.ID]int64{}
	var all int64
	for segment := range ix.Segments() {
		for p := range segment.Packs() {
			if _, twice := sizes[p.ID]; !twice {
				sizes[p.ID] = int64(p.Size)
				all += int64(p.Size)
			}
		}
	}
	chosen := draw(sizes, s.want(all), chance)
	return func(id pack.ID, _ uint32) bool {
		_, ok := chosen[id]
		return ok
	}, nil
}

// want returns how many of all bytes are to be read.
func (s Subset) want(all int64) int64 {
	if s.Share > 0 {
		return int64(s.Share * float64(all))
	}
	return min(s.Bytes, all)
}

// draw chooses packs until they have so many bytes; at least one if there is one.
func draw(sizes map[pack.ID]int64, want int64, chance *rand.Rand) map[pack.ID]struct{} {
	ids := make([]pack.ID, 0, len(sizes))
	for id := range sizes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b pack.ID) int { return slices.Compare(a[:], b[:]) })
	chance.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	chosen := map[pack.ID]struct{}{}
	var sum int64
	for _, id := range ids {
		if sum >= want && len(chosen) > 0 {
			break
		}
		chosen[id] = struct{}{}
		sum += sizes[id]
	}
	return chosen
}
