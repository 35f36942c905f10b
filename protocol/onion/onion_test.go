package onion_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"pgregory.net/rapid"
)

var (
	small   = onion.Format{Suite: onion.X25519, Class: onion.Class2K}
	medium  = onion.Format{Suite: onion.X25519, Class: onion.Class8K}
	formats = []onion.Format{
		small, medium, {Suite: onion.X25519, Class: onion.Class30K},
		{Suite: onion.XWing, Class: onion.Class2K}, {Suite: onion.XWing, Class: onion.Class8K}, {Suite: onion.XWing, Class: onion.Class30K},
	}
)

const epoch onion.Epoch = 500_000

// A node is a relay with its key of one epoch.
type node struct {
	id   onion.NodeID
	key  onion.PrivateKey
	ring *onion.Keyring
}

func newNodes(t interface{ Fatal(...any) }, s onion.Suite, n int) []node {
	out := make([]node, n)
	for i := range out {
		key, err := onion.GenerateKey(s)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = node{id: onion.NodeID{byte(i + 1), 9}, key: key, ring: &onion.Keyring{}}
		if err := out[i].ring.Put(epoch, key); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func path(nodes []node) []onion.Relay {
	out := make([]onion.Relay, len(nodes))
	for i, n := range nodes {
		out[i] = onion.Relay{Node: n.id, Key: n.key.Public()}
		if i < len(nodes)-1 {
			out[i].Delay = time.Duration(n.id[0]) * 250 * time.Millisecond
		}
	}
	return out
}

func must[T any](t interface{ Fatal(...any) }) func(T, error) T {
	return func(v T, err error) T {
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// walk unwraps a packet along its path and returns what the last hop sees.
func walk(f onion.Format, nodes []node, packet []byte) (onion.Hop, error) {
	for i, n := range nodes {
		before := bytes.Clone(packet)
		hop, err := f.Unwrap(n.ring, packet)
		if err != nil {
			return hop, fmt.Errorf("hop %d: %w", i, err)
		}
		last := i == len(nodes)-1
		switch {
		case !bytes.Equal(before, packet):
			return hop, fmt.Errorf("hop %d changed the packet it was given", i)
		case hop.Epoch != epoch:
			return hop, fmt.Errorf("hop %d was opened with the key of epoch %d", i, hop.Epoch)
		case last != (hop.Kind != onion.Forward):
			return hop, fmt.Errorf("hop %d of %d is told to %v", i, len(nodes), hop.Kind)
		case last:
			return hop, nil
		case hop.Next != nodes[i+1].id || hop.Delay != path(nodes)[i].Delay:
			return hop, fmt.Errorf("hop %d sends to %x after %v", i, hop.Next[:2], hop.Delay)
		case len(hop.Packet) != f.PacketSize():
			return hop, fmt.Errorf("hop %d sends %d octets on", i, len(hop.Packet))
		}
		packet = hop.Packet
	}
	return onion.Hop{}, errors.New("no hops")
}

// TestSizes pins the sizes of what is on the wire.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		f                             onion.Format
		header, packet, surb, payload int
	}{
		{onion.Format{Suite: onion.X25519, Class: onion.Class2K}, 476, 2524, 540, 2014},
		{onion.Format{Suite: onion.X25519, Class: onion.Class8K}, 476, 8668, 540, 8158},
		{onion.Format{Suite: onion.X25519, Class: onion.Class30K}, 476, 31196, 540, 30686},
		{onion.Format{Suite: onion.XWing, Class: onion.Class8K}, 7004, 15196, 7068, 8158},
	} {
		got := [4]int{c.f.HeaderSize(), c.f.PacketSize(), c.f.SURBSize(), c.f.MaxPayload()}
		if want := [4]int{c.header, c.packet, c.surb, c.payload}; got != want {
			t.Errorf("%v: header, packet, SURB, payload are %v, not %v", c.f, got, want)
		}
	}
}

// TestAnyPath: a packet of any format along one to five hops arrives, with any payload.
func TestAnyPath(t *testing.T) {
	pool := map[onion.Suite][]node{onion.X25519: newNodes(t, onion.X25519, 5), onion.XWing: newNodes(t, onion.XWing, 5)}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(formats).Draw(t, "format")
		nodes := pool[f.Suite][:rapid.IntRange(1, 5).Draw(t, "hops")]
		size := rapid.SampledFrom([]int{0, 1, 1000, f.MaxPayload() - 1, f.MaxPayload()}).Draw(t, "size")
		payload := bytes.Repeat([]byte{rapid.Byte().Draw(t, "octet")}, size)
		to := onion.Mailbox{rapid.Byte().Draw(t, "mailbox"), 1}
		hop, err := walk(f, nodes, must[[]byte](t)(f.Build(epoch, path(nodes), to, payload)))
		if err != nil {
			t.Fatal(err)
		}
		if hop.Kind != onion.Deliver || hop.Mailbox != to || !bytes.Equal(hop.Body, payload) {
			t.Fatalf("%v to %x with %d octets", hop.Kind, hop.Mailbox[:2], len(hop.Body))
		}
	})
}

// TestAnyReply: a reply arrives along one to five hops, its owner reads it, and nobody else does:
// not the last hop, and not the owner of another reply block.
func TestAnyReply(t *testing.T) {
	pool := map[onion.Suite][]node{onion.X25519: newNodes(t, onion.X25519, 5), onion.XWing: newNodes(t, onion.XWing, 5)}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(formats).Draw(t, "format")
		nodes := pool[f.Suite][:rapid.IntRange(1, 5).Draw(t, "hops")]
		payload := bytes.Repeat([]byte("reply "), rapid.IntRange(8, f.MaxPayload()/6).Draw(t, "size"))
		made, keys, err := f.NewSURB(epoch, path(nodes), onion.Mailbox{3})
		if err != nil {
			t.Fatal(err)
		}
		_, others, err := f.NewSURB(epoch, path(nodes), onion.Mailbox{3})
		if err != nil {
			t.Fatal(err)
		}
		s := must[onion.SURB](t)(f.ParseSURB(made.Bytes()))
		first, packet, err := s.Reply(payload)
		if err != nil || first != nodes[0].id {
			t.Fatalf("to %x, %v", first[:2], err)
		}
		hop, err := walk(f, nodes, packet)
		if err != nil {
			t.Fatal(err)
		}
		if hop.Kind != onion.Reply || hop.Mailbox != (onion.Mailbox{3}) || bytes.Contains(hop.Body, []byte("reply")) {
			t.Fatalf("%v to %x", hop.Kind, hop.Mailbox[:2])
		}
		if _, err := others.Open(f, hop.Body); !errors.Is(err, onion.ErrTampered) {
			t.Fatalf("read with the keys of another reply block: %v", err)
		}
		stored := must[onion.ReplyKeys](t)(onion.ParseReplyKeys(keys.Bytes()))
		if got, err := stored.Open(f, hop.Body); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("the owner reads %d octets, %v", len(got), err)
		}
		hop.Body[len(hop.Body)-1] ^= 1
		if _, err := keys.Open(f, hop.Body); !errors.Is(err, onion.ErrTampered) {
			t.Fatalf("changed at the last hop: %v", err)
		}
	})
}

// TestAnyBitChanged: one bit changed on any link of a path is found: in the header by the next hop, in
// the body at the end.
func TestAnyBitChanged(t *testing.T) {
	pool := map[onion.Suite][]node{onion.X25519: newNodes(t, onion.X25519, 4), onion.XWing: newNodes(t, onion.XWing, 4)}
	rapid.Check(t, func(t *rapid.T) {
		f := onion.Format{Suite: rapid.SampledFrom([]onion.Suite{onion.X25519, onion.XWing}).Draw(t, "suite"), Class: onion.Class2K}
		nodes := pool[f.Suite]
		packet := must[[]byte](t)(f.Build(epoch, path(nodes), onion.Mailbox{1}, []byte("payload")))
		link := rapid.IntRange(0, 3).Draw(t, "link")
		for i := range link {
			packet = must[onion.Hop](t)(f.Unwrap(nodes[i].ring, packet)).Packet
		}
		bit := rapid.IntRange(0, len(packet)*8-1).Draw(t, "bit")
		packet[bit/8] ^= 1 << (bit % 8)
		hop, err := walk(f, nodes[link:], packet)
		switch at := bit / 8; {
		case err == nil:
			t.Fatalf("bit %d changed on link %d was not found: %v", bit, link, hop.Kind)
		case at < f.HeaderSize():
			if !strings.HasPrefix(err.Error(), "hop 0: ") {
				t.Fatalf("bit %d of the header was found late: %v", bit, err)
			}
			want := map[bool]error{true: onion.ErrFormat, false: onion.ErrBadMAC}[at < 2]
			if at == 2 {
				want = onion.ErrUnknownKey
			}
			if !errors.Is(err, want) {
				t.Fatalf("bit %d: %v, not %v", bit, err, want)
			}
		case !errors.Is(err, onion.ErrTampered) || !strings.HasPrefix(err.Error(), fmt.Sprintf("hop %d: ", 3-link)):
			t.Fatalf("bit %d of the body: %v", bit, err)
		}
	})
}

// TestEveryHeaderBit: no single bit of a header can be changed, each one tried, or each seventh.
func TestEveryHeaderBit(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 2)
	packet := must[[]byte](t)(small.Build(epoch, path(nodes), onion.Mailbox{1}, nil))
	step := 1
	if testing.Short() {
		step = 7
	}
	for bit := 0; bit < small.HeaderSize()*8; bit += step {
		packet[bit/8] ^= 1 << (bit % 8)
		if _, err := small.Unwrap(nodes[0].ring, packet); err == nil {
			t.Errorf("bit %d was changed, and nothing noticed", bit)
		}
		packet[bit/8] ^= 1 << (bit % 8)
	}
	if _, err := small.Unwrap(nodes[0].ring, packet); err != nil {
		t.Error("unchanged:", err)
	}
}

// TestTags: the same header has the same tag, whatever is done to the body; another packet of the
// same path, and each hop, has another.
func TestTags(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 3)
	packet := must[[]byte](t)(small.Build(epoch, path(nodes), onion.Mailbox{1}, []byte("x")))
	first := must[onion.Hop](t)(small.Unwrap(nodes[0].ring, packet))
	tags := onion.NewTags(2)
	if err := tags.Add(first.Tag); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(packet)
	changed[len(changed)-1] ^= 1
	again := must[onion.Hop](t)(small.Unwrap(nodes[0].ring, changed))
	if err := tags.Add(again.Tag); !errors.Is(err, onion.ErrReplayed) {
		t.Errorf("with another body: %v", err)
	}
	second := must[onion.Hop](t)(small.Unwrap(nodes[1].ring, first.Packet))
	other := must[onion.Hop](t)(small.Unwrap(nodes[0].ring, must[[]byte](t)(small.Build(epoch, path(nodes), onion.Mailbox{1}, []byte("x")))))
	if err := tags.Add(second.Tag); err != nil {
		t.Errorf("the next hop: %v", err)
	}
	if err := tags.Add(other.Tag); !errors.Is(err, onion.ErrTagsFull) || tags.Len() != 2 {
		t.Errorf("a third tag where two are allowed: %v, %d", err, tags.Len())
	}
	if err := tags.Add(first.Tag); !errors.Is(err, onion.ErrReplayed) {
		t.Errorf("a full set: %v", err)
	}
}

// TestSURBOnce: the second packet of one reply block has the tag of the first.
func TestSURBOnce(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 3)
	s, _, err := small.NewSURB(epoch, path(nodes), onion.Mailbox{1})
	if err != nil {
		t.Fatal(err)
	}
	tags := onion.NewTags(10)
	for i, want := range []error{nil, onion.ErrReplayed} {
		_, packet, err := s.Reply([]byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := tags.Add(must[onion.Hop](t)(small.Unwrap(nodes[0].ring, packet)).Tag); !errors.Is(err, want) {
			t.Errorf("use %d: %v", i, err)
		}
	}
}

// TestLinksDiffer: nothing that a relay gets is in what it sends on, but for the three octets that
// say version, suite and epoch: two relays that are not neighbours cannot compare octets.
func TestLinksDiffer(t *testing.T) {
	for _, f := range []onion.Format{small, {Suite: onion.XWing, Class: onion.Class2K}} {
		nodes := newNodes(t, f.Suite, 5)
		packet := must[[]byte](t)(f.Build(epoch, path(nodes), onion.Mailbox{1}, make([]byte, 1000)))
		var chunks = map[string]int{}
		for i, n := range nodes[:4] {
			for at := 3; at+8 <= len(packet); at++ {
				chunk := string(packet[at : at+8])
				if seen, ok := chunks[chunk]; ok && seen != i {
					t.Fatalf("%v: 8 octets at %d of what hop %d gets are in what hop %d got", f, at, i, seen)
				}
				chunks[chunk] = i
			}
			packet = must[onion.Hop](t)(f.Unwrap(n.ring, packet)).Packet
		}
	}
}

// TestRefusals: each error of Unwrap.
func TestRefusals(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 3)
	good := must[[]byte](t)(small.Build(epoch, path(nodes), onion.Mailbox{1}, []byte("x")))
	at := func(i int, b byte) []byte { p := bytes.Clone(good); p[i] = b; return p }
	zeroShare := bytes.Clone(good)
	clear(zeroShare[3:35])
	xwing := newNodes(t, onion.XWing, 1)
	for _, c := range []struct {
		why    string
		f      onion.Format
		ring   *onion.Keyring
		packet []byte
		want   error
	}{
		{"nothing", small, nodes[0].ring, nil, onion.ErrSize},
		{"an octet less", small, nodes[0].ring, good[1:], onion.ErrSize},
		{"an octet more", small, nodes[0].ring, append(bytes.Clone(good), 0), onion.ErrSize},
		{"of another class", medium, nodes[0].ring, good, onion.ErrSize},
		{"cut to another class", medium, nodes[0].ring, append(bytes.Clone(good), make([]byte, 6<<10)...), onion.ErrBadMAC},
		{"another version", small, nodes[0].ring, at(0, 2), onion.ErrFormat},
		{"another suite", small, nodes[0].ring, at(1, byte(onion.XWing)), onion.ErrFormat},
		{"a format that there is not", onion.Format{Suite: 3, Class: 1}, nodes[0].ring, good, onion.ErrFormat},
		{"no format", onion.Format{}, nodes[0].ring, good, onion.ErrFormat},
		{"the epoch after", small, nodes[0].ring, at(2, good[2]+1), onion.ErrUnknownKey},
		{"no keys", small, &onion.Keyring{}, good, onion.ErrUnknownKey},
		{"a key of another suite", small, xwing[0].ring, good, onion.ErrUnknownKey},
		{"for another node", small, nodes[1].ring, good, onion.ErrBadMAC},
		{"a share of zeros, which X25519 refuses", small, nodes[0].ring, zeroShare, onion.ErrBadMAC},
		{"noise", small, nodes[0].ring, append(bytes.Clone(good[:3]), bytes.Repeat([]byte{0xa5}, len(good)-3)...), onion.ErrBadMAC},
	} {
		hop, err := c.f.Unwrap(c.ring, c.packet)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", c.why, err, c.want)
		}
		if hop.Kind != 0 || hop.Packet != nil || hop.Body != nil || hop.Tag != (onion.Tag{}) {
			t.Errorf("%s: an error and a hop: %v", c.why, hop.Kind)
		}
	}
}

// TestBuildRefusals: each error of Build and NewSURB.
func TestBuildRefusals(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 6)
	with := func(i int, d time.Duration) []onion.Relay { p := path(nodes[:3]); p[i].Delay = d; return p }
	for _, c := range []struct {
		why     string
		f       onion.Format
		path    []onion.Relay
		payload int
		want    error
	}{
		{"no hops", small, nil, 1, onion.ErrPath},
		{"six hops", small, path(nodes), 1, onion.ErrPath},
		{"keys of another suite", onion.Format{Suite: onion.XWing, Class: onion.Class2K}, path(nodes[:3]), 1, onion.ErrPath},
		{"no key", small, []onion.Relay{{}}, 1, onion.ErrPath},
		{"a negative delay", small, with(0, -1), 1, onion.ErrPath},
		{"a delay of microseconds", small, with(0, 1500*time.Microsecond), 1, onion.ErrPath},
		{"more than an epoch", small, with(1, time.Hour+time.Millisecond), 1, onion.ErrPath},
		{"a delay at the last hop", small, with(2, time.Millisecond), 1, onion.ErrPath},
		{"too much payload", small, path(nodes[:3]), small.MaxPayload() + 1, onion.ErrSize},
		{"no format", onion.Format{}, path(nodes[:3]), 0, onion.ErrFormat},
	} {
		if p, err := c.f.Build(epoch, c.path, onion.Mailbox{}, make([]byte, c.payload)); !errors.Is(err, c.want) || p != nil {
			t.Errorf("%s: %v, not %v", c.why, err, c.want)
		}
		if c.want != onion.ErrSize {
			if _, _, err := c.f.NewSURB(epoch, c.path, onion.Mailbox{}); !errors.Is(err, c.want) {
				t.Errorf("%s: a reply block: %v, not %v", c.why, err, c.want)
			}
		}
	}
	if _, err := small.Build(epoch, with(0, time.Hour), onion.Mailbox{}, nil); err != nil {
		t.Error("the longest delay:", err)
	}
}

// TestSURBRefusals: octets that are no reply block, and keys that are none.
func TestSURBRefusals(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 2)
	s, keys, err := small.NewSURB(epoch, path(nodes), onion.Mailbox{1})
	if err != nil {
		t.Fatal(err)
	}
	good := s.Bytes()
	at := func(i int, b byte) []byte { p := bytes.Clone(good); p[i] = b; return p }
	for why, b := range map[string][]byte{
		"nothing": nil, "short": good[1:], "long": append(bytes.Clone(good), 0),
		"another version": at(0, 0), "another suite": at(1, 2),
		"no first node": slices.Concat(good[:small.HeaderSize()], make([]byte, 32), good[small.HeaderSize()+32:]),
	} {
		if _, err := small.ParseSURB(b); !errors.Is(err, onion.ErrSURB) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if _, err := (onion.Format{}).ParseSURB(good); !errors.Is(err, onion.ErrFormat) {
		t.Error("without a format:", err)
	}
	if _, _, err := (onion.SURB{}).Reply(nil); !errors.Is(err, onion.ErrSURB) {
		t.Error("the zero SURB:", err)
	}
	if _, _, err := s.Reply(make([]byte, small.MaxPayload()+1)); !errors.Is(err, onion.ErrSize) {
		t.Error("too much payload:", err)
	}
	for _, n := range []int{0, 31, 32, 65, 7 * 32} {
		if _, err := onion.ParseReplyKeys(make([]byte, n)); !errors.Is(err, onion.ErrSURB) {
			t.Errorf("keys of %d octets: %v", n, err)
		}
	}
	if _, err := (onion.ReplyKeys{}).Open(small, make([]byte, 2048)); !errors.Is(err, onion.ErrSURB) {
		t.Error("the zero keys:", err)
	}
	if _, err := keys.Open(small, make([]byte, 2047)); !errors.Is(err, onion.ErrSize) {
		t.Error("a short body:", err)
	}
}

// TestKeyring: three keys of consecutive epochs, and which of them opens what.
func TestKeyring(t *testing.T) {
	var ring onion.Keyring
	keys := map[onion.Epoch]onion.PrivateKey{}
	for e := onion.Epoch(254); e < 260; e++ {
		keys[e] = must[onion.PrivateKey](t)(onion.GenerateKey(onion.X25519))
	}
	check := func(held ...onion.Epoch) {
		t.Helper()
		if got := ring.Epochs(); !slices.Equal(got, held) {
			t.Fatalf("keys of %v, not %v", got, held)
		}
		for e := onion.Epoch(254); e < 260; e++ {
			packet := must[[]byte](t)(small.Build(e, []onion.Relay{{Key: keys[e].Public()}}, onion.Mailbox{}, nil))
			hop, err := small.Unwrap(&ring, packet)
			if slices.Contains(held, e) != (err == nil) || err == nil && hop.Epoch != e || err != nil && !errors.Is(err, onion.ErrUnknownKey) {
				t.Errorf("a packet of epoch %d, keys of %v: %d, %v", e, held, hop.Epoch, err)
			}
		}
	}
	put := func(e onion.Epoch, want error) {
		t.Helper()
		if err := ring.Put(e, keys[e]); !errors.Is(err, want) {
			t.Fatalf("epoch %d: %v", e, err)
		}
	}
	check()
	put(256, nil)
	put(255, nil)
	put(255, nil)
	check(255, 256)
	put(257, nil)
	check(255, 256, 257)
	put(254, onion.ErrUnknownKey)
	put(258, nil)
	check(256, 257, 258)
	put(259, nil)
	check(257, 258, 259)
	if err := ring.Put(259, onion.PrivateKey{}); !errors.Is(err, onion.ErrKey) {
		t.Error("no key:", err)
	}
}

// TestKeys: keys are read as they are written, and octets that are none are refused.
func TestKeys(t *testing.T) {
	for _, s := range []onion.Suite{onion.X25519, onion.XWing} {
		key := must[onion.PrivateKey](t)(onion.GenerateKey(s))
		b := must[[]byte](t)(key.Bytes())
		again := must[onion.PrivateKey](t)(onion.ParsePrivateKey(s, b))
		if !bytes.Equal(again.Public().Bytes(), key.Public().Bytes()) {
			t.Errorf("%v: another key was read", s)
		}
		public := must[onion.PublicKey](t)(onion.ParsePublicKey(s, key.Public().Bytes()))
		if public.Suite() != s || !bytes.Equal(public.Bytes(), key.Public().Bytes()) {
			t.Errorf("%v: another public key was read", s)
		}
		for _, bad := range [][]byte{nil, {1}, make([]byte, 31), make([]byte, 2000)} {
			if _, err := onion.ParsePublicKey(s, bad); !errors.Is(err, onion.ErrKey) {
				t.Errorf("%v: a public key of %d octets: %v", s, len(bad), err)
			}
			if _, err := onion.ParsePrivateKey(s, bad); !errors.Is(err, onion.ErrKey) {
				t.Errorf("%v: a private key of %d octets: %v", s, len(bad), err)
			}
		}
	}
	if _, err := onion.GenerateKey(0); !errors.Is(err, onion.ErrFormat) {
		t.Error("a suite that there is not:", err)
	}
}

// TestSecretsArePrintedNowhere: no verb shows a secret.
func TestSecretsArePrintedNowhere(t *testing.T) {
	nodes := newNodes(t, onion.X25519, 2)
	s, keys, err := small.NewSURB(epoch, path(nodes), onion.Mailbox{1})
	if err != nil {
		t.Fatal(err)
	}
	private := must[[]byte](t)(nodes[0].key.Bytes())
	surb := s.Bytes()
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		for _, v := range []any{nodes[0].key, &nodes[0].key, nodes[0].ring, s, &s, keys, &keys, struct{ K onion.PrivateKey }{nodes[0].key}} {
			out := fmt.Sprintf(verb, v)
			for _, secret := range [][]byte{private, surb[len(surb)-32:], keys.Bytes()[32:64]} {
				for _, form := range []string{"%x", "%d", "%#v", "%s"} {
					if strings.Contains(out, strings.Trim(fmt.Sprintf(form, secret[:8]), "[]")) {
						t.Errorf("%s of %T shows a secret", verb, v)
					}
				}
			}
			if len(out) > 60 {
				t.Errorf("%s of %T is %q", verb, v, out)
			}
		}
	}
}
