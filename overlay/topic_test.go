package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"

	"github.com/mimid/mimid/overlay"
)

// inbox collects what a topic hands in.
type inbox struct {
	mu      sync.Mutex
	got     []string
	from    []overlay.PeerID
	verdict func(data string) overlay.Verdict
}

func (b *inbox) handler(allow func(overlay.PeerID) bool) overlay.TopicHandler {
	return overlay.TopicHandler{
		Allow: allow,
		Receive: func(from overlay.PeerID, data []byte) overlay.Verdict {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.got = append(b.got, string(data))
			b.from = append(b.from, from)
			if b.verdict != nil {
				return b.verdict(string(data))
			}
			return overlay.Accept
		},
	}
}

func (b *inbox) has(want ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range want {
		if !slices.Contains(b.got, w) {
			short := make([]string, len(b.got))
			for i, g := range b.got {
				short[i] = fmt.Sprintf("%.20s", g)
			}
			return fmt.Errorf("have %q, want %.20q", short, w)
		}
	}
	return nil
}

func (b *inbox) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// deliver publishes until a message has reached all. While the mesh forms, at the next
// heartbeat, messages may be lost.
func deliver(t testing.TB, from *overlay.Topic, data string, to ...*inbox) {
	t.Helper()
	n := 0
	eventually(t, "delivery", func() error {
		n++
		message := fmt.Sprint(data, " ", n)
		if err := from.Publish(within(t, 5*time.Second), []byte(message)); err != nil {
			t.Fatal(err)
		}
		var err error
		for range 20 {
			err = nil
			for _, b := range to {
				err = errors.Join(err, b.has(message))
			}
			if err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		return err
	})
}

func join(t testing.TB, o *overlay.Overlay, name string, h overlay.TopicHandler) *overlay.Topic {
	t.Helper()
	topic, err := o.Join(name, h)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func sees(t testing.TB, topic *overlay.Topic, n int) {
	t.Helper()
	eventually(t, "peers of the topic", func() error {
		if p := topic.Peers(); len(p) != n {
			return fmt.Errorf("%d peers, want %d", len(p), n)
		}
		return nil
	})
}

func TestTopicDelivery(t *testing.T) {
	nodes := providers(t, 3, nil)
	var boxes [3]inbox
	var topics [3]*overlay.Topic
	for i, o := range nodes {
		topics[i] = join(t, o, "room", boxes[i].handler(nil))
	}
	sees(t, topics[0], 2)
	deliver(t, topics[0], "first", &boxes[1], &boxes[2])
	deliver(t, topics[0], strings.Repeat("x", overlay.MaxMessage-20), &boxes[1], &boxes[2])
	deliver(t, topics[1], "from another", &boxes[0], &boxes[2])
	if f := boxes[2].from[0]; f != nodes[0].Self() && f != nodes[1].Self() {
		t.Errorf("handed in as from %s", f)
	}
	if err := boxes[0].has("first 1"); err == nil {
		t.Error("own message was handed in")
	}
	if err := topics[0].Publish(within(t, time.Second), make([]byte, overlay.MaxMessage+1)); !errors.Is(err, overlay.ErrTooLarge) {
		t.Errorf("oversize: %v", err)
	}
	if err := topics[1].Publish(within(t, 5*time.Second), []byte("from another 1")); err != nil {
		t.Errorf("a duplicate: %v", err)
	}
	topics[2].Leave()
	topics[2].Leave()
	sees(t, topics[0], 1)
	if err := topics[2].Publish(within(t, time.Second), []byte("left")); !errors.Is(err, overlay.ErrTopic) {
		t.Errorf("after Leave: %v", err)
	}
	had := len(boxes[2].list())
	deliver(t, topics[0], "after Leave", &boxes[1])
	if len(boxes[2].list()) != had {
		t.Error("delivered after Leave")
	}
	for i := range boxes {
		got := boxes[i].list()
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Error("a message was handed in twice")
		}
	}
	topics[2] = join(t, nodes[2], "room", boxes[2].handler(nil)) // again
	sees(t, topics[0], 2)
}

func TestJoinErrors(t *testing.T) {
	o, _ := start(t, config("a.example"))
	ok := overlay.TopicHandler{Receive: func(overlay.PeerID, []byte) overlay.Verdict { return overlay.Accept }}
	for _, c := range []struct {
		name string
		h    overlay.TopicHandler
	}{
		{"", ok}, {strings.Repeat("x", overlay.MaxTopicName+1), ok}, {"\xff", ok}, {"no handler", overlay.TopicHandler{}},
	} {
		if _, err := o.Join(c.name, c.h); !errors.Is(err, overlay.ErrTopic) {
			t.Errorf("%q: %v", c.name, err)
		}
	}
	join(t, o, "twice", ok)
	if _, err := o.Join("twice", ok); !errors.Is(err, overlay.ErrTopic) {
		t.Errorf("twice: %v", err)
	}
}

// raw is a libp2p host that speaks gossip as it likes: a peer that keeps no rules.
func raw(t testing.TB, to *overlay.Overlay, opts ...pubsub.Option) (host.Host, *pubsub.PubSub) {
	t.Helper()
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); h.Close() })
	opts = append([]pubsub.Option{
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithMaxMessageSize(4 << 20), pubsub.WithFloodPublish(true),
		pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string { return string(m.GetData()) }),
	}, opts...)
	ps, err := pubsub.NewGossipSub(ctx, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := multiaddr.NewMultiaddr(to.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Connect(ctx, peer.AddrInfo{ID: to.Self().Libp2p(), Addrs: []multiaddr.Multiaddr{addr}}); err != nil {
		t.Fatal(err)
	}
	return h, ps
}

// Outsiders get nothing and their messages do nothing, whichever protocol they speak,
// also when they send first what a member sends later.
func TestPeerFilter(t *testing.T) {
	t.Parallel() // it waits most of the time
	nodes := providers(t, 3, nil)
	member, outsider := nodes[1], nodes[2]
	allow := func(p overlay.PeerID) bool { return p == nodes[0].Self() || p == member.Self() }
	var boxes [3]inbox
	a := join(t, nodes[0], "room", boxes[0].handler(allow))
	b := join(t, member, "room", boxes[1].handler(allow))
	c := join(t, outsider, "room", boxes[2].handler(nil))
	sees(t, a, 1)
	if p := a.Peers(); p[0] != member.Self() {
		t.Fatalf("%s", p)
	}
	var stolen atomic.Int32
	for _, opts := range [][]pubsub.Option{
		nil,
		{pubsub.WithGossipSubProtocols([]protocol.ID{pubsub.FloodSubID}, func(pubsub.GossipSubFeature, protocol.ID) bool { return false })},
	} {
		h, ps := raw(t, nodes[0], opts...)
		topic, err := ps.Join("room")
		if err != nil {
			t.Fatal(err)
		}
		sub, err := topic.Subscribe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		go func() {
			for {
				m, err := sub.Next(ctx)
				if err != nil {
					return
				}
				if m.ReceivedFrom != h.ID() {
					stolen.Add(1)
				}
			}
		}()
		eventually(t, "outsider publishes", func() error {
			if len(topic.ListPeers()) == 0 && opts == nil {
				return errors.New("sees nobody")
			}
			return topic.Publish(context.Background(), []byte("contested"))
		})
	}
	if err := c.Publish(within(t, time.Second), []byte("contested")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // a heartbeat, so that whoever could be grafted is
	deliver(t, b, "mesh", &boxes[0])
	deliver(t, a, "mesh", &boxes[1])
	if err := b.Publish(within(t, time.Second), []byte("contested")); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := a.Publish(within(t, time.Second), fmt.Append(nil, "secret ", i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "delivery to the member", func() error {
		return errors.Join(boxes[1].has("secret 19"), boxes[0].has("contested"))
	})
	time.Sleep(1200 * time.Millisecond) // and gossip about it has gone out
	contested := 0
	boxes[0].mu.Lock()
	defer boxes[0].mu.Unlock()
	for i, data := range boxes[0].got {
		if boxes[0].from[i] != member.Self() {
			t.Errorf("%q from %s", data, boxes[0].from[i])
		}
		if data == "contested" {
			contested++
		}
	}
	if contested != 1 {
		t.Errorf("the member's message came %d times", contested)
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("raw outsiders got %d messages", n)
	}
	if boxes[2].has("secret 0") == nil {
		t.Error("the outsider got a message")
	}
}

// Ignored and rejected messages are not passed on; a peer that sends rejected ones loses
// its standing, and one that sends ignored ones does not.
func TestVerdicts(t *testing.T) {
	nodes := providers(t, 2, nil)
	var here, there inbox
	here.verdict = func(data string) overlay.Verdict {
		switch {
		case strings.HasPrefix(data, "ignore"):
			return overlay.Ignore
		case strings.HasPrefix(data, "reject"):
			return overlay.Reject
		}
		return overlay.Accept
	}
	join(t, nodes[0], "room", here.handler(nil))
	far := join(t, nodes[1], "room", there.handler(nil))
	sees(t, far, 1)
	h, ps := raw(t, nodes[0])
	topic, err := ps.Join("room")
	if err != nil {
		t.Fatal(err)
	}
	send := func(data string) {
		t.Helper()
		if err := topic.Publish(context.Background(), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "connected", func() error {
		if len(topic.ListPeers()) == 0 {
			return errors.New("no")
		}
		return nil
	})
	n := 0
	eventually(t, "delivery through the middle", func() error {
		n++
		first := fmt.Sprint("first ", n)
		send(first)
		time.Sleep(50 * time.Millisecond)
		return there.has(first)
	})
	for i := range 10 {
		send(fmt.Sprint("ignore ", i))
	}
	send(strings.Repeat("x", overlay.MaxMessage+1)) // counts as bad
	send("still heard")
	eventually(t, "delivery", func() error { return there.has("still heard") })
	id := overlay.PeerID(h.ID().String())
	if p := overlay.Demerits(nodes[0], id); p != 10 {
		t.Errorf("one oversize message: %v points", p)
	}
	for i := range 30 {
		send(fmt.Sprint("reject ", i))
	}
	eventually(t, "standing", func() error {
		if p := overlay.Demerits(nodes[0], id); p < 200 {
			return fmt.Errorf("%v points", p)
		}
		return nil
	})
	send("not heard any more")
	time.Sleep(100 * time.Millisecond)
	here.mu.Lock()
	defer here.mu.Unlock()
	there.mu.Lock()
	defer there.mu.Unlock()
	for _, data := range here.got {
		if len(data) > overlay.MaxMessage || strings.HasPrefix(data, "not heard") {
			t.Errorf("handed in: %.20s", data)
		}
	}
	for _, data := range there.got {
		if strings.HasPrefix(data, "ignore") || strings.HasPrefix(data, "reject") {
			t.Errorf("passed on: %s", data)
		}
	}
}

// Two nodes with 20,000 topics each form a mesh in every one. With gossipsub's own bound
// on the first message they would never exchange a word, and nobody would be told.
func TestManyTopics(t *testing.T) {
	const topics = 20_000
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		if i == 1 {
			c.Bootstrap = nil // connect when all are joined: then the first message has all names
		}
	})
	var boxes [2]inbox
	var last [2]*overlay.Topic
	for i, o := range nodes {
		for j := range topics {
			last[i] = join(t, o, fmt.Sprintf("%022d", j), boxes[i].handler(nil)) // as long as 16 bytes in base64
		}
	}
	overlay.Connect(t.Context(), nodes[1], nodes[0])
	sees(t, last[0], 1)
	sees(t, last[1], 1)
	for i := range last {
		n := 0
		eventually(t, "delivery on the last topic", func() error {
			n++
			data := fmt.Sprintf("%d from %d", n, i)
			if err := last[i].Publish(t.Context(), []byte(data)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
			return boxes[1-i].has(data)
		})
	}
	if _, err := nodes[0].Join("one more", boxes[0].handler(nil)); err != nil {
		t.Error(err)
	}
}

func TestTopicNamesAreBounded(t *testing.T) {
	o, _ := start(t, config("a.example"))
	var box inbox
	overlay.FillHello(o)
	if _, err := o.Join("one too many", box.handler(nil)); !errors.Is(err, overlay.ErrFull) {
		t.Errorf("%v", err)
	}
}

func TestSubscriptionsOfAPeerAreBounded(t *testing.T) {
	c := config("a.example")
	c.Limits.TopicsPerPeer = 10
	o, _ := start(t, c)
	_, ps := raw(t, o)
	for i := range 20 {
		topic, err := ps.Join(fmt.Sprint("topic ", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topic.Subscribe(); err != nil {
			t.Fatal(err)
		}
	}
	long, err := ps.Join(strings.Repeat("x", overlay.MaxTopicName+1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := long.Subscribe(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "subscriptions", func() error {
		if n := overlay.Subscriptions(o); n < 10 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	time.Sleep(100 * time.Millisecond)
	if n := overlay.Subscriptions(o); n != 10 {
		t.Errorf("%d topics are remembered", n)
	}
}
