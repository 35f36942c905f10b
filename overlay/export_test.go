package overlay

import (
	"context"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Connections counts connections to a peer.
func Connections(o *Overlay, p PeerID) int {
	id, _ := p.decode()
	return len(o.net.Load().host.Network().ConnsToPeer(id))
}

// HTTPStreams counts open HTTP streams, of both directions.
func HTTPStreams(o *Overlay) (n int) {
	for _, c := range o.net.Load().host.Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == httpProtocol {
				n++
			}
		}
	}
	return n
}

// OpenHTTPStream opens a raw stream to a peer's HTTP server.
func OpenHTTPStream(ctx context.Context, o *Overlay, p PeerID) (network.Stream, error) {
	id, err := p.decode()
	if err != nil {
		return nil, err
	}
	return o.net.Load().host.NewStream(ctx, id, httpProtocol)
}

// PeerID converts for tests that speak to libp2p directly.
func (p PeerID) Libp2p() peer.ID {
	id, err := p.decode()
	if err != nil {
		panic(err)
	}
	return id
}
