package load

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Bare is a part of the work alone, in the same run on the same disk, to compare with.
type Bare struct {
	P50 float64 `json:"fsync_p50_ms"`
	P99 float64 `json:"fsync_p99_ms"`
}

// bareWrites is how often bareSync writes.
const bareWrites = 200

// bareSync appends messages to a file, each with its fsync, one after the other.
func bareSync(dir string, size int) (b Bare, err error) {
	f, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		return b, fmt.Errorf("measuring fsync: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	data := make([]byte, size)
	var micros []uint32
	for range bareWrites {
		rand.Read(data)
		begin := time.Now()
		if _, err := f.Write(data); err != nil {
			return b, fmt.Errorf("measuring fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return b, fmt.Errorf("measuring fsync: %w", err)
		}
		micros = append(micros, uint32(time.Since(begin).Microseconds()))
	}
	slices.Sort(micros)
	return Bare{quantile(micros, 0.5), quantile(micros, 0.99)}, nil
}
