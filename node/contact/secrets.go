package contact

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/mimid/mimid/protocol/discovery"
)

// secrets derives identifiers' secrets, a few at a time because of the memory,
// and remembers the last ones used. Safe for concurrent use.
type secrets struct {
	network discovery.Network
	eval    Evaluator // or nil
	max     int
	places  chan struct{} // one for each derivation at a time

	mu    sync.Mutex
	known map[discovery.SII]*list.Element // guarded by mu
	order *list.List                      // of *secretOf, last used first; guarded by mu
}

type secretOf struct {
	sii    discovery.SII
	secret discovery.Secret
}

func newSecrets(salt string, eval Evaluator, max, parallel int) *secrets {
	return &secrets{network: discovery.Network{Salt: salt}, eval: eval, max: max, places: make(chan struct{}, parallel),
		known: map[discovery.SII]*list.Element{}, order: list.New()}
}

// of returns the secret of an identifier. It may wait for a place.
func (s *secrets) of(ctx context.Context, sii discovery.SII) (discovery.Secret, error) {
	if secret, ok := s.get(sii); ok {
		return secret, nil
	}
	derive := func() (discovery.Secret, error) { return s.network.Secret(sii) }
	if s.eval != nil {
		input, err := s.network.Input(sii)
		if err != nil {
			return discovery.Secret{}, err
		}
		out, err := s.eval.Output(ctx, input)
		if err != nil {
			return discovery.Secret{}, unreachable("the identifier could not be evaluated: %v", err)
		}
		derive = func() (discovery.Secret, error) { return s.network.Evaluated(out), nil }
	}
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return discovery.Secret{}, fmt.Errorf("waiting to derive a secret: %w", ctx.Err())
	}
	defer func() { <-s.places }()
	if secret, ok := s.get(sii); ok { // derived while we waited
		return secret, nil
	}
	secret, err := derive()
	if err != nil {
		return secret, fmt.Errorf("deriving a secret: %w", err)
	}
	s.put(sii, secret)
	return secret, nil
}

func (s *secrets) get(sii discovery.SII) (discovery.Secret, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[sii]
	if e == nil {
		return discovery.Secret{}, false
	}
	s.order.MoveToFront(e)
	return e.Value.(*secretOf).secret, true
}

func (s *secrets) put(sii discovery.SII, secret discovery.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[sii] != nil {
		return
	}
	s.known[sii] = s.order.PushFront(&secretOf{sii, secret})
	for s.order.Len() > s.max {
		delete(s.known, s.order.Remove(s.order.Back()).(*secretOf).sii)
	}
}
