package mix_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/mimid/mimid/protocol/onion"
)

// onLoopback is a world whose nodes speak TCP with each other, with libp2p's encryption.
func onLoopback(t testing.TB, n int, delay time.Duration) *world {
	return newWorld(t, n, delay, func(_ int, key ed25519.PrivateKey) host.Host { return loopback(t, key) })
}

// TestSendOverThreeRelays: messages of one and of several parts go from one node over three relays to
// another, are kept there, and the sender is told so by reply blocks over the same three relays.
func TestSendOverThreeRelays(t *testing.T) {
	w := onLoopback(t, 5, 3*time.Millisecond)
	for _, v := range w.nodes {
		w.start(v)
	}
	from, to := w.nodes[3], w.nodes[4]
	box := onion.Mailbox{7}
	sent := map[onion.MessageID][]byte{}
	for _, n := range []int{0, 1, 5000, 20_000, format.MaxMessage(true)} {
		m := make([]byte, n)
		rand.Read(m)
		sent[newID()] = m
	}
	var wg sync.WaitGroup
	for id, m := range sent {
		wg.Go(func() {
			if err := from.sender.Send(patient(t), to.id, box, id, m); err != nil {
				t.Errorf("%d octets: %v", len(m), err)
			}
		})
	}
	wg.Wait()
	got := to.inbox.list()
	if len(got) != len(sent) {
		t.Errorf("%d messages came, of %d", len(got), len(sent))
	}
	for _, m := range got {
		if want, ok := sent[m.ID]; !ok || !bytes.Equal(m.Data, want) || m.To != box {
			t.Errorf("a message of %d octets is another one", len(m.Data))
		}
	}
	for i, v := range w.nodes[:3] {
		// The last acknowledgements may still be on their way.
		until(t, "all packets that came have left, and their tags are on disk", func() bool {
			marks, _ := v.journal.written()
			c := v.relay.Counts()
			return c.Received == c.Forwarded && c.Forwarded == uint64(marks)
		})
		c := v.relay.Counts()
		if c.Forwarded == 0 || c.Delivered+c.Replies != 0 || c.Forged+c.Malformed+c.Unsent != 0 {
			t.Errorf("relay %d: %+v", i, c)
		}
	}
	if c := from.relay.Counts(); c.Forwarded != 0 || c.Replies == 0 {
		t.Errorf("the sender: %+v", c)
	}
}
