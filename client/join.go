package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

func userOf(l *mls.LeafNode) (uri.User, error) {
	s, err := x509auth.UserURI(l.Credential)
	if err != nil {
		return uri.User{}, fmt.Errorf("%w: %w", errNoUser, err)
	}
	return uri.ParseUser(s)
}

// CreateRoom creates a room at the own provider and returns when its hub has it.
// The name is told to members, and to the providers that follow the room.
func (c *Client) CreateRoom(ctx context.Context, name string) (uri.Room, error) {
	return c.CreateRoomAs(ctx, NewRoom{Name: name})
}

// NewRoom is what a room begins with.
type NewRoom struct {
	Name string
	// Roles are what the room's roles mean; nil: the basic ones (policy.Basic). The creator
	// gets the highest.
	Roles *policy.Roles
	// Outside allows a provider in which nobody takes part to keep the room, see
	// AllowOutside.
	Outside bool
	// Policies are components that the room begins with: *policy.Base and others.
	Policies []room.Component
	// Parent is a room whose participants alone may take part, some of them; who is no longer
	// in it is taken out of this one by the provider that orders it. That must be, at the
	// beginning, the one that orders the parent, which is this user's. Zero: none.
	Parent uri.Room

	// Pseudonymous makes a room in which nobody but its members knows who takes part, see
	// docs/pseudonymous-rooms.md. It has no Parent: who takes part in that goes by another
	// pseudonym there.
	Pseudonymous bool

	with uri.User // the other user of a direct room
	as   uri.Pseudonym
}

// CreateRoomAs is CreateRoom for a room that begins otherwise than usual.
func (c *Client) CreateRoomAs(ctx context.Context, n NewRoom) (uri.Room, error) {
	done := make(chan error, 1)
	var u uri.Room
	_, _, err := c.self(ctx)
	if err == nil {
		u, err = c.newRoomName()
	}
	if err == nil && n.Pseudonymous {
		n.as, err = c.drawPseudonym(ctx, u, &n)
	}
	if err != nil {
		return uri.Room{}, fmt.Errorf("creating room %q: %w", n.Name, err)
	}
	err = c.do(ctx, func() (err, fatal error) {
		b := new(batch)
		r, w, err := c.createAs(b, u, n)
		if err != nil {
			return err, nil
		}
		c.within(r.id)
		if err := c.commit(b); err != nil {
			return nil, err
		}
		c.rooms[r.id] = r
		c.waiters[w.n] = append(c.waiters[w.n], done)
		return nil, nil
	})
	if err == nil {
		err = c.wait(ctx, done)
	}
	if err != nil {
		return u, fmt.Errorf("creating room %q: %w", n.Name, err)
	}
	return u, nil
}

func (c *Client) newRoomName() (uri.Room, error) {
	raw := make([]byte, 20)
	rand.Read(raw) // never fails
	return c.user.Provider().Room(strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)))
}

func (c *Client) createAs(b *batch, u uri.Room, n NewRoom) (*roomState, *wish, error) {
	h := &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin,
		Hub: room.Replica{Domain: c.me.Domain, FrankingKey: c.me.Hosting.FrankingKey}}
	copy(h.Hub.ProviderKey[:], c.me.Hosting.Key)
	h.Replicas = []room.Replica{h.Hub}
	rand.Read(h.Topic[:])
	if !n.Parent.IsZero() {
		var err error
		if n, err = n.within(); err != nil {
			return nil, nil, err
		}
	}
	self, leaf := c.user, c.me.leaf(c.cfg.Now())
	var rec *maskRecord
	var ownKey pseudonym.Key
	if n.Pseudonymous {
		client, err := pseudonym.New(c.user.Provider())
		if err == nil {
			leaf, ownKey, err = c.me.masked(n.as, client, c.cfg.Now())
		}
		if err != nil {
			return nil, nil, err
		}
		self, rec = n.as.Participant(), &maskRecord{n.as.String(), client.String()}
	}
	ext, err := room.Extensions(self, h, &policy.Metadata{URI: u.String(), Name: n.Name})
	if err == nil && n.Roles != nil {
		ext, err = room.WithRoles(ext, self, n.Roles)
	}
	if err == nil && !n.with.IsZero() {
		ext, err = room.Direct(ext, c.user, n.with)
	}
	if err == nil && n.Outside {
		ext, err = room.AllowingOutside(ext)
	}
	for _, p := range n.Policies {
		if err == nil {
			ext, err = room.WithPolicy(ext, p)
		}
	}
	if err == nil && n.Pseudonymous {
		ext, err = room.AsPseudonymous(ext)
	}
	if err != nil {
		return nil, nil, err
	}
	gid, err := room.GroupID(u)
	if err != nil {
		return nil, nil, err
	}
	g, err := mls.CreateGroup(mls.GroupParams{LeafParams: leaf, GroupID: gid, Extensions: ext}, c.config())
	if err != nil {
		return nil, nil, err
	}
	info, err := g.GroupInfo(false)
	if err != nil {
		return nil, nil, err
	}
	r, err := newRoomState(&roomRecord{URI: u.String(), State: roomCreating, Lead: room.LeadOf(h), Mask: rec})
	if err != nil {
		return nil, nil, err
	}
	r.group = g
	if r.roster, err = room.RosterOf(g.Public()); err != nil {
		return nil, nil, err
	}
	if r.mask != nil {
		if err := c.beginMask(b, r, ownKey); err != nil {
			return nil, nil, err
		}
	}
	c.noteDirect(r, g.Public().Context())
	body := (&room.Create{URI: u, GroupInfo: info, Tree: g.Public().Tree()}).Bytes()
	nonce := room.NewTxnNonce()
	w := &wish{Room: r.id, Kind: wishCreate, Request: body, Nonce: nonce[:], Txn: room.TxnIDOf(nonce, body)}
	c.newWish(b, w)
	r.save(b)
	return r, w, nil
}

// submitCreate brings a new room to its hub.
func (c *Client) submitCreate(r *roomState, w *wish) {
	body, err := room.ParseCreate(w.Request)
	if err != nil {
		panic("client: own create body does not decode: " + err.Error())
	}
	req := &clientapi.NewRoom{URI: r.URI, GroupInfo: body.GroupInfo.Bytes(), Tree: body.Tree.Append(nil), Nonce: w.Nonce}
	c.asyncIn(r, "creating "+r.URI, &r.changing, func(ctx context.Context) (func() error, error) {
		err := c.api.call(ctx, "POST", "/v1/rooms", req, new(clientapi.Submitted))
		if passing, _ := transient(err); err != nil && (passing || hasCode(err, clientapi.CodeUnauthorized)) {
			return nil, err
		}
		return func() error {
			if c.wishes[w.n] != w {
				return nil
			}
			b := new(batch)
			if err != nil {
				if err := c.leaveGroup(b, r, roomLeft, err.Error()); err != nil {
					return err
				}
				return c.commit(b)
			}
			w.Answered, w.since = true, c.cfg.Now()
			w.save(b)
			return c.commit(b)
		}, nil
	})
}

// welcomed keeps a Welcome until it can be used.
func (c *Client) welcomed(b *batch, v *clientapi.Welcome) error {
	id, err := parseRoomID(v.Room)
	if err != nil || id != room.IDOf([]byte(v.URI)) {
		b.tell(Problem{Err: fmt.Errorf("welcome to %.100q with id %.80q: %w", v.URI, v.Room, ErrProtocol)})
		return c.commit(b)
	}
	if r := c.rooms[id]; r != nil && (r.State == roomJoined || r.State == roomCreating || v.At.Next <= r.At.Next && r.State != roomLost) {
		c.log.Debug("second Welcome ignored", "room", r.uri)
		return c.commit(b)
	}
	c.within(id)
	c.welcome[id] = v
	b.put(tableWelcome, id.String(), v)
	return c.commit(b)
}

// joinWelcomed enters the rooms to which there are Welcomes.
func (c *Client) joinWelcomed() error {
	for id, v := range c.welcome {
		c.looks.touched[id] = true
		b := new(batch)
		err := c.joinWelcome(b, id, v)
		if errors.Is(err, x509auth.ErrUnknownProvider) && len(c.trust.missing()) > 0 {
			continue // joined when the keys are there
		}
		if errors.Is(err, ErrStorage) {
			return err
		}
		if err != nil {
			b = new(batch)
			u, _ := uri.ParseRoom(v.URI)
			if errors.Is(err, errCrowded) && c.crowded {
				c.log.Info("not joined", "error", err) // people were told of one
			} else {
				c.crowded = c.crowded || errors.Is(err, errCrowded)
				b.tell(Problem{u, fmt.Errorf("joining %.100q: %w", v.URI, err)})
			}
		}
		delete(c.welcome, id)
		b.del(tableWelcome, id.String())
		if err := c.commit(b); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) joinWelcome(b *batch, id room.ID, v *clientapi.Welcome) error {
	at := room.Position{Term: room.Term{Era: v.At.Era, Number: v.At.Number}, Next: v.At.Next, AcceptedAt: v.At.AcceptedAt}
	if copy(at.Last[:], v.At.Last) != len(at.Last) {
		return fmt.Errorf("position: %w", ErrProtocol)
	}
	lim := room.NoticeLimits().Limits
	w := new(mls.Welcome)
	rd := presentation.NewReader(v.Welcome)
	w.Read(rd, lim)
	if err := rd.Done(); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	tree := new(mls.RatchetTree)
	rd = presentation.NewReader(v.Tree)
	tree.Read(rd, lim)
	if err := rd.Done(); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	var kp *mls.PrivateKeyPackage
	var rec *packageRecord
	var ref string
	for _, x := range w.Recipients() {
		raw, err := c.get(b, tableKeyPackage, string(x))
		if err != nil {
			return err
		}
		if raw == nil {
			continue
		}
		rec, ref = new(packageRecord), string(x)
		if err := unmarshal("KeyPackage", raw, rec); err != nil {
			return err
		}
		if kp, err = mls.ParsePrivateKeyPackage(rec.Private); err != nil {
			return err
		}
	}
	if kp == nil {
		return mls.ErrNoKeyPackage
	}
	var told mls.Extensions
	g, err := mls.JoinWelcome(w, kp, mls.JoinOptions{Tree: tree, Extensions: &told}, c.config(), time.UnixMilli(int64(at.AcceptedAt)))
	if err != nil {
		return err
	}
	r := c.rooms[id]
	if r == nil {
		if r, err = newRoomState(&roomRecord{URI: v.URI}); err != nil {
			return err
		}
	}
	if err := c.checkGroup(r, g.Public()); err != nil {
		return err
	}
	old, oldMask := r.roomRecord, r.mask
	r.At, r.Lead = at, room.Lead{}
	undo := func() { r.roomRecord, r.mask = old, oldMask }
	if err := r.wearing(rec.Mask, g); err != nil {
		undo()
		return err
	}
	if err := c.enterGroup(b, r, g); err != nil {
		undo()
		return err
	}
	if r.mask != nil {
		if err := c.welcomedMask(b, r, rec.Mask, told); err != nil {
			undo()
			return err
		}
	}
	if rec.LastResort {
		rec.Used = true // it is replaced at the next look
		b.put(tableKeyPackage, ref, rec)
	} else {
		b.del(tableKeyPackage, ref)
	}
	r.fetch = true // what came before the Welcome did
	c.rooms[id] = r
	return nil
}

// checkGroup says whether a group that is about to be entered is the room's, and
// whether this user is one of its participants.
func (c *Client) checkGroup(r *roomState, g *mls.PublicGroup) error {
	gid, err := room.GroupID(r.uri)
	if err != nil {
		return err
	}
	switch {
	case !bytes.Equal(gid, g.GroupID()):
		return fmt.Errorf("group %.100q for room %s: %w", g.GroupID(), r.uri, ErrProtocol)
	case g.Suite() != room.Suite:
		return fmt.Errorf("group of suite %d: %w", g.Suite(), ErrProtocol)
	}
	list, err := room.ParticipantsOf(g.Context())
	if err != nil {
		return err
	}
	roles, err := room.RolesOf(g.Context())
	if err != nil {
		return err
	}
	on := map[string]bool{}
	for _, p := range list {
		on[string(p.User)] = roles.Active(roleOf(p))
	}
	roster, err := room.RosterOf(g)
	if err != nil {
		return err
	}
	for m := range g.Members() {
		if u, _ := roster.User(m.Leaf); !on[u.String()] {
			return fmt.Errorf("%s has a client in the group and no part in the room: %w", u, room.ErrPolicy)
		}
	}
	return c.meets(r, g.Context())
}

// attempt is an external commit under way. It is not stored: after a restart
// another one is made.
type attempt struct {
	staged *mls.StagedCommit
	from   *entrance
	txn    room.TxnID
	since  time.Time
	// again is the submission, if it is not known to have come to the hub.
	again *clientapi.SubmitUpdate
	only  bool // no other attempt can be in the log
}

// attemptTime is how long the log may take to show an own external commit.
const attemptTime = 30 * time.Second

// rejoin enters a room's group by an external commit, which replaces this client's old leaf
// if it has one.
func (c *Client) rejoin(r *roomState) {
	from, err := c.me.entrance(r, c.cfg.Now())
	if err != nil {
		c.emit(Problem{r.uri, fmt.Errorf("%s: %w", c.rejoining(r), err)})
		r.rejoining.failed(c.cfg.Now(), c.cfg.Retry, 0)
		return
	}
	var hubs []string
	if r.Entering != nil {
		hubs = r.Entering.Hubs
	}
	link, unknown := r.Entering.link(), r.unknown
	c.asyncIn(r, c.rejoining(r), &r.rejoining, func(ctx context.Context) (func() error, error) {
		info, tree, pending, hub, err := c.askHubs(ctx, from, r, hubs, unknown, link)
		if no := refusedBy(r.uri, link, err); no != nil {
			return func() error {
				if r.State != roomLost || c.rooms[r.id] != r {
					return nil // it was welcomed meanwhile
				}
				if r.Entering != nil {
					return c.refusedEntry(r, no)
				}
				b := new(batch)
				if err := c.leaveGroup(b, r, roomLeft, "no longer in the room"); err != nil {
					return err
				}
				return c.commit(b)
			}, nil
		}
		if err != nil {
			c.enter(ctx, func() error { c.within(r.id); c.troubled(r, err); return nil })
			return nil, err
		}
		return func() error {
			if r.State != roomLost || r.attempt != nil || c.rooms[r.id] != r {
				return nil
			}
			a, req, nonce, err := c.externalCommit(r, from, info, tree, pending)
			if errors.Is(err, ErrRefused) && r.Entering != nil {
				return c.refusedEntry(r, err)
			}
			if errors.Is(err, errWelcomed) {
				r.rejoining.failed(c.cfg.Now(), c.cfg.Retry, 0)
				return nil
			}
			if err != nil {
				passes := c.anchorless(r, err)
				c.troubled(r, err)
				r.unknown = c.keyless(r.uri, &info.Context)
				r.rejoining.failed(c.cfg.Now(), c.cfg.Retry, 0)
				if r.Entering == nil || !passes {
					c.emit(Problem{r.uri, fmt.Errorf("%s: %w", c.rejoining(r), err)})
				}
				return nil
			}
			if r.Entering != nil && r.Entering.Own && !r.Entering.Sent {
				b := new(batch)
				r.Entering.Sent, a.only = true, true
				r.save(b)
				if err := c.commit(b); err != nil {
					return err
				}
			}
			r.attempt = a
			c.submitAttempt(r, a, &clientapi.SubmitUpdate{Request: req, Nonce: nonce[:], From: r.where(hub)})
			return nil
		}, nil
	})
}

// rejoining says what is being done, for people.
func (c *Client) rejoining(r *roomState) string {
	if r.Entering != nil {
		return "coming into " + r.URI
	}
	return "coming back into " + r.URI
}

func (c *Client) submitAttempt(r *roomState, a *attempt, req *clientapi.SubmitUpdate) {
	path := "/v1/rooms/" + r.id.String() + "/updates"
	a.again = nil
	c.asyncIn(r, c.rejoining(r), &r.rejoining, func(ctx context.Context) (func() error, error) {
		got := new(clientapi.SubmittedUpdate)
		err := c.api.call(ctx, "POST", path, req, got)
		var answer *wire.UpdateRoomResponse
		if err == nil {
			answer, err = wire.ParseUpdateRoomResponse(got.Response, wire.Limits{})
		}
		return func() error {
			if r.attempt != a {
				return nil
			}
			r.fetch = true
			if passing, _ := transient(err); passing {
				c.troubled(r, err)
				r.rejoining.failed(c.cfg.Now(), c.cfg.Retry, 0)
				a.again = req
				return nil // it may have happened: the log tells, or the same answer, or attemptTime ends it
			}
			if err == nil && answer.Code == wire.UpdateSuccess {
				return nil
			}
			r.attempt = nil
			r.rejoining.failed(c.cfg.Now(), c.cfg.Retry, 0)
			if a.only && r.Entering != nil { // nothing has reached the log
				b := new(batch)
				r.Entering.Sent = false
				r.save(b)
				if err := c.commit(b); err != nil {
					return err
				}
			}
			if r.Entering == nil || err == nil && answer.Code == wire.UpdateWrongEpoch {
				return nil
			}
			if r.Entering.Tries++; r.Entering.Tries < maxEnters {
				return nil
			}
			if err == nil {
				err = fmt.Errorf("%v: %.200q: %w", answer.Code, answer.Description, ErrRefused)
			}
			return c.refusedEntry(r, err)
		}, nil
	})
}

var errOut = errors.New("client: the hub does not let this client in")

// groupInfo asks the hub for what an external commit needs.
func (c *Client) groupInfo(ctx context.Context, as *entrance, id room.ID, u uri.Room, link *HeldLink, from *clientapi.Where) (*mls.GroupInfo, *mls.RatchetTree, []*mls.PublicMessage, error) {
	key, err := mls.GenerateHPKEKey(room.Suite)
	if err != nil {
		return nil, nil, nil, err
	}
	req := &wire.GroupInfoRequest{Suite: room.Suite, Credential: as.Credential, GroupInfoKey: key.Public()}
	if link != nil {
		req.JoiningCode = link.Code(as.Signer.Public(), req.GroupInfoKey)
	}
	if err := req.Sign(as.Signer); err != nil {
		return nil, nil, nil, err
	}
	body, err := req.Bytes()
	if err != nil {
		return nil, nil, nil, err
	}
	got := new(clientapi.FetchedGroupInfo)
	if err := c.api.call(ctx, "POST", "/v1/rooms/"+id.String()+"/groupinfo", &clientapi.FetchGroupInfo{Request: body, From: from}, got); err != nil {
		return nil, nil, nil, err
	}
	as.attestation = got.Attestation
	bad := func(err error) (*mls.GroupInfo, *mls.RatchetTree, []*mls.PublicMessage, error) {
		return nil, nil, nil, fmt.Errorf("GroupInfo of %s: %w: %w", u, ErrProtocol, err)
	}
	lim := room.NoticeLimits()
	resp, err := wire.ParseGroupInfoResponse(got.Response, lim)
	if err != nil {
		return bad(err)
	}
	if resp.Status == wire.GroupInfoNotAuthorized || resp.Status == wire.GroupInfoNoSuchRoom {
		return nil, nil, nil, errOut
	}
	name := wire.IdentifierURI(u.String())
	v, err := resp.Verify(name, room.Suite, c.auth, c.cfg.Now())
	if err != nil {
		return bad(err)
	}
	tbe := new(wire.GroupInfoRatchetTreeTBE)
	if err := tbe.Open(key, name, v.Response().Success.Encrypted, lim); err != nil {
		return bad(err)
	}
	if tbe.Tree.Tree == nil {
		return bad(errors.New("no tree"))
	}
	var pending []*mls.PublicMessage
	for _, p := range tbe.Pending {
		if m := p.Proposal.Public; m != nil {
			pending = append(pending, m)
		}
	}
	return tbe.GroupInfo, tbe.Tree.Tree, pending, nil
}

func (c *Client) externalCommit(r *roomState, from *entrance, info *mls.GroupInfo, tree *mls.RatchetTree, pending []*mls.PublicMessage) (a *attempt, req []byte, nonce room.TxnNonce, err error) {
	now := c.cfg.Now()
	pub, err := mls.NewPublicGroup(info, tree, c.config(), now)
	if err != nil {
		return nil, nil, nonce, err
	}
	if err := r.fits(pub); err != nil {
		return nil, nil, nonce, err
	}
	if err := c.checkGroup(r, pub); err != nil {
		return nil, nil, nonce, err
	}
	var o mls.ExternalOptions
	if o.Replace, err = c.replaces(r, pub, from); err != nil {
		return nil, nil, nonce, err
	}
	o.LeafParams, o.Tree = from.LeafParams, tree
	if r.mask != nil {
		if len(from.attestation) == 0 {
			return nil, nil, nonce, fmt.Errorf("%s does not vouch for who comes in under a pseudonym of it: %w", c.me.Domain, ErrProtocol)
		}
		o.AAD = room.AttestedAAD(from.attestation)
	}
	if o.Proposals, err = c.entryOf(r, from, pub); err != nil {
		return nil, nil, nonce, err
	}
	for _, m := range pending {
		// Others cannot go into such a commit, and end with its epoch.
		if ch, err := pub.Process(m, nil, now); err == nil && ch.Proposal != nil && ch.Proposal.Proposal.Type == mls.ProposalSelfRemove {
			o.SelfRemoves = append(o.SelfRemoves, m)
		}
	}
	if e := r.Entering; e != nil && e.Own && !e.Sent && o.Replace != nil && now.Sub(time.UnixMilli(e.Since)) < welcomePatience {
		return nil, nil, nonce, errWelcomed
	}
	s, err := mls.ExternalCommit(info, o, c.config(), now)
	if err != nil {
		return nil, nil, nonce, err
	}
	bundle := wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}
	if req, err = (&wire.UpdateRequest{Bundle: bundle}).Bytes(); err != nil {
		return nil, nil, nonce, err
	}
	nonce = room.NewTxnNonce()
	return &attempt{staged: s, from: from, txn: room.TxnIDOf(nonce, req), since: now}, req, nonce, nil
}

// reenter joins with the own external commit, which the log has.
func (c *Client) reenter(b *batch, r *roomState, e *room.Entry) error {
	a := r.attempt
	g, err := a.staged.Join()
	if err == nil {
		err = c.enterGroup(b, r, g)
	}
	r.attempt = nil
	if err == nil && r.mask != nil {
		if err = c.enteredMask(b, r, a.from, a.staged.Change); err != nil && !errors.Is(err, ErrStorage) {
			return c.diverge(b, r, err)
		}
	}
	if err != nil {
		if errors.Is(err, ErrStorage) {
			return err
		}
		b.tell(Problem{r.uri, fmt.Errorf("coming back into %s: %w", r.uri, err)})
	}
	return nil
}

// pumpRoom starts what is due in a room.
func (c *Client) pumpRoom(r *roomState, now time.Time, soon func(*task) bool) error {
	if err := c.wipe(r, now, soon); err != nil {
		return err
	}
	if r.gone() {
		return c.fold(r)
	}
	if r.State == roomParted {
		return nil
	}
	for _, w := range c.wishesOf(r) {
		// The log is slow to show what the hub has: ask for it.
		if w.Answered && !w.Ordered && now.Sub(w.since) > 5*time.Second {
			w.since = now
			r.fetch = true
		}
		if w.Answered && !w.Ordered {
			soon(&task{at: w.since.Add(5*time.Second + 1)})
		}
	}
	switch r.State {
	case roomCreating:
		for _, w := range c.wishesOf(r) {
			if w.Kind != wishCreate {
				continue
			}
			if !w.Answered && soon(&r.changing) {
				c.submitCreate(r, w)
			}
			if !w.Answered {
				return nil
			}
		}
	case roomLost:
		if r.attempt != nil && now.Sub(r.attempt.since) > attemptTime {
			r.attempt = nil
		}
		if r.attempt == nil && soon(&r.rejoining) {
			c.rejoin(r)
		} else if r.attempt != nil && r.attempt.again != nil && soon(&r.rejoining) {
			c.submitAttempt(r, r.attempt, r.attempt.again)
		}
	case roomJoined:
		for _, w := range c.allWishesOf(r) {
			if w.Waiting && soon(&w.claiming) {
				if err := c.claimFor(r, w); err != nil {
					return err
				}
			}
		}
		if err := c.watchPending(r, now); err != nil {
			return err
		}
		if r.mask != nil {
			if err := c.pumpMask(r, now, soon); err != nil {
				return err
			}
		}
		if err := c.watchDirect(r); err != nil {
			return err
		}
		c.watchRecruit(r, now, soon)
		if err := c.watchHosting(r, now); err != nil {
			return err
		}
		if err := c.watchSuccession(r, now); err != nil {
			return err
		}
		if r.claim != nil && !r.claimAt.IsZero() {
			soon(&task{at: r.claimAt})
		}
		if !r.hostingAt.IsZero() {
			soon(&task{at: r.hostingAt})
		}
		if !r.commitAt.IsZero() {
			soon(&task{at: r.commitAt}) // for the time of the next look
		}
		if len(c.wishesOf(r)) > 0 && soon(&r.changing) {
			if err := c.pumpChanges(r); err != nil {
				return err
			}
		}
		if r.State == roomJoined {
			if err := c.pumpReceipts(r, now, soon); err != nil {
				return err
			}
		}
		if r.State == roomJoined && soon(&r.sending) {
			if err := c.pumpOutbox(r); err != nil {
				return err
			}
		}
	}
	if r.fetch && soon(&r.fetching) {
		c.fetchLog(r)
	}
	return nil
}
