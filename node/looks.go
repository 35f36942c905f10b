package node

import (
	"context"
	"crypto"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/mimihttps"
	"github.com/mimid/mimid/node/outside"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
)

// makeOutside makes what has other providers look whether strangers can claim KeyPackages here.
func (n *Node) makeOutside(p *parts, auth mls.Authenticator) (*outside.Watch, error) {
	var mu sync.Mutex
	var told uint64 // guarded by mu: the streams that have been told
	return outside.New(outside.Config{
		Domain: n.cfg.Domain, ProviderKey: func() crypto.Signer { return n.keys.present() }, Authenticator: auth,
		Peers: func() []string { return lookers(p.overlay, p.web, n.cfg.Domain) }, Caller: p.caller,
		Stranger: func(domain string) (outside.Stranger, error) { return n.newStranger(p, domain) },
		Tell: func(s outside.State, all bool) error {
			mu.Lock()
			defer mu.Unlock()
			if all {
				told = 0
			}
			users, opened := p.feed.Users(told)
			told = opened
			return p.feed.Tell(users, clientapi.EventStock, clientapi.Stock{Outside: s.String()})
		},
		Now: n.now, Log: n.log.With("part", "outside"), Every: time.Duration(n.cfg.Overlay.Look),
	})
}

// lookers are the other providers that can be asked, sorted: those that there is a connection with in the overlay,
// and, with HTTPS, those that have nothing else, or all if we have nothing else.
func lookers(o *overlay.Overlay, w *web, own string) (out []string) {
	for _, k := range o.Known() {
		if k.Domain != own && (k.Connected || w != nil && (w.offline || len(k.Nodes) == 0)) {
			out = append(out, k.Domain)
		}
	}
	slices.Sort(out)
	return out
}

// stranger is an outside.Stranger. It comes by the overlay, by HTTPS, or by whichever of the two
// the provider can be reached, as everybody's requests do.
type stranger struct {
	*peering.Caller
	overlay     *overlay.Stranger      // nil: there is no overlay here
	directories *mimihttps.Directories // nil: there is no HTTPS here
}

// newStranger makes one. Neither way has connections, or knows a directory, from before.
func (n *Node) newStranger(p *parts, domain string) (outside.Stranger, error) {
	s := stranger{Caller: &peering.Caller{Domain: n.cfg.Domain, Key: p.caller.Key, Now: n.now}}
	if n.cfg.Overlay.Enabled {
		var err error
		if s.overlay, err = p.overlay.Stranger(domain); err != nil {
			return nil, err
		}
		s.Client = s.overlay.Client()
	}
	if p.web != nil {
		s.Client, s.directories = p.web.stranger(p.overlay, s.Client)
	}
	return s, nil
}

// Close implements outside.Stranger.
func (s stranger) Close() (err error) {
	if s.overlay != nil {
		err = s.overlay.Close()
	}
	if s.directories != nil {
		s.directories.Close()
	}
	return err
}

// looked is the registry, which also has the KeyPackages of users that are made up for looks.
type looked struct {
	*account.Registry
	p *parts // outside is made later, and before anything runs
}

// Claim implements contact.Accounts.
func (l looked) Claim(ctx context.Context, c account.Claim) (*account.Claimed, error) {
	if out, is := l.p.outside.Claim(c); is {
		return out, nil
	}
	return l.Registry.Claim(ctx, c)
}

// looks says whether others are asked to look.
func (n *Node) looks() bool { return n.cfg.Overlay.Look > 0 }

// freshLook is how old a look may be that the doctor goes by: others do not look for us as often as we like.
const freshLook = 10 * time.Second

// checkOutside has another provider look now, unless one just has. If that takes too long, as where
// addresses swallow what is sent to them, the last look counts.
func (n *Node) checkOutside(ctx context.Context, p *parts) []admin.Check {
	if !n.looks() {
		return []admin.Check{worth("outside", "set overlay.look", "nobody looks from outside whether users here can be added")}
	}
	r := p.outside.Report()
	if r.State != outside.Unknown && n.now().Sub(r.At) < freshLook {
		return []admin.Check{judgeOutside(r)}
	}
	if err := p.outside.Look(ctx); err != nil && r.State == outside.Unknown {
		return []admin.Check{worth("outside", "", "nobody could be asked whether users here can be added: %v", err)}
	}
	return []admin.Check{judgeOutside(p.outside.Report())}
}

func judgeOutside(r outside.Report) admin.Check {
	const part = "outside"
	switch {
	case r.State == outside.Seen:
		return good(part, "a stranger has claimed a KeyPackage, from %s", r.By)
	case r.State == outside.Unseen:
		return bad(part, "see that the addresses in the provider record (overlay.announce, or overlay.listen) can be reached from elsewhere, and look at key and clock",
			"strangers cannot claim KeyPackages, so nobody elsewhere can add users of this provider, since %s: %s", r.Since.UTC().Format(time.DateTime), r.Why)
	case r.Why == "":
		return worth(part, "", "no other provider is connected that could look whether users here can be added")
	}
	return worth(part, "", "whether strangers can claim KeyPackages is not known: %s", r.Why)
}
