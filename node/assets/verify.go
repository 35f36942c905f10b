package assets

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/store"
)

// Verified is what a check has found.
type Verified struct {
	Assets int
	Octets int64
	Faults []string // a sentence each
}

// Verify compares all assets with their hashes, and the sums of what users keep with what
// they keep. dir is that of Config. A running Store may go on meanwhile. The result lists
// faults; the error says that there was no checking.
func Verify(ctx context.Context, db Database, dir string) (*Verified, error) {
	out := new(Verified)
	s := &Store{cfg: Config{Dir: dir, Database: db}}
	var hashes []*record
	err := db.View(func(tx *store.Tx) error {
		seen := map[asset.Hash]bool{}
		sums := map[string]used{}
		var users []string
		total := int64(0)
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceAssets.Prefix([]byte{kindOwned})}) {
			if err != nil {
				return err
			}
			r, err := parseOwned(it)
			if err != nil {
				out.Faults = append(out.Faults, err.Error())
				continue
			}
			u, known := sums[r.user]
			if !known {
				users = append(users, r.user)
			}
			u.octets += r.size
			total += r.size
			if r.complete {
				u.assets++
			} else {
				u.uploads++
			}
			sums[r.user] = u
			if r.complete && !seen[r.hash] {
				seen[r.hash] = true
				hashes = append(hashes, r)
			}
			if r.complete {
				if _, err := tx.Get(assetKey(r.hash, r.user)); err != nil {
					out.Faults = append(out.Faults, fmt.Sprintf("asset %s of %s is not in the index: %v", r.hash, r.user, err))
				}
			}
		}
		for _, user := range users {
			if u, err := getUsed(tx, user); err != nil || u != sums[user] {
				out.Faults = append(out.Faults, fmt.Sprintf("%s is said to keep %+v, and keeps %+v (%v)", user, u, sums[user], err))
			}
		}
		if t, err := getTotal(tx); err != nil || t != total {
			out.Faults = append(out.Faults, fmt.Sprintf("all users are said to keep %d octets, and keep %d (%v)", t, total, err))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("checking assets: %w", err)
	}
	for _, r := range hashes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := verifyFile(s.assetPath(r.hash), r.size, r.hash); err != nil {
			if gone, late := s.goneMeanwhile(r.hash); gone || late != nil {
				if late != nil {
					return nil, late
				}
				continue
			}
			out.Faults = append(out.Faults, fmt.Sprintf("asset %s: %s", r.hash, err))
		}
		out.Assets++
		out.Octets += r.size
	}
	return out, nil
}

// goneMeanwhile says whether an asset was deleted since it was looked for.
func (s *Store) goneMeanwhile(h asset.Hash) (gone bool, err error) {
	err = s.cfg.Database.View(func(tx *store.Tx) error {
		kept, err := there(tx, h)
		gone = !kept
		return err
	})
	return gone, err
}

func verifyFile(path string, size int64, want asset.Hash) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("its file is missing")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	switch {
	case err != nil:
		return err
	case n != size:
		return fmt.Errorf("its file has %d octets, not %d", n, size)
	case asset.Hash(h.Sum(nil)) != want:
		return errors.New("its file has another hash: the disk has damaged it")
	}
	return nil
}

// Hold keeps all files of assets where they are until release is called, even of those
// that are deleted meanwhile.
func (s *Store) Hold() (release func()) {
	s.files.Lock()
	defer s.files.Unlock()
	s.holds++
	return func() {
		s.files.Lock()
		defer s.files.Unlock()
		s.holds--
	}
}

// Files lists the assets of a transaction, in the order of their names. dir is that of
// Config.
func Files(tx *store.Tx, dir string) ([]store.LargeFile, error) {
	var out []store.LargeFile
	last := asset.Hash{}
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceAssets.Prefix([]byte{kindAsset}), KeysOnly: true}) {
		if err != nil {
			return nil, err
		}
		name, err := store.SpaceAssets.Parse(it.Key)
		if err != nil || len(name) < 1+len(last)+1 {
			return nil, fmt.Errorf("%w: a key of the index, %d octets (%v)", errRecord, len(name), err)
		}
		h := asset.Hash(name[1 : 1+len(last)])
		if h == last {
			continue // another owner
		}
		last = h
		r, err := get(tx, string(name[1+len(last):]), h)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, fmt.Errorf("%w: asset %s is in the index and nowhere else", errRecord, h)
		}
		path := filepath.Join(dir, filepath.FromSlash(Name(h)))
		out = append(out, store.LargeFile{Name: Name(h), Size: r.size, Open: func() (io.ReadCloser, error) { return os.Open(path) }})
	}
	return out, nil
}

// ErrName: a file in a backup that is no asset's, or not the one that its name says.
var ErrName = errors.New("assets: not an asset")

// RestoreFile writes an asset of a backup below a directory, if it is the one that its
// name says. Errors: ErrName, those of r and of the file system.
func RestoreFile(dir, name string, size int64, r io.Reader) error {
	h, err := asset.ParseHash(filepath.Base(name))
	if err != nil || Name(h) != name {
		return fmt.Errorf("%w: %.100q", ErrName, name)
	}
	s := &Store{cfg: Config{Dir: dir}}
	path := s.assetPath(h)
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if n, err := io.Copy(io.MultiWriter(f, sum), r); err != nil || n != size {
		return fmt.Errorf("writing asset %s: %d of %d octets: %w", h, n, size, err)
	}
	if asset.Hash(sum.Sum(nil)) != h {
		return fmt.Errorf("%w: %s has another hash", ErrName, h)
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
}
