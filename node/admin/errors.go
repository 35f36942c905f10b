package admin

import "errors"

var (
	// ErrNotRunning says that there is no socket, or that nobody answers on it:
	// start the node with mimid serve, or name the right data directory.
	ErrNotRunning = errors.New("admin: no node is running on this data directory")
	// ErrRunning says that a node answers on the socket already: stop it first, or
	// use another data directory.
	ErrRunning = errors.New("admin: a node is running on this data directory already")
	// ErrDenied says that the socket belongs to another user: run the command as
	// the user that the node runs as.
	ErrDenied = errors.New("admin: not allowed to open the node's socket")
	// ErrSocket says that the socket cannot be made: it wraps the cause. Unix
	// allows about 100 octets for its path.
	ErrSocket = errors.New("admin: cannot make the socket")
	// ErrAnswer says that what answers on the socket does not speak this protocol,
	// or is of another version.
	ErrAnswer = errors.New("admin: the node's answer makes no sense")
	// ErrConfig says that New was given a configuration that cannot work.
	ErrConfig = errors.New("admin: unusable configuration")
	// ErrBackup says that the node began a backup and did not finish it: what was
	// written of it is worth nothing.
	ErrBackup = errors.New("admin: the backup was not finished")
	// ErrDrain says that the node went away while it handed its rooms over: start it
	// and drain again, it goes on where it was.
	ErrDrain = errors.New("admin: the drain was not finished")
)
