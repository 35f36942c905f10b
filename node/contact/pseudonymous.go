package contact

import (
	"context"
	"errors"
	"net/http"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/pseudonyms"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/store"
)

// AdmitPseudonymous reads a request for KeyPackages of an own user under a pseudonym, which has
// come sealed through the requester's provider source, and says whether the target consents.
// Nothing else than consent makes it: nobody is added from a knock, and where the user would hear
// nothing of a room that strangers put it into, strangers get nothing.
func (s *Service) AdmitPseudonymous(ctx context.Context, raw []byte, source string) (*pseudonyms.Admitted, error) {
	c, bad := parseClaim(raw)
	switch {
	case bad != nil:
		return nil, bad
	case !s.local(c.target):
		return nil, invalid("%s is no user of %s", c.target, s.cfg.Domain)
	case c.requester.Provider().Domain() != source:
		return nil, forbidden("a request of %s comes through its own provider, and not through %s", c.requester, source)
	}
	if source != s.cfg.Domain {
		if _, err := s.cfg.Directory.Resolve(ctx, source); err != nil {
			p := problem(http.StatusServiceUnavailable, peering.CodeUnresolved, "the requester's provider %s could not be verified: %v", source, err)
			p.Retry = 5000
			return nil, p
		}
	}
	if bad := s.verify(c); bad != nil {
		return nil, bad
	}
	out := &pseudonyms.Admitted{Requester: c.requester, Target: c.target, Room: c.room, Suites: c.request.Suites}
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		any, err1 := readState(tx, given, scope{requester: c.requester, target: c.target})
		room, err2 := any, error(nil)
		if !c.room.IsZero() {
			room, err2 = readState(tx, given, scope{c.requester, c.target, c.room})
		}
		mode, err3 := s.modeFor(tx, c.target, c.requester)
		out.Consents = consent.Judge(mode, any.state, room.state) == consent.Admit
		return errors.Join(err1, err2, err3)
	})
	return out, err
}
