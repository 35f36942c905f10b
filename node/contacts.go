package node

import (
	"crypto"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/mls"
)

// makeContacts makes what brings users together.
func (n *Node) makeContacts(p *parts, auth mls.Authenticator) (*contact.Service, error) {
	return contact.New(contact.Config{
		Domain: n.cfg.Domain, Store: p.store, Accounts: p.accounts, Caller: p.caller, Outbox: p.outbox, Feed: p.feed, Rooms: p.rooms,
		Directory: directory{p.providers}, Authenticator: auth, Announcer: p.overlay, Anchors: p.providers.anchors,
		ProviderKey: func() crypto.Signer { return n.keys.present() },
		Salt:        n.cfg.Discovery.Salt, Unverified: n.cfg.Discovery.Unverified, Now: n.now, Log: n.log.With("part", "contacts"),
	})
}
