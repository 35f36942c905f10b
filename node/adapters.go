package node

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/node/veil"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ephemeral"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Where two parts meet that do not know each other.

// kv gives the overlay its part of the store.
type kv struct{ st *store.Store }

func (k kv) Get(_ context.Context, key []byte) (value []byte, ok bool, err error) {
	err = k.st.View(func(tx *store.Tx) error {
		value, err = tx.Get(store.SpaceOverlay.Key(key))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		ok = err == nil
		return err
	})
	return value, ok, err
}

func (k kv) Write(ctx context.Context, writes []overlay.Write) error {
	return k.st.Update(ctx, func(tx *store.Tx) error {
		for _, w := range writes {
			var err error
			if w.Value == nil {
				err = tx.Delete(store.SpaceOverlay.Key(w.Key))
			} else {
				err = tx.Set(store.SpaceOverlay.Key(w.Key), w.Value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (k kv) Scan(_ context.Context, prefix []byte, fn func(key, value []byte) error) error {
	return k.st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOverlay.Prefix(prefix)}) {
			if err != nil {
				return err
			}
			name, err := store.SpaceOverlay.Parse(it.Key)
			if err != nil {
				return err
			}
			if err := fn(name, it.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// providers knows the keys of this provider and of others.
type providers struct {
	domain   string
	keys     *Keys
	overlay  *overlay.Overlay
	franking ed25519.PublicKey
	salt     string
	// evaluators is the key set of the network's evaluators, or nil.
	evaluators []byte
	// authorities are the verification authorities that are believed, methods those by which
	// this provider verifies.
	authorities, methods []string
	maxAsset             int64
	// ask asks another provider something, nil before there is a caller.
	ask func(ctx context.Context, domain, endpoint string) ([]byte, error)
}

// anchors are the keys that certificates of a domain's users may rest on. In
// memory, as x509auth asks.
func (p *providers) anchors(domain string) []crypto.PublicKey {
	var out []crypto.PublicKey
	if domain == p.domain {
		for _, k := range p.keys.provider {
			out = append(out, k.Public())
		}
		return out
	}
	for _, k := range p.overlay.Keys(domain) {
		out = append(out, k)
	}
	return out
}

// resolve finds another provider. An own user asks, so errors are Problems.
func (p *providers) resolve(ctx context.Context, domain string) (*overlay.Record, error) {
	rec, err := p.overlay.Resolve(ctx, domain)
	switch {
	case err == nil:
		return rec, nil
	case errors.Is(err, overlay.ErrName):
		return nil, &clientapi.Problem{Status: 422, Code: clientapi.CodeInvalid, Detail: fmt.Sprintf("%q is not a provider's name", domain)}
	case errors.Is(err, overlay.ErrConflict):
		return nil, &clientapi.Problem{Status: 502, Code: clientapi.CodeUnknownProvider,
			Detail: fmt.Sprintf("another key than the known one claims to be %s; your provider's operator has to decide", domain)}
	case errors.Is(err, overlay.ErrUnknownProvider), errors.Is(err, overlay.ErrExpired), errors.Is(err, overlay.ErrDNS), errors.Is(err, overlay.ErrNoPeers):
		return nil, &clientapi.Problem{Status: 502, Code: clientapi.CodeUnknownProvider, Detail: fmt.Sprintf("the provider %s cannot be found: %s", domain, plain(err))}
	case errors.Is(err, overlay.ErrNotRunning), errors.Is(err, overlay.ErrFull):
		return nil, &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Detail: "this provider cannot look up others now: " + plain(err)}
	}
	return nil, err
}

// plain takes the package's name off an error's text.
func plain(err error) string {
	if _, after, ok := strings.Cut(err.Error(), "overlay: "); ok {
		return after
	}
	return err.Error()
}

// Self implements clienthttp.Providers.
func (p *providers) Self(context.Context) (*clientapi.Provider, error) {
	out := &clientapi.Provider{Domain: p.domain, Trust: "self", FrankingKey: p.franking, Salt: p.salt, Evaluators: p.evaluators, Authorities: p.authorities, Methods: p.methods, MaxMessage: MaxMessage, MaxAsset: p.maxAsset}
	for i := len(p.keys.provider) - 1; i >= 0; i-- {
		out.Keys = append(out.Keys, p.keys.provider[i].Public().(ed25519.PublicKey))
	}
	out.Key = out.Keys[0]
	return out, nil
}

// MaxMessage is the largest message that clients should send, in octets; pictures
// and files travel by reference.
const MaxMessage = 64 << 10

// Provider implements clienthttp.Providers.
func (p *providers) Provider(ctx context.Context, domain string) (*clientapi.Provider, error) {
	if domain == p.domain {
		return p.Self(ctx)
	}
	rec, err := p.resolve(ctx, domain)
	out := &clientapi.Provider{Domain: domain, Trust: "first_use"}
	if err == nil {
		out.Domain = rec.Domain
	}
	keys := p.overlay.Keys(domain)
	if len(keys) == 0 {
		return nil, cmp.Or(err, error(&clientapi.Problem{Status: 502, Code: clientapi.CodeUnknownProvider,
			Detail: fmt.Sprintf("no key of the provider %s is known any more", domain)}))
	}
	for i := len(keys) - 1; i >= 0; i-- {
		out.Keys = append(out.Keys, keys[i])
	}
	out.Key = out.Keys[0]
	for _, k := range p.overlay.Known() {
		if k.Domain == out.Domain {
			out.Trust = trustName(k.Trust)
		}
	}
	// A provider that is gone has a key all the same: what its users have said rests on it.
	if err != nil {
		out.Lost = err.Error()
		var p *clientapi.Problem
		if errors.As(err, &p) {
			out.Lost = p.Detail
		}
	}
	if err == nil && p.ask != nil {
		// Without it the provider is known all the same; it cannot become a replica
		// of a room before it has told.
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if key, err := p.ask(ctx, out.Domain, rooms.EndpointFranking); err == nil && len(key) == ed25519.PublicKeySize {
			out.FrankingKey = key
		}
	}
	return out, nil
}

// trustName is how the client API says why a key is believed.
func trustName(t overlay.Trust) string {
	switch t {
	case overlay.Pinned:
		return "pin"
	case overlay.DNS:
		return "dns"
	case overlay.HTTPS:
		return "https"
	case overlay.SelfProving:
		return "name"
	case overlay.Told:
		return "told"
	}
	return "first_use"
}

// directory tells peering whose key signs for a source.
type directory struct{ p *providers }

func (d directory) Resolve(ctx context.Context, domain string) (*peering.Provider, error) {
	return known(d.p.overlay.Resolve(ctx, domain))
}

// Refresh implements peering.Refresher.
func (d directory) Refresh(ctx context.Context, domain string) (*peering.Provider, error) {
	return known(d.p.overlay.Refresh(ctx, domain))
}

// known is what peering needs of a record.
func known(rec *overlay.Record, err error) (*peering.Provider, error) {
	if err != nil {
		return nil, err
	}
	out := &peering.Provider{Key: rec.ProviderKey}
	for _, n := range rec.Nodes {
		out.Nodes = append(out.Nodes, string(n.ID))
	}
	return out, nil
}

// roomPeers lets rooms call other providers.
type roomPeers struct {
	p      *providers
	caller *peering.Caller
	heard  func(domain string) // called when it has answered
}

func (r roomPeers) Call(ctx context.Context, c rooms.Call) ([]byte, error) {
	res, err := r.caller.Call(ctx, peering.Request{Target: c.Target, Endpoint: c.Endpoint, Subject: c.Subject, Room: c.Room,
		ID: c.ID, Body: c.Body, MaxResponse: c.Max})
	if err != nil {
		var refused *peering.Refused
		if errors.As(err, &refused) {
			r.heard(c.Target)
		}
		if p := peering.Problem(err); p != nil {
			return nil, p
		}
		return nil, err
	}
	r.heard(c.Target)
	return res.Body, nil
}

// roomVeil brings messages to hubs over relays.
type roomVeil struct{ s *veil.Service }

// Check implements rooms.Veil.
func (v roomVeil) Check(p *clientapi.Privacy) error { return v.s.Check(p) }

// Call implements rooms.Veil.
func (v roomVeil) Call(ctx context.Context, c rooms.Call) ([]byte, error) {
	res, err := v.s.Call(ctx, peering.Request{Target: c.Target, Endpoint: c.Endpoint, Subject: c.Subject, Body: c.Body, MaxResponse: c.Max})
	if err != nil {
		if _, ok := errors.AsType[*clientapi.Problem](err); ok {
			return nil, err
		}
		if refused, ok := errors.AsType[*peering.Refused](err); ok && refused.Problem.Code == peering.CodeEndpoint {
			return nil, &clientapi.Problem{Status: 503, Code: clientapi.CodePrivacy, Detail: fmt.Sprintf("%s takes no messages over relays; nothing was sent another way", c.Target)}
		}
		if p := peering.Problem(err); p != nil {
			return nil, p
		}
		return nil, err
	}
	return res.Body, nil
}

func (r roomPeers) Resolve(ctx context.Context, domain string) ([]overlay.PeerID, error) {
	return nodesOf(r.p.overlay.Resolve(ctx, domain))
}

func (r roomPeers) Refresh(ctx context.Context, domain string) ([]overlay.PeerID, error) {
	return nodesOf(r.p.overlay.Refresh(ctx, domain))
}

func (r roomPeers) Envelope(domain string) []byte { return r.p.overlay.Envelope(domain) }

func (r roomPeers) Hear(ctx context.Context, domain string, envelope []byte) error {
	return r.p.overlay.Hear(ctx, domain, envelope)
}

func nodesOf(rec *overlay.Record, err error) ([]overlay.PeerID, error) {
	if err != nil {
		return nil, err
	}
	var out []overlay.PeerID
	for _, n := range rec.Nodes {
		out = append(out, n.ID)
	}
	return out, nil
}

// roomGossip lets rooms join topics.
type roomGossip struct{ o *overlay.Overlay }

func (g roomGossip) Join(name string, h overlay.TopicHandler) (rooms.Topic, error) {
	t, err := g.o.Join(name, h)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// The outbox takes the longest notice.
const _ = uint(outbox.MaxBody - room.MaxNotice)

// roomOutbox delivers for rooms.
type roomOutbox struct{ o *outbox.Outbox }

func (b roomOutbox) Put(tx *store.Tx, c rooms.Call) error {
	return b.o.Put(tx, c.Target, outbox.Item{Endpoint: c.Endpoint, Subject: c.Subject, Room: c.Room, ID: c.ID, Body: c.Body})
}

// streams opens the feed for clienthttp.
type streams struct{ f *feed.Feed }

func (s streams) Open(ctx context.Context, who account.Identity, cursor string) (clienthttp.Stream, error) {
	return s.f.Open(ctx, who.User, who.Client, cursor)
}

// roomRoutes are the endpoints of rooms, as peering judges them. heard is told who
// asks.
func roomRoutes(r *rooms.Rooms, heard func(domain string)) []peering.Route {
	var out []peering.Route
	for name, h := range r.Endpoints() {
		rt := peering.Route{Endpoint: name, Idempotent: true, Handler: func(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
			if in.Source != "" { // else it came over relays
				heard(in.Source)
			}
			res, err := h(ctx, &rooms.Request{Source: in.Source, Subject: in.Subject, Room: in.Room, ID: in.ID, Body: in.Body})
			if err != nil {
				return nil, err
			}
			return &peering.Response{Status: res.Status, Body: res.Body}, nil
		}}
		rt.Unnamed = name == rooms.EndpointHidden
		switch name {
		case rooms.EndpointLog, rooms.EndpointRecord:
		case rooms.EndpointFranking, rooms.EndpointWilling:
		case rooms.EndpointEphemeral:
			rt.InRoom, rt.MaxBody = true, ephemeral.MaxSize
		case rooms.EndpointBegun:
			rt.InRoom, rt.MaxBody = true, 1
		case rooms.EndpointRecruit:
			rt.MaxBody = replica.MaxRecruit
		case rooms.EndpointHeads, rooms.EndpointNudge, rooms.EndpointReplica:
			rt.MaxBody = 1 << 20
		case wire.EndpointNotify.String():
			rt.InRoom, rt.MaxBody = true, room.MaxNotice
		default:
			rt.InRoom, rt.MaxBody = true, 2<<20
		}
		out = append(out, rt)
	}
	return out
}

// txt asks DNS as the configuration says; nil asks nobody.
func txt(how string) func(ctx context.Context, name string) ([]string, error) {
	switch how {
	case "off":
		return nil
	case "system":
		return net.DefaultResolver.LookupTXT
	}
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, how)
	}}
	return r.LookupTXT
}

// roomID reads the beginning of a room's id as an operator types it.
func roomID(list []rooms.Summary, s string) (store.RoomID, error) {
	var found []string
	for _, r := range list {
		if strings.HasPrefix(r.ID, strings.ToLower(s)) || r.URI == s {
			found = append(found, r.ID)
		}
	}
	switch len(found) {
	case 0:
		return store.RoomID{}, &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: fmt.Sprintf("no room's id begins with %q", s)}
	case 1:
		b, err := hex.DecodeString(found[0])
		if err != nil || len(b) != len(room.ID{}) {
			return store.RoomID{}, fmt.Errorf("room id %q", found[0])
		}
		return store.RoomID(b), nil
	}
	return store.RoomID{}, &clientapi.Problem{Status: 409, Code: clientapi.CodeInvalid, Detail: fmt.Sprintf("%d rooms' ids begin with %q; write more of it", len(found), s)}
}
