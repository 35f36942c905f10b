package udpnet_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/simulations/udpnet"
)

type path func(from, to, octets int) time.Duration

func (p path) Transit(from, to, octets int) time.Duration { return p(from, to, octets) }

func fixed(d time.Duration) path { return func(int, int, int) time.Duration { return d } }

// A network has the sockets of three nodes.
type network struct {
	*udpnet.Fabric
	sockets [3]net.PacketConn
}

func addr(node byte) *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(10, 0, 0, node), Port: 4001} }

// in makes a network in virtual time.
func in(t *testing.T, p path, lines udpnet.Lines, what func(t *testing.T, n *network)) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{Fabric: udpnet.New(p, lines, rand.New(rand.NewPCG(1, 2)))}
		n.Start()
		defer n.Close()
		for i := range n.sockets {
			var err error
			if n.sockets[i], err = n.Socket(i)("udp4", addr(byte(i))); err != nil {
				t.Fatal(err)
			}
			defer n.sockets[i].Close()
		}
		what(t, n)
	})
}

// send sends a packet with a number.
func (n *network) send(t *testing.T, from, to byte, number uint32, octets int) {
	t.Helper()
	p := make([]byte, octets)
	binary.BigEndian.PutUint32(p, number)
	if sent, err := n.sockets[from].WriteTo(p, addr(to)); err != nil || sent != octets {
		t.Fatalf("%d octets were sent: %v", sent, err)
	}
}

// An arrival is a packet, and when it came.
type arrival struct {
	number uint32
	from   string
	after  time.Duration
}

// all are what comes to a node within some time.
func (n *network) all(t *testing.T, to byte, within time.Duration) (out []arrival) {
	t.Helper()
	begun := time.Now()
	if err := n.sockets[to].SetReadDeadline(begun.Add(within)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2000)
	for {
		_, from, err := n.sockets[to].ReadFrom(p)
		if err != nil {
			return out
		}
		out = append(out, arrival{binary.BigEndian.Uint32(p), from.String(), time.Since(begun)})
	}
}

// A packet takes its line and its way: with 10 Mbit/s one of 1,250 octets each millisecond, after the first, for which the line is free.
func TestLatency(t *testing.T) {
	for _, c := range []struct {
		name   string
		uplink float64
		each   time.Duration
	}{{"without bound", 0, 0}, {"10 Mbit/s", 10, time.Millisecond}} {
		t.Run(c.name, func(t *testing.T) {
			in(t, fixed(30*time.Millisecond), udpnet.Lines{Uplink: c.uplink}, func(t *testing.T, n *network) {
				for i := range 10 {
					n.send(t, 0, 1, uint32(i), 1250)
				}
				got := n.all(t, 1, time.Second)
				if len(got) != 10 {
					t.Fatalf("%d of 10 packets came", len(got))
				}
				for i, a := range got {
					// simnet lets 1,500 octets go at once when a line has been free.
					want := 30*time.Millisecond + c.each*time.Duration(i)
					if a.number != uint32(i) || a.from != "10.0.0.0:4001" || a.after < want-c.each || a.after > want+time.Microsecond {
						t.Errorf("packet %d came as number %d from %s after %s, want %s", a.number, i, a.from, a.after, want)
					}
				}
				if last := got[9].after; last < 30*time.Millisecond+8*c.each {
					t.Errorf("the last came after %s", last)
				}
			})
		})
	}
}

// A packet does not overtake another one of the same way, however long either takes by itself.
func TestOrder(t *testing.T) {
	way := 50 * time.Millisecond
	in(t, func(_, _, _ int) time.Duration {
		way -= time.Millisecond
		return way
	}, udpnet.Lines{}, func(t *testing.T, n *network) {
		for i := range 20 {
			n.send(t, 0, 1, uint32(i), 100)
		}
		got := n.all(t, 1, time.Second)
		if len(got) != 20 {
			t.Fatalf("%d of 20 packets came", len(got))
		}
		for i, a := range got {
			if late := a.after - 49*time.Millisecond; a.number != uint32(i) || late < 0 || late > time.Microsecond {
				t.Errorf("packet %d came in place %d after %s, want 49ms, as the first", a.number, i, a.after)
			}
		}
	})
}

func TestLoss(t *testing.T) {
	in(t, fixed(time.Millisecond), udpnet.Lines{Loss: .3}, func(t *testing.T, n *network) {
		got := 0
		for range 100 {
			for i := range 20 {
				n.send(t, 0, 1, uint32(i), 100)
			}
			got += len(n.all(t, 1, 10*time.Millisecond))
		}
		// 1400 of 2000, with a deviation of 20.
		if got < 1300 || got > 1500 {
			t.Errorf("%d of 2000 packets came, 1400 were expected", got)
		}
		if c := n.Counts(); c.Packets != 2000 || c.Octets != 200_000 || c.Arrived != int64(got) || c.Arrived+c.Lost != 2000 || c.Cut != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// Who is cut off hears nothing and is not heard, packets that are on their way among them; the others do not notice.
func TestCut(t *testing.T) {
	in(t, fixed(10*time.Millisecond), udpnet.Lines{}, func(t *testing.T, n *network) {
		count := func(what string, want [3]int) {
			t.Helper()
			for i := range n.sockets {
				for j := range n.sockets {
					if i != j {
						n.send(t, byte(i), byte(j), 1, 100)
					}
				}
			}
			for i := range n.sockets {
				if got := len(n.all(t, byte(i), 20*time.Millisecond)); got != want[i] {
					t.Errorf("%s: node %d got %d packets, want %d", what, i, got, want[i])
				}
			}
		}
		count("before", [3]int{2, 2, 2})
		n.send(t, 0, 1, 1, 100)
		n.Isolate(1, 3, true)
		if got := n.all(t, 1, time.Second); len(got) != 0 {
			t.Errorf("%d packets came that were on their way", len(got))
		}
		count("isolated", [3]int{1, 0, 1})
		n.Isolate(1, 3, false)
		count("after", [3]int{2, 2, 2})
		n.Cut(0, 2, true)
		count("one direction", [3]int{2, 2, 1})
		if c := n.Counts(); c.Cut != 1+4+1 || c.Packets != c.Arrived+c.Cut {
			t.Errorf("%+v", c)
		}
	})
}

// A node's socket is at its own address. After its end it can be opened anew, and what comes in between is gone.
func TestSocket(t *testing.T) {
	in(t, fixed(time.Millisecond), udpnet.Lines{}, func(t *testing.T, n *network) {
		for _, wrong := range []*net.UDPAddr{addr(5), {IP: net.IPv4(10, 0, 0, 4), Port: 4002}, {IP: net.IPv4zero}, {IP: net.IPv6loopback, Port: 4001}} {
			if c, err := n.Socket(4)("udp4", wrong); err == nil {
				c.Close()
				t.Errorf("node 4 has a socket at %s", wrong)
			}
		}
		if err := n.sockets[1].Close(); err != nil {
			t.Fatal(err)
		}
		n.send(t, 0, 1, 1, 100)
		time.Sleep(time.Second)
		if _, _, err := n.sockets[1].ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading from a socket that is closed: %v", err)
		}
		var err error
		if n.sockets[1], err = n.Socket(1)("udp4", addr(1)); err != nil {
			t.Fatal(err)
		}
		defer n.sockets[1].Close()
		n.send(t, 0, 1, 2, 100)
		if got := n.all(t, 1, time.Second); len(got) != 1 || got[0].number != 2 {
			t.Errorf("%+v came to the new socket, want packet 2", got)
		}
		if sent, err := n.sockets[0].WriteTo(make([]byte, 10), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}); sent != 10 || err != nil {
			t.Errorf("a packet to nowhere: %d, %v", sent, err)
		}
	})
}
