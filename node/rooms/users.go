package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// What the own users' clients call.

// MinRandom is how many characters a new room's name has at least. Names are
// random, so that nobody can guess a room, or take its name before it is created.
const MinRandom = 20

func nonceOf(b []byte) (n room.TxnNonce, err error) {
	if len(b) != len(n) {
		return n, problem(422, clientapi.CodeInvalid, "nonce of %d octets, %d are needed", len(b), len(n))
	}
	copy(n[:], b)
	return n, nil
}

// CreateRoom begins a room at this provider, its hub.
func (r *Rooms) CreateRoom(ctx context.Context, who account.Identity, n *clientapi.NewRoom) (*clientapi.Submitted, error) {
	nonce, err := nonceOf(n.Nonce)
	if err != nil {
		return nil, err
	}
	name, err := uri.ParseRoom(n.URI)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	if d := name.Provider().Domain(); d != r.cfg.Domain || len(name.Name()) < MinRandom {
		return nil, problem(422, clientapi.CodeInvalid, "a new room's URI is mimi://%s/r/ and at least %d random characters, not %s", r.cfg.Domain, MinRandom, name)
	}
	lim := room.BodyLimits().Limits
	info, err := mls.ParseGroupInfo(n.GroupInfo, lim)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the GroupInfo cannot be read: %s", err)
	}
	tree, err := mls.ParseRatchetTree(n.Tree, lim)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the ratchet tree cannot be read: %s", err)
	}
	c := &room.Create{URI: name, GroupInfo: info, Tree: tree}
	as, err := r.as(who.User, name)
	if err != nil {
		return nil, asProblem(err)
	}
	list, err := room.ParticipantsOf(&info.Context)
	if err != nil || len(list) == 0 || string(list[0].User) != as.String() {
		return nil, problem(403, clientapi.CodeForbidden, "a new room has its creator, %s, as its first participant", as)
	}
	h := r.obtain(room.IDOf([]byte(name.String())))
	defer r.release(h)
	res, err := r.submission(ctx, h, &submission{from: r.cfg.Domain, txn: room.TxnIDOf(nonce, c.Bytes()), create: c})
	if err != nil {
		if refusal(err) {
			return nil, problem(422, clientapi.CodeInvalid, "the room cannot begin like this: %s", err)
		}
		return nil, asProblem(err)
	}
	return &clientapi.Submitted{Seq: res.seq, AcceptedAt: int64(res.acceptedAt)}, nil
}

// mine returns a room of which the user is a participant.
func (r *Rooms) mine(who account.Identity, id store.RoomID) (*handle, error) {
	return r.roomOf(who, id, r.cfg.Feed.Member)
}

// once is mine for a room that the user may have left, too.
func (r *Rooms) once(who account.Identity, id store.RoomID) (*handle, error) {
	return r.roomOf(who, id, r.cfg.Feed.Was)
}

func (r *Rooms) roomOf(who account.Identity, id store.RoomID, is func(*store.Tx, uri.User, room.ID) (bool, error)) (*handle, error) {
	h, err := r.lookup(room.ID(id))
	if err != nil {
		return nil, asProblem(err)
	}
	found := false
	err = r.cfg.Store.View(func(tx *store.Tx) (err error) {
		found, err = is(tx, who.User, h.id)
		return err
	})
	if err == nil && !found {
		err = ErrUnknown
	}
	return h, asProblem(err)
}

// Rooms lists the user's rooms, without their participants.
func (r *Rooms) Rooms(ctx context.Context, who account.Identity) (*clientapi.Rooms, error) {
	out := &clientapi.Rooms{Rooms: []clientapi.Room{}}
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		ids, err := r.cfg.Feed.Rooms(tx, who.User)
		if err != nil {
			return err
		}
		for _, id := range ids {
			h, err := logstore.ReadHead(tx, id)
			if err != nil {
				return err
			}
			out.Rooms = append(out.Rooms, describe(h))
			last := &out.Rooms[len(out.Rooms)-1]
			last.Parting, last.Conflict = r.parted(id)
		}
		return nil
	})
	return out, asProblem(err)
}

// parted is the lost branch of a room, and that two histories of it are final; nil if it has
// none, or there is one history.
func (r *Rooms) parted(id room.ID) (*clientapi.Parting, *clientapi.Conflict) {
	h, err := r.lookup(id)
	if err != nil {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.parting, h.conflict
}

func describe(h *logstore.Head) clientapi.Room {
	return clientapi.Room{ID: h.ID().String(), URI: h.URI.String(), Hub: h.Hub, Term: h.At.Term.String(), Next: h.At.Next, Epoch: h.Epoch}
}

// Room shows one room.
func (r *Rooms) Room(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Room, error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	out, err := r.show(ctx, h)
	if err != nil {
		return nil, err
	}
	as, err := r.as(who.User, h.stand().URI)
	if err != nil {
		return nil, asProblem(err)
	}
	if as != who.User {
		out.As = as.String()
	}
	return out, nil
}

func (r *Rooms) show(ctx context.Context, h *handle) (*clientapi.Room, error) {
	out := describe(h.stand())
	out.Parting, out.Conflict = r.parted(h.id)
	err := r.view(ctx, h, func(s *room.State) {
		h.mu.Lock()
		l := h.live // whose goroutine this is
		h.mu.Unlock()
		if l != nil && l.rep != nil && l.bound() {
			out.MovingTo = l.rep.names.Name(l.rep.m.State().Vote.For)
		}
		for _, p := range s.Participants() {
			out.Participants = append(out.Participants, clientapi.Participant{User: p.User.String(), Role: s.Roles().Name(p.Role), Clients: s.Roster().Clients(p.User)})
		}
	})
	return &out, asProblem(err)
}

// Log returns a piece of a room's log, from a sequence number to the end of one of
// the batches that follow.
func (r *Rooms) Log(ctx context.Context, who account.Identity, id store.RoomID, from uint64, limit int) (*clientapi.Log, error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	return r.page(h, from, limit)
}

func (r *Rooms) page(h *handle, from uint64, limit int) (*clientapi.Log, error) {
	out := &clientapi.Log{Entries: [][]byte{}}
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		head, err := logstore.ReadHead(tx, h.id)
		if err != nil {
			return err
		}
		end := head.At.Next // what is beyond is a lost branch that is being taken away
		// A head ends a batch, so more than limit entries come if the first batch
		// has them.
		for b, err := range logstore.Batches(tx, h.id, from) {
			if err != nil {
				return err
			}
			if len(out.Entries) > 0 && b.Head.Seq+1-from > uint64(limit) || b.Head.Seq >= end {
				break
			}
			es, err := logstore.Entries(tx, h.id, from+uint64(len(out.Entries)), b.Head.Seq)
			if err != nil {
				return err
			}
			out.Entries, out.Head = append(out.Entries, es...), b.Head.Append(nil)
			if b.Cert != nil {
				out.Certificates = append(out.Certificates, b.Cert.Append(nil))
			}
			if b.Head.Seq+1-from >= uint64(limit) {
				break
			}
		}
		return nil
	})
	return out, asProblem(err)
}

// SubmitMessage brings a message of a client to the room's hub.
func (r *Rooms) SubmitMessage(ctx context.Context, who account.Identity, id store.RoomID, m *clientapi.SubmitMessage) (*clientapi.SubmittedMessage, error) {
	nonce, err := nonceOf(m.Nonce)
	if err != nil {
		return nil, err
	}
	req, err := wire.ParseSubmitMessageRequest(m.Request, room.BodyLimits())
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the message cannot be read: %s", err)
	}
	if m.Privacy != nil {
		return r.submitHidden(ctx, who, id, m, nonce, req)
	}
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	as, err := r.as(who.User, h.stand().URI)
	if err != nil {
		return nil, asProblem(err)
	}
	if string(req.SendingURI) != as.String() {
		return nil, problem(403, clientapi.CodeForbidden, "%s cannot send as %s", as, req.SendingURI)
	}
	body, err := r.toHub(ctx, who, id, wire.EndpointSubmitMessage, nonce, m.Request, r.message)
	if err != nil {
		return nil, err
	}
	if out, err := wire.ParseSubmitMessageResponse(body, room.BodyLimits()); err == nil && out.Code == wire.SubmitNotAllowed {
		if err := r.contest(ctx, id, replica.SubmitMessage, nonce, m.Request); err != nil {
			return nil, err
		}
	}
	return &clientapi.SubmittedMessage{Response: body}, nil
}

// SubmitUpdate brings a handshake of a client to the room's hub.
func (r *Rooms) SubmitUpdate(ctx context.Context, who account.Identity, id store.RoomID, u *clientapi.SubmitUpdate) (*clientapi.SubmittedUpdate, error) {
	nonce, err := nonceOf(u.Nonce)
	if err != nil {
		return nil, err
	}
	name, err := r.entered(id, u.From)
	if err == nil {
		err = r.entersAs(who, name, u.Request)
	}
	if err != nil {
		return nil, err
	}
	if u.From != nil {
		body, err := r.toEntered(ctx, who, id, u.From, wire.EndpointUpdate, nonce, u.Request, r.update)
		return &clientapi.SubmittedUpdate{Response: body}, err
	}
	if body, moves, err := r.toMover(ctx, who, id, nonce, u.Request); moves || err != nil {
		return &clientapi.SubmittedUpdate{Response: body}, err
	}
	if refused, err := r.vouch(ctx, who, id, u.Request); err != nil || refused != nil {
		return &clientapi.SubmittedUpdate{Response: refused}, err
	}
	body, err := r.toHub(ctx, who, id, wire.EndpointUpdate, nonce, u.Request, r.update)
	if err != nil {
		return nil, err
	}
	if out, err := wire.ParseUpdateRoomResponse(body, room.BodyLimits()); err == nil && (out.Code == wire.UpdateNotAllowed || out.Code == wire.UpdateInvalidProposal) {
		if err := r.contest(ctx, id, replica.Update, nonce, u.Request); err != nil {
			return nil, err
		}
	}
	return &clientapi.SubmittedUpdate{Response: body}, nil
}

// toMover brings a commit that moves a room to the provider that it names as the new
// hub; moves is false for any other handshake.
func (r *Rooms) toMover(ctx context.Context, who account.Identity, id store.RoomID, nonce room.TxnNonce, raw []byte) (answer []byte, moves bool, err error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, false, err
	}
	req, err := wire.ParseUpdateRequest(raw, room.BodyLimits())
	if err != nil {
		return nil, false, problem(422, clientapi.CodeInvalid, "the update cannot be read: %s", err)
	}
	to, moves := moveOf(&req.Bundle, h.stand().At.Term)
	if !moves {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if to.Hub.Domain == r.cfg.Domain {
		answer, err = r.update(ctx, h.id, r.cfg.Domain, nonce, raw)
		return answer, true, err
	}
	name := h.stand().URI.String()
	answer, err = r.cfg.Peers.Call(ctx, Call{Target: to.Hub.Domain, Endpoint: wire.EndpointUpdate.String(), Subject: name, Room: wire.IdentifierURI(name), ID: nonce, Body: raw, Max: pieceLimit})
	return answer, true, err
}

// vouch refuses what a follower can see to be forged, before it is passed on to
// the hub in this provider's name: a bad signature or credential, or a role that
// does not allow it, in the epoch that this provider is in too. What depends on
// having heard everything is left to the hub.
func (r *Rooms) vouch(ctx context.Context, who account.Identity, id store.RoomID, raw []byte) (refusal []byte, err error) {
	h, err := r.mine(who, id)
	if err != nil || h.stand().Hub == r.cfg.Domain {
		return nil, err
	}
	req, err := wire.ParseUpdateRequest(raw, room.BodyLimits())
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the update cannot be read: %s", err)
	}
	body, err := room.HandshakeOf(&req.Bundle).Bytes()
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the update cannot be read: %s", err)
	}
	learn := func(afresh bool) {
		if g := req.Bundle.GroupInfo; g != nil && g.Full != nil {
			if err := r.learnParticipants(ctx, &g.Full.Context, maxLookups, afresh, nil); err != nil {
				r.log.Debug("looking up providers of an update", "room", h.id, "err", err)
			}
		}
	}
	var bad error
	check := func() error {
		return r.view(ctx, h, func(s *room.State) {
			_, err := s.Check(s.NewEntry(room.KindHandshake, room.TxnID{}, body, r.cfg.Now()))
			unknown := errors.Is(err, x509auth.ErrUnknownProvider)
			bad = nil
			if errors.Is(err, mls.ErrBadSignature) || errors.Is(err, mls.ErrBadCredential) && !unknown || errors.Is(err, room.ErrPolicy) {
				bad = err
			}
		})
	}
	learn(false)
	if err = check(); err == nil && errors.Is(bad, x509auth.ErrUntrusted) {
		learn(true)
		err = check()
	}
	if err != nil || bad == nil {
		return nil, asProblem(err)
	}
	r.counts.refused.Add(1)
	r.log.Debug("update refused", "room", h.id, "from", who.User, "err", bad)
	out := new(wire.UpdateRoomResponse)
	refuseUpdate(out, bad)
	return out.Bytes()
}

// FetchGroupInfo asks the room's hub for what an external commit needs.
func (r *Rooms) FetchGroupInfo(ctx context.Context, who account.Identity, id store.RoomID, f *clientapi.FetchGroupInfo) (*clientapi.FetchedGroupInfo, error) {
	here := func(ctx context.Context, id room.ID, from string, _ room.TxnNonce, raw []byte) ([]byte, error) {
		return r.groupInfo(ctx, id, from, raw)
	}
	name, err := r.entered(id, f.From)
	if err == nil {
		err = r.asksAs(ctx, who, name, f.Request)
	}
	if err != nil {
		return nil, err
	}
	var body []byte
	if f.From != nil {
		body, err = r.toEntered(ctx, who, id, f.From, wire.EndpointGroupInfo, room.NewTxnNonce(), f.Request, here)
	} else {
		body, err = r.toHub(ctx, who, id, wire.EndpointGroupInfo, room.NewTxnNonce(), f.Request, here)
	}
	if err != nil {
		return nil, err
	}
	word, err := r.attest(name, f.Request)
	if err != nil {
		return nil, asProblem(err)
	}
	return &clientapi.FetchedGroupInfo{Response: body, Attestation: word}, nil
}

// toEntered has a request answered by the hub of a room that the user wants to join by
// itself. If the user takes part, or the room is here because others do, the log tells who
// that is; otherwise it is whom the client has found.
func (r *Rooms) toEntered(ctx context.Context, who account.Identity, id store.RoomID, from *clientapi.Where, ep wire.Endpoint, nonce room.TxnNonce, body []byte,
	here func(context.Context, room.ID, string, room.TxnNonce, []byte) ([]byte, error)) ([]byte, error) {
	name, err := r.entered(id, from)
	if err != nil {
		return nil, err
	}
	if err := r.comes(ctx, who.User, room.ID(id)); err != nil {
		return nil, err
	}
	if _, err := r.mine(who, id); err == nil {
		return r.toHub(ctx, who, id, ep, nonce, body, here)
	}
	hub, err := uri.ParseDomain(from.Hub)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	target := hub.Domain()
	if h, err := r.lookup(room.ID(id)); err == nil && slices.Contains(h.stand().Providers, r.cfg.Domain) {
		target = h.stand().Hub
	}
	if target == r.cfg.Domain {
		return here(ctx, room.ID(id), r.cfg.Domain, nonce, body)
	}
	r.learnGone(ctx, room.ID(id), target, from.Unknown)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return r.cfg.Peers.Call(ctx, Call{Target: target, Endpoint: ep.String(), Subject: name.String(), Room: wire.IdentifierURI(name.String()), ID: nonce, Body: body, Max: mostOf(ep)})
}

// mostOf is how long a hub's answer may be.
func mostOf(ep wire.Endpoint) int {
	if ep == wire.EndpointGroupInfo { // with the ratchet tree, as a notice
		return room.MaxNotice
	}
	return pieceLimit
}

// prodAgain is how often a room's submissions have another hub looked for.
const prodAgain = time.Second

// toHub has a request answered by the room's hub: here, or at another provider.
func (r *Rooms) toHub(ctx context.Context, who account.Identity, id store.RoomID, ep wire.Endpoint, nonce room.TxnNonce, body []byte,
	here func(context.Context, room.ID, string, room.TxnNonce, []byte) ([]byte, error)) ([]byte, error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	return r.bring(ctx, h, ep, nonce, body, here)
}

// bring is toHub for who may have something of the room brought.
func (r *Rooms) bring(ctx context.Context, h *handle, ep wire.Endpoint, nonce room.TxnNonce, body []byte,
	here func(context.Context, room.ID, string, room.TxnNonce, []byte) ([]byte, error)) (_ []byte, err error) {
	head := h.stand()
	if head.Hub == r.cfg.Domain && !h.conflicted() {
		return here(ctx, h.id, r.cfg.Domain, nonce, body)
	}
	if err := r.orders(h, head.Hub, len(head.Set) > 0); err != nil {
		return nil, err
	}
	if what := owedFor(ep); what != 0 {
		r.owe(h, what, nonce, body)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// Whoever waits for a hub that is replaced meanwhile waits in vain.
	stop := h.whenMoved(cancel)
	defer stop()
	name := head.URI.String()
	body, err = r.cfg.Peers.Call(ctx, Call{Target: head.Hub, Endpoint: ep.String(), Subject: name, Room: wire.IdentifierURI(name), ID: nonce, Body: body, Max: mostOf(ep)})
	if err != nil && h.stand().Hub != head.Hub {
		err = asProblem(fmt.Errorf("%s does not order the room any more: %w", head.Hub, errMoving))
	}
	return body, err
}

// orders says whether another provider can be asked to order something, as far as that is known; where others
// decide, too, a dead one is suspected. Error: a Problem.
func (r *Rooms) orders(h *handle, hub string, replicated bool) error {
	if h.conflicted() {
		return asProblem(h.stopped()) // its hub may be one of those who have signed both
	}
	if !replicated || !r.dead(hub) {
		return nil
	}
	h.traffic.Store(r.cfg.Now().UnixMilli())
	// It has something to say. Once in a while: each time begins the asking anew.
	if now, last := r.cfg.Now().UnixMilli(), h.prod.Load(); now-last > prodAgain.Milliseconds() && h.prod.CompareAndSwap(last, now) {
		r.Suspect(h.id)
	}
	return asProblem(fmt.Errorf("%s does not answer: %w", hub, errMoving))
}

// Hub returns the domain of a room's hub, for a room that this provider has.
func (r *Rooms) Hub(name string) (string, bool) {
	h, err := r.lookup(room.IDOf([]byte(name)))
	if err != nil {
		return "", false
	}
	return h.stand().Hub, true
}

// TakesPart says whether a provider takes part in a room that this one has.
func (r *Rooms) TakesPart(name, domain string) bool {
	h, err := r.lookup(room.IDOf([]byte(name)))
	if err != nil {
		return false
	}
	head := h.stand()
	return slices.Contains(head.Providers, domain) && !slices.Contains(head.Outside, domain)
}

// Summary is a room for the operator.
type Summary struct {
	clientapi.Room
	Head      string // hash of the last entry
	Providers []string
	Broken    string // why the log is not followed any further
	Held      string // why the next entry cannot be verified yet
	Accused   string // a hub that has signed what cannot be; the proof is kept
	Twice     string // who has voted twice in one term; the proof is kept
	Replicas  []string
	Outside   []string // those of Replicas, and the hub, that have no participant
	Tail      uint64   // entries that are here and not final
	Auto      bool     // the replicas may elect another hub
	Loaded    bool
}

// List returns all rooms in the order of their ids.
func (r *Rooms) List() []Summary {
	var out []Summary
	for _, h := range r.all() {
		h.mu.Lock()
		if h.head != nil {
			s := Summary{Room: describe(h.head), Head: h.head.At.Last.String(), Providers: h.head.Providers, Broken: h.broken, Held: h.held,
				Accused: h.accused, Auto: h.head.Auto, Outside: h.head.Outside, Loaded: h.live != nil}
			s.Parting, s.Conflict = h.parting, h.conflict
			for i, v := range h.twice {
				if i > 0 {
					s.Twice += "; "
				}
				s.Twice += v.String()
			}
			if tip := h.tip.Load(); tip > h.head.At.Next {
				s.Tail = tip - h.head.At.Next
			}
			for _, m := range h.head.Set {
				s.Replicas = append(s.Replicas, m.Domain)
			}
			if len(s.Replicas) == 0 {
				s.Replicas = []string{h.head.Hub}
			}
			out = append(out, s)
		}
		h.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Summary) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Show returns one room with its participants, for the operator.
func (r *Rooms) Show(ctx context.Context, id store.RoomID) (*clientapi.Room, error) {
	h, err := r.lookup(room.ID(id))
	if err != nil {
		return nil, asProblem(err)
	}
	return r.show(ctx, h)
}

// Condemned returns what is known against a room that cannot be followed.
func (r *Rooms) Condemned(id store.RoomID) (c *logstore.Condemned, err error) {
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		c, err = logstore.ReadCondemned(tx, room.ID(id))
		return err
	})
	return c, asProblem(err)
}

// Page returns a piece of a room's log, for the operator.
func (r *Rooms) Page(id store.RoomID, from uint64, limit int) (*clientapi.Log, error) {
	h, err := r.lookup(room.ID(id))
	if err != nil {
		return nil, asProblem(err)
	}
	return r.page(h, from, limit)
}

// counters count since the start.
type counters struct {
	ordered, followed, duplicates, refused, ranges, nudges, loaded, broken, searched        atomic.Uint64
	partners                                                                                atomic.Uint64 // looks at all rooms for whom to watch
	decided, aside, led, convicted, said, due, relayed, signals, signalsLost, forged, heard atomic.Uint64
	verified                                                                                atomic.Uint64 // signatures of heads that were computed
	here, live                                                                              atomic.Int64  // rooms in the store, and in memory, now
}

// Stats are counts since the start, and what there is now.
type Stats struct {
	Rooms, Loaded int
	Ordered       uint64 // entries ordered as a hub
	Followed      uint64 // entries of other hubs, verified and written
	Duplicates    uint64 // submissions that were made before
	Refused       uint64 // submissions that were refused
	Ranges        uint64 // pieces asked for
	Nudges        uint64 // nudges sent
	Loads         uint64 // rooms read into memory
	Broken        uint64 // rooms whose log cannot be followed
	Decided       uint64 // entries that became final by a majority of replicas
	Aside         uint64 // entries of former hubs that were set aside
	Led           uint64 // times that this provider became a room's hub
	Convicted     uint64 // providers that were found to have signed two histories, or voted twice
	Heard         uint64 // records written of votes that stand in no log, with what was written anyway
	Said          uint64 // messages to other replicas
	Due           uint64 // submissions that a hub left lying for too long
	Signals       uint64 // ephemeral messages brought to other providers
	SignalsLost   uint64 // and those that did not get there
	Forged        uint64 // reports of abuse that show nothing
	Relayed       uint64 // submissions of others that were brought to a hub, or ordered
}

// Stats returns the counts. It does not look at the rooms: each number of the metrics asks.
func (r *Rooms) Stats() Stats {
	c := &r.counts
	return Stats{Ordered: c.ordered.Load(), Followed: c.followed.Load(), Duplicates: c.duplicates.Load(), Refused: c.refused.Load(),
		Ranges: c.ranges.Load(), Nudges: c.nudges.Load(), Loads: c.loaded.Load(), Broken: c.broken.Load(),
		Decided: c.decided.Load(), Aside: c.aside.Load(), Led: c.led.Load(), Convicted: c.convicted.Load(), Heard: c.heard.Load(), Said: c.said.Load(),
		Due: c.due.Load(), Relayed: c.relayed.Load(), Signals: c.signals.Load(), SignalsLost: c.signalsLost.Load(), Forged: c.forged.Load(),
		Rooms: int(c.here.Load()), Loaded: int(c.live.Load())}
}
