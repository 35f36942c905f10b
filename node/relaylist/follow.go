package relaylist

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"slices"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/presentation"
)

// follow asks all witnesses for the signatures of an epoch, and takes the list that enough have signed.
func (s *Service) follow(ctx context.Context, e onion.Epoch) {
	s.ask(ctx, func(ctx context.Context, w string) error {
		if w == s.cfg.Domain {
			return nil
		}
		b, err := s.call(ctx, w, EndpointSignatures, subjectOf(e), nil, maxSignatures*maxCosignature)
		if err != nil {
			return err
		}
		list, err := parseSignatures(b)
		if err != nil {
			return err
		}
		s.note(ctx, e, list)
		return nil
	})
	hash, by := s.agreed(e)
	if by == nil {
		return
	}
	s.mu.Lock()
	b := s.of(e).octets[hash]
	s.mu.Unlock()
	if b == nil {
		b = s.fetch(ctx, hash, by)
	}
	if b != nil {
		s.settle(ctx, e, b)
	}
}

func parseSignatures(b []byte) ([]relays.Cosignature, error) {
	r := presentation.NewReader(b)
	var out []relays.Cosignature
	r.List(maxSignatures, func() {
		raw := r.Bounded(maxCosignature, "cosignature")
		if r.Err() != nil {
			return
		}
		c, err := relays.ParseCosignature(raw)
		if err != nil {
			r.Fail(err, "cosignature %d", len(out))
			return
		}
		out = append(out, c)
	})
	return out, r.Done()
}

// note remembers signatures of an epoch that are good. Two of one witness for different lists are a proof
// against it, which is kept before anything else is done with them.
func (s *Service) note(ctx context.Context, e onion.Epoch, list []relays.Cosignature) {
	for _, c := range list {
		if c.Epoch != e || !slices.Contains(s.cfg.Witnesses, c.Witness) {
			continue
		}
		s.mu.Lock()
		have := slices.Clone(s.of(e).signatures[c.Witness])
		s.mu.Unlock()
		if len(have) >= 2 || slices.Contains(have, c) {
			continue
		}
		key, err := s.keyOf(ctx, c.Witness)
		if err != nil || !c.Verify(key) {
			s.cfg.Log.Debug("a signature of a list of relays is not good", "witness", c.Witness, "err", err)
			continue
		}
		lies := slices.IndexFunc(have, func(o relays.Cosignature) bool { return o.Contradicts(c, key) })
		if lies >= 0 && c.Witness != s.cfg.Domain {
			if err := keepLiar(ctx, s.cfg.Store, have[lies], c); err != nil {
				s.cfg.Log.Error("a proof against a witness was not kept", "witness", c.Witness, "err", err)
			}
			s.cfg.Log.Error("a witness has signed two lists of relays for one epoch, and is not believed any more: ask its operator, and replace it in onion.witnesses at all nodes",
				"witness", c.Witness, "epoch", e)
		}
		s.mu.Lock()
		x := s.of(e)
		// Another signature for the same list is that of a new provider key, and counts once.
		if i := slices.IndexFunc(x.signatures[c.Witness], func(o relays.Cosignature) bool { return o.Hash == c.Hash }); i >= 0 {
			x.signatures[c.Witness][i] = c
		} else if len(x.signatures[c.Witness]) < 2 {
			x.signatures[c.Witness] = append(x.signatures[c.Witness], c)
		}
		if lies >= 0 {
			s.liars[c.Witness] = e
		}
		s.mu.Unlock()
	}
}

func (s *Service) keyOf(ctx context.Context, witness string) (ed25519.PublicKey, error) {
	if witness == s.cfg.Domain {
		return s.cfg.Key.Public().(ed25519.PublicKey), nil
	}
	return s.cfg.KeyOf(ctx, witness)
}

// believed are the signatures of an epoch that count. The caller holds mu.
func (s *Service) believed(e onion.Epoch) []relays.Cosignature {
	var out []relays.Cosignature
	for _, w := range s.cfg.Witnesses {
		if _, liar := s.liars[w]; !liar {
			out = append(out, s.of(e).signatures[w]...)
		}
	}
	return out
}

// agreed is the list that enough witnesses have signed, and who they are; nil: none yet.
func (s *Service) agreed(e onion.Epoch) (hash [32]byte, by []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := map[[32]byte][]string{}
	for _, c := range s.believed(e) {
		who[c.Hash] = append(who[c.Hash], c.Witness)
		if len(who[c.Hash]) >= relays.Quorum(len(s.cfg.Witnesses)) { // two such cannot be, each signs one
			return c.Hash, who[c.Hash]
		}
	}
	return hash, nil
}

// fetch asks those who have signed a list for it, one after the other.
func (s *Service) fetch(ctx context.Context, hash [32]byte, by []string) []byte {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for _, w := range by {
		if w == s.cfg.Domain {
			continue
		}
		b, err := s.call(ctx, w, EndpointSnapshot, hex.EncodeToString(hash[:]), nil, maxList)
		if err == nil && relays.Hash(b) == hash {
			return b
		}
		s.cfg.Log.Debug("a list of relays was asked for in vain", "witness", w, "err", err)
	}
	return nil
}

// settle makes a list the one of its epoch if enough witnesses have signed it and it keeps the terms.
func (s *Service) settle(ctx context.Context, e onion.Epoch, b []byte) {
	keys := relays.Witnesses{}
	for _, w := range s.cfg.Witnesses {
		keys[w], _ = s.keyOf(ctx, w) // one without a key counts among all, and its signature is none
	}
	s.mu.Lock()
	signatures := s.believed(e)
	s.mu.Unlock()
	c, err := keys.Verify(b, e, signatures)
	if err != nil {
		s.cfg.Log.Debug("a list of relays is not agreed on", "epoch", e, "err", err)
		return
	}
	list := c.Snapshot()
	if err := s.cfg.Terms.Judge(&list, nil); err != nil {
		s.cfg.Log.Error("the witnesses have other terms than this node: see onion.epoch, onion.rate and onion.delay", "epoch", e, "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(e)
	if x.list == nil {
		x.list = c
	}
	x.octets[c.Hash()] = b
}
