package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Bounds of the search for a replica from outside.
const (
	recruitFound  = 32               // willing nodes that are looked at
	recruitAsked  = 8                // providers that are asked, one after the other
	recruitWithin = 5 * time.Second  // each
	recruitSearch = 40 * time.Second // altogether
	recruitKnown  = time.Minute      // for which who is willing is remembered
	recruitAnew   = 5 * time.Second  // likewise, once none of them has taken a room
)

// recruits finds replicas for rooms in which too few providers take part. Safe for
// concurrent use.
type recruits struct {
	domain   string
	rooms    recruiting
	find     func(ctx context.Context) []*overlay.Record // who is willing
	silence  func(domain string) time.Duration
	patience time.Duration // for which a recruit may be silent
	rate     *ration.Ration
	now      func() time.Time
	log      *slog.Logger

	mu    sync.Mutex
	known []*overlay.Record // guarded by mu
	until time.Time         // guarded by mu: for which known counts
}

// recruiting is what rooms say and ask; *rooms.Rooms does.
type recruiting interface {
	Vacancy(ctx context.Context, who account.Identity, id store.RoomID) (*rooms.Vacancy, error)
	AskRecruit(ctx context.Context, domain string, id store.RoomID) (*replica.RecruitAnswer, error)
}

// willing asks the overlay who is willing: each node that says so is asked whose it is.
func willing(o *overlay.Overlay, caller *peering.Caller) func(ctx context.Context) []*overlay.Record {
	return func(ctx context.Context) []*overlay.Record {
		return o.Willing(ctx, recruitFound, func(ctx context.Context, node overlay.PeerID) (string, error) {
			host, err := overlay.PeerHost(node)
			if err != nil {
				return "", err
			}
			res, err := caller.Call(ctx, peering.Request{Target: host, Endpoint: rooms.EndpointWilling, Subject: host, MaxResponse: 256})
			if err != nil {
				return "", err
			}
			return string(res.Body), nil
		})
	}
}

// Recruit implements clienthttp.Recruits. The one that the room has stays if it says that
// it keeps the room, or has not been silent for long.
func (r *recruits) Recruit(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Recruit, error) {
	if ok, wait := r.rate.Take(who.User.String(), 1, r.now()); !ok {
		return nil, &clientapi.Problem{Status: http.StatusTooManyRequests, Code: clientapi.CodeTooMany, Retry: wait.Milliseconds(),
			Detail: fmt.Sprintf("replicas were looked for too often; try again in %s", wait.Round(time.Second))}
	}
	v, err := r.rooms.Vacancy(ctx, who, id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, recruitSearch)
	defer cancel()
	refused := false
	if v.Present != "" {
		a, err := r.ask(ctx, v.Present, id)
		switch silent := r.silence(v.Present); {
		case err == nil && a.Willing:
			return recruitOf(v.Present, a, true), nil
		case err == nil:
			refused = true
			r.log.Info("a recruit keeps a room no longer", "room", room.ID(id), "provider", v.Present, "why", a.Why)
		case silent < r.patience:
			return &clientapi.Recruit{Provider: v.Present, Present: true, SilentMS: silent.Milliseconds()}, nil
		default:
			r.log.Warn("a recruit is silent; looking for another one", "room", room.ID(id), "provider", v.Present, "for", silent.Round(time.Second))
		}
	}
	list := r.candidates(ctx, id, v.Taken)
	var why []string
	for i, rec := range list {
		if i == recruitAsked || ctx.Err() != nil {
			break
		}
		a, err := r.ask(ctx, rec.Domain, id)
		switch {
		case err != nil:
			why = append(why, rec.Domain+" does not answer")
			r.log.Debug("asking for a replica", "room", room.ID(id), "provider", rec.Domain, "error", err)
		case !a.Willing:
			why = append(why, a.Why)
		case !bytes.Equal(a.ProviderKey[:], rec.ProviderKey):
			why = append(why, rec.Domain+" answers with another key than it is known by")
		default:
			return recruitOf(rec.Domain, a, false), nil
		}
	}
	r.exhausted()
	switch {
	case refused:
		return &clientapi.Recruit{}, nil // better none than one that does not keep it
	case v.Present != "":
		return &clientapi.Recruit{Provider: v.Present, Present: true, SilentMS: r.silence(v.Present).Milliseconds()}, nil
	}
	detail := "nobody in the network offers to be a replica of others' rooms; an operator does it with failover.replica_for_others = true"
	if len(list) > 0 {
		detail = fmt.Sprintf("%d offer to be replicas, and none takes this room: %s; try again later", len(list), strings.Join(why, "; "))
	}
	return nil, &clientapi.Problem{Status: http.StatusNotFound, Code: clientapi.CodeNotFound, Detail: "no willing provider was found: " + detail}
}

// exhausted is called when none of those who are known takes a room: who has offered it since is looked
// for sooner than otherwise.
func (r *recruits) exhausted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if anew := r.now().Add(recruitAnew); anew.Before(r.until) {
		r.until = anew
	}
}

func recruitOf(domain string, a *replica.RecruitAnswer, present bool) *clientapi.Recruit {
	return &clientapi.Recruit{Provider: domain, Present: present, Key: a.ProviderKey[:], FrankingKey: a.FrankingKey, Until: a.Until.UnixMilli()}
}

var errFranking = errors.New("node: a recruit's franking key is not of the suite of rooms")

func (r *recruits) ask(ctx context.Context, domain string, id store.RoomID) (*replica.RecruitAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, recruitWithin)
	defer cancel()
	a, err := r.rooms.AskRecruit(ctx, domain, id)
	if err == nil && a.Willing && len(a.FrankingKey) != ed25519.PublicKeySize {
		err = errFranking
	}
	return a, err
}

// candidates are those who are willing and not taken, in the order in which they are asked
// for this room: each room has another one, so that many rooms are spread over all.
func (r *recruits) candidates(ctx context.Context, id store.RoomID, taken []string) []*overlay.Record {
	list := slices.DeleteFunc(r.willing(ctx), func(rec *overlay.Record) bool {
		return rec.Domain == r.domain || slices.Contains(taken, rec.Domain)
	})
	slices.SortFunc(list, func(a, b *overlay.Record) int {
		x, y := recruitRank(id, a.Domain), recruitRank(id, b.Domain)
		return bytes.Compare(x[:], y[:])
	})
	return list
}

// recruitRank is the SHA-256 of a label, the room's id and the domain: the lowest is first.
func recruitRank(id store.RoomID, domain string) [sha256.Size]byte {
	b := append([]byte("mimid recruit v1\x00"), id[:]...)
	return sha256.Sum256(append(b, domain...))
}

// willing returns who is willing, as it was found lately.
func (r *recruits) willing(ctx context.Context) []*overlay.Record {
	r.mu.Lock()
	if r.now().Before(r.until) {
		defer r.mu.Unlock()
		return slices.Clone(r.known)
	}
	r.mu.Unlock()
	found := r.find(ctx) // two at once do no harm
	if len(found) > 0 {
		r.mu.Lock()
		r.known, r.until = found, r.now().Add(recruitKnown)
		r.mu.Unlock()
	}
	return slices.Clone(found)
}
