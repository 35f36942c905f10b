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
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		envelope, err := l.r.cfg.Peers.Call(ctx, Call{Target: from, Endpoint: EndpointRecord, Subject: l.h.id.String(),
			Body: append(slices.Clone(l.h.id[:]), domain...), Max: overlay.MaxRecord})
		if err == nil && len(envelope) > 0 {
			err = l.r.cfg.Peers.Hear(ctx, domain, envelope)
		}
		cancel()
		if err != nil {
			l.r.log.Debug("asking for the record of a provider that is gone", "domain", domain, "from", from, "err", err)
			continue
		}
		if len(l.r.cfg.Rules.Anchors(domain)) > 0 {
			l.r.log.Info("knows a provider that is gone by another's word", "domain", domain, "from", from, "room", l.h.id)
			return nil
		}
	}
	return lost
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
// asked about any domain tells nothing but whether this provider has met that one.
func (r *Rooms) serveRecord(_ context.Context, q *Request) (*Response, error) {
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
	if head := h.stand(); head == nil || !slices.Contains(head.Providers, q.Source) && !head.Member(q.Source) {
		return nil, asProblem(fmt.Errorf("%s: %w", q.Subject, ErrUnknown))
	}
	return ok(r.cfg.Peers.Envelope(domain.Domain()), nil)
}
