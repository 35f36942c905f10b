package onion

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
)

// params is all that distinguishes one Sphinx from another. The packets of this package are one
// set of them (Format.params); the tests have another, which reproduces published packets of
// another implementation octet by octet, so that what is computed here was not only checked
// against itself.
//
// A packet is
//
//	prefix | share | routing: slots x slot | mac | body
//
// and the MAC covers all before it. The prefix is the same at all hops; a share is what a hop
// needs to agree with the sender on a secret.
type params struct {
	prefix int // octets in front of the share
	share  int
	slot   int // octets of one hop's commands
	slots  int
	mac    int // octets of the MAC, at most 32
	body   int // octets of the body

	label   string // of the derivation of a hop's keys
	bodyKey int    // octets of a hop's key of the body
	lastKey int    // octets of a hop's last key: its replay tag, or its blinding seed

	// wide encrypts or decrypts a body in place, so that each bit of the result depends on each
	// bit of body and key.
	wide func(k *hopKeys, body []byte, encrypt bool)

	// follow reads the commands of one hop: where the header of the next hop comes from. Both
	// results are nil at the last hop.
	follow func(slot, share []byte, k *hopKeys) (nextShare, nextMAC []byte, err error)
}

// hopKeys are the secrets that the sender and one hop share for one packet.
type hopKeys struct {
	mac, stream, iv, body, last []byte
}

func (p *params) routing() int { return p.slots * p.slot }
func (p *params) header() int  { return p.prefix + p.share + p.routing() + p.mac }
func (p *params) packet() int  { return p.header() + p.body }

// keys derives a hop's keys from its shared secret. Each has a stretch of its own of one HKDF
// output, so that none says anything about another.
func (p *params) keys(secret []byte) hopKeys {
	const mac, stream, iv = 32, 32, 16
	okm, err := hkdf.Expand(sha256.New, secret, p.label, mac+stream+iv+p.bodyKey+p.lastKey)
	if err != nil {
		panic("onion: deriving the keys of a hop: " + err.Error()) // only if too long
	}
	cut := func(n int) (out []byte) {
		out, okm = okm[:n:n], okm[n:]
		return out
	}
	return hopKeys{mac: cut(mac), stream: cut(stream), iv: cut(iv), body: cut(p.bodyKey), last: cut(p.lastKey)}
}

// authenticate is the MAC of the header without its MAC.
func (p *params) authenticate(k *hopKeys, header []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(header)
	return h.Sum(nil)[:p.mac]
}

// stream XORs a hop's key stream into b.
func (k *hopKeys) xorStream(b []byte) {
	block, err := aes.NewCipher(k.stream)
	if err != nil {
		panic("onion: a stream key of the wrong size: " + err.Error())
	}
	cipher.NewCTR(block, k.iv).XORKeyStream(b, b)
}

// An opened header is authentic.
type opened struct {
	slot    []byte // the commands of this hop
	routing []byte // what the next hop gets
}

// open checks the header of a packet, which must have the right size, and decrypts its commands.
func (p *params) open(packet []byte, k *hopKeys) (opened, error) {
	authentic := p.header() - p.mac
	if subtle.ConstantTimeCompare(p.authenticate(k, packet[:authentic]), packet[authentic:p.header()]) != 1 {
		return opened{}, ErrBadMAC
	}
	// A slot of zeros goes in at the end for the one that is taken from the front: the header
	// keeps its size, and the sender knows what the zeros become.
	b := make([]byte, p.routing()+p.slot)
	copy(b, packet[p.prefix+p.share:authentic])
	k.xorStream(b)
	return opened{slot: b[:p.slot], routing: b[p.slot:]}, nil
}

// unwrap does the work of one hop, given the secret that it shares with the sender. At the last
// hop next is nil and body is what is left of the body; before it next is the whole next packet,
// and body is part of it. The packet is not changed.
func (p *params) unwrap(packet []byte, k *hopKeys) (slot, next, body []byte, err error) {
	o, err := p.open(packet, k)
	if err != nil {
		return nil, nil, nil, err
	}
	share, mac, err := p.follow(o.slot, packet[p.prefix:p.prefix+p.share], k)
	if err != nil {
		return nil, nil, nil, err
	}
	if share == nil {
		body = append([]byte(nil), packet[p.header():]...)
		p.wide(k, body, false)
		return o.slot, nil, body, nil
	}
	next = make([]byte, 0, p.packet())
	next = append(next, packet[:p.prefix]...)
	next = append(next, share...)
	next = append(next, o.routing...)
	next = append(next, mac...)
	next = append(next, packet[p.header():]...)
	p.wide(k, next[p.header():], false)
	return o.slot, next, next[p.header():], nil
}

// A sealHop is one hop as the sender sees it. commands writes the hop's slot; of the next hop it
// gets the share and the MAC, or nil at the last.
type sealHop struct {
	share    []byte
	keys     hopKeys
	commands func(slot, nextShare, nextMAC []byte)
}

// seal makes the header that the first of the hops gets. There are at least one and at most
// p.slots of them.
func (p *params) seal(prefix []byte, hops []sealHop) []byte {
	size, last := p.routing(), len(hops)-1

	// What the zeros, which each hop puts in at the end, have become when the last hop gets them:
	// its MAC is over them, so that they must be known before it is made.
	filler := make([]byte, 0, last*p.slot)
	for i := range last {
		filler = filler[:(i+1)*p.slot]
		stream := make([]byte, size+p.slot)
		hops[i].keys.xorStream(stream)
		subtle.XORBytes(filler, filler, stream[size-i*p.slot:])
	}

	// Slots that no hop uses are random, not zero: the last hop sees them decrypted, and would
	// count the hops before it.
	routing := make([]byte, size)
	rand.Read(routing[p.slot : size-len(filler)])
	var share, mac []byte
	header := make([]byte, p.header())
	for i := last; i >= 0; i-- {
		hop := &hops[i]
		if i < last {
			copy(routing[p.slot:], routing[:size-p.slot])
			clear(routing[:p.slot])
		}
		hop.commands(routing[:p.slot], share, mac)
		if i < last {
			hop.keys.xorStream(routing)
		} else {
			hop.keys.xorStream(routing[:size-len(filler)])
			copy(routing[size-len(filler):], filler)
		}
		copy(header, prefix)
		copy(header[p.prefix:], hop.share)
		copy(header[p.prefix+p.share:], routing)
		share, mac = hop.share, p.authenticate(&hop.keys, header[:p.header()-p.mac])
		copy(header[p.header()-p.mac:], mac)
	}
	return header
}
