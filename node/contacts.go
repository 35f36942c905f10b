package node

import (
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/evaluate"
	"github.com/mimid/mimid/node/knocks"
	"github.com/mimid/mimid/node/outside"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/stock"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// makeContacts makes what brings users together.
func (n *Node) makeContacts(p *parts, auth mls.Authenticator) (*contact.Service, error) {
	var evaluator contact.Evaluator
	if p.evaluate != nil {
		evaluator = p.evaluate
	}
	mode, _ := consent.ParseMode(n.cfg.Consent.Mode) // checked with the configuration
	return contact.New(contact.Config{
		Mode: mode, Limits: n.cfg.Consent.limits(),
		Evaluator: evaluator,
		Domain:    n.cfg.Domain, Store: p.store, Accounts: looked{p.accounts, p}, Caller: p.caller, Veil: veiled{p.veil, p.onion}, Outbox: p.outbox, Feed: p.feed, Hidden: p.feed, Rooms: p.rooms, Knocks: p.knocks, Waits: p.knocks.Waits, Reports: p.abuse,
		Directory: directory{p.providers}, Authenticator: auth, Announcer: p.overlay, Anchors: p.providers.anchors,
		ProviderKey: func() crypto.Signer { return n.keys.present() },
		Redeem: func(tx *store.Tx, target, requester uri.User, secret introduction.Secret) (bool, error) { // made below, and before anything runs
			return p.introduce.Redeem(tx, target, requester, secret)
		},
		Salt: n.cfg.Discovery.Salt, Unverified: n.cfg.Discovery.Unverified, NoQueries: !n.cfg.Discovery.Queries, Authorities: p.providers.authorities, Names: n.cfg.Discovery.Names, Now: n.now, Log: n.log.With("part", "contacts"),
	})
}

// makeStock makes what watches by which KeyPackages users can be added.
func (n *Node) makeStock(p *parts, auth mls.Authenticator) (*stock.Watch, error) {
	return stock.New(stock.Config{
		Accounts: p.accounts, Probe: p.contacts.Probe, Authenticator: auth, Now: n.now, Log: n.log.With("part", "stock"),
		Tell: func(user uri.User, level stock.Level, dry []string) error {
			return p.feed.Tell([]uri.User{user}, clientapi.EventStock, clientapi.Stock{Level: level.String(), Dry: dry})
		},
	})
}

// stocked is the registry, whose answers say how users can be added, too.
type stocked struct {
	*account.Registry
	watch   *stock.Watch
	outside *outside.Watch
}

// CountKeyPackages implements clienthttp.KeyPackages.
func (s stocked) CountKeyPackages(ctx context.Context, who account.Identity) (*clientapi.KeyPackageCount, error) {
	n, err := s.Registry.CountKeyPackages(ctx, who)
	if err != nil {
		return nil, err
	}
	if level, ok := s.watch.Level(who.User); ok {
		n.Level = level.String()
	}
	n.Outside = s.outside.Report().State.String()
	return n, nil
}

// Users implements admin.Accounts.
func (s stocked) Users(ctx context.Context, after string, limit int) ([]account.User, error) {
	all, err := s.Registry.Users(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	for i := range all {
		u, err := uri.ParseUser(all[i].URI)
		if err != nil {
			return nil, fmt.Errorf("reading the user %s: %w", all[i].URI, err)
		}
		if level, ok := s.watch.Level(u); ok {
			all[i].Stock = level.String()
		}
	}
	return all, nil
}

// makeEvaluate makes what has identifiers evaluated, if the network has evaluators.
func (n *Node) makeEvaluate(p *parts) (err error) {
	set, share, err := evaluate.Load(keyDir(n.cfg.Dir))
	if err != nil || set == nil {
		return err
	}
	if p.evaluate, err = evaluate.New(evaluate.Config{Domain: n.cfg.Domain, Set: set, Share: share, Caller: p.caller, Veil: p.veil, Now: n.now,
		Log: n.log.With("part", "evaluate")}); err != nil {
		return err
	}
	p.providers.evaluators = set.Bytes()
	return nil
}

func (p *parts) evaluateRoutes() []peering.Route {
	if p.evaluate == nil {
		return nil
	}
	return p.evaluate.Routes()
}

// evaluations serves devices, also in a network without evaluators.
type evaluations struct{ s *evaluate.Service }

// Evaluate implements clienthttp.Evaluations.
func (e evaluations) Evaluate(ctx context.Context, who account.Identity, q *clientapi.Evaluate) (*clientapi.Evaluated, error) {
	if e.s == nil {
		return nil, &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "this network has no evaluators"}
	}
	return e.s.Evaluate(ctx, who, q)
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
