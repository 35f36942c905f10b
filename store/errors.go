package store

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// ErrNotFound says that the key holds no value in the snapshot that was read.
var ErrNotFound = errors.New("store: key not found")

// ErrTooLarge says that a key or value is longer than MaxKey or MaxValue, or that
// one function wrote more than fits into one transaction, so that it could not be
// made atomic. Nothing was written, and trying again is of no use: write less at a
// time.
var ErrTooLarge = errors.New("store: too large")

// ErrClosed says that the store has been closed, or that Run has ended before it
// took the function. Nothing was written.
var ErrClosed = errors.New("store: closed")

// ErrUnknown says that the caller's context ended after the writer had taken the
// function: its writes are durable soon, or never, and yet may have happened. Read
// to learn which, or repeat a function that notices that it has been done. It wraps
// the cause of the context's end. A context that ends earlier returns that cause
// alone, and nothing was written.
var ErrUnknown = errors.New("store: outcome unknown")

// ErrFailed says that a commit or fsync has failed. After that nobody can say what
// the disk holds of the failed batch (a kernel may report a lost page once only), so
// the store answers no more reads and writes, and Run returns. Close it and open it
// again: what was acknowledged is there, and each function of the failed batch is
// there as a whole or not at all, together with all others of that batch. It wraps
// the cause.
var ErrFailed = errors.New("store: failed")

// ErrDiskFull says that the file system of the store has no room, or less than the
// reserve which the store keeps for its background work. From Update it means that
// nothing was written and the store still serves reads; once there is room again,
// functions are accepted again. Together with ErrFailed it means that the room ran
// out in the middle of a commit.
var ErrDiskFull = errors.New("store: disk full")

// ErrLocked says that another process, or another Store of this one, has the
// directory open.
var ErrLocked = errors.New("store: directory in use")

// ErrPermission says that this process may not read and write the directory.
var ErrPermission = errors.New("store: permission denied")

// ErrFormat says that the directory holds a store in a format version that this
// program does not read, most likely that of a newer program. Nothing was changed.
var ErrFormat = errors.New("store: unsupported format version")

// ErrCorrupted says that files of the store are missing, damaged or contradict each
// other. Restore a backup, or let the room's other providers fill a new store.
var ErrCorrupted = errors.New("store: corrupted")

// ErrLost says that the store opens, but ends before a commit that it has
// acknowledged: the tail of a file was cut off or damaged, or an old copy was put
// back without its ACKED file. What is left is a consistent earlier state. Whoever
// accepts that, knowing that a provider must not sign from an earlier state, removes
// the file ACKED and opens again.
var ErrLost = errors.New("store: acknowledged writes are missing")

// ErrBackup says that a stream is no whole backup: it is something else, was cut off,
// altered or damaged. Nothing that Restore has made of it is used: take another copy.
var ErrBackup = errors.New("store: not a whole backup")

// ErrExists says that Restore found something where it was to make a store. It makes new
// ones only: name another directory, or move away what is there.
var ErrExists = errors.New("store: there is something already")

// ErrUnfinished says that the restoring of this store did not come to its end. Remove the
// directory and restore again.
var ErrUnfinished = errors.New("store: restoring was interrupted, the store is not whole")

// classify gives an error of Badger or the operating system its sentinel: the one that
// its cause asks for, or else other, which may be nil.
func classify(err, other error) error {
	switch {
	case causedBy(err, syscall.ENOSPC, syscall.EFBIG, errQuota):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case causedBy(err, syscall.EACCES, syscall.EPERM, syscall.EROFS):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	case other == nil:
		return err
	}
	return fmt.Errorf("%w: %w", other, err)
}

// causedBy also reads the text, because Badger does not wrap what it returns.
func causedBy(err error, causes ...syscall.Errno) bool {
	for _, c := range causes {
		if errors.Is(err, c) || strings.Contains(err.Error(), c.Error()) {
			return true
		}
	}
	return false
}
