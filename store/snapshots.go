package store

import "sync"

// snapshots say which state readers see. They see the last durable commit and never a
// later one, because the commit number moves only after the fsync; and Badger may
// discard old versions only up to the oldest state that is still being read.
type snapshots struct {
	mu      sync.Mutex
	durable uint64
	open    map[uint64]int // readers by commit number
	closed  error          // no more readers, and why
	idle    chan struct{}  // closed when closed is set and no reader is left
}

func (n *snapshots) init(commit uint64) {
	n.durable, n.open, n.idle = commit, make(map[uint64]int), make(chan struct{})
}

func (n *snapshots) acquire() (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed != nil {
		return 0, n.closed
	}
	n.open[n.durable]++
	return n.durable, nil
}

func (n *snapshots) release(ts uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open[ts]--; n.open[ts] == 0 {
		delete(n.open, ts)
	}
	if n.closed != nil && len(n.open) == 0 {
		n.closeIdle()
	}
}

// advance makes a commit visible and returns the oldest one that may still be read.
func (n *snapshots) advance(commit uint64) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.durable = commit
	oldest := commit
	for ts := range n.open {
		oldest = min(oldest, ts)
	}
	return oldest
}

// close refuses new readers with err, unless it has been called before, and returns a
// channel that is closed when the last reader has gone.
func (n *snapshots) close(err error) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed == nil {
		n.closed = err
	}
	if len(n.open) == 0 {
		n.closeIdle()
	}
	return n.idle
}

func (n *snapshots) closeIdle() {
	select {
	case <-n.idle:
	default:
		close(n.idle)
	}
}
