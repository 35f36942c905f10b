package introduce

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/store"
)

// Introductions lists what waits for the user's answer.
func (s *Service) Introductions(_ context.Context, who account.Identity) (*clientapi.Introductions, error) {
	out := &clientapi.Introductions{Introductions: []clientapi.Introduction{}}
	now := s.cfg.Now()
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for h, err := range handlesOf(tx, who.User) {
			if err != nil {
				return err
			}
			p, err := readPending(tx, h)
			if err != nil {
				return err
			}
			if p == nil {
				return fmt.Errorf("%w: an anonymous request is missing", ErrDamaged)
			}
			if !p.granted && now.Before(p.until) {
				out.Introductions = append(out.Introductions, p.shown(h))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing anonymous requests: %w", err)
	}
	return out, nil
}

// JudgeIntroduction is the user's answer. Yes is told to whoever has sent the request when it asks;
// no is told to nobody, and final.
func (s *Service) JudgeIntroduction(ctx context.Context, who account.Identity, j *clientapi.JudgeIntroduction) error {
	b, err := hex.DecodeString(j.Handle)
	if err != nil || len(b) != len(introduction.Handle{}) {
		return invalid("%.80q is no handle: 64 hexadecimal digits", j.Handle)
	}
	h := introduction.Handle(b)
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		now := s.cfg.Now()
		p, err := readPending(tx, h)
		if err != nil {
			return err
		}
		if p == nil || p.target != who.User || !now.Before(p.until) || p.granted && !j.Accept {
			return problem(http.StatusNotFound, clientapi.CodeNotFound, "no such anonymous request waits for an answer: it was answered, or is older than %s", s.cfg.Limits.Keep)
		}
		if !j.Accept {
			return p.drop(tx, h)
		}
		if p.granted {
			return nil
		}
		p.granted, p.until = true, now.Add(s.cfg.Limits.Keep)
		return p.write(tx, h)
	})
	if err != nil {
		return fmt.Errorf("answering an anonymous request: %w", err)
	}
	return nil
}
