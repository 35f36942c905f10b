package relaylist

import (
	"context"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// Note is note, for a test that has signatures of its own.
func (s *Service) Note(ctx context.Context, e onion.Epoch, list []relays.Cosignature) {
	s.note(ctx, e, list)
}

// Signatures are those of a witness.
func (s *Service) Signatures(e onion.Epoch, witness string) []relays.Cosignature {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(e).signatures[witness]
}

// Sign is sign.
func (s *Service) Sign(ctx context.Context, e onion.Epoch, list []byte) (relays.Cosignature, error) {
	return s.sign(ctx, e, list)
}

// ParseAnswers reads what witnesses answer.
func ParseAnswers(b []byte) {
	if a, err := parseAnswer(b); err == nil {
		_ = a.list
	}
	if l, err := parseSignatures(b); err == nil && len(l) > maxSignatures {
		panic("too many signatures")
	}
}
