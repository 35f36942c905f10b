package mls

import (
	"fmt"
	"maps"
	"slices"
)

// secretTree gives each member two ratchets of message keys, one for handshake
// and one for application messages (RFC 9420 section 9). A node's secret is
// deleted when its children's are derived, a ratchet's when it moves on, and a
// message key when it has been used, so that reading the state later opens no
// earlier message.
//
// Nothing is consumed by looking: find computes a step, and take makes it so
// once the message has proved good. A forged message therefore leaves no trace.
type secretTree struct {
	suite CipherSuite
	depth int
	// seeds are the secrets of nodes whose parent's secret is gone.
	seeds    map[nodeIndex]secret
	ratchets map[ratchetID]*ratchet
}

type ratchetID struct {
	leaf      LeafIndex
	handshake bool
}

// ratchet is a chain of one-time keys. next is the generation that secret
// yields; keys of earlier, skipped generations wait in skipped.
type ratchet struct {
	next    uint32
	secret  secret
	skipped map[uint32]messageKey
	// done is set when generation 2^32-1 was used: there is no next.
	done bool
}

// messageKey is the key and nonce of one message.
type messageKey struct{ key, nonce secret }

func newSecretTree(suite CipherSuite, depth int, encryption secret) *secretTree {
	return &secretTree{
		suite: suite, depth: depth,
		seeds:    map[nodeIndex]secret{rootOf(depth): encryption},
		ratchets: map[ratchetID]*ratchet{},
	}
}

// keyStep is a message key and the state after it is taken.
type keyStep struct {
	key messageKey
	id  ratchetID
	gen uint32
	// split: seeds that replace the one they were derived from.
	split   map[nodeIndex]secret
	used    nodeIndex
	others  map[ratchetID]*ratchet // the leaf's ratchets, when they are new
	fresh   map[uint32]messageKey  // generations skipped by this step
	next    secret                 // the ratchet's secret after this step
	advance bool                   // whether the ratchet moves at all
}

// ratchet returns the ratchet of id without changing the tree; step collects
// what creating it would change.
func (t *secretTree) ratchet(id ratchetID, step *keyStep) (*ratchet, error) {
	if r := t.ratchets[id]; r != nil {
		return r, nil
	}
	if uint64(id.leaf) >= 1<<t.depth {
		return nil, fmt.Errorf("leaf %d: %w", id.leaf, ErrUnknownSender)
	}
	// The nearest ancestor that still has a seed.
	at := id.leaf.node()
	root := rootOf(t.depth)
	for t.seeds[at] == nil {
		if at == root {
			return nil, fmt.Errorf("keys of leaf %d: %w", id.leaf, ErrReplayed)
		}
		at = at.parent()
	}
	step.used = at
	step.split = map[nodeIndex]secret{}
	s := t.seeds[at]
	for !at.isLeaf() {
		l, r := at.left(), at.right()
		ls := expandWithLabel(s, "tree", []byte("left"), hashSize)
		rs := expandWithLabel(s, "tree", []byte("right"), hashSize)
		if id.leaf.node() < at {
			at, s = l, ls
			step.split[r] = rs
		} else {
			at, s = r, rs
			step.split[l] = ls
		}
	}
	step.others = map[ratchetID]*ratchet{
		{id.leaf, true}:  {secret: expandWithLabel(s, "handshake", nil, hashSize)},
		{id.leaf, false}: {secret: expandWithLabel(s, "application", nil, hashSize)},
	}
	return step.others[id], nil
}

func (c CipherSuite) ratchetKey(s secret, gen uint32) messageKey {
	return messageKey{
		deriveTreeSecret(s, "key", gen, c.keySize()),
		deriveTreeSecret(s, "nonce", gen, nonceSize),
	}
}

// find returns the key of one generation. Errors: ErrReplayed, ErrTooFarAhead,
// ErrUnknownSender.
func (t *secretTree) find(id ratchetID, gen uint32, lim *Limits) (*keyStep, error) {
	step := &keyStep{id: id, gen: gen}
	r, err := t.ratchet(id, step)
	if err != nil {
		return nil, err
	}
	if gen < r.next || r.done {
		k, ok := r.skipped[gen]
		if !ok {
			return nil, fmt.Errorf("generation %d of leaf %d: %w", gen, id.leaf, ErrReplayed)
		}
		step.key = k
		return step, nil
	}
	if gen-r.next > lim.ForwardGenerations {
		return nil, fmt.Errorf("generation %d of leaf %d, %d expected (limit %d ahead): %w",
			gen, id.leaf, r.next, lim.ForwardGenerations, ErrTooFarAhead)
	}
	step.advance = true
	s := r.secret
	for g := r.next; ; g++ {
		k := t.suite.ratchetKey(s, g)
		s = deriveTreeSecret(s, "secret", g, hashSize)
		if g == gen {
			step.key, step.next = k, s
			return step, nil
		}
		if step.fresh == nil {
			step.fresh = make(map[uint32]messageKey, gen-r.next)
		}
		step.fresh[g] = k
	}
}

// take consumes the step's key. note is told of every part that changes.
func (t *secretTree) take(step *keyStep, lim *Limits, note func(treePart)) {
	if step.others != nil {
		t.seeds[step.used].wipe()
		delete(t.seeds, step.used)
		note(treePart{seed: true, node: step.used})
		for n, s := range step.split {
			t.seeds[n] = s
			note(treePart{seed: true, node: n})
		}
		for id, r := range step.others {
			t.ratchets[id] = r
			note(treePart{id: id})
		}
	}
	r := t.ratchets[step.id]
	if !step.advance {
		r.drop(step.gen)
		note(treePart{id: step.id, skipped: true, gen: step.gen})
		return
	}
	r.secret.wipe()
	r.secret = step.next
	r.next = step.gen + 1
	r.done = r.next == 0
	note(treePart{id: step.id})
	for g, k := range step.fresh {
		if r.skipped == nil {
			r.skipped = map[uint32]messageKey{}
		}
		r.skipped[g] = k
		note(treePart{id: step.id, skipped: true, gen: g})
	}
	if over := len(r.skipped) - lim.SkippedKeys; over > 0 {
		for _, g := range slices.Sorted(maps.Keys(r.skipped))[:over] {
			r.drop(g)
			note(treePart{id: step.id, skipped: true, gen: g})
		}
	}
}

func (r *ratchet) drop(gen uint32) {
	k := r.skipped[gen]
	k.key.wipe()
	k.nonce.wipe()
	delete(r.skipped, gen)
}

// treePart names a piece of the secret tree that is stored by itself: a seed,
// a ratchet, or a skipped key.
type treePart struct {
	seed    bool
	node    nodeIndex
	id      ratchetID
	skipped bool
	gen     uint32
}

// parts names every piece there is.
func (t *secretTree) parts(yield func(treePart) bool) {
	for n := range t.seeds {
		if !yield(treePart{seed: true, node: n}) {
			return
		}
	}
	for id, r := range t.ratchets {
		if !yield(treePart{id: id}) {
			return
		}
		for g := range r.skipped {
			if !yield(treePart{id: id, skipped: true, gen: g}) {
				return
			}
		}
	}
}

func (t *secretTree) wipe() {
	for _, s := range t.seeds {
		s.wipe()
	}
	for _, r := range t.ratchets {
		r.secret.wipe()
		for g := range r.skipped {
			r.drop(g)
		}
	}
}

// dropHandshake forgets the handshake ratchets of materialized leaves, when
// the epoch is over: no handshake of a past epoch is accepted.
func (t *secretTree) dropHandshake(note func(treePart)) {
	for id, r := range t.ratchets {
		if !id.handshake {
			continue
		}
		note(treePart{id: id})
		for g := range r.skipped {
			r.drop(g)
			note(treePart{id: id, skipped: true, gen: g})
		}
		r.secret.wipe()
		delete(t.ratchets, id)
	}
}
