package overlay_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	nodes := network(t, 3, nil)
	var boxes [3]inbox
	var topics [3]*overlay.Topic
	for i, o := range nodes {
		topics[i] = join(t, o, "room", boxes[i].handler(nil))
	}
	sees(t, topics[0], 2)
	big := strings.Repeat("x", overlay.MaxMessage)
	n := 0
	publish := func(from int, data string) {
		if err := topics[from].Publish(within(t, 5*time.Second), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	// The mesh forms at the next heartbeat; until then messages may be lost.
	eventually(t, "mesh", func() error {
		n++
		first := fmt.Sprint("first ", n)
		publish(0, first)
		time.Sleep(50 * time.Millisecond)
		return errors.Join(boxes[1].has(first), boxes[2].has(first))
	})
	publish(0, big)
	publish(1, "from the edge")
	eventually(t, "delivery", func() error {
		return errors.Join(boxes[1].has(big), boxes[2].has(big), boxes[0].has("from the edge"), boxes[2].has("from the edge"))
	})
	if boxes[2].from[0] != nodes[0].Self() {
		t.Errorf("handed in as from %s", boxes[2].from[0])
	}
	if err := boxes[0].has("first 1"); err == nil {
		t.Error("own message was handed in")
	}
	if err := topics[0].Publish(within(t, time.Second), append([]byte(big), 'x')); !errors.Is(err, overlay.ErrTooLarge) {
		t.Errorf("oversize: %v", err)
	}
	publish(1, "from the edge") // a duplicate
	topics[2].Leave()
	topics[2].Leave()
	sees(t, topics[0], 1)
	if err := topics[2].Publish(within(t, time.Second), []byte("left")); !errors.Is(err, overlay.ErrTopic) {
		t.Errorf("after Leave: %v", err)
	}
	publish(0, "after Leave")
	eventually(t, "delivery", func() error { return boxes[1].has("after Leave") })
	if boxes[2].has("after Leave") == nil {
		t.Error("delivered after Leave")
	}
	slices.Sort(boxes[0].got)
	if got := slices.Compact(slices.Clone(boxes[0].got)); len(got) != len(boxes[0].got) {
		t.Error("a message was handed in twice")
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
