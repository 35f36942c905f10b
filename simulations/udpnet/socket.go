package udpnet

import (
	"fmt"
	"math"
	"net"

	"github.com/marcopolo/simnet"
)

// Socket is what opens a node's socket, for overlay.Config.ListenUDP. The node listens at Addr(node). A node that has ended may
// open it anew.
func (f *Fabric) Socket(node int) func(network string, addr *net.UDPAddr) (net.PacketConn, error) {
	return func(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
		if n, ok := nodeOf(addr); !ok || n != node || node >= MaxNodes {
			return nil, fmt.Errorf("udpnet: node %d has its socket at %s:%d, not at %s", node, ip(node), port, addr)
		}
		rate := unbound
		if f.lines.Uplink > 0 {
			rate = int(math.Ceil(min(f.lines.Uplink*1e6, unbound)))
		}
		lines := simnet.NodeBiDiLinkSettings{Uplink: simnet.LinkSettings{BitsPerSecond: rate}, Downlink: simnet.LinkSettings{BitsPerSecond: unbound}}
		f.mu.Lock()
		defer f.mu.Unlock() // simnet has no lock for its list of sockets
		return &socket{SimConn: f.net.NewEndpoint(&net.UDPAddr{IP: ip(node), Port: port}, lines), f: f, node: node}, nil
	}
}

// A socket is one of simnet's that loses packets. It keeps its methods, which quic-go looks for.
type socket struct {
	*simnet.SimConn
	f    *Fabric
	node int
}

// WriteTo sends a packet.
func (s *socket) WriteTo(p []byte, addr net.Addr) (int, error) {
	to, ok := nodeOf(addr)
	if !ok {
		return len(p), nil // nobody is there, and UDP says nothing
	}
	s.f.counts.packets.Add(1)
	s.f.counts.octets.Add(int64(len(p)))
	if s.f.isCut(s.node, to) {
		s.f.counts.cut.Add(1)
		return len(p), nil
	}
	return s.SimConn.WriteTo(p, &net.UDPAddr{IP: ip(to), Port: port}) // simnet tells an IPv4 address of 4 octets from one of 16
}

// ReadFrom waits for a packet that is not lost.
func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := s.SimConn.ReadFrom(p)
		if err != nil {
			return n, addr, err
		}
		from, _ := nodeOf(addr)
		switch {
		case s.f.isCut(from, s.node):
			s.f.counts.cut.Add(1)
		case s.f.isLost():
			s.f.counts.lost.Add(1)
		default:
			s.f.counts.arrived.Add(1)
			return n, addr, nil
		}
	}
}
