package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// What a wish is for.
const (
	wishCreate   = "create"   // the room itself
	wishAdd      = "add"      // a user
	wishRemove   = "remove"   // a user
	wishEnter    = "enter"    // this device, by itself
	wishLeave    = "leave"    // the own user
	wishPending  = "pending"  // commit what others proposed
	wishUpdate   = "update"   // the own leaf: new keys, the present certificate
	wishHosting  = "hosting"  // the replica set as it should be
	wishMove     = "move"     // the own provider as hub
	wishRole     = "role"     // another role of a user; its clients go with it if that has none
	wishDefine   = "define"   // what the roles mean
	wishUnban    = "unban"    // off the list, of somebody who is banned
	wishKick     = "kick"     // a user's clients, the role stays
	wishOutside  = "outside"  // a replica from outside may be, or not
	wishPolicy   = "policy"   // a policy component
	wishDescribe = "describe" // fields of the room's metadata
	wishEnd      = "end"      // of the room
	wishLinks    = "links"    // made and revoked
	wishDrop     = "drop"     // another client of the own user

	wishClaim    = "claim"    // to succeed the administrators
	wishEndorse  = "endorse"  // another's claim
	wishObject   = "object"   // to a claim, or take back the own one
	wishTake     = "take"     // the room that was claimed
	wishPatience = "patience" // of the room with silent administrators
)

// wish is a change of a room that this device wants. It is made into a handshake
// for the present epoch; if another one comes first, into the next. It stays
// until it has come true or was refused.
type wish struct {
	n           uint64
	Room        room.ID
	Kind        string
	User        string      `json:",omitempty"`
	Client      string      `json:",omitempty"` // of drop
	Role        policy.Role `json:",omitempty"`
	Roles       []byte      `json:",omitempty"` // roles_list
	KeyPackages [][]byte    `json:",omitempty"` // of the user to add
	As          string      `json:",omitempty"` // what the user to add goes by, in a pseudonymous room
	Masks       [][]byte    `json:",omitempty"` // and the keys of the KeyPackages' identity links
	// Waiting: KeyPackages of the user to add are asked for, again and again. Nothing else
	// waits for it.
	Waiting bool `json:",omitempty"`

	Component uint16      `json:",omitempty"` // of policy
	Data      []byte      `json:",omitempty"` // of that, or a JoinLinksUpdate
	Describe  *Describing `json:",omitempty"`

	Allow    bool          `json:",omitempty"` // of outside
	Gone     []string      `json:",omitempty"` // of a claim
	Patience time.Duration `json:",omitempty"`
	// Era, of move: which the room has to be in at least. A room that stands still may be moved
	// to the very provider that orders it.
	Era uint32 `json:",omitempty"`

	// The present submission; Staged is the commit that belongs to it, with its
	// secrets, and nil for proposals and creations.
	Request, Nonce []byte
	Staged         []byte
	Txn            room.TxnID
	Epoch          uint64

	// Answered: the hub has it, the log will show it. Ordered: it is in the log
	// and waits for somebody's commit.
	Answered, Ordered bool
	Tries             int
	trouble           error     // of the last attempt, in this process
	since             time.Time // of Answered, in this process
	claiming          task      // of Waiting
}

// byItself are the wishes of devices, not of people: if they fail they come again.
var byItself = []string{wishPending, wishUpdate, wishHosting, wishObject, wishTake, wishYield}

// maxTries bounds how often a change is made anew that the hub refuses.
const maxTries = 5

func (w *wish) save(b *batch) { b.put(tableWish, numberName(w.n), w) }

func (c *Client) newWish(b *batch, w *wish) {
	w.n = c.next
	c.next++
	c.wishes[w.n] = w
	w.save(b)
}

// wishesOf returns the wishes about a room in their order, but for those that wait for
// others.
func (c *Client) wishesOf(r *roomState) []*wish {
	return slices.DeleteFunc(c.allWishesOf(r), func(w *wish) bool { return w.Waiting })
}

func (c *Client) allWishesOf(r *roomState) []*wish {
	var out []*wish
	for _, w := range c.wishes {
		if w.Room == r.id {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b *wish) int { return int(a.n) - int(b.n) })
	return out
}

func (c *Client) wishBy(r *roomState, txn room.TxnID) *wish {
	for _, w := range c.wishesOf(r) {
		if w.Request != nil && w.Txn == txn {
			return w
		}
	}
	return nil
}

// wishDone ends a wish, with nil if it came true.
func (c *Client) wishDone(b *batch, w *wish, err error) {
	delete(c.wishes, w.n)
	b.del(tableWish, numberName(w.n))
	if err != nil && !slices.Contains(byItself, w.Kind) && len(c.waiters[w.n]) == 0 {
		var u uri.Room
		if r := c.rooms[w.Room]; r != nil {
			u = r.uri
		}
		b.tell(Problem{u, fmt.Errorf("%s %s: %w", w.Kind, w.User, err)})
	}
	c.answer(b, w, err)
}

// wishOrdered notes that the own proposals stand in the log.
func (c *Client) wishOrdered(b *batch, w *wish) {
	w.Ordered = true
	w.save(b)
	c.answer(b, w, nil)
}

// answer lets those go on who wait for a wish, when the batch is durable.
func (c *Client) answer(b *batch, w *wish, err error) {
	b.after = append(b.after, func() {
		for _, ch := range c.waiters[w.n] {
			ch <- err
		}
		delete(c.waiters, w.n)
	})
}

// unstage takes a submission back that cannot come true any more.
func (c *Client) unstage(b *batch, w *wish) {
	if w.Kind == wishCreate || w.Request == nil {
		return
	}
	w.Request, w.Nonce, w.Staged, w.Txn, w.Answered, w.Ordered = nil, nil, nil, room.TxnID{}, false, false
	w.save(b)
}

// wait waits for a wish, which goes on when ctx ends.
func (c *Client) wait(ctx context.Context, done chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return ErrStopped
	}
}

// change makes a wish durable and waits until it has come true.
func (c *Client) change(ctx context.Context, u uri.Room, w *wish) error {
	done := make(chan error, 1)
	err := c.do(ctx, func() (error, error) {
		r := c.roomOf(u)
		if r == nil || r.State == roomLeft || r.State == roomStopped {
			return ErrNoRoom, nil
		}
		if r.State == roomParted {
			return fmt.Errorf("%s: %w", r.Reason, ErrParted), nil
		}
		c.within(r.id)
		b := new(batch)
		w.Room = r.id
		if w.User != "" && w.Kind != wishAdd {
			var unknown error
			if w.User, unknown = c.goesBy(r, w.User); unknown != nil {
				return unknown, nil
			}
		}
		c.newWish(b, w)
		c.waiters[w.n] = append(c.waiters[w.n], done)
		return nil, c.commit(b)
	})
	if err != nil {
		return err
	}
	return c.wishedFor(ctx, w, c.wait(ctx, done))
}

// troubled notes what keeps this device from coming into a room.
func (c *Client) troubled(r *roomState, err error) {
	for _, w := range c.wishesOf(r) {
		if w.Kind == wishEnter {
			w.trouble = err
		}
	}
}

// wishedFor is how waiting for a wish has ended.
func (c *Client) wishedFor(ctx context.Context, w *wish, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	// What it waits for is more than that it takes long.
	var trouble error
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if c.do(asked, func() (error, error) { c.untouched(); trouble = w.trouble; return nil, nil }) == nil && trouble != nil {
		return fmt.Errorf("%w: %w", trouble, err)
	}
	return err
}

// AddUser adds a user, with all its devices, to a room, and returns when the room
// has it. The user must have consented. If ctx ends before, the wish stays.
//
// Errors: ErrNoRoom, ErrNoConsent, ErrNoKeyPackage, ErrRefused, ErrUnreachable,
// *clientapi.Problem, ErrStopped, ErrStorage.
func (c *Client) AddUser(ctx context.Context, u uri.Room, who uri.User) error {
	got, err := c.claimFrom(ctx, u, who)
	if err == nil {
		err = c.change(ctx, u, &wish{Kind: wishAdd, User: who.String(), KeyPackages: got.KeyPackages, As: got.As, Masks: got.Masks})
	}
	if err != nil {
		return fmt.Errorf("adding %s to %s: %w", who, u, err)
	}
	return nil
}

// claim gets a KeyPackage of each of a user's devices.
func (c *Client) claim(ctx context.Context, u uri.Room, who uri.User) ([][]byte, error) {
	m, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.know(ctx, who.Provider().Domain()); err != nil {
		return nil, err
	}
	req := &wire.KeyMaterialRequest{RequestingUser: uriOf(m.user), TargetUser: uriOf(who), Room: wire.IdentifierURI(u.String()),
		Suites: []mls.CipherSuite{room.Suite}, Credential: m.credential(),
		Required: mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary},
			Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove}}}
	if err := req.Sign(m.signer); err != nil {
		return nil, fmt.Errorf("asking for KeyPackages: %w", err)
	}
	body, err := req.Bytes()
	if err != nil {
		return nil, fmt.Errorf("asking for KeyPackages: %w", err)
	}
	got := new(clientapi.ClaimedKeyPackages)
	if err := api.call(ctx, "POST", "/v1/keypackages/claim", &clientapi.ClaimKeyPackages{Request: body}, got); err != nil {
		return nil, err
	}
	resp, err := wire.ParseKeyMaterialResponse(got.Response, wire.Limits{})
	if err != nil {
		return nil, fmt.Errorf("KeyPackages: %w: %w", ErrProtocol, err)
	}
	switch resp.Status {
	case wire.KeyMaterialSuccess, wire.KeyMaterialPartialSuccess:
	case wire.KeyMaterialNoConsent, wire.KeyMaterialNoConsentForRoom, wire.KeyMaterialUserUnknown, wire.KeyMaterialUserDeleted:
		return nil, fmt.Errorf("%s: %w", who, ErrNoConsent)
	default:
		return nil, fmt.Errorf("%s: %v: %w", who, resp.Status, ErrNoKeyPackage)
	}
	var out [][]byte
	var again bool
	for _, x := range resp.Clients {
		if x.Status != wire.ClientSuccess {
			continue
		}
		_, err := c.checkPackage(x.KeyPackage, who)
		if errors.Is(err, x509auth.ErrUntrusted) && !again {
			// The provider may have a new key: it is looked up again, once a claim.
			again = true
			if err = c.knowAgain(ctx, who.Provider().Domain()); err == nil {
				_, err = c.checkPackage(x.KeyPackage, who)
			}
		}
		if err != nil {
			c.log.Warn("KeyPackage is of no use", "client", x.Client, "error", err)
			continue
		}
		out = append(out, x.KeyPackage.Bytes())
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: none of %d devices: %w", who, len(resp.Clients), ErrNoKeyPackage)
	}
	return out, nil
}

// RemoveUser removes a user from a room, and returns when it is out. Errors as
// AddUser.
func (c *Client) RemoveUser(ctx context.Context, u uri.Room, who uri.User) error {
	if err := c.change(ctx, u, &wish{Kind: wishRemove, User: who.String()}); err != nil {
		return fmt.Errorf("removing %s from %s: %w", who, u, err)
	}
	return nil
}

// Leave leaves a room with all the user's devices. It returns when the hub has
// the wish; the room is left, RoomLeft, when another member has committed it. The last one to
// leave a room that is not persistent (BasePolicy) ends it.
//
// A direct room ends when one of the two leaves it, as by Destroy.
func (c *Client) Leave(ctx context.Context, u uri.Room) error {
	w := &wish{Kind: wishLeave, User: c.user.String()}
	err := c.do(ctx, func() (error, error) {
		c.untouched()
		if r := c.roomOf(u); r != nil && r.Peer != "" {
			w = &wish{Kind: wishEnd}
		}
		return nil, nil
	})
	if err == nil {
		err = c.change(ctx, u, w)
	}
	if err != nil {
		return fmt.Errorf("leaving %s: %w", u, err)
	}
	return nil
}

// pumpChanges makes the next wish of a room come true, one at a time.
func (c *Client) pumpChanges(r *roomState) error {
	all := c.wishesOf(r)
	pub := r.group.Public()
	if m := moves(all); m != nil {
		all = m
	} else if len(pub.Pending()) > 0 {
		// Others' proposals first: what a wish changes may be gone then.
		if c.leaving(r) {
			return nil
		}
		isPending := func(w *wish) bool { return w.Kind == wishPending }
		if !slices.ContainsFunc(all, isPending) {
			b := new(batch)
			c.newWish(b, &wish{Room: r.id, Kind: wishPending})
			if err := c.commit(b); err != nil {
				return err
			}
			all = c.wishesOf(r)
		}
		all = slices.DeleteFunc(all, func(w *wish) bool { return !isPending(w) && w.Request == nil })
	}
	for _, w := range all {
		if w.Request != nil && !w.Ordered {
			if w.Answered {
				return nil
			}
			c.submitChange(r, w)
			return nil
		}
	}
	for _, w := range all {
		if w.Ordered {
			continue
		}
		b := new(batch)
		if done, err := c.stage(b, r, w); err != nil {
			c.wishDone(b, w, err)
			r.changing.failed(c.cfg.Now(), c.cfg.Retry, 0)
		} else if done {
			c.wishDone(b, w, nil)
		}
		if err := c.commit(b); err != nil {
			return err
		}
		if w.Request != nil && r.State == roomJoined {
			c.submitChange(r, w)
			return nil
		}
	}
	return nil
}

// stage makes a wish into a handshake of the present epoch. done: there is
// nothing left to wish for.
func (c *Client) stage(b *batch, r *roomState, w *wish) (done bool, err error) {
	g, pub := r.group, r.group.Public()
	var who uri.User
	if w.User != "" {
		if who, err = uri.ParseParticipant(cmp.Or(w.As, w.User)); err != nil {
			return false, fmt.Errorf("%w: %w", ErrStorage, err)
		}
	}
	var o mls.CommitOptions
	list := func(set []room.Participant, remove []uri.User) error {
		p, err := room.UpdateParticipants(pub.Context(), set, remove)
		if p != nil {
			o.Proposals = append(o.Proposals, p)
		}
		return err
	}
	together := false // others are added in the same commit
	if w.Kind == wishPending && len(pub.Pending()) == 0 {
		return true, nil
	}
	if (w.Kind == wishOutside || w.Kind == wishHosting) && r.Lead.Changing() {
		return false, nil // what to wish for is known when the set is settled
	}
	switch w.Kind {
	case wishAdd:
		if r.roster.Clients(who) > 0 {
			return true, nil
		}
		if r.mask != nil && len(w.KeyPackages) == 0 { // it was inside when it was asked for
			return false, fmt.Errorf("%s: %w", w.User, ErrNoKeyPackage)
		}
		roles := r.roles()
		as := c.roleIn(r, who)
		if as != policy.None && len(w.KeyPackages) == 0 {
			return true, nil // on the list; its devices come in by themselves
		}
		switch {
		case as == policy.Banned:
			return false, fmt.Errorf("%s is banned: %w", who, ErrRefused)
		case as == policy.None && w.Role != policy.None:
			as = w.Role // offered by an invitation; it is judged below
		case as == policy.None:
			if as, err = roles.Newcomer(c.roleIn(r, c.as(r))); err != nil {
				return false, fmt.Errorf("%w: %w", err, ErrRefused)
			}
		}
		if o.Add, err = c.packagesOf(w, who); err != nil {
			return false, err
		}
		set := []room.Participant{{User: who, Role: as}}
		if c.roleIn(r, who) == policy.None && r.mask == nil {
			set = c.together(r, w, &o, as, set)
		}
		together = len(set) > 1
		if err := list(set, nil); err != nil {
			return false, err
		}
	case wishRemove:
		o.Remove = r.roster.Leaves(who)
		if err := list(nil, []uri.User{who}); err != nil {
			return false, err
		}
		if len(o.Remove)+len(o.Proposals) == 0 {
			return true, nil
		}
	case wishDrop:
		if o.Remove = c.leavesOf(r, w.Client); len(o.Remove) == 0 {
			return true, nil
		}
	case wishUpdate:
		if r.mask != nil {
			if !c.linkOld(r) {
				return true, nil
			}
			if o.Leaf, err = c.relink(r); err != nil {
				return false, err
			}
			break
		}
		own, _ := pub.Member(g.OwnLeaf())
		cred := c.me.credential()
		if own.Node.Credential.Equal(cred) {
			return true, nil
		}
		o.Leaf = &mls.LeafChange{Credential: &cred}
	case wishLeave:
		return c.stageLeave(b, r, w)
	case wishDefine:
		if done, err := c.stageRoles(r, w, &o); done || err != nil {
			return done, err
		}
	case wishLinks:
		if done, err := c.stageLinks(r, w, &o); done || err != nil {
			return done, err
		}
	case wishPolicy, wishDescribe, wishEnd, wishYield:
		if done, err := c.stagePolicy(r, w, &o); done || err != nil {
			return done, err
		}
	case wishRole, wishUnban, wishKick:
		if done, err := c.stageRole(r, w, who, &o); done || err != nil {
			return done, err
		}
	}
	if done, err := c.stageSuccession(r, w, &o); done || err != nil {
		return done, err
	}
	if done, err := c.stageOutside(r, w, &o); done || err != nil {
		return done, err
	}
	lead := &r.Lead
	var p *mls.Proposal
	if w.Kind == wishMove {
		p, lead, done, err = c.stageMove(r, w)
	} else {
		p, done, err = c.stageHosting(r, w)
	}
	if err != nil || done {
		return done, err
	}
	if p != nil {
		o.Proposals = append(o.Proposals, p)
	}
	if p := c.namesHub(r, w, lead); p != nil {
		o.Proposals = append(o.Proposals, p)
	}
	s, err := c.judged(r, o, lead)
	if err == nil && w.Kind != wishMove && w.Kind != wishHosting {
		if h := c.replacing(r, s.Change.Context); h != nil {
			// If that cannot be, a commit of its own sees to it later.
			o.Proposals = append(slices.DeleteFunc(slices.Clone(o.Proposals), func(x *mls.Proposal) bool { return x == p }), h)
			if with, err := c.judged(r, o, lead); err == nil {
				s = with
			}
		}
	}
	if err != nil && together {
		w.Tries++
		return c.stage(b, r, w) // alone
	}
	if err != nil && s == nil {
		return false, err
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	bundle := wire.HandshakeBundle{Message: s.Message, Welcome: s.Welcome, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}
	if w.Staged, err = s.Bytes(); err != nil {
		return false, err
	}
	return false, w.submitAs(b, bundle, g.Epoch())
}

// judged makes a commit, and judges it as everybody will.
func (c *Client) judged(r *roomState, o mls.CommitOptions, lead *room.Lead) (*mls.StagedCommit, error) {
	if r.mask != nil && len(o.Add) > 0 {
		told, _ := r.mask.room.Welcome(false)
		o.WelcomeExtensions = mls.Extensions{told.Extension()}
	}
	s, err := r.group.Commit(o, c.cfg.Now())
	if err == nil && r.mask != nil && len(s.Change.Removed) > 0 {
		if o.Leaf != nil {
			return nil, fmt.Errorf("a new identity link in a commit that removes somebody: %w", ErrRefused)
		}
		if len(o.Add) > 0 { // the epoch begins a generation, too
			told, _ := r.mask.room.Welcome(true)
			o.WelcomeExtensions = mls.Extensions{told.Extension()}
			s, err = r.group.Commit(o, c.cfg.Now())
		}
	}
	if err != nil {
		return nil, err
	}
	return s, c.judgeAs(r, s.Change, lead, c.cfg.Now())
}

func (w *wish) submitAs(b *batch, bundle wire.HandshakeBundle, epoch uint64) error {
	req, err := (&wire.UpdateRequest{Bundle: bundle}).Bytes()
	if err != nil {
		return err
	}
	nonce := room.NewTxnNonce()
	w.Request, w.Nonce, w.Txn, w.Epoch = req, nonce[:], room.TxnIDOf(nonce, req), epoch
	w.Answered, w.Ordered = false, false
	w.save(b)
	return nil
}

// stageLeave proposes to remove this user with all clients. The proposals are
// made on a copy of the group: in the group itself they are pending when they
// stand in the log, as for everybody else.
func (c *Client) stageLeave(b *batch, r *roomState, w *wish) (done bool, err error) {
	leaves := r.roster.Leaves(c.as(r))
	persists := r.base().Persistent
	switch last := len(leaves) == r.group.Public().MemberCount(); {
	case last && persists:
		// Nobody is there who could commit it. The room stays with its hub.
		return true, c.leaveGroup(b, r, roomLeft, "left the room, which is empty now")
	case last: // Nor here, but that it is proposed ends the room (room.State.Ended).
	default:
		if err := c.mayLeave(r); err != nil {
			return false, err
		}
	}
	var g *mls.Group
	err = c.cfg.Storage.View(func(tx Tx) (err error) {
		g, err = c.loadGroup(tx, r.id)
		return err
	})
	if err != nil {
		return false, storageError(err)
	}
	var p *mls.Proposal
	if !r.base().Fixed { // else the user stays on the list
		if p, err = room.UpdateParticipants(g.Public().Context(), nil, []uri.User{c.as(r)}); err != nil {
			return false, err
		}
	}
	all := []*mls.Proposal{{Type: mls.ProposalSelfRemove}}
	for _, l := range leaves {
		if l != g.OwnLeaf() {
			all = append(all, &mls.Proposal{Type: mls.ProposalRemove, Remove: l})
		}
	}
	if p != nil {
		all = append(all, p)
	}
	var ms []*mls.Message
	for _, p := range all {
		m, err := g.Propose(p, mls.SendOptions{}, c.cfg.Now())
		if err != nil {
			return false, err
		}
		ms = append(ms, m)
	}
	w.Staged = nil
	return false, w.submitAs(b, wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]}, g.Epoch())
}

// leaving says whether this device's removal is pending.
func (c *Client) leaving(r *roomState) bool {
	own := r.group.OwnLeaf()
	for _, p := range r.group.Public().Pending() {
		if p.Proposal.Type == mls.ProposalSelfRemove && p.Sender.Leaf == own ||
			p.Proposal.Type == mls.ProposalRemove && p.Proposal.Remove == own {
			return true
		}
	}
	return false
}

// watchPending decides when this device commits what others proposed: the lowest
// leaf that stays first, each next one later, in case the others are away.
func (c *Client) watchPending(r *roomState, now time.Time) error {
	pending := r.group.Public().Pending()
	if len(pending) == 0 || c.leaving(r) {
		r.commitAt = time.Time{}
		return nil
	}
	if r.commitAt.IsZero() {
		gone := map[mls.LeafIndex]bool{}
		for _, p := range pending {
			switch p.Proposal.Type {
			case mls.ProposalSelfRemove:
				gone[p.Sender.Leaf] = true
			case mls.ProposalRemove:
				gone[p.Proposal.Remove] = true
			}
		}
		rank := 0
		for m := range r.group.Public().Members() {
			if m.Leaf < r.group.OwnLeaf() && !gone[m.Leaf] {
				rank++
			}
		}
		r.commitAt = now.Add(time.Duration(min(rank, 30))*c.cfg.CommitDelay + jitter(c.cfg.CommitDelay/4))
	}
	if r.commitAt.After(now) || slices.ContainsFunc(c.wishesOf(r), func(w *wish) bool { return w.Kind == wishPending }) {
		return nil
	}
	b := new(batch)
	c.newWish(b, &wish{Room: r.id, Kind: wishPending})
	return c.commit(b)
}

// submitChange brings a wish's handshake to the hub.
func (c *Client) submitChange(r *roomState, w *wish) {
	path := "/v1/rooms/" + r.id.String() + "/updates"
	nonce := string(w.Nonce)
	req := &clientapi.SubmitUpdate{Request: w.Request, Nonce: w.Nonce}
	c.asyncIn(r, w.Kind+" in "+r.uri.String(), &r.changing, func(ctx context.Context) (func() error, error) {
		got := new(clientapi.SubmittedUpdate)
		err := c.api.call(ctx, "POST", path, req, got)
		var answer *wire.UpdateRoomResponse
		if err == nil {
			if answer, err = wire.ParseUpdateRoomResponse(got.Response, wire.Limits{}); err != nil {
				return nil, fmt.Errorf("answer of the hub: %w: %w", ErrProtocol, err)
			}
		} else if passing, _ := transient(err); passing || hasCode(err, clientapi.CodeUnauthorized) {
			c.enter(ctx, func() error { c.within(r.id); w.trouble = err; return nil })
			return nil, err
		}
		return func() error {
			if c.wishes[w.n] != w || string(w.Nonce) != nonce {
				return nil // seen in the log, or overtaken, before the answer came
			}
			return c.answered(r, w, answer, err)
		}, nil
	})
}

// answered takes the hub's answer about a handshake, or the provider's refusal.
func (c *Client) answered(r *roomState, w *wish, a *wire.UpdateRoomResponse, refused error) error {
	b := new(batch)
	if a != nil && a.Code == wire.UpdateSuccess {
		w.Answered, w.since = true, c.cfg.Now()
		w.save(b)
		return c.commit(b)
	}
	r.fetch = true
	r.changing.failed(c.cfg.Now(), c.cfg.Retry, 0)
	w.Tries++
	why := refused
	if a != nil {
		why = fmt.Errorf("%v: %.200q: %w", a.Code, a.Description, ErrRefused)
	}
	switch {
	case a != nil && a.Code == wire.UpdateWrongEpoch:
		// Others came first. The log tells what they did.
		w.Tries--
		c.unstage(b, w)
	case a != nil && w.Tries < maxTries:
		// It may be that the hub knows of a proposal that has not come here yet.
		c.unstage(b, w)
	default:
		c.wishDone(b, w, why)
	}
	return c.commit(b)
}

// checkPackage verifies a KeyPackage of a user.
func (c *Client) checkPackage(kp *mls.KeyPackage, who uri.User) (*mls.ValidKeyPackage, error) {
	v, err := kp.Verify(c.config(), c.cfg.Now())
	if err != nil {
		return nil, err
	}
	if kp.Suite != room.Suite {
		return nil, fmt.Errorf("suite %d: %w", kp.Suite, mls.ErrUnsupported)
	}
	name, err := userOf(&kp.Leaf)
	if err != nil {
		return nil, err
	}
	if name != who {
		return nil, fmt.Errorf("KeyPackage of %s for %s: %w", name, who, ErrProtocol)
	}
	return v, nil
}

var errNoUser = errors.New("client: leaf of no user")
