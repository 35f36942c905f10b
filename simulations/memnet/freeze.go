package memnet

import (
	"context"
	"net"
	"sync"
)

// Freeze stops a node as a signal that stops its process does, as far as anybody else can see, or ends that: what it
// had sent arrives; it reads nothing, and nobody can connect to it; what it would write, open or close waits, and happens
// afterwards. Virtual time is the same for all, so its goroutines and timers go on: what they conclude from the silence is
// as if all of it had run at once when the process goes on, before the first octet is read.
//
// Whoever ends a node that is frozen has to end the freeze before.
func (f *Fabric) Freeze(node int, is bool) {
	var late []func()
	f.alter(node, node, func() bool {
		switch {
		case f.frozen[node] == is:
			return false
		case is && f.frozen == nil:
			f.frozen, f.late = map[int]bool{}, map[int][]func(){}
		}
		if is {
			f.frozen[node] = true
			return true
		}
		late = f.late[node]
		delete(f.late, node)
		delete(f.frozen, node)
		return true
	})
	for _, do := range late {
		do()
	}
}

// isFrozen says whether a node is, and what is closed when that may have changed; nil: it is not.
func (f *Fabric) isFrozen(node int) <-chan struct{} {
	if !f.silent.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.frozen[node] {
		return nil
	}
	return f.changed
}

// thawed waits until a node is not frozen.
func (f *Fabric) thawed(ctx context.Context, node int) error {
	for changed := f.isFrozen(node); changed != nil; changed = f.isFrozen(node) {
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// act has a node do something that the other end sees: now, or when it is not frozen any more.
func (f *Fabric) act(node int, do func()) {
	if f.silent.Load() {
		f.mu.Lock()
		if f.frozen[node] {
			f.late[node] = append(f.late[node], do)
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
	}
	do()
}

// Freeze has the listening side of all connections read and write nothing, as that of a stopped process, or ends that.
func (l *Local) Freeze(is bool) {
	l.ice.mu.Lock()
	defer l.ice.mu.Unlock()
	switch {
	case is && l.ice.ends == nil:
		l.ice.ends = make(chan struct{})
	case !is && l.ice.ends != nil:
		close(l.ice.ends)
		l.ice.ends = nil
	}
}

// ice is whether the listening side of a Local is frozen.
type ice struct {
	mu   sync.Mutex
	ends chan struct{} // closed when it is not any more; nil: it is not. Guarded by mu
}

func (i *ice) wait() {
	for {
		i.mu.Lock()
		ends := i.ends
		i.mu.Unlock()
		if ends == nil {
			return
		}
		<-ends
	}
}

// servedConn is the listening side of a connection.
type servedConn struct {
	net.Conn
	ice *ice
}

// Read returns what came when it may; the one who wrote it does not notice.
func (c servedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.ice.wait()
	return n, err
}

func (c servedConn) Write(b []byte) (int, error) {
	c.ice.wait()
	return c.Conn.Write(b)
}

func (c servedConn) Close() error {
	c.ice.wait()
	return c.Conn.Close()
}
