package disk

import "errors"

// Errors are sentinels: test with errors.Is. Others come from package store.
var (
	// ErrInUse: another process has this directory open. End it, or use the one
	// that runs.
	ErrInUse = errors.New("disk: directory in use by another process")
	// ErrPassphrase: the key is protected by a passphrase, and this is not it.
	ErrPassphrase = errors.New("disk: wrong passphrase")
	// ErrKey: the key file is missing where there is a store, readable by others,
	// or damaged. Without it nothing can be read.
	ErrKey = errors.New("disk: unusable key file")
	// ErrSealed: a value does not open: it was damaged, moved, or written with
	// another key.
	ErrSealed = errors.New("disk: stored value does not open")
)
