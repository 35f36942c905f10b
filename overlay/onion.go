package overlay

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
)

// What overlay/link needs of an Overlay to carry onion packets. The packets themselves are no
// business of this package.

// OnionProtocol is the name that peers agree on for a stream of onion packets.
const OnionProtocol = "/mimid/onion/1"

// onionStreamsPerPeer bounds the streams of onion packets with one peer, each way. One is in use, and
// another while its successor is opened.
const onionStreamsPerPeer = 4

// Host is what packages in this folder open streams with. It is nil unless Run has it up, which it has
// from Ready on until Run's context ends; Run closes it.
func (o *Overlay) Host() host.Host {
	n := o.net.Load()
	if n == nil {
		return nil
	}
	return n.host
}

// Dial makes sure that there is a connection to a node, by the addresses that are known of it. It does
// not look for others: a search would tell those who are asked that a packet is about to go there.
// Errors: ErrName, ErrNotRunning, ErrUnreachable.
func (o *Overlay) Dial(ctx context.Context, p PeerID) error {
	n := o.net.Load()
	if n == nil {
		return ErrNotRunning
	}
	id, err := p.decode()
	if err != nil {
		return err
	}
	if n.host.Network().Connectedness(id) == network.Connected {
		return nil
	}
	n.forgetFailures(id)
	if err := n.host.Connect(ctx, n.host.Peerstore().PeerInfo(id)); err != nil {
		return fmt.Errorf("%w: connecting to %s: %w", ErrUnreachable, p, err)
	}
	return nil
}

// Acquaint finds a provider's record and remembers its nodes' addresses for an hour, for Dial. Errors:
// those of Resolve.
func (o *Overlay) Acquaint(ctx context.Context, domain string) (*Record, error) {
	rec, err := o.Resolve(ctx, domain)
	if err != nil {
		return nil, err
	}
	for _, n := range rec.Nodes {
		o.remember(n)
	}
	return rec, nil
}

// PeerOf is the peer id of the node with a node key.
func PeerOf(key ed25519.PublicKey) (PeerID, error) {
	if len(key) != ed25519.PublicKeySize {
		return "", fmt.Errorf("%w: a node key of %d octets", ErrName, len(key))
	}
	id, err := peerOfKey(key)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrName, err)
	}
	return peerText(id), nil
}
