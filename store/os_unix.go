//go:build linux || darwin || freebsd

package store

import (
	"errors"
	"os"
	"syscall"
)

// errQuota is the user's share of the disk being used up.
const errQuota = syscall.EDQUOT

// freeSpace returns the bytes that this process may still write to the file system
// of dir.
func freeSpace(dir string) (free uint64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return uint64(max(st.Bavail, 0)) * uint64(st.Bsize), true
}

// inUse reports whether somebody holds Badger's lock on the directory.
func inUse(dir string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return false // the caller will meet the error itself
	}
	defer d.Close() // and with it the lock
	return errors.Is(syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
