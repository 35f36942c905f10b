package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/evaluate"
	"github.com/mimid/mimid/store"
)

// A backup of a node holds its store, its keys, its configuration and the attachments that
// are complete, under their paths in the data directory. What the configuration names elsewhere, such as TLS
// certificates, is not in it.

// unfinishedName is a file in a data directory that is being restored.
const unfinishedName = "RESTORING"

// ErrNotEmpty: a backup is restored into a new or an empty directory only.
var ErrNotEmpty = errors.New("node: the directory is not empty")

// backupName are the names of files that a backup may put into a data directory.
var backupName = regexp.MustCompile(`^(mimid\.toml|keys/(provider-[1-9][0-9]{0,8}|node|franking|evaluators|evaluator-share)\.pem)$`)

func backupFiles(dir string) ([]store.BackupFile, error) {
	names := []string{ConfigName, "keys/node.pem", "keys/franking.pem"}
	for n := 1; ; n++ {
		path := providerFile(dir, n)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && n > 1 {
			break
		}
		names = append(names, "keys/"+filepath.Base(path))
	}
	for _, name := range []string{evaluate.SetName, evaluate.ShareName} {
		if _, err := os.Stat(filepath.Join(keyDir(dir), name)); err == nil {
			names = append(names, "keys/"+name)
		}
	}
	var out []store.BackupFile
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("reading what belongs into the backup: %w", err)
		}
		out = append(out, store.BackupFile{Name: name, Data: b})
	}
	return out, nil
}

func backUp(ctx context.Context, st *store.Store, dir string, w io.Writer, progress func(uint64)) (*admin.Backup, error) {
	start := time.Now()
	// Before the snapshot: a key that the store relies on has been there before.
	files, err := backupFiles(dir)
	if err != nil {
		return nil, err
	}
	info, err := st.BackupWith(ctx, w, files, func(tx *store.Tx) ([]store.LargeFile, error) {
		return assets.Files(tx, filepath.Join(dir, assetsName))
	}, progress)
	if err != nil {
		return nil, err
	}
	return showBackup(info, start), nil
}

func showBackup(i *store.BackupInfo, start time.Time) *admin.Backup {
	return &admin.Backup{ID: i.ID.String(), Created: i.Created, Rooms: i.Rooms, Keys: i.Keys, Bytes: i.Bytes, Took: time.Since(start)}
}

// Backup implements admin.Node.
func (n *Node) Backup(ctx context.Context, w io.Writer) (*admin.Backup, error) {
	n.mu.Lock()
	p := n.parts
	n.mu.Unlock()
	defer p.assets.Hold()()
	return backUp(ctx, p.store, n.cfg.Dir, w, nil)
}

// Backup writes a backup of a data directory whose node does not run. progress, if not
// nil, is called now and then. Errors: store.ErrLocked while the node runs, and those
// of store.Backup.
func Backup(ctx context.Context, cfg *Config, w io.Writer, progress func(bytes uint64)) (*admin.Backup, error) {
	dir := filepath.Join(cfg.Dir, "store")
	if _, err := os.Stat(dir); err != nil { // Open would make one
		return nil, fmt.Errorf("opening store: %w; a node that never ran has nothing to back up but its keys", err)
	}
	st, err := store.Open(store.Options{Dir: dir, Small: cfg.Store.Small})
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	defer st.Close(context.WithoutCancel(ctx))
	return backUp(ctx, st, cfg.Dir, w, progress)
}

// Restore makes a data directory from a backup. The directory must be empty or not
// exist. The configuration comes last, after everything else is whole and on the disk:
// without it no node starts. After an error what was made is removed; a killed process
// leaves a directory without a configuration, with a file RESTORING. progress, if not
// nil, is called now and then. Errors: ErrNotEmpty, ErrKeys, ErrConfig, those of
// store.ReadBackup and BackupReader.Restore.
func Restore(ctx context.Context, r io.Reader, dir string, progress func(bytes uint64)) (_ *admin.Backup, err error) {
	start := time.Now()
	made, err := emptyDir(dir)
	if err != nil {
		return nil, err
	}
	// This decides between two restores at once: it never overwrites.
	if err := writeFile(filepath.Join(dir, unfinishedName), []byte("A backup is being restored into this directory, or that was interrupted: then remove it and restore again.\n"), 0o600); err != nil {
		return nil, fmt.Errorf("restoring: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		for _, name := range []string{ConfigName, "store", "keys", assetsName, unfinishedName} {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
		}
		if made {
			err = errors.Join(err, os.Remove(dir))
		}
	}()
	b, err := store.ReadBackup(r)
	if err != nil {
		return nil, err
	}
	config, cfg, err := restoreFiles(b.Files(), dir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, assetsName), 0o700); err != nil {
		return nil, fmt.Errorf("restoring attachments: %w", err)
	}
	info, err := b.RestoreWith(ctx, store.Options{Dir: filepath.Join(dir, "store"), Small: cfg.Store.Small}, func(name string, size int64, r io.Reader) error {
		return assets.RestoreFile(filepath.Join(dir, assetsName), name, size, r)
	}, progress)
	if err != nil {
		return nil, err
	}
	if _, err := ReadKeys(dir); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(dir, unfinishedName)); err != nil {
		return nil, fmt.Errorf("restoring: %w", err)
	}
	if err := writeFile(filepath.Join(dir, ConfigName), config, 0o600); err != nil {
		return nil, fmt.Errorf("restoring the configuration: %w", err)
	}
	return showBackup(info, start), nil
}

// emptyDir makes the directory, or sees that it is empty.
func emptyDir(dir string) (made bool, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return false, fmt.Errorf("making data directory: %w", err)
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		return true, nil
	case !errors.Is(err, os.ErrExist):
		return false, fmt.Errorf("making data directory: %w", err)
	}
	list, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return false, fmt.Errorf("making data directory: %w", err)
	case len(list) == 0:
		return false, os.Chmod(dir, 0o700)
	}
	for _, e := range list {
		if e.Name() == unfinishedName {
			return false, fmt.Errorf("%w: another restore into %s is under way, or was interrupted: then remove the directory first", ErrNotEmpty, dir)
		}
	}
	return false, fmt.Errorf("%w: there is %s in %s; a backup is restored into a new directory, name another --dir", ErrNotEmpty, list[0].Name(), dir)
}

// restoreFiles writes the keys, and returns the configuration, which is written last.
func restoreFiles(files []store.BackupFile, dir string) (config []byte, cfg *Config, err error) {
	if err := os.Mkdir(keyDir(dir), 0o700); err != nil {
		return nil, nil, fmt.Errorf("restoring keys: %w", err)
	}
	for _, f := range files {
		if !backupName.MatchString(f.Name) {
			return nil, nil, fmt.Errorf("%w: it holds a file %.100q, which is none of a provider's", store.ErrBackup, f.Name)
		}
		if f.Name == ConfigName {
			config = f.Data
			continue
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(f.Name)), f.Data, 0o600); err != nil {
			return nil, nil, fmt.Errorf("restoring keys: %w", err)
		}
	}
	if config == nil {
		return nil, nil, fmt.Errorf("%w: it holds no %s: it is not of a provider", store.ErrBackup, ConfigName)
	}
	if cfg, err = ParseConfig(config); err != nil {
		return nil, nil, fmt.Errorf("%w: %s of the backup: %w", ErrConfig, ConfigName, err)
	}
	return config, cfg, nil
}

// warnRestored tells the operator of a store that was restored which of its rooms are
// not yet known to be whole.
func warnRestored(st *store.Store, log *slog.Logger) error {
	return st.View(func(tx *store.Tx) error {
		mark, err := tx.Restored()
		if err != nil || mark == nil {
			return err
		}
		rooms, err := tx.RestoredRooms()
		if err == nil && rooms > 0 {
			log.Warn("this store was restored from a backup: other providers are asked what it has forgotten; until they have answered it signs nothing in the rooms that it decides about, and acknowledges no move of the others",
				"restored", mark.When, "backup", mark.Backup.String(), "rooms", rooms)
		}
		return err
	})
}
