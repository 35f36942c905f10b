package contact

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// place finds a place for a new request of this scope; false: it vanishes. If all of the user's are taken,
// one of a provider that has more of them goes for it, as package consent has it, and is taken from view. It is
// forgotten as if it had never come: whoever sent it hears nothing, as of any request, and can ask again.
func (s *Service) place(tx *store.Tx, sc scope, now time.Time) (bool, error) {
	from := sc.requester.Provider().Domain()
	l := &s.cfg.Limits
	ofProvider, err1 := add(tx, pendingProvider, from, 0)
	scopes, err2 := add(tx, countGiven, sc.target.String(), 0)
	if err1 != nil || err2 != nil {
		return false, fmt.Errorf("counting requests: %w", errors.Join(err1, err2))
	}
	// A request must not take the place of what the user wants to say itself.
	if ofProvider >= l.PendingPerProvider || scopes >= l.Scopes-1 {
		return false, nil
	}
	waiting, err := waitingFor(tx, pendingPair, sc.target)
	if err != nil {
		return false, err
	}
	ok, yields := consent.Places{User: l.PendingPerTarget, Provider: l.PendingPerPair}.Take(from, waiting)
	if !ok || yields == "" {
		return ok, nil
	}
	return true, s.displace(tx, sc.target, yields, now)
}

// waitingFor is how much of each provider's users waits for a user: requests, or rooms in quarantine, by which
// counters are read.
func waitingFor(tx *store.Tx, kind byte, target uri.User) (out []consent.Waiting, err error) {
	prefix := target.String() + "\x00"
	of, err := countersOf(tx, kind, prefix)
	if err != nil {
		return nil, err
	}
	for name, n := range of {
		out = append(out, consent.Waiting{Provider: strings.TrimPrefix(name, prefix), Requests: n})
	}
	slices.SortFunc(out, func(a, b consent.Waiting) int { return strings.Compare(a.Provider, b.Provider) })
	return out, nil
}

// displace forgets the request of a provider that goes first.
func (s *Service) displace(tx *store.Tx, target uri.User, domain string, now time.Time) error {
	var all []record
	prefix := append(append([]byte{given}, target.String()...), 0)
	for r, err := range scopesWith(tx, given, append(prefix, "mimi://"+domain+"/"...)) {
		if err != nil {
			return err
		}
		if pending(r.state) > 0 {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("%w: requests of %s's users are counted for %s, and there is none", ErrDamaged, domain, target)
	}
	gone := slices.MinFunc(all, func(a, b record) int { return consent.Yield(a.waits(), b.waits()) })
	s.cfg.Log.Warn("a request for consent goes for that of another provider: too many are pending", "target", target, "provider", domain)
	if gone.state == consent.Requested {
		cancel := &wire.ConsentEntry{Operation: wire.ConsentCancel, Scope: wire.ConsentScope{
			Requester: wire.IdentifierURI(gone.requester.String()), Target: wire.IdentifierURI(gone.target.String()), Room: wire.IdentifierURI(gone.room.String())}}
		body, err := cancel.Bytes()
		if err != nil {
			return fmt.Errorf("withdrawing a request: %w", err)
		}
		if err := s.show(tx, target, &word{body: body, entry: cancel, scope: gone.scope}, consent.None); err != nil {
			return err
		}
	}
	return s.write(tx, given, gone.scope, gone, consent.None, nil, now)
}

// waits is a pending request as package consent compares it.
func (r record) waits() consent.Asked {
	return consent.Asked{Requester: r.requester, Room: r.room, At: time.UnixMilli(int64(r.changed))}
}

// heldPlace finds a place in quarantine for a room, as place does for a request. Of a provider's rooms the newest
// goes, as if its time had ended: were it the oldest, whoever sends most would be the one that is kept.
func (s *Service) heldPlace(tx *store.Tx, h *heldRoom) (bool, error) {
	from := h.by.Provider().Domain()
	l := &s.cfg.Limits
	if n, err := add(tx, heldOfProvider, from, 0); err != nil || n >= l.HeldPerProvider {
		return false, err
	}
	waiting, err := waitingFor(tx, heldOfPair, h.target)
	if err != nil {
		return false, err
	}
	ok, yields := consent.Places{User: l.HeldPerTarget, Provider: l.HeldPerPair}.Take(from, waiting)
	if !ok || yields == "" {
		return ok, nil
	}
	var gone *heldRoom
	for x, err := range heldRooms(tx, h.target) {
		if err != nil {
			return false, err
		}
		if x.by.Provider().Domain() == yields && (gone == nil || consent.Yield(x.waits(), gone.waits()) < 0) {
			gone = x
		}
	}
	if gone == nil {
		return false, fmt.Errorf("%w: rooms of %s's users are counted for %s, and there is none", ErrDamaged, yields, h.target)
	}
	s.cfg.Log.Warn("a room in quarantine goes for that of another provider: too many are there", "target", h.target, "provider", yields)
	_, err = gone.forget(tx)
	return true, err
}

// waits is a room in quarantine as package consent compares it.
func (h *heldRoom) waits() consent.Asked {
	return consent.Asked{Requester: h.by, Room: h.room, At: time.UnixMilli(int64(h.since))}
}
