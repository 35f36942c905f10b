//go:build !(linux || darwin || freebsd)

package store

import "syscall"

const errQuota = syscall.ENOSPC

// freeSpace is unknown here: a full disk shows when a commit fails.
func freeSpace(string) (free uint64, known bool) { return 0, false }

// inUse is not known before Badger tries to lock the directory.
func inUse(string) bool { return false }
