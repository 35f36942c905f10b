package rooms

import (
	"context"
	"slices"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Parties is who has to do with a room, as far as its log is here.
type Parties struct {
	URI string
	// Hub is the provider that orders the room.
	Hub string
	// Providers are those whose users take part. A recruited replica is none.
	Providers []string
}

// Has says whether a provider's users take part.
func (p *Parties) Has(domain string) bool { return slices.Contains(p.Providers, domain) }

// PartiesFor returns the parties of a room of which a user is a participant. Errors are
// Problems.
func (r *Rooms) PartiesFor(_ context.Context, who account.Identity, id store.RoomID) (*Parties, error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	return h.parties(), nil
}

// PartiesOf returns the parties of a room that is here, nil of another one.
func (r *Rooms) PartiesOf(uri string) *Parties {
	r.mu.RLock()
	h := r.rooms[room.IDOf([]byte(uri))]
	r.mu.RUnlock()
	if h == nil {
		return nil
	}
	return h.parties()
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
