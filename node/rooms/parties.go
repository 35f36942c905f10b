package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Parties is who has to do with a room, as far as its log is here.
type Parties struct {
	URI string
	// Hub is the provider that orders the room.
	Hub string
	// Providers are those whose users take part. A replica without a participant is none.
	Providers []string
	// Assets is what the room's policy says of attachments, nil if it says nothing.
	Assets *policy.Assets
}

// Has says whether a provider's users take part.
func (p *Parties) Has(domain string) bool { return slices.Contains(p.Providers, domain) }

// PartiesFor returns the parties of a room of which a user is a participant. Errors are
// Problems.
func (r *Rooms) PartiesFor(ctx context.Context, who account.Identity, id store.RoomID) (*Parties, error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	return r.parties(ctx, h)
}

// PartiesOf returns the parties of a room that is here, nil of another one. Errors are
// Problems.
func (r *Rooms) PartiesOf(ctx context.Context, uri string) (*Parties, error) {
	r.mu.RLock()
	h := r.rooms[room.IDOf([]byte(uri))]
	r.mu.RUnlock()
	if h == nil {
		return nil, nil
	}
	return r.parties(ctx, h)
}

// parties adds to what stands in the head what the room's policy says.
func (r *Rooms) parties(ctx context.Context, h *handle) (*Parties, error) {
	p := h.parties()
	if p == nil {
		return nil, nil
	}
	var bad error
	err := r.view(ctx, h, func(s *room.State) {
		all, err := room.PoliciesOf(s.Group().Context())
		if bad = err; err == nil {
			p.Assets = all.Assets
		}
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, asProblem(fmt.Errorf("reading the policy of %s: %w", p.URI, err))
	}
	return p, nil
}

// Together says whether this provider orders a room in which two others, or it and another
// one, take part. It looks at all rooms.
func (r *Rooms) Together(a, b string) bool {
	r.mu.RLock()
	all := make([]*handle, 0, len(r.rooms))
	for _, h := range r.rooms {
		all = append(all, h)
	}
	r.mu.RUnlock()
	return slices.ContainsFunc(all, func(h *handle) bool {
		p := h.parties()
		return p != nil && p.Hub == r.cfg.Domain && p.Has(a) && p.Has(b)
	})
}

func (h *handle) parties() *Parties {
	head := h.stand()
	if head == nil {
		return nil // its first entry is still to come
	}
	return &Parties{URI: head.URI.String(), Hub: head.Hub, Providers: slices.DeleteFunc(slices.Clone(head.Providers), func(d string) bool { return slices.Contains(head.Outside, d) })}
}
