package relays

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/presentation"
)

const (
	version = 1

	maxName       = 255
	maxKeys       = 3
	maxDescriptor = 8 << 10 // three keys of X-Wing are 3,648 octets

	labelNode       = "mimid onion 1 node"
	labelDescriptor = "mimid onion 1 descriptor"
)

// A Descriptor is what a relay says of itself.
type Descriptor struct {
	Suite    onion.Suite
	Provider string     // its domain
	Operator string     // who runs it, and perhaps others; the provider's domain if it says nothing else
	Network  uint32     // its autonomous system
	Address  netip.Addr // of its node, by which neighbours are told
	Capacity uint32     // packets per second that it wants to relay
	First    onion.Epoch
	Keys     []onion.PublicKey // of First and the epochs after it, up to three
}

// A Relay is a descriptor that its node has signed. It is immutable.
type Relay struct {
	d    Descriptor
	key  ed25519.PublicKey
	node onion.NodeID
	near netip.Prefix // the /16 or /48 of its address
	raw  []byte
}

// NodeOf is the name of the node with a key.
func NodeOf(key ed25519.PublicKey) onion.NodeID {
	return sha256.Sum256(append([]byte(labelNode), key...))
}

func labelled(label string, content []byte) []byte {
	return presentation.AppendOpaque(presentation.AppendOpaque(nil, []byte(label)), content)
}

// Sign checks a descriptor and signs it with the node's key.
func (d Descriptor) Sign(key ed25519.PrivateKey) (*Relay, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: no key to sign with", ErrDescriptor)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	b := []byte{version, byte(d.Suite)}
	b = append(b, public...)
	b = presentation.AppendOpaque(b, []byte(d.Provider))
	b = presentation.AppendOpaque(b, []byte(d.Operator))
	b = presentation.AppendU32(b, d.Network)
	b = presentation.AppendOpaque(b, d.Address.AsSlice())
	b = presentation.AppendU32(b, d.Capacity)
	b = presentation.AppendU64(b, uint64(d.First))
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, k := range d.Keys {
			b = presentation.AppendOpaque(b, k.Bytes())
		}
		return b
	})
	raw := append(presentation.AppendOpaque(nil, b), ed25519.Sign(key, labelled(labelDescriptor, b))...)
	d.Keys = slices.Clone(d.Keys)
	return &Relay{d: d, key: slices.Clone(public), node: NodeOf(public), near: d.group(), raw: raw}, nil
}

func (d Descriptor) check() error {
	switch {
	case d.Suite != onion.X25519 && d.Suite != onion.XWing:
		return fmt.Errorf("%w: %v", ErrDescriptor, d.Suite)
	case !IsName(d.Provider) || !IsName(d.Operator):
		return fmt.Errorf("%w: provider %.40q, operator %.40q, where 1 to %d of a-z, 0-9, '.', '-' and '_' are possible", ErrDescriptor, d.Provider, d.Operator, maxName)
	case !d.Address.IsValid() || d.Address.Is4In6() || d.Address.Zone() != "":
		return fmt.Errorf("%w: address %v", ErrDescriptor, d.Address)
	case len(d.Keys) == 0 || len(d.Keys) > maxKeys:
		return fmt.Errorf("%w: %d keys, where 1 to %d are possible", ErrDescriptor, len(d.Keys), maxKeys)
	case d.First+maxKeys < d.First:
		return fmt.Errorf("%w: epoch %d", ErrDescriptor, d.First)
	}
	for _, k := range d.Keys {
		if k.Suite() != d.Suite {
			return fmt.Errorf("%w: a key of %v, not %v", ErrDescriptor, k.Suite(), d.Suite)
		}
	}
	return nil
}

// IsName says whether a text can be a provider's or an operator's name. It allows one writing of each, so
// that two that look the same are the same.
func IsName(s string) bool {
	return len(s) > 0 && len(s) <= maxName && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_'
	})
}

// ParseRelay reads and verifies what Bytes wrote.
func ParseRelay(raw []byte) (*Relay, error) {
	if len(raw) > maxDescriptor {
		return nil, fmt.Errorf("%w: %d octets, above %d", ErrDescriptor, len(raw), maxDescriptor)
	}
	outer := presentation.NewReader(raw)
	b, signature := outer.Bounded(maxDescriptor, "descriptor"), outer.Fixed(ed25519.SignatureSize)
	if err := outer.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptor, err)
	}
	r := presentation.NewReader(b)
	v, suite := r.U8(), onion.Suite(r.U8())
	node := ed25519.PublicKey(slices.Clone(r.Fixed(ed25519.PublicKeySize)))
	d := Descriptor{
		Suite:    suite,
		Provider: string(r.Bounded(maxName, "provider")),
		Operator: string(r.Bounded(maxName, "operator")),
		Network:  r.U32(),
	}
	address := r.Bounded(16, "address")
	d.Capacity, d.First = r.U32(), onion.Epoch(r.U64())
	var keys [][]byte
	r.List(maxKeys, func() { keys = append(keys, r.Bounded(2<<10, "key")) })
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptor, err)
	}
	// The signature comes before anything that computes with what is signed.
	if v != version || !ed25519.Verify(node, labelled(labelDescriptor, b), signature) {
		return nil, fmt.Errorf("%w: version %d, or not signed by its node", ErrDescriptor, v)
	}
	d.Address, _ = netip.AddrFromSlice(address)
	for _, k := range keys {
		key, err := onion.ParsePublicKey(suite, k)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDescriptor, err)
		}
		d.Keys = append(d.Keys, key)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return &Relay{d: d, key: node, node: NodeOf(node), near: d.group(), raw: slices.Clone(raw)}, nil
}

// Bytes is the signed descriptor.
func (r *Relay) Bytes() []byte { return slices.Clone(r.raw) }

// Node is the relay's name in packets.
func (r *Relay) Node() onion.NodeID { return r.node }

// NodeKey is the key of the node that has signed the descriptor.
func (r *Relay) NodeKey() ed25519.PublicKey { return slices.Clone(r.key) }

// Descriptor is what the relay says of itself.
func (r *Relay) Descriptor() Descriptor {
	d := r.d
	d.Keys = slices.Clone(d.Keys)
	return d
}

// Key is the relay's key of an epoch, false if it has published none.
func (r *Relay) Key(e onion.Epoch) (onion.PublicKey, bool) {
	if e < r.d.First || e-r.d.First >= onion.Epoch(len(r.d.Keys)) {
		return onion.PublicKey{}, false
	}
	return r.d.Keys[e-r.d.First], true
}

// group is the /16 or /48 of the address.
func (d Descriptor) group() netip.Prefix {
	bits := 48
	if d.Address.Is4() {
		bits = 16
	}
	p, _ := d.Address.Prefix(bits)
	return p
}

// apart tells whether one path may go through both: no operator, network or address group is the
// same. Network 0 is an unknown one, and the same as no other.
func (r *Relay) apart(o *Relay) bool {
	return r.node != o.node && r.d.Operator != o.d.Operator && r.d.Provider != o.d.Provider &&
		(r.d.Network == 0 || r.d.Network != o.d.Network) && r.near != o.near
}
