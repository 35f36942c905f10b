package overlay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/mimid/mimid/overlay"
)

// A lie answers a request of the DHT in a node's place; nil says nothing more, and the
// stream stays open.
type lie func(m *pb.Message) []byte

// serve makes a lie a stream handler. Streams end with the test.
func (l lie) serve(s network.Stream) {
	defer s.Reset()
	for {
		m, err := readMessage(s)
		if err != nil {
			return
		}
		out := l(m)
		if out == nil {
			_, _ = s.Read(make([]byte, 1)) // until the other gives up
			return
		}
		if _, err := s.Write(out); err != nil {
			return
		}
	}
}

func readMessage(s network.Stream) (*pb.Message, error) {
	var one [1]byte
	var size uint64
	for shift := 0; ; shift += 7 {
		if _, err := s.Read(one[:]); err != nil {
			return nil, err
		}
		size |= uint64(one[0]&0x7f) << shift
		if one[0] < 0x80 {
			break
		}
	}
	if size > 1<<16 {
		return nil, fmt.Errorf("%d bytes", size)
	}
	b := make([]byte, size)
	for n := 0; n < len(b); {
		k, err := s.Read(b[n:])
		if n += k; err != nil && n < len(b) {
			return nil, err
		}
	}
	m := new(pb.Message)
	return m, proto.Unmarshal(b, m)
}

func framed(m *pb.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// madeUp returns peers that do not exist.
func madeUp(n int) (out []peer.AddrInfo) {
	for range n {
		_, k, _ := ed25519.GenerateKey(rand.Reader)
		priv, _ := crypto.UnmarshalEd25519PrivateKey(k)
		id, _ := peer.IDFromPrivateKey(priv)
		out = append(out, peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/tcp/9")}})
	}
	return out
}

func silent(*pb.Message) []byte { return nil }

func garbage(*pb.Message) []byte {
	b := make([]byte, 300)
	rand.Read(b)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// tooMuch announces more bytes than there may be.
func tooMuch(*pb.Message) []byte { return binary.AppendUvarint(nil, 1<<40) }

// late answers nothing useful, after a while.
func late(t testing.TB) lie {
	return func(m *pb.Message) []byte {
		select {
		case <-time.After(2500 * time.Millisecond):
		case <-t.Context().Done():
		}
		return framed(pb.NewMessage(m.GetType(), m.GetKey(), 0))
	}
}

// inventing says that peers that do not exist announce everything and are near it.
func inventing(m *pb.Message) []byte {
	out := pb.NewMessage(m.GetType(), m.GetKey(), 0)
	out.ProviderPeers = pb.RawPeerInfosToPBPeers(madeUp(200))
	out.CloserPeers = pb.RawPeerInfosToPBPeers(madeUp(20))
	return framed(out)
}

// hiding knows no announcer, and of nodes only those it is in league with.
func hiding(league []peer.AddrInfo) lie {
	return func(m *pb.Message) []byte {
		out := pb.NewMessage(m.GetType(), m.GetKey(), 0)
		out.CloserPeers = pb.RawPeerInfosToPBPeers(league)
		return framed(out)
	}
}

func addrInfo(o *overlay.Overlay) peer.AddrInfo {
	out := peer.AddrInfo{ID: o.Self().Libp2p()}
	for _, a := range o.Addrs() {
		out.Addrs = append(out.Addrs, multiaddr.StringCast(a))
	}
	return out
}

// crowd starts n providers at about the same time, and waits until they know each other.
func crowd(t testing.TB, n int, change func(i int, c *overlay.Config)) (all []*overlay.Overlay, stops []func()) {
	t.Helper()
	all, stops = make([]*overlay.Overlay, n), make([]func(), n)
	one := func(i int) {
		c := config(fmt.Sprintf("p%d.example", i))
		if i > 0 {
			c.Bootstrap = boot(all[0])
		}
		if change != nil {
			change(i, &c)
		}
		all[i], stops[i] = start(t, c)
	}
	one(0)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i := 1; i < n; i++ {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			one(i)
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	tries := 0
	eventually(t, "routing tables fill", func() error {
		tries++
		for i, o := range all {
			if known := overlay.TableSize(o); known < min(n/2, 15) {
				switch {
				case tries%300 != 0:
				case known == 0:
					// The DHT tries a node once when it connects; on a busy machine that
					// may take too long.
					overlay.Disconnect(o, all[0].Self())
				default: // likewise of others; else it looks for more in minutes only
					overlay.RefreshTable(o)
				}
				return fmt.Errorf("node %d knows %d", i, known)
			}
		}
		return nil
	})
	return all, stops
}

// A network of 40, of whose nodes 12 that hold announcements are dead or lie, some of them
// having announced the key themselves, and made-up announcers come in hundreds: who
// searches still finds the true one, among as few as it asked for.
func TestAnnouncersAmongDeadAndLying(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 40 whole nodes take a minute")
	}
	const nodes, bad, limit = 40, 12, 24
	all, stops := crowd(t, nodes, nil)
	keys := [][32]byte{{1}, {2}, {3}, {4}}
	// The last twelve turn bad, after they have taken what they were to hold.
	for i, k := range keys {
		if err := all[1+i].Announce(within(t, time.Minute), k); err != nil {
			t.Fatal(err)
		}
		for _, liar := range all[nodes-4:] { // they hide the truth in numbers, too
			if err := liar.Announce(within(t, time.Minute), k); err != nil {
				t.Fatal(err)
			}
		}
	}
	var league []peer.AddrInfo
	for _, o := range all[nodes-bad:] {
		league = append(league, addrInfo(o))
	}
	lies := []lie{silent, garbage, tooMuch, late(t), inventing, inventing, inventing, hiding(league), hiding(league)}
	for i := range bad {
		o := all[nodes-bad+i]
		if i < len(lies) {
			overlay.Turn(o, lies[i].serve)
		} else {
			stops[nodes-bad+i]() // dead
		}
	}
	honest := all[:nodes-bad]
	var mu sync.Mutex
	found, searches := 0, 0
	var longest time.Duration
	var wg sync.WaitGroup
	for _, i := range []int{0, 7, 13, 21, 26} {
		wg.Go(func() {
			for j, k := range keys {
				want := all[1+j].Self()
				began := time.Now()
				got := slices.Collect(honest[i].Announcers(within(t, time.Minute), k, limit))
				took := time.Since(began)
				mu.Lock()
				searches++
				if slices.Contains(got, want) {
					found++
				} else {
					t.Errorf("node %d does not find %s for key %d among %d", i, want, j+1, len(got))
				}
				if len(got) > limit {
					t.Errorf("%d announcers, with a limit of %d", len(got), limit)
				}
				longest = max(longest, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("found in %d of %d searches, the longest of %s", found, searches, longest)
	// Who has left ends the search early, and nothing goes on behind it.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range honest[0].Announcers(ctx, keys[0], limit) {
	}
}
