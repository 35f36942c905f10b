package onion_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)

// TestFragmentsArrive: a message of any size is cut, written, read, put together again in any
// order with repetitions, and comes out once.
func TestFragmentsArrive(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 2)
	surb, _, err := small.NewSURB(epoch, path(nodes), onion.Mailbox{1})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		acked := rapid.Bool().Draw(t, "acknowledged")
		message := make([]byte, rapid.IntRange(0, small.MaxMessage(acked)).Draw(t, "size"))
		for i := range message {
			message[i] = byte(i * i >> 3)
		}
		parts := must[[]onion.Fragment](t)(small.Split(onion.MessageID{7}, message, acked))
		if len(parts) > onion.MaxParts {
			t.Fatalf("%d parts", len(parts))
		}
		order := rapid.Permutation(append(slices.Clone(parts), parts[:len(parts)/2]...)).Draw(t, "order")
		r, got := onion.NewReassembler(onion.Limits{}), 0
		seen := map[uint8]bool{}
		for _, p := range order {
			if acked {
				p.Reply = &surb
			}
			payload := must[[]byte](t)(small.AppendFragment(nil, p))
			if len(payload) > small.MaxPayload() {
				t.Fatalf("a payload of %d octets", len(payload))
			}
			read := must[onion.Fragment](t)(small.ParseFragment(payload))
			if (read.Reply != nil) != acked || acked && !bytes.Equal(read.Reply.Bytes(), surb.Bytes()) {
				t.Fatal("another reply block was read")
			}
			out, status, err := r.Add(start, onion.Mailbox{1}, read)
			if err != nil {
				t.Fatal(err)
			}
			seen[p.Index] = true
			want := onion.Held
			switch {
			case out != nil:
				want = 0
				if got++; !bytes.Equal(out, message) || len(seen) != len(parts) {
					t.Fatalf("%d octets came out of %d of %d parts, not %d", len(out), len(seen), len(parts), len(message))
				}
				r.Stored(start, onion.Mailbox{1}, p.Message)
			case got > 0:
				want = onion.Complete
			}
			if status != want {
				t.Fatalf("%d of %d parts: status %d", len(seen), len(parts), status)
			}
		}
		if got != 1 || r.Held() != 0 {
			t.Fatalf("the message came out %d times, %d octets are held", got, r.Held())
		}
	})
}

// TestFragmentRefusals: what is no part.
func TestFragmentRefusals(t *testing.T) {
	parts := must[[]onion.Fragment](t)(small.Split(onion.MessageID{7}, make([]byte, 5000), false))
	good := must[[]byte](t)(small.AppendFragment(nil, parts[1]))
	at := func(i int, b byte) []byte { p := bytes.Clone(good); p[i] = b; return p }
	for why, b := range map[string][]byte{
		"nothing": nil, "short": good[:20], "another type": at(0, 2), "too many parts": at(18, 17), "no parts": at(18, 0),
		"an index behind the end": at(17, 3), "empty": good[:21], "too long": append(bytes.Clone(good), make([]byte, 2000)...),
		"a reply block of one octet": at(20, 1), "a reply block that is none": slices.Concat(good[:19], []byte{0x02, 0x1c}, make([]byte, 600)),
		"a reply block cut off": slices.Concat(good[:19], []byte{0x02, 0x1c}, make([]byte, 100)),
	} {
		if _, err := small.ParseFragment(b); !errors.Is(err, onion.ErrFragment) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if _, err := small.Split(onion.MessageID{}, make([]byte, small.MaxMessage(true)+1), true); !errors.Is(err, onion.ErrSize) {
		t.Error("too long a message:", err)
	}
	if _, err := (onion.Format{Suite: onion.XWing, Class: onion.Class2K}).Split(onion.MessageID{}, nil, true); !errors.Is(err, onion.ErrSize) {
		t.Error("no room beside the reply block:", err)
	}
	if _, err := small.AppendFragment(nil, onion.Fragment{Count: 1, Data: make([]byte, small.MaxPayload())}); !errors.Is(err, onion.ErrSize) {
		t.Error("too long a part:", err)
	}
	s, _, err := medium.NewSURB(epoch, path(newNodes(t, onion.X25519, 1)), onion.Mailbox{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.AppendFragment(nil, onion.Fragment{Count: 1, Reply: &s}); !errors.Is(err, onion.ErrFragment) {
		t.Error("a reply block of another class:", err)
	}
}

// TestReassemblerLimits: each bound, and that what reaches one mailbox's does not harm another's.
func TestReassemblerLimits(t *testing.T) {
	r := onion.NewReassembler(onion.Limits{Messages: 3, Octets: 1000, Total: 1500, Keep: time.Minute, Remember: time.Hour})
	add := func(after time.Duration, box byte, id, index, count byte, size int) (onion.Status, error) {
		out, status, err := r.Add(start.Add(after), onion.Mailbox{box}, onion.Fragment{Message: onion.MessageID{id}, Index: index, Count: count, Data: bytes.Repeat([]byte{id}, size)})
		if out != nil {
			r.Stored(start.Add(after), onion.Mailbox{box}, onion.MessageID{id})
			status = onion.Complete
		}
		return status, err
	}
	for i, c := range []struct {
		why       string
		after     time.Duration
		box, id   byte
		index, of byte
		size      int
		status    onion.Status
		err       error
		held      int
	}{
		{"first of two", 0, 1, 1, 0, 2, 600, onion.Held, nil, 600},
		{"the same again", 0, 1, 1, 0, 2, 600, onion.Held, nil, 600},
		{"the same with other data", 0, 1, 1, 0, 2, 599, 0, onion.ErrFragment, 600},
		{"of another number of parts", 0, 1, 1, 1, 3, 1, 0, onion.ErrFragment, 600},
		{"no part", 0, 1, 1, 3, 3, 1, 0, onion.ErrFragment, 600},
		{"more octets than one mailbox may", 0, 1, 2, 0, 2, 401, 0, onion.ErrFull, 600},
		{"as many as it may", 1 * time.Second, 1, 2, 0, 2, 400, onion.Held, nil, 1000},
		{"another mailbox, the same message", 1 * time.Second, 2, 1, 0, 2, 500, onion.Held, nil, 1500},
		{"more than all may", 1 * time.Second, 3, 1, 0, 2, 1, 0, onion.ErrFull, 1500},
		{"the first has waited too long", time.Minute, 3, 1, 0, 2, 1, onion.Held, nil, 901},
		{"its second part begins anew", time.Minute, 1, 1, 1, 2, 100, onion.Held, nil, 1001},
		{"a third message", time.Minute, 1, 3, 0, 1, 10, onion.Complete, nil, 1001},
		{"a fourth: one is complete, but remembered", time.Minute, 1, 4, 0, 1, 0, 0, onion.ErrFull, 1001},
		{"the third again", time.Minute, 1, 3, 0, 1, 10, onion.Complete, nil, 1001},
		{"when the parts are gone, there is room", 3 * time.Minute, 1, 4, 0, 1, 10, onion.Complete, nil, 0},
		{"when time goes back, nothing else happens", 0, 1, 5, 0, 2, 10, onion.Held, nil, 10},
		{"an hour later the third is another message", time.Hour + time.Minute, 1, 3, 0, 2, 10, onion.Held, nil, 10},
	} {
		status, err := add(c.after, c.box, c.id, c.index, c.of, c.size)
		if status != c.status || !errors.Is(err, c.err) || r.Held() != c.held {
			t.Fatalf("%d, %s: status %d, %v, %d octets held", i, c.why, status, err, r.Held())
		}
	}
	if next := r.Next(); !next.Equal(start.Add(time.Hour + 2*time.Minute)) {
		t.Error("next at", next)
	}
	if lost := r.Expire(start.Add(24 * time.Hour)); !slices.Equal(lost, []onion.MessageID{{3}}) || r.Held() != 0 || !r.Next().IsZero() {
		t.Errorf("at the end %v are lost, %d octets held, next at %v", lost, r.Held(), r.Next())
	}
}

// TestCompleteIsStored: a message is acknowledged as complete when it is stored, not before; if it
// could not be stored it can come again; and after a restart it is still known.
func TestCompleteIsStored(t *testing.T) {
	box, part := onion.Mailbox{1}, onion.Fragment{Message: onion.MessageID{7}, Count: 1, Data: []byte("x")}
	r := onion.NewReassembler(onion.Limits{Keep: time.Minute})
	check := func(after time.Duration, message string, want onion.Status) {
		t.Helper()
		out, status, err := r.Add(start.Add(after), box, part)
		if err != nil || string(out) != message || status != want {
			t.Fatalf("%q, status %d, %v", out, status, err)
		}
	}
	check(0, "x", 0)
	check(time.Second, "", onion.Held)
	r.Forget(box, part.Message)
	check(30*time.Second, "x", 0)
	check(70*time.Second, "", onion.Held) // the first one's time is not that of the second
	check(2*time.Minute, "x", 0)          // neither Stored nor Forget within Keep
	r.Stored(start.Add(2*time.Minute), box, part.Message)
	r.Forget(box, part.Message) // what is stored is not forgotten
	check(3*time.Minute, "", onion.Complete)
	r = onion.NewReassembler(onion.Limits{})
	r.Stored(start.Add(4*time.Minute), box, part.Message)
	check(5*time.Minute, "", onion.Complete)
}

// TestAcks: an acknowledgement is read as it was written, and comes by the reply block of its part.
func TestAcks(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 3)
	s, keys, err := small.NewSURB(epoch, path(nodes), onion.Mailbox{1})
	if err != nil {
		t.Fatal(err)
	}
	want := onion.Ack{Message: onion.MessageID{7}, Index: 15, Status: onion.Refused}
	_, packet, err := s.Reply(want.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	hop, err := walk(small, nodes, packet)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := onion.ParseAck(must[[]byte](t)(keys.Open(small, hop.Body))); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	good := want.Bytes()
	for _, bad := range [][]byte{nil, good[1:], append(bytes.Clone(good), 0), append([]byte{1}, good[1:]...), append(bytes.Clone(good[:18]), 0),
		append(bytes.Clone(good[:18]), 4), append(bytes.Clone(good[:17]), 16, 1)} {
		if _, err := onion.ParseAck(bad); !errors.Is(err, onion.ErrAck) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// FuzzPayload: a payload is a part or an acknowledgement that is written as it was read, or it is
// refused; and what a Reassembler holds stays within its limits whatever parts come.
func FuzzPayload(f *testing.F) {
	s, _, err := small.NewSURB(epoch, path(newNodes(f, onion.X25519, 1)), onion.Mailbox{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(must[[]byte](f)(small.AppendFragment(nil, onion.Fragment{Count: 1, Reply: &s, Data: []byte("data")})))
	f.Add(must[[]byte](f)(small.AppendFragment(nil, onion.Fragment{Index: 2, Count: 16, Data: []byte("data")})))
	f.Add(onion.Ack{Index: 1, Status: onion.Held}.Bytes())
	r := onion.NewReassembler(onion.Limits{Messages: 4, Octets: 3000, Total: 5000})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := onion.ParseAck(b); err == nil && !bytes.Equal(a.Bytes(), b) {
			t.Fatalf("an acknowledgement is written %x", a.Bytes())
		}
		p, err := small.ParseFragment(b)
		if err != nil {
			if !errors.Is(err, onion.ErrFragment) {
				t.Fatal(err)
			}
			return
		}
		if again, err := small.AppendFragment(nil, p); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("a part is written %x, %v", again, err)
		}
		out, status, err := r.Add(start, onion.Mailbox{b[1] % 3}, p)
		if (status == 0) != (err != nil || out != nil) || r.Held() > 5000 {
			t.Fatalf("status %d, %v, %d octets held", status, err, r.Held())
		}
	})
}
