package node

import (
	"context"
	"crypto"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/knocks"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// makeContacts makes what brings users together.
func (n *Node) makeContacts(p *parts, auth mls.Authenticator) (*contact.Service, error) {
	return contact.New(contact.Config{
		Domain: n.cfg.Domain, Store: p.store, Accounts: p.accounts, Caller: p.caller, Outbox: p.outbox, Feed: p.feed, Rooms: p.rooms, Knocks: p.knocks,
		Directory: directory{p.providers}, Authenticator: auth, Announcer: p.overlay, Anchors: p.providers.anchors,
		ProviderKey: func() crypto.Signer { return n.keys.present() },
		Salt:        n.cfg.Discovery.Salt, Unverified: n.cfg.Discovery.Unverified, Now: n.now, Log: n.log.With("part", "contacts"),
	})
}

// hintTime bounds the search for who says that it orders a room.
const hintTime = 5 * time.Second

// makeKnocks makes what lets users into rooms that they ask to be let into.
func (n *Node) makeKnocks(p *parts, auth mls.Authenticator) (*knocks.Service, error) {
	return knocks.Open(knocks.Config{
		Domain: n.cfg.Domain, Store: p.store, Caller: p.caller, Outbox: p.outbox, Feed: p.feed, Rooms: p.rooms, Authenticator: auth,
		Hubs: func(ctx context.Context, u uri.Room) (out []string) {
			ctx, cancel := context.WithTimeout(ctx, hintTime)
			defer cancel()
			list, err := p.overlay.FindRoom(ctx, room.IDOf([]byte(u.String())))
			if err != nil {
				n.log.Debug("looking for who orders a room", "room", u, "err", err)
			}
			for _, r := range list {
				out = append(out, r.Hub)
			}
			return out
		},
		Now: n.now, Log: n.log.With("part", "knocks"),
	})
}
