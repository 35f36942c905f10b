package assets

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mimid/mimid/protocol/asset"
)

const (
	uploadsName = "uploads"
	dirMode     = 0o700
	fileMode    = 0o600
)

func (s *Store) uploadPath(id [16]byte) string {
	return filepath.Join(s.cfg.Dir, uploadsName, hex.EncodeToString(id[:]))
}

func (s *Store) assetPath(h asset.Hash) string {
	return filepath.Join(s.cfg.Dir, filepath.FromSlash(Name(h)))
}

// Name is where an asset lies below the directory of assets, with slashes.
func Name(h asset.Hash) string {
	t := h.String()
	return t[:2] + "/" + t
}

// makeDir makes a directory and its name durable, if it is not there.
func makeDir(dir string) error {
	err := os.Mkdir(dir, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// settle gives an upload, which has been synced, the name of an asset, durably. What is
// there by that name has the same hash.
func (s *Store) settle(r *record) error {
	to := s.assetPath(r.hash)
	if err := makeDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("making a directory for assets: %w", err)
	}
	from := s.uploadPath(r.file)
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("naming an asset: %w", err)
	}
	if err := errors.Join(syncDir(filepath.Dir(to)), syncDir(filepath.Dir(from))); err != nil {
		return fmt.Errorf("naming an asset: %w", err)
	}
	return nil
}

// remove removes a file that may be gone already. It need not be durable: what comes back
// after a power cut is nobody's, and removed by the next sweep.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a file of assets: %w", err)
	}
	return nil
}
