package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// A room outlives providers that took part in it, and its log goes on resting on their
// keys: the first entry on that of the provider in the room's address, handshakes on those
// of their users' providers. A provider that comes to the room later finds no record of
// one that is gone for good. Who was there keeps the record that it has verified, and
// shows it (EndpointRecord). The record's signature is by the key that it names; that the
// key spoke for the domain is the other's word, and counts no longer than nothing better
// is found (overlay.Hear).
//
// The word is asked of who the log comes from, which could as well have made up the whole
// room, and then of the others. It is asked only where the name is not found: that it
// cannot be looked up now, or that another key claims it, is no reason.

// maxTellers is how many providers are asked for the record of one that is gone.
const maxTellers = 4

// toldOf has this provider told of another one that was not found because of lost. The
// error is nil if a key of it is known afterwards.
func (l *live) toldOf(ctx context.Context, domain string, lost error) error {
	if !errors.Is(lost, overlay.ErrUnknownProvider) && !errors.Is(lost, overlay.ErrExpired) {
		return lost
	}
	for _, from := range l.tellers(domain) {
		if l.r.toldBy(ctx, l.h.id, domain, from) {
			return nil
		}
	}
	return lost
}

// toldBy asks one provider for the record of another one, and says whether a key of it is
// known now.
func (r *Rooms) toldBy(ctx context.Context, id room.ID, domain, from string) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	envelope, err := r.cfg.Peers.Call(ctx, Call{Target: from, Endpoint: EndpointRecord, Subject: id.String(),
		Body: append(slices.Clone(id[:]), domain...), Max: overlay.MaxRecord})
	if err == nil && len(envelope) > 0 {
		err = r.cfg.Peers.Hear(ctx, domain, envelope)
	}
	if err != nil {
		r.log.Debug("asking for the record of a provider that is gone", "domain", domain, "from", from, "err", err)
		return false
	}
	if len(r.cfg.Rules.Anchors(domain)) == 0 {
		return false
	}
	r.log.Info("knows a provider that is gone by another's word", "domain", domain, "from", from, "room", id)
	return true
}

// maxUnknown is how many providers a client that comes into a room may have its hub asked for.
const maxUnknown = 8

// learnGone has the hub of a room that an own user comes into tell of providers that are gone:
// whoever is not in it yet has no log to learn from.
func (r *Rooms) learnGone(ctx context.Context, id room.ID, hub string, domains []string) {
	for _, d := range domains[:min(len(domains), maxUnknown)] {
		x, err := uri.ParseDomain(d)
		if err != nil || x.Domain() == r.cfg.Domain || x.Domain() == hub || len(r.cfg.Rules.Anchors(x.Domain())) > 0 {
			continue
		}
		lost := r.learnBy(ctx, x.Domain(), r.cfg.Peers.Resolve)
		if errors.Is(lost, overlay.ErrUnknownProvider) || errors.Is(lost, overlay.ErrExpired) {
			r.toldBy(ctx, id, x.Domain(), hub)
		}
	}
}

// tellers are who may know a provider that is gone, who the log comes from first.
func (l *live) tellers(gone string) []string {
	all := []string{l.reading}
	if head := l.h.stand(); head != nil {
		all = append(append(all, head.Hub), head.Providers...)
	}
	var out []string
	for _, d := range all {
		if d != "" && d != gone && d != l.r.cfg.Domain && !slices.Contains(out, d) && len(out) < maxTellers {
			out = append(out, d)
		}
	}
	return out
}

// serveRecord shows what is known of a provider to who takes part in a room. That it is
// asked about any domain tells nothing but whether this provider has met that one. Of a room
// into which people come by themselves others may ask, too, about those that it rests on.
func (r *Rooms) serveRecord(ctx context.Context, q *Request) (*Response, error) {
	var id room.ID
	n := copy(id[:], q.Body)
	domain, err := uri.ParseDomain(string(q.Body[n:]))
	if err != nil || id.String() != q.Subject {
		return nil, problem(422, clientapi.CodeInvalid, "a provider's domain is asked for, in the room %s", q.Subject)
	}
	h, err := r.lookup(id)
	if err != nil {
		return nil, asProblem(err)
	}
	may := false
	if head := h.stand(); head != nil {
		may = slices.Contains(head.Providers, q.Source) || head.Member(q.Source)
	}
	if !may {
		err := r.view(ctx, h, func(s *room.State) {
			may = r.letsIn(s) && (s.URI().Provider() == domain || slices.Contains(s.Providers(), domain.Domain()))
		})
		if err != nil {
			return nil, asProblem(err)
		}
	}
	if !may {
		return nil, asProblem(fmt.Errorf("%s: %w", q.Subject, ErrUnknown))
	}
	return ok(r.cfg.Peers.Envelope(domain.Domain()), nil)
}
