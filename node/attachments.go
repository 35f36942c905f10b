package node

import (
	"net/http"
	"path/filepath"

	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/oblivious"
	"github.com/mimid/mimid/overlay"
)

// assetsName is where attachments are in the data directory.
const assetsName = "assets"

// makeAssets makes what keeps attachments and what brings them.
func (n *Node) makeAssets(p *parts, budget *assets.Budget) (err error) {
	log := n.log.With("part", "assets")
	p.assets, err = assets.Open(assets.Config{Domain: n.cfg.Domain, Database: p.store, Dir: filepath.Join(n.cfg.Dir, assetsName),
		Limits: n.cfg.Assets.limits(), Now: n.now, Log: log})
	if err != nil {
		return err
	}
	p.downloads, err = assets.NewProxy(assets.ProxyConfig{Domain: n.cfg.Domain, Store: p.assets, Rooms: p.rooms, Ask: p.caller.Open,
		Client: p.caller.Client, Budget: budget, Now: n.now, Log: log})
	if err != nil {
		return err
	}
	p.gateway, err = oblivious.NewGateway(oblivious.GatewayConfig{Domain: n.cfg.Domain, Keys: n.keys.provider, Assets: p.downloads, Claims: p.pseudonyms, Now: n.now,
		Log: n.log.With("part", "oblivious")})
	if err != nil {
		return err
	}
	p.relay, err = oblivious.NewRelay(oblivious.RelayConfig{Domain: n.cfg.Domain, Gateway: p.gateway, Caller: p.caller, Now: n.now})
	return err
}

// peerOf names the node at the other end of a request, if the overlay proves which.
func peerOf(r *http.Request) (string, bool) {
	id, ok := overlay.RequestPeer(r)
	return string(id), ok
}
