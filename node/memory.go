package node

import (
	"crypto/ed25519"
	"errors"
	"net"
	"path/filepath"

	"github.com/mimid/mimid/store"
)

// Memory is what a node stands on that lives in memory, in a network inside one process, as
// simulations have it: without sockets, and with a store that is gone when the node ends (but see Files). No
// configuration asks for it, so that no operator has it by mistake.
//
// The data directory is there for attachments and such a store alone, and has to exist. clients.listen is the address
// that the node says it has. What else would open sockets has to be off: HTTPS, metrics, DNS, mDNS.
type Memory struct {
	// Keys are the node's, in place of those in the data directory.
	Keys *Keys
	// Transport is overlay.Config.Transport.
	Transport any
	// Clients and Operator bring the connections of clients and of the operator
	// (admin.NewClient). The node closes both. The address of Clients must be a loopback one.
	Clients, Operator net.Listener
	// Files has the store lie in the data directory, as ever, so that the node can end and begin again.
	Files bool
	// Disk is store.Options.Disk.
	Disk func()
}

// NewKeys are keys that lie nowhere, for a node in memory.
func NewKeys(provider, node, franking ed25519.PrivateKey) *Keys {
	return &Keys{provider: []ed25519.PrivateKey{provider}, node: node, franking: franking}
}

// check says what is missing, or would open a socket.
func (m *Memory) check(c *Config) error {
	switch {
	case m == nil:
		return nil
	case m.Keys == nil || m.Transport == nil || m.Clients == nil || m.Operator == nil:
		return errors.New("a node in memory needs keys, a transport, and listeners for clients and operator")
	case c.HTTPS.Listen != "" || c.Metrics.Listen != "" || c.Trust.DNS != "off" || c.Overlay.MDNS || !c.Overlay.Enabled:
		return errors.New("a node in memory has no sockets: https.listen and metrics.listen must be empty, trust.dns off, overlay.mdns false, overlay.enabled true")
	}
	return nil
}

// readKeys reads the keys of the data directory, unless the node lives in memory.
func (m *Memory) readKeys(dir string) (*Keys, error) {
	if m != nil {
		return m.Keys, nil
	}
	return ReadKeys(dir)
}

// store says where the store is.
func (m *Memory) store(dir string) store.Options {
	if m != nil && !m.Files {
		return store.Options{InMemory: true, Disk: m.Disk}
	}
	if m != nil {
		return store.Options{Dir: filepath.Join(dir, "store"), Disk: m.Disk}
	}
	return store.Options{Dir: filepath.Join(dir, "store")}
}

func (m *Memory) transport() any {
	if m != nil {
		return m.Transport
	}
	return nil
}

// listen listens for clients.
func (m *Memory) listen(addr string) (net.Listener, error) {
	if m != nil {
		return m.Clients, nil
	}
	return listen("clients.listen", addr)
}

// operator brings the operator's connections; nil: they come by the socket in the data directory.
func (m *Memory) operator() net.Listener {
	if m != nil {
		return m.Operator
	}
	return nil
}
