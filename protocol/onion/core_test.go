package onion

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// crafted is a packet whose sender follows the format but writes whatever it likes into the first
// hop's slot and into the body.
func crafted(t testing.TB, f Format, key PrivateKey, slot func([]byte), body []byte) []byte {
	t.Helper()
	p := f.params()
	share, secret, err := encapsulate(key.Public(), f.info())
	if err != nil {
		t.Fatal(err)
	}
	k := p.keys(secret)
	header := p.seal([]byte{version, byte(f.Suite), 7}, []sealHop{{share: share, keys: k, commands: func(b, _, _ []byte) { slot(b) }}})
	body = bytes.Clone(body)
	lioness(k.body, body, true)
	return append(header, body...)
}

func ringFor(t testing.TB, s Suite) (PrivateKey, *Keyring) {
	t.Helper()
	key, err := GenerateKey(s)
	if err != nil {
		t.Fatal(err)
	}
	var ring Keyring
	if err := ring.Put(7, key); err != nil {
		t.Fatal(err)
	}
	return key, &ring
}

// TestMalformedBySender: authentic packets of a sender that breaks the format.
func TestMalformedBySender(t *testing.T) {
	f := Format{X25519, Class2K}
	key, ring := ringFor(t, X25519)
	good := func(b []byte) { commands{kind: Deliver, id: [32]byte{1}}.write(b) }
	plain, err := f.frame([]byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	body := func(at int, v byte) []byte { b := bytes.Clone(plain); b[at] = v; return b }
	for _, c := range []struct {
		why  string
		slot func([]byte)
		body []byte
		want error
	}{
		{"nothing wrong", good, plain, nil},
		{"no kind", func(b []byte) {}, plain, ErrCommands},
		{"a kind that there is not", func(b []byte) { b[0] = 4 }, plain, ErrCommands},
		{"a delay at the end", func(b []byte) { good(b); b[4] = 1 }, plain, ErrCommands},
		{"a next MAC at the end", func(b []byte) { good(b); b[37] = 1 }, plain, ErrCommands},
		{"a next share at the end", func(b []byte) { good(b); b[len(b)-1] = 1 }, plain, ErrCommands},
		{"an hour and a millisecond", func(b []byte) { commands{kind: Forward, delay: MaxDelay + time.Millisecond}.write(b) }, plain, ErrCommands},
		{"the longest number", func(b []byte) { b[0] = 1; copy(b[1:], "\xff\xff\xff\xff") }, plain, ErrCommands},
		{"the tag's first octet", good, body(0, 1), ErrTampered},
		{"the tag's last octet", good, body(31, 1), ErrTampered},
		{"longer than the body", good, body(32, 0xff), ErrPayload},
		{"padding that is not zero", good, body(len(plain)-1, 1), ErrPayload},
		{"shorter than its payload", good, body(33, 6), ErrPayload},
	} {
		hop, err := f.Unwrap(ring, crafted(t, f, key, c.slot, c.body))
		if !errors.Is(err, c.want) || err == nil && string(hop.Body) != "payload" {
			t.Errorf("%s: %v, not %v", c.why, err, c.want)
		}
	}
}

// TestUnusedSlots: the last hop sees the slots that nobody uses decrypted. They are random, whether
// the path was short or long, so that they do not say which.
func TestUnusedSlots(t *testing.T) {
	f := Format{X25519, Class2K}
	p := f.params()
	for hops := 1; hops <= MaxHops; hops++ {
		var routes [2][]byte
		key, _ := ringFor(t, X25519)
		for run := range routes {
			path := make([]Relay, hops)
			for i := range path {
				path[i].Key = key.Public()
			}
			packet, err := f.Build(7, path, Mailbox{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range hops {
				secret, err := decapsulate(key, packet[p.prefix:p.prefix+p.share], f.info())
				if err != nil {
					t.Fatal(err)
				}
				k := p.keys(secret)
				if i == hops-1 {
					o, err := p.open(packet, &k)
					if err != nil {
						t.Fatal(err)
					}
					routes[run] = o.routing
					break
				}
				if _, packet, _, err = p.unwrap(packet, &k); err != nil {
					t.Fatal(err)
				}
			}
		}
		// 16 octets that are zero, or the same twice, are a chance of 2^-128 each.
		for at := 0; at+16 <= p.routing(); at += 16 {
			a, b := routes[0][at:at+16], routes[1][at:at+16]
			if bytes.Equal(a, make([]byte, 16)) || bytes.Equal(a, b) {
				t.Errorf("%d hops: what is left at %d is %x and %x", hops, at, a, b)
			}
		}
	}
}

// TestInfoSeparates: a header is authentic in its own format only.
func TestInfoSeparates(t *testing.T) {
	seen := map[string]Format{}
	for _, s := range []Suite{X25519, XWing} {
		for _, c := range []Class{Class8K, Class2K, Class30K} {
			f := Format{s, c}
			if other, ok := seen[string(f.info())]; ok {
				t.Errorf("%v and %v have the same key schedule", f, other)
			}
			seen[string(f.info())] = f
		}
	}
}

// TestKeysSeparate: the five keys of a hop share no octets with each other.
func TestKeysSeparate(t *testing.T) {
	p := Format{X25519, Class8K}.params()
	k := p.keys(make([]byte, 32))
	all := bytes.Join([][]byte{k.mac, k.stream, k.iv, k.body, k.last}, nil)
	if len(all) != 128 {
		t.Fatalf("%d octets", len(all))
	}
	seen := map[string]bool{}
	for at := 0; at < len(all); at += 16 {
		if seen[string(all[at:at+16])] {
			t.Errorf("octets at %d are there twice", at)
		}
		seen[string(all[at:at+16])] = true
	}
}

// FuzzUnwrap: whatever is sent to a node is refused or, if it is what was built, understood; and
// any slot is read as what writing it gives again, or refused.
func FuzzUnwrap(f *testing.F) {
	format := Format{X25519, Class2K}
	key, ring := ringFor(f, X25519)
	good, err := format.Build(7, []Relay{{Key: key.Public()}}, Mailbox{1}, []byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:40], 0)
	f.Add([]byte{1}, 500)
	f.Add(good[format.HeaderSize():], format.HeaderSize())
	slot := make([]byte, format.params().slot)
	commands{kind: Forward, delay: time.Second, id: [32]byte{1}, mac: []byte("0123456789abcdef"), share: []byte("share")}.write(slot)
	f.Add(slot, 0)
	clear(slot)
	commands{kind: Reply, id: [32]byte{1}}.write(slot)
	f.Add(slot, 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		if _, err := format.Unwrap(ring, b); err == nil && !bytes.Equal(b, good) {
			t.Fatal("something that nobody built was unwrapped")
		}
		// The same octets put over a good packet.
		packet := bytes.Clone(good)
		if at >= 0 && at < len(packet) {
			copy(packet[at:], b)
		}
		if hop, err := format.Unwrap(ring, packet); bytes.Equal(packet, good) != (err == nil) || err == nil && string(hop.Body) != "payload" {
			t.Fatalf("changed: %v, yet %v", !bytes.Equal(packet, good), err)
		}
		// The fuzzer cannot make a MAC: it is made for it.
		slot := make([]byte, format.params().slot)
		copy(slot, b)
		c, err := parseCommands(slot)
		hop, unwrapped := format.Unwrap(ring, crafted(t, format, key, func(s []byte) { copy(s, slot) }, good[format.HeaderSize():]))
		switch {
		case err != nil:
			if !errors.Is(err, ErrCommands) || !errors.Is(unwrapped, ErrCommands) {
				t.Fatalf("%v, then %v", err, unwrapped)
			}
		case c.kind == Deliver:
			if !errors.Is(unwrapped, ErrTampered) {
				t.Fatalf("a body of another packet: %v", unwrapped)
			}
		case unwrapped != nil || hop.Kind != c.kind || hop.Delay != c.delay:
			t.Fatalf("%v, %v", hop.Kind, unwrapped)
		}
		if err == nil {
			again := make([]byte, len(slot))
			c.write(again)
			if !bytes.Equal(again, slot) {
				t.Fatalf("%x is written %x", slot, again)
			}
		}
	})
}

// FuzzSURB: octets are a reply block that is written as it was read and makes a packet of the
// right size, or they are refused.
func FuzzSURB(f *testing.F) {
	format := Format{X25519, Class2K}
	key, _ := ringFor(f, X25519)
	s, keys, err := format.NewSURB(7, []Relay{{Node: NodeID{1}, Key: key.Public()}}, Mailbox{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Bytes())
	f.Add(keys.Bytes())
	f.Add(make([]byte, format.SURBSize()))
	f.Add(bytes.Repeat([]byte{0xcc}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := format.ParseSURB(b); err == nil {
			if !bytes.Equal(s.Bytes(), b) {
				t.Fatal("written otherwise")
			}
			if _, packet, err := s.Reply([]byte("x")); err != nil || len(packet) != format.PacketSize() {
				t.Fatalf("a packet of %d octets, %v", len(packet), err)
			}
		} else if !errors.Is(err, ErrSURB) {
			t.Fatal(err)
		}
		k, err := ParseReplyKeys(b)
		if err != nil {
			return
		}
		if !bytes.Equal(k.Bytes(), b) {
			t.Fatal("keys are written otherwise")
		}
		// Zeros are an empty payload that was never encrypted. Two keys that are the same, which no
		// NewSURB makes, undo each other.
		cancel := len(b) == 64 && bytes.Equal(b[:32], b[32:])
		if _, err := k.Open(format, make([]byte, 2048)); !cancel && !errors.Is(err, ErrTampered) {
			t.Fatal("a body of zeros was read:", err)
		}
	})
}
