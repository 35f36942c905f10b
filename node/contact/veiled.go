package contact

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Looking up over relays, so that neither those who lie on the way through the DHT nor who announces
// learns which provider looks: others look in the DHT, for whoever asks over relays, and announcers are asked
// over relays.

// EndpointAnnouncers has a provider look in the DHT; not MIMI's. The subject is the day key in hexadecimal, the body
// empty, the answer
//
//	struct { uint8 version = 1; opaque peer<1..128> announcers<V>; }
//
// It takes only who is not named: others can look themselves.
const EndpointAnnouncers = "announcers"

const (
	// Over relays there and back takes seconds.
	veiledAskWithin    = 40 * time.Second
	veiledFindWithin   = 30 * time.Second
	veiledSearchWithin = 55 * time.Second
	veiledFoundWithin  = 10 * time.Second

	lookFor        = 2 // so many providers look in the DHT, lest one hides what is there
	maxLookers     = 8 // of those that are tried
	maxPeer        = 128
	maxAnnouncings = 4 + maxAnnouncers*(maxPeer+2)
)

// Veil asks other providers over relays; *veil.Service does most of it.
type Veil interface {
	Caller
	// Check is an error if it cannot be as private as a user asks for.
	Check(p *clientapi.Privacy) error
	// Others are providers that can be asked, at most n, drawn anew each time.
	Others(n int) []string
	// Speaks says, of what is known already, whether a provider has a node there.
	Speaks(domain string, peer overlay.PeerID) bool
}

// A way is how an identifier is looked up.
type way struct {
	caller Caller
	as     uri.Provider // who looks
	// speaks says, of what is known already, whether a provider has a node there; nil: its record is looked for.
	// Over relays none is looked for: one who knows the identifier could announce it and name a
	// provider of its own, and see who looks for that.
	speaks     func(domain string, peer overlay.PeerID) bool
	announcers func(ctx context.Context, key [32]byte, limit int) iter.Seq2[overlay.PeerID, error]

	askWithin, findWithin, searchWithin, foundWithin time.Duration
}

// named is with this provider's name.
func (s *Service) named() way {
	w := way{caller: s.cfg.Caller, as: s.provider, askWithin: askWithin, findWithin: findWithin, searchWithin: searchWithin, foundWithin: foundWithin}
	if s.cfg.Announcer != nil {
		w.announcers = func(ctx context.Context, key [32]byte, limit int) iter.Seq2[overlay.PeerID, error] {
			return func(yield func(overlay.PeerID, error) bool) {
				for id := range s.cfg.Announcer.Announcers(ctx, key, limit) {
					if !yield(id, nil) {
						return
					}
				}
			}
		}
	}
	return w
}

// veiled is over relays. Error: a Problem with CodePrivacy, if that does not go.
func (s *Service) veiled(p *clientapi.Privacy) (way, error) {
	if s.cfg.Veil == nil {
		return way{}, problem(http.StatusServiceUnavailable, clientapi.CodePrivacy, "this provider asks nobody over relays; nothing was sent")
	}
	if err := s.cfg.Veil.Check(p); err != nil {
		return way{}, err
	}
	return way{caller: s.cfg.Veil, as: discovery.Unnamed(), speaks: s.cfg.Veil.Speaks, announcers: s.haveLooked,
		askWithin: veiledAskWithin, findWithin: veiledFindWithin, searchWithin: veiledSearchWithin, foundWithin: veiledFoundWithin}, nil
}

// haveLooked has others look in the DHT, so many at once, and another one for each that cannot. An error comes last, if
// none could.
func (s *Service) haveLooked(ctx context.Context, key [32]byte, limit int) iter.Seq2[overlay.PeerID, error] {
	return func(yield func(overlay.PeerID, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		type answer struct {
			peers []overlay.PeerID
			err   error
		}
		who := s.cfg.Veil.Others(maxLookers)
		answers := make(chan answer, len(who))
		open := 0
		next := func() {
			if len(who) == 0 {
				return
			}
			domain := who[0]
			who = who[1:]
			open++
			go func() {
				res, err := s.cfg.Veil.Call(ctx, peering.Request{Target: domain, Endpoint: EndpointAnnouncers, Subject: hex.EncodeToString(key[:]), MaxResponse: maxAnnouncings})
				a := answer{err: err}
				if err == nil {
					a.peers, a.err = parseAnnouncers(res.Body)
				}
				answers <- a
			}()
		}
		for range lookFor {
			next()
		}
		var bad error
		var enough <-chan time.Time
		known := map[overlay.PeerID]bool{}
		for open > 0 {
			var a answer
			select {
			case a = <-answers:
				open--
			case <-enough:
				return
			}
			if a.err != nil {
				s.cfg.Log.Debug("having another provider look over relays", "err", a.err)
				bad = a.err
				next()
				continue
			}
			if enough == nil {
				enough = time.After(veiledFoundWithin)
			}
			for _, id := range a.peers {
				if known[id] || s.cfg.Announcer != nil && id == s.cfg.Announcer.Self() {
					continue
				}
				if known[id] = true; len(known) > limit || !yield(id, nil) {
					return
				}
			}
		}
		switch {
		case enough != nil:
		case bad != nil:
			yield("", lookedInVain(bad))
		default:
			yield("", problem(http.StatusServiceUnavailable, clientapi.CodePrivacy, "there is nobody else to look it up over relays; nothing was sent"))
		}
	}
}

func lookedInVain(err error) error {
	if p := peering.Problem(err); p != nil {
		return p
	}
	return fmt.Errorf("having others look over relays: %w", err)
}

func appendAnnouncers(peers []overlay.PeerID) []byte {
	return presentation.AppendList([]byte{1}, func(b []byte) []byte {
		for _, p := range peers {
			b = presentation.AppendOpaque(b, []byte(p))
		}
		return b
	})
}

func parseAnnouncers(b []byte) (out []overlay.PeerID, err error) {
	in := presentation.NewReader(b)
	version := in.U8()
	in.List(maxAnnouncings, func() { out = append(out, overlay.PeerID(in.Opaque())) })
	if err := in.Done(); err != nil {
		return nil, fmt.Errorf("contact: a list of announcers: %w", err)
	}
	if version != 1 || len(out) > maxAnnouncers {
		return nil, fmt.Errorf("contact: a list of %d announcers, version %d", len(out), version)
	}
	return out, nil
}

// handleAnnouncers looks in the DHT for somebody who is not named.
func (s *Service) handleAnnouncers(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	if in.Source != "" {
		return nil, forbidden("whoever has a name looks in the DHT itself")
	}
	if _, bad := s.admitLookup(in); bad != nil {
		return nil, bad
	}
	key, err := hex.DecodeString(in.Subject)
	if err != nil || len(key) != 32 || len(in.Body) != 0 {
		return nil, invalid("the subject is no day key: 64 hexadecimal digits")
	}
	if s.cfg.Announcer == nil {
		return &peering.Response{Body: appendAnnouncers(nil)}, nil
	}
	var out []overlay.PeerID
	if _, own := s.index.find([32]byte(key)); own { // a node does not find itself
		out = append(out, s.cfg.Announcer.Self())
	}
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	for id := range s.cfg.Announcer.Announcers(ctx, [32]byte(key), maxAnnouncers-1) {
		if len(id) > 0 && len(id) <= maxPeer && len(out) < maxAnnouncers {
			out = append(out, id)
		}
	}
	return &peering.Response{Body: appendAnnouncers(out)}, nil
}
