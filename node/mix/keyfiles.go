package mix

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mimid/mimid/protocol/onion"
)

// KeyFiles are the secret keys of a relay on disk, so that packets that are under way when it starts
// anew can be opened. They are files, and not records of the store, since they have to be gone when
// their epoch is over: a store and its backups keep what was removed for a while. A file is overwritten
// before it is removed, which is as much as a program can do; file systems that write elsewhere than
// they are told, and flash memory, may keep the old blocks.
//
// A file is called <epoch>.key and has mode 0600:
//
//	uint8 version = 1; uint8 suite; the key to the end as onion.PrivateKey writes it
//
// It is owned by one goroutine.
type KeyFiles struct {
	dir   string // empty: the keys lie nowhere
	suite onion.Suite
	held  []EpochKey // by epoch
}

const (
	keyVersion = 1
	keySuffix  = ".key"
	maxKeyFile = 4 << 10
)

// OpenKeyFiles reads the keys in a directory, which is made if it is not there. An empty dir keeps them
// in memory. Error: ErrKeyFile, among those of the system.
func OpenKeyFiles(dir string, suite onion.Suite) (*KeyFiles, error) {
	k := &KeyFiles{dir: dir, suite: suite}
	if dir == "" {
		return k, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of onion keys: %w", err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading onion keys: %w", err)
	}
	for _, f := range list {
		name := f.Name()
		if strings.HasPrefix(name, ".") { // one that was being written: its key was never published
			if err := erase(filepath.Join(dir, name)); err != nil {
				return nil, err
			}
			continue
		}
		key, err := readKeyFile(filepath.Join(dir, name), suite)
		if err != nil {
			return nil, err
		}
		k.held = append(k.held, key)
	}
	k.sort()
	return k, nil
}

func (k *KeyFiles) sort() {
	slices.SortFunc(k.held, func(a, b EpochKey) int {
		if a.Epoch < b.Epoch {
			return -1
		}
		return 1
	})
}

func readKeyFile(path string, suite onion.Suite) (EpochKey, error) {
	name := filepath.Base(path)
	number, ok := strings.CutSuffix(name, keySuffix)
	e, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || strconv.FormatUint(e, 10) != number {
		return EpochKey{}, fmt.Errorf("%w: %s is not called <epoch>%s; remove it", ErrKeyFile, path, keySuffix)
	}
	st, err := os.Stat(path)
	if err != nil {
		return EpochKey{}, fmt.Errorf("reading an onion key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return EpochKey{}, fmt.Errorf("%w: %s has mode %04o and can be read by others; remove it, and another key is made", ErrKeyFile, path, st.Mode().Perm())
	}
	if st.Size() > maxKeyFile {
		return EpochKey{}, fmt.Errorf("%w: %s has %d octets", ErrKeyFile, path, st.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return EpochKey{}, fmt.Errorf("reading an onion key: %w", err)
	}
	if len(b) < 2 || b[0] != keyVersion || onion.Suite(b[1]) != suite {
		return EpochKey{}, fmt.Errorf("%w: %s is no key of %v; remove it, and another one is made", ErrKeyFile, path, suite)
	}
	key, err := onion.ParsePrivateKey(suite, b[2:])
	if err != nil {
		return EpochKey{}, fmt.Errorf("%w: %s: %w; remove it, and another one is made", ErrKeyFile, path, err)
	}
	return EpochKey{onion.Epoch(e), key}, nil
}

// Roll is called in each epoch, and with the first one at the start. It makes the keys of the epoch and
// the next as far as they are missing, removes those of epochs before the last one, and returns the keys
// of the epoch before, as far as it is there, of this one and of the next. When it returns, they are on
// disk.
func (k *KeyFiles) Roll(e onion.Epoch) ([]EpochKey, error) {
	for _, want := range []onion.Epoch{e, e + 1} {
		if slices.ContainsFunc(k.held, func(h EpochKey) bool { return h.Epoch == want }) {
			continue
		}
		key, err := onion.GenerateKey(k.suite)
		if err == nil {
			err = k.write(EpochKey{want, key})
		}
		if err != nil {
			return nil, fmt.Errorf("making the onion key of epoch %d: %w", want, err)
		}
		k.held = append(k.held, EpochKey{want, key})
		k.sort()
	}
	// Those after the next epoch were made when the clock was ahead, and stay until it is there again.
	var left []EpochKey
	var err error
	for _, h := range k.held {
		if h.Epoch+1 >= e {
			left = append(left, h)
		} else if k.dir != "" {
			err = errors.Join(err, erase(k.path(h.Epoch)))
		}
	}
	k.held = left
	if err == nil && k.dir != "" {
		err = syncDir(k.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("removing old onion keys: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(left), func(h EpochKey) bool { return h.Epoch > e+1 }), nil
}

func (k *KeyFiles) path(e onion.Epoch) string {
	return filepath.Join(k.dir, strconv.FormatUint(uint64(e), 10)+keySuffix)
}

func (k *KeyFiles) write(key EpochKey) error {
	if k.dir == "" {
		return nil
	}
	b, err := key.Key.Bytes()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(k.dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append([]byte{keyVersion, byte(k.suite)}, b...))
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), k.path(key.Epoch))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(k.dir)
}

// erase overwrites a file and removes it.
func erase(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, min(st.Size(), maxKeyFile)), 0)
	}
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
