package mix_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/protocol/onion"
)

// An ending is an Exit between fakes. Its acknowledgements go to next, which is the end of their path.
type ending struct {
	t     *testing.T
	ring  onion.Keyring // of next
	key   onion.PublicKey
	link  *memoryLink
	inbox *memoryInbox
	keys  map[onion.Mailbox]onion.ReplyKeys
	exit  *mix.Exit
	stop  func()
	read  int
}

func newEnding(t *testing.T) *ending {
	key := must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite))
	e := &ending{t: t, key: key.Public(), link: &memoryLink{}, inbox: &memoryInbox{}, keys: map[onion.Mailbox]onion.ReplyKeys{}}
	if err := e.ring.Put(epoch, key); err != nil {
		t.Fatal(err)
	}
	e.start()
	return e
}

func (e *ending) start() {
	e.exit = must[*mix.Exit](e.t)(mix.NewExit(mix.ExitConfig{Format: format, Link: e.link, Peers: onePeer{}, Inbox: e.inbox}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.exit.Run(ctx) }()
	e.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			e.t.Error(err)
		}
	}
}

// deliver lets parts come, each with a new reply block, all before the Exit looks at any.
func (e *ending) deliver(to onion.Mailbox, parts ...onion.Fragment) {
	e.t.Helper()
	for _, p := range parts {
		box := onion.Mailbox(append(newIDBytes(), newIDBytes()...))
		surb, keys, err := format.NewSURB(epoch, []onion.Relay{{Node: next, Key: e.key}}, box)
		if err != nil {
			e.t.Fatal(err)
		}
		e.keys[box], p.Reply = keys, &surb
		if !e.exit.Deliver(to, must[[]byte](e.t)(format.AppendFragment(nil, p))) {
			e.t.Fatal("no room")
		}
	}
	synctest.Wait()
}

func newIDBytes() []byte { id := newID(); return id[:] }

// acks reads the acknowledgements since the last call.
func (e *ending) acks() (out []onion.Status) {
	e.t.Helper()
	sent := e.link.list()
	for _, s := range sent[e.read:] {
		hop := must[onion.Hop](e.t)(format.Unwrap(&e.ring, s.packet))
		keys := e.keys[hop.Mailbox]
		out = append(out, must[onion.Ack](e.t)(onion.ParseAck(must[[]byte](e.t)(keys.Open(format, hop.Body)))).Status)
	}
	e.read = len(sent)
	return out
}

func (e *ending) want(what string, kept int, acks ...onion.Status) {
	e.t.Helper()
	if got := e.acks(); !slices.Equal(got, acks) {
		e.t.Errorf("%s: acknowledged %d, not %d", what, got, acks)
	}
	if got := len(e.inbox.list()); got != kept {
		e.t.Errorf("%s: %d messages are kept, not %d", what, got, kept)
	}
}

func split(t *testing.T, octets int) []onion.Fragment {
	return must[[]onion.Fragment](t)(format.Split(newID(), make([]byte, octets), true))
}

// TestCompleteIsOnDisk: a message is acknowledged as complete once it is on disk, its repetition too,
// also after a restart; and it is kept once.
func TestCompleteIsOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		one, three := split(t, 100), split(t, 20_000)
		e.deliver(onion.Mailbox{1}, one...)
		e.want("one part", 1, onion.Complete)
		e.deliver(onion.Mailbox{1}, three[2], three[0], three[2])
		e.want("two of three parts, one of them twice", 1, onion.Held, onion.Held, onion.Held)
		e.deliver(onion.Mailbox{1}, three[1])
		e.want("the last part", 2, onion.Complete)
		e.deliver(onion.Mailbox{1}, one[0], three[0])
		e.want("again", 2, onion.Complete, onion.Complete)
		e.deliver(onion.Mailbox{2}, one...)
		e.want("the same for another mailbox", 3, onion.Complete)
		e.stop()
		e.start()
		e.deliver(onion.Mailbox{1}, one[0], three[1])
		e.want("after a restart", 3, onion.Complete, onion.Complete)
		if e.inbox.puts != 3 {
			t.Errorf("%d messages were put in", e.inbox.puts)
		}
		e.stop()
	})
}

// TestInboxFails: what could not be kept is not acknowledged, whether it is on disk or not; sent again,
// it is kept once.
func TestInboxFails(t *testing.T) {
	for name, fail := range map[string]func(*memoryInbox){"not on disk": func(b *memoryInbox) { b.before = 1 }, "on disk": func(b *memoryInbox) { b.after = 1 }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnding(t)
				fail(e.inbox)
				m := split(t, 20_000)
				e.deliver(onion.Mailbox{1}, m...)
				kept := len(e.inbox.list())
				e.want("the disk fails", kept, onion.Held, onion.Held)
				e.deliver(onion.Mailbox{1}, m...)
				e.want("sent again", 1, onion.Held, onion.Held, onion.Complete)
				e.stop()
			})
		})
	}
}

// TestRefusedMailbox: a mailbox that takes nothing is said to, and others are not harmed.
func TestRefusedMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.inbox.refuse = onion.Mailbox{6}
		e.deliver(onion.Mailbox{6}, split(t, 5)...)
		e.want("refused", 0, onion.Refused)
		e.deliver(onion.Mailbox{7}, split(t, 5)...)
		e.want("another", 1, onion.Complete)
		e.stop()
	})
}

// TestExitDropsRubbish: what is no part of a message is dropped, and what does not wish for an
// acknowledgement gets none; a queue that is full says so.
func TestExitDropsRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		silent := must[[]byte](t)(format.AppendFragment(nil, split(t, 5)[0]))
		for _, b := range [][]byte{nil, {1}, silent[:20], make([]byte, 8000), silent} {
			e.exit.Deliver(onion.Mailbox{1}, b)
		}
		a, b := split(t, 20_000), split(t, 10)
		b[0].Message, b[0].Count = a[0].Message, 2 // of another count than the part before
		e.deliver(onion.Mailbox{1}, a[0], b[0])
		e.want("rubbish", 1, onion.Held)
		e.stop()
		n := 0
		for n < 2000 && e.exit.Deliver(onion.Mailbox{1}, silent) {
			n++
		}
		if d := cmp.Diff(1024, n); d != "" {
			t.Errorf("payloads that wait (- wanted):\n%s", d)
		}
		if _, err := mix.NewExit(mix.ExitConfig{Format: format}); !errors.Is(err, mix.ErrConfig) {
			t.Error(err)
		}
	})
}

// TestAnswersAreDelayed: with a delay, acknowledgements and answers leave as packets of a relay do: after times
// of that mean that are not alike.
func TestAnswersAreDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mean, n = time.Second, 400
		link := &memoryLink{}
		exit := must[*mix.Exit](t)(mix.NewExit(mix.ExitConfig{Format: format, Link: link, Peers: onePeer{}, Inbox: &memoryInbox{}, Delay: mean}))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- exit.Run(ctx) }()
		key := must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite))
		began := time.Now()
		for range n {
			surb, _, err := format.NewSURB(epoch, []onion.Relay{{Node: next, Key: key.Public()}}, onion.Mailbox{1})
			if err != nil {
				t.Fatal(err)
			}
			if err := exit.Answer(surb, []byte("yes")); err != nil {
				t.Fatal(err)
			}
		}
		// Of an exponential distribution, 38 within a tenth of the mean and half within ln 2 of it, give or take six
		// standard deviations.
		for _, c := range []struct {
			after    time.Duration
			min, max int
		}{{0, 0, 3}, {mean / 10, 4, 74}, {mean * 6931 / 10_000, 140, 260}, {30 * mean, n, n}} {
			time.Sleep(c.after - time.Since(began))
			synctest.Wait()
			if got := len(link.list()); got < c.min || got > c.max {
				t.Errorf("%d of %d have left after %v, not %d to %d", got, n, c.after, c.min, c.max)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
