package overlay_test

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/mimid/mimid/overlay"
)

// TestOnionStreamsOfOnePeer: a peer has four streams for onion packets each way, whatever else it does; that
// another has as many, and that it has streams for HTTP, is no matter of theirs.
func TestOnionStreamsOfOnePeer(t *testing.T) {
	m, err := overlay.Resources(overlay.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	open := func(p peer.ID, d network.Direction, name protocol.ID) error {
		s, err := m.OpenStream(p, d)
		if err != nil {
			return err
		}
		if err := s.SetProtocol(name); err != nil {
			s.Done()
			return err
		}
		return nil
	}
	for _, d := range []network.Direction{network.DirInbound, network.DirOutbound} {
		for _, p := range []peer.ID{"one", "another"} {
			opened := 0
			for range 20 {
				if open(p, d, overlay.OnionProtocol) == nil {
					opened++
				}
			}
			if opened != 4 {
				t.Errorf("%v, peer %s: %d streams, not 4", d, string(p), opened)
			}
			if err := open(p, d, "/mimid/http/1.1"); err != nil {
				t.Errorf("%v, peer %s: a stream for HTTP: %v", d, string(p), err)
			}
		}
	}
}
