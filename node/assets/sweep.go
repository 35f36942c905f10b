package assets

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/store"
)

const (
	sweepEvery = time.Hour
	sweepPage  = 1000 // records looked at in one View
)

// Run removes what has expired, what was abandoned, and files of nobody's, at the start
// and once an hour, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if n, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("removing expired attachments, will try again", "error", err)
		} else if n > 0 {
			s.cfg.Log.Info("removed expired attachments and abandoned uploads", "removed", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep removes what has expired, and returns how many records and files of nobody's that
// were.
func (s *Store) Sweep(ctx context.Context) (removed int, err error) {
	n, err := s.sweepRecords(ctx)
	if err != nil {
		return n, fmt.Errorf("removing expired assets: %w", err)
	}
	m, err := s.sweepFiles(ctx)
	if err != nil {
		err = fmt.Errorf("removing files of nobody's: %w", err)
	}
	return n + m, err
}

func (s *Store) sweepRecords(ctx context.Context) (removed int, err error) {
	scan := store.Scan{Prefix: store.SpaceAssets.Prefix([]byte{kindOwned}), Limit: sweepPage}
	for {
		var dead []upload
		seen := 0
		err := s.cfg.Database.View(func(tx *store.Tx) error {
			dead, seen = nil, 0
			for it, err := range tx.Scan(scan) {
				if err != nil {
					return err
				}
				r, err := parseOwned(it)
				if err != nil {
					return err
				}
				if s.expired(r) {
					dead = append(dead, upload{r.user, r.hash})
				}
				seen++
				scan.From = it.Key // is seen twice, which does no harm
			}
			return nil
		})
		if err != nil {
			return removed, err
		}
		for _, name := range dead {
			if err := ctx.Err(); err != nil {
				return removed, err
			}
			if s.enter(name) != nil {
				continue // somebody works at it
			}
			err := s.delete(ctx, name, s.expired)
			s.leave(name)
			if err != nil {
				return removed, err
			}
			removed++
		}
		if seen < sweepPage {
			return removed, nil
		}
	}
}

func (s *Store) sweepFiles(ctx context.Context) (removed int, err error) {
	// The files first and then the records: a file of an upload is made after its record.
	list, err := os.ReadDir(filepath.Join(s.cfg.Dir, uploadsName))
	if err != nil {
		return 0, err
	}
	named := map[string]bool{}
	if len(list) > 0 {
		err = s.cfg.Database.View(func(tx *store.Tx) error {
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceAssets.Prefix([]byte{kindOwned})}) {
				if err != nil {
					return err
				}
				r, err := parseOwned(it)
				if err != nil {
					return err
				}
				if !r.complete {
					named[hex.EncodeToString(r.file[:])] = true
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	for _, e := range list {
		if !named[e.Name()] {
			if err := remove(filepath.Join(s.cfg.Dir, uploadsName, e.Name())); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, s.eachFile(func(h asset.Hash) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		kept := false
		err := s.cfg.Database.View(func(tx *store.Tx) (err error) {
			kept, err = there(tx, h)
			return err
		})
		if err != nil || kept {
			return err
		}
		if err := s.removeOrphan(h); err != nil {
			return err
		}
		if _, err := os.Stat(s.assetPath(h)); errors.Is(err, fs.ErrNotExist) {
			removed++
		}
		return nil
	})
}

// eachFile visits the files of assets, in the order of their hashes. What has another name
// than an asset's is passed over.
func (s *Store) eachFile(visit func(h asset.Hash) error) error {
	dirs, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if !d.IsDir() || len(d.Name()) != 2 {
			continue
		}
		list, err := os.ReadDir(filepath.Join(s.cfg.Dir, d.Name()))
		if err != nil {
			return err
		}
		for _, e := range list {
			h, err := asset.ParseHash(e.Name())
			if err != nil || e.Name()[:2] != d.Name() {
				continue
			}
			if err := visit(h); err != nil {
				return err
			}
		}
	}
	return nil
}
