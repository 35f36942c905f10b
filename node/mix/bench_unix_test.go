//go:build unix

package mix_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/overlay/link"
	"github.com/mimid/mimid/protocol/onion"
)

// used is the processor time of this process.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// timed lets a function run, and reports what a packet costs by the clock and of processor time: the
// second is what can be believed on a machine that does other things, too.
func timed(b *testing.B, f func()) {
	runtime.GC()
	b.ResetTimer()
	before := used(b)
	f()
	cpu := used(b) - before
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/packet")
}

// BenchmarkRelay is what packets cost, of 8 KiB with X25519 and 30 KiB with X-Wing as in nodes: unwrap, the unwrapping alone; link, one way from node to
// node over libp2p (TCP on this machine, encrypted); relay, over libp2p to a relay, unwrapped, its tag in
// a store on disk, and over libp2p to a third node. All nodes are in this process, so that a relay's own
// cost is that of relay without that of one link:
//
//	go test ./node/mix -run xxx -bench Relay -benchtime 3000x -cpu 1
func BenchmarkRelay(b *testing.B) {
	for _, f := range []onion.Format{format, {Suite: onion.XWing, Class: onion.Class30K}} {
		b.Run(f.Suite.String(), func(b *testing.B) { relay(b, f) })
	}
}

func relay(b *testing.B, f onion.Format) {
	key := must[onion.PrivateKey](b)(onion.GenerateKey(f.Suite))
	packets := func(b *testing.B) [][]byte {
		var out [][]byte
		for range b.N {
			out = append(out, must[[]byte](b)(f.Build(epoch, []onion.Relay{{Node: here, Key: key.Public()}, {Node: next, Key: key.Public()}}, onion.Mailbox{}, nil)))
		}
		return out
	}
	b.Run("unwrap", func(b *testing.B) {
		var ring onion.Keyring
		if err := ring.Put(epoch, key); err != nil {
			b.Fatal(err)
		}
		all := packets(b)
		timed(b, func() {
			for _, p := range all {
				if _, err := f.Unwrap(&ring, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("link", func(b *testing.B) { relayed(b, f, key, packets(b), false) })
	b.Run("relay", func(b *testing.B) { relayed(b, f, key, packets(b), true) })
}

// relayed sends packets from the first of three nodes over the second, or at once, to the third.
func relayed(b *testing.B, f onion.Format, key onion.PrivateKey, all [][]byte, over bool) {
	st, stop := openStore(b, filepath.Join(b.TempDir(), "store"))
	defer stop()
	var hosts [3]host.Host
	for i := range hosts {
		_, k, _ := ed25519.GenerateKey(rand.Reader)
		hosts[i] = loopback(b, k)
		defer hosts[i].Close()
		for _, h := range hosts[:i] {
			h.Peerstore().AddAddrs(hosts[i].ID(), hosts[i].Addrs(), peerstore.PermanentAddrTTL)
		}
	}
	var came atomic.Uint64
	var relay *mix.Relay
	receive := []func(context.Context, overlay.PeerID, []byte){
		func(context.Context, overlay.PeerID, []byte) {},
		func(ctx context.Context, from overlay.PeerID, p []byte) { relay.Receive(ctx, from, p) },
		func(context.Context, overlay.PeerID, []byte) { came.Add(1) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 4)
	var links [3]*link.Link
	for i := range links {
		links[i] = must[*link.Link](b)(link.New(link.Config{Host: hosts[i], Size: f.PacketSize(), Receive: receive[i], Queue: 1 << 16, QueueTotal: 1 << 16}))
		go func() { ended <- links[i].Run(ctx) }()
	}
	relay = must[*mix.Relay](b)(mix.NewRelay(mix.RelayConfig{Format: f, Keys: []mix.EpochKey{{Epoch: epoch, Key: key}}, Link: links[1], Peers: last{overlay.PeerID(hosts[2].ID().String())},
		Journal: mix.NewStoreJournal(st), Deliver: func(onion.Mailbox, []byte) bool { return false }, Reply: func(onion.Mailbox, []byte) bool { return false },
		Limits: mix.Limits{PeerRate: 1 << 30, PeerBurst: 1 << 30, TotalRate: 1 << 30, TotalBurst: 1 << 30, Held: 1 << 20, HeldOctets: 1 << 40}}))
	go func() { ended <- relay.Run(ctx) }()
	to := overlay.PeerID(hosts[2].ID().String())
	if over {
		to = overlay.PeerID(hosts[1].ID().String())
	}
	commits := st.Stats().Commits
	timed(b, func() {
		for _, p := range all {
			for {
				err := links[0].Send(to, p)
				if err == nil {
					break
				}
				if !errors.Is(err, link.ErrFull) && !errors.Is(err, link.ErrNotRunning) {
					b.Fatal(err)
				}
				runtime.Gosched()
			}
		}
		for came.Load() < uint64(b.N) && relay.Counts().Unsent == 0 && links[0].Counts().Lost+links[1].Counts().Lost == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	})
	if c := relay.Counts(); over && c.Forwarded != uint64(b.N) || came.Load() != uint64(b.N) {
		b.Errorf("%d of %d packets came: %+v", came.Load(), b.N, c)
	}
	b.ReportMetric(float64(st.Stats().Commits-commits), "writes")
	cancel()
	for range 4 {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}

// last is a directory of one node, next.
type last struct{ peer overlay.PeerID }

func (l last) Peer(n onion.NodeID) (overlay.PeerID, bool) { return l.peer, n == next }
