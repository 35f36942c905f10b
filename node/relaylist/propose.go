package relaylist

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/presentation"
)

func subjectOf(e onion.Epoch) string { return strconv.FormatUint(uint64(e), 10) }

// An answer is what a witness knows for the list of an epoch.
type answer struct {
	list   []*relays.Relay
	signed []byte
}

func parseAnswer(b []byte) (answer, error) {
	r := presentation.NewReader(b)
	a := answer{signed: r.Bounded(maxList, "snapshot")}
	r.List(relays.MaxRelays, func() {
		raw := r.Bounded(maxDescriptor, "descriptor")
		if r.Err() != nil {
			return
		}
		relay, err := relays.ParseRelay(raw)
		if err != nil {
			r.Fail(err, "descriptor %d", len(a.list))
			return
		}
		a.list = append(a.list, relay)
	})
	return a, r.Done()
}

// propose makes the list of an epoch and has it signed, as far as other witnesses do.
func (s *Service) propose(ctx context.Context, e onion.Epoch) {
	s.mu.Lock()
	was, signed := s.signed[e]
	octets := s.of(e).octets[was.Hash]
	s.mu.Unlock()
	var list []byte
	switch {
	case signed && octets != nil:
		list = octets
	case e < s.from:
		return
	default:
		if list = s.gather(ctx, e); list == nil {
			return
		}
	}
	own, err := s.sign(ctx, e, list)
	if err != nil {
		s.cfg.Log.Info("a list of relays is not signed here", "epoch", e, "err", err)
		return
	}
	s.note(ctx, e, []relays.Cosignature{own})
	s.ask(ctx, func(ctx context.Context, w string) error {
		if w == s.cfg.Domain {
			return nil
		}
		b, err := s.call(ctx, w, EndpointCosign, subjectOf(e), list, maxCosignature)
		if err != nil {
			s.cfg.Log.Info("a witness does not sign a list of relays", "epoch", e, "witness", w, "err", err)
			return err
		}
		c, err := relays.ParseCosignature(b)
		if err != nil {
			return err
		}
		s.note(ctx, e, []relays.Cosignature{c})
		return nil
	})
	s.settle(ctx, e, list)
}

// gather asks all witnesses what they know, and makes the list of it; nil: there is none to be made now.
func (s *Service) gather(ctx context.Context, e onion.Epoch) []byte {
	var mu sync.Mutex
	var answers []answer
	s.ask(ctx, func(ctx context.Context, w string) error {
		var a answer
		if w == s.cfg.Domain {
			a.list, a.signed = s.collected(e)
		} else {
			b, err := s.call(ctx, w, EndpointCollect, subjectOf(e), nil, maxList)
			if err != nil {
				return err
			}
			if a, err = parseAnswer(b); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, a)
		return nil
	})
	if len(answers) < relays.Quorum(len(s.cfg.Witnesses)) {
		s.cfg.Log.Info("too few witnesses answer to make a list of relays", "epoch", e, "answer", len(answers), "needed", relays.Quorum(len(s.cfg.Witnesses)))
		return nil
	}
	// One that was signed already is completed, that of most first.
	count := map[[32]byte]int{}
	var begun [][]byte
	var all []*relays.Relay
	for _, a := range answers {
		all = append(all, a.list...)
		if len(a.signed) > 0 {
			count[relays.Hash(a.signed)]++
			begun = append(begun, a.signed)
		}
	}
	if len(begun) > 0 {
		return slices.MaxFunc(begun, func(a, b []byte) int {
			x, y := relays.Hash(a), relays.Hash(b)
			if d := count[x] - count[y]; d != 0 {
				return d
			}
			return bytes.Compare(x[:], y[:])
		})
	}
	return s.makeList(ctx, e, all)
}

// makeList makes the only list that some descriptors can make, of those that records speak for.
func (s *Service) makeList(ctx context.Context, e onion.Epoch, all []*relays.Relay) []byte {
	now := s.cfg.Now()
	var previous [32]byte
	var known, unknown []*relays.Relay
	s.mu.Lock()
	if e <= s.cfg.Terms.Epoch(now) && now.Sub(s.changed) < s.cfg.Terms.Length/60 {
		s.mu.Unlock()
		s.cfg.Log.Debug("a network begins, and relays are still coming", "epoch", e)
		return nil
	}
	if x := s.epochs[e-1]; x != nil && x.list != nil {
		previous = x.list.Hash()
	}
	for _, r := range s.cfg.Terms.Snapshot(e, previous, all).Relays {
		if o := s.pool[r.Node()]; o != nil && o.Descriptor().Provider == r.Descriptor().Provider {
			known = append(known, r)
		} else {
			unknown = append(unknown, r)
		}
	}
	s.mu.Unlock()
	list := s.cfg.Terms.Snapshot(e, previous, append(known, s.vouched(ctx, unknown)...))
	willing := 0
	for _, r := range list.Relays {
		if r.Willing() {
			willing++
		}
	}
	if willing < relays.Layers {
		s.cfg.Log.Debug("too few relays for a list", "epoch", e, "relays", willing)
		return nil
	}
	b, err := list.Bytes()
	if err != nil || len(b) > maxList {
		s.cfg.Log.Error("a list of relays cannot be written", "epoch", e, "octets", len(b), "err", err)
		return nil
	}
	return b
}
