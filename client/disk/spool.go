package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mimid/mimid/client"
)

// Spool is a client.Spool in a directory of its own. Safe for concurrent use.
type Spool struct{ dir string }

var _ client.Spool = (*Spool)(nil)

// spoolDir is where it is in a client's directory.
const spoolDir = "attachments"

// OpenSpool opens the spool in a client's directory, or makes it.
func OpenSpool(dir string) (*Spool, error) {
	path := filepath.Join(dir, spoolDir)
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making directory of attachments: %w", err)
	}
	return &Spool{path}, nil
}

func (s *Spool) path(name string) (string, error) {
	bad := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' }
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, bad) {
		return "", fmt.Errorf("%.40q is no name of a file of attachments", name)
	}
	return filepath.Join(s.dir, name), nil
}

// Open implements client.Spool.
func (s *Spool) Open(name string) (client.SpoolFile, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening attachment: %w", err)
	}
	return &spoolFile{f, s.dir}, nil
}

// Remove implements client.Spool.
func (s *Spool) Remove(name string) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing attachment: %w", err)
	}
	return nil
}

// Names implements client.Spool.
func (s *Spool) Names() ([]string, error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing attachments: %w", err)
	}
	var out []string
	for _, e := range list {
		if _, err := s.path(e.Name()); err == nil {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

type spoolFile struct {
	*os.File
	dir string
}

func (f *spoolFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Sync syncs the directory, too, or a crash could take the name of the file.
func (f *spoolFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	d, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
