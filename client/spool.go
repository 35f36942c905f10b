package client

import (
	"io"
	"sync"
)

// Spool keeps files of this device: ciphertexts of attachments, on their way in or out,
// which are too large for a Storage. They need not be encrypted: they are ciphertexts
// whose keys are in the Storage. Safe for concurrent use; client/disk has one.
type Spool interface {
	// Open opens a file for reading and writing, and makes it if it is not there. Names
	// have letters, digits and hyphens.
	Open(name string) (SpoolFile, error)
	// Remove removes a file, if it is there.
	Remove(name string) error
	// Names lists the files.
	Names() ([]string, error)
}

// SpoolFile is an open file of a Spool.
type SpoolFile interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes what was written durable, and the file's name.
	Sync() error
	Close() error
}

// writerFrom writes a file from an offset on.
type writerFrom struct {
	f  SpoolFile
	at int64
}

func (w *writerFrom) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.at)
	w.at += int64(n)
	return n, err
}

// names is a set of names that somebody works with. Safe for concurrent use.
type names struct {
	mu  sync.Mutex
	set map[string]bool // guarded by mu
}

func (n *names) enter(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.set[name] {
		return false
	}
	if n.set == nil {
		n.set = map[string]bool{}
	}
	n.set[name] = true
	return true
}

func (n *names) leave(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.set, name)
}
