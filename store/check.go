package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// checkFiles looks at a directory before Badger does, because Badger repairs before it
// reports: it deletes tables that the MANIFEST does not name, and a damaged table ends
// the process, from a goroutine that nobody can guard. The directory is changed only
// where a crash has left a file that Badger would not open.
//
// It returns the newest commit of each table that Badger is going to delete although
// its contents may be needed, see checkOrphans.
func checkFiles(dir string) (orphans []uint64, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := readManifest(dir, files)
	if err != nil {
		return nil, err
	}
	var newest uint64 // commit that the tables of the MANIFEST reach
	var loose []uint64
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		switch filepath.Ext(f.Name()) {
		case ".mem", ".vlog":
			// Badger creates a log and then gives it a size. Until it has one it has never
			// held anything, but after a crash in between Badger refuses it. A log that was
			// cut down to nothing looks the same: ACKED tells.
			if info, err := f.Info(); err != nil {
				return nil, err
			} else if info.Size() == 0 {
				if err := os.Remove(path); err != nil {
					return nil, err
				}
			}
		case ".sst":
			id, ok := table.ParseFileID(f.Name())
			if !ok {
				continue
			}
			_, named := manifest.Tables[id]
			version, err := tableVersion(path)
			switch {
			case named && err != nil:
				return nil, err
			case named:
				newest = max(newest, version)
			case err == nil: // else a crash has left it half-written
				loose = append(loose, version)
			}
		}
	}
	// A table that a crash has kept out of the MANIFEST was being compacted, and then
	// holds nothing newer than its sources, or being flushed.
	for _, v := range loose {
		if v > newest {
			orphans = append(orphans, v)
		}
	}
	return orphans, nil
}

func readManifest(dir string, files []os.DirEntry) (badger.Manifest, error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		// Badger would take the directory for a new one and delete the tables in it.
		for _, f := range files {
			switch ext := filepath.Ext(f.Name()); {
			case ext == ".sst", ext == ".mem", ext == ".vlog", f.Name() == ackedName:
				return badger.Manifest{}, fmt.Errorf("%w: there is %s but no %s", ErrCorrupted, f.Name(), badger.ManifestFilename)
			}
		}
		return badger.Manifest{}, nil
	}
	if err != nil {
		return badger.Manifest{}, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return badger.Manifest{}, fmt.Errorf("%w: %s: %w", ErrCorrupted, badger.ManifestFilename, err)
	}
	return m, nil
}

// tableVersion checks footer, index and both ends of a table and returns the newest
// commit in it. The blocks between are for Verify.
func tableVersion(path string) (version uint64, err error) {
	// Badger panics on some damage, and would do so where nobody can recover. This is
	// the one place besides Verify where the store does.
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: table %s: unreadable index", ErrCorrupted, filepath.Base(path))
		}
	}()
	f, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return 0, err
		}
		return 0, fmt.Errorf("%w: table %s: %w", ErrCorrupted, filepath.Base(path), err)
	}
	defer f.Close(-1)
	t, err := table.OpenTable(f, table.Options{ReadOnly: true})
	if err != nil {
		return 0, fmt.Errorf("%w: table %s: %w", ErrCorrupted, filepath.Base(path), err)
	}
	return t.MaxVersion(), nil
}

// checkOrphans finds out whether Badger has deleted a table whose contents are nowhere
// else. A table that was being flushed when a crash came has a write-ahead log with
// the same commits, and these have been read by now. If they are missing, then it was
// the MANIFEST that lost a line.
func (s *Store) checkOrphans(orphans []uint64) error {
	for _, v := range orphans {
		snap := s.db.NewTransactionAt(v, false)
		item, err := snap.Get([]byte(commitKey.s))
		found := err == nil && item.Version() == v // each commit writes this key
		snap.Discard()
		if !found {
			return fmt.Errorf("%w: %s does not name the table that ends with commit %d", ErrLost, badger.ManifestFilename, v)
		}
	}
	return nil
}

// Verify reads all tables and compares their checksums, while the store is in use. It
// finds damage that a read shows as a missing key (see the package doc). It takes as
// long as reading the whole store from the disk. The error is ErrCorrupted.
func (s *Store) Verify() (err error) {
	ts, err := s.snaps.acquire() // keeps Close away
	if err != nil {
		return err
	}
	defer s.snaps.release(ts)
	defer func() {
		if v := recover(); v != nil { // see tableVersion
			err = fmt.Errorf("%w: a block is unreadable", ErrCorrupted)
		}
	}()
	if err := s.db.VerifyChecksum(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupted, err)
	}
	return nil
}

// readState reads format and commit number and holds them against everything that is
// known about where the store has to end.
func (s *Store) readState(bound uint64) error {
	newest := s.db.MaxVersion()
	if newest == 0 {
		return fmt.Errorf("%w: nothing is left of %d commits", ErrLost, bound)
	}
	snap := s.db.NewTransactionAt(newest, false)
	defer snap.Discard()
	tx := &Tx{snap: snap}
	format, err := tx.Get(formatKey)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: no format version: damaged, or not a store of this program", ErrCorrupted)
	case err != nil:
		return fmt.Errorf("reading the format version: %w", err)
	case len(format) < 4:
		return fmt.Errorf("%w: format version of %d bytes", ErrCorrupted, len(format))
	}
	if v := binary.BigEndian.Uint32(format); v != formatVersion {
		return fmt.Errorf("%w: version %d, this program reads %d", ErrFormat, v, formatVersion)
	}
	v, err := tx.Get(commitKey)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("reading the commit number: %w", err)
	}
	// Every commit writes its number, so the newest version in the store is that number.
	if len(v) != 8 || binary.BigEndian.Uint64(v) != newest {
		return fmt.Errorf("%w: the newest commit %d left no record of itself", ErrCorrupted, newest)
	}
	if newest < bound {
		return fmt.Errorf("%w: the store ends at commit %d, %d were acknowledged", ErrLost, newest, bound)
	}
	if _, err := tx.Get(unfinishedKey); err == nil {
		return ErrUnfinished
	} else if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("reading whether the store is whole: %w", err)
	}
	s.commit = newest
	return nil
}
