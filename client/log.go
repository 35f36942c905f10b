package client

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// errWait: an entry cannot be judged before a provider's key is known.
var errWait = errors.New("client: waiting for a provider's key")

// partBytes is how much of a piece is written in one transaction, about: a Storage
// holds no more than so much in one, and a client that was away gets long pieces.
const partBytes = 32 << 10

// take follows a piece of a room's log. What follows from it, the position after
// it and what else is in the batch are one transaction; of a long piece its end is,
// and what comes before is written before, in parts.
func (c *Client) take(b *batch, id room.ID, raw [][]byte, head []byte) error {
	r := c.rooms[id]
	if r == nil {
		c.hintOfRoom(id)
	}
	if r == nil || r.State == roomLeft || r.State == roomStopped || r.State == roomParted {
		return c.commit(b)
	}
	if p := r.partedBy(raw); p != nil {
		c.part(b, r, p)
		return c.commit(b)
	}
	entries, err := c.verify(r, raw, head)
	if err != nil {
		// The cursor moves on; what is missing is asked for.
		r.fetch = true
		r.fetching.failed(c.cfg.Now(), c.cfg.Retry, 0)
		if !r.badLog {
			r.badLog = true
			b.tell(Problem{r.uri, fmt.Errorf("log of %s: %w: %w", r.uri, ErrLog, err)})
		}
		return c.commit(b)
	}
	if len(entries) == 0 {
		return c.commit(b)
	}
	if err := c.swapped(r, entries); err != nil {
		if bad := c.commit(b); bad != nil {
			return bad
		}
		return c.refusedEntry(r, err)
	}
	r.badLog = false
	part := new(batch)
	for _, e := range entries {
		if part.size() > partBytes {
			r.save(part)
			if err := c.commit(part); err != nil {
				return err
			}
			part = new(batch)
		}
		err := c.entry(part, r, e)
		if errors.Is(err, errWait) {
			r.fetch = true
			r.fetching.failed(c.cfg.Now(), c.cfg.Retry, 0)
			break
		}
		if err != nil {
			return err
		}
		if r.State == roomStopped {
			break
		}
		r.At = room.Position{Term: e.Term, Next: e.Seq + 1, Last: e.Hash(), AcceptedAt: e.AcceptedAt}
		if r.State == roomLeft {
			break
		}
	}
	r.save(part)
	b.add(part)
	return c.commit(b)
}

// entry follows one entry. Its errors are errWait, and those that end Run.
func (c *Client) entry(b *batch, r *roomState, e *room.Entry) error {
	switch {
	case r.State == roomCreating && e.Kind == room.KindCreate:
		w := c.wishBy(r, e.Txn)
		if w == nil {
			return c.diverge(b, r, fmt.Errorf("another room of this name exists: %w", room.ErrPolicy))
		}
		r.State = roomJoined
		c.noteDirect(r, r.group.Public().Context())
		b.tell(RoomJoined{r.uri})
		c.wishDone(b, w, nil)
	case (r.State == roomJoined || r.State == roomLost) && (e.Kind == room.KindHubChange || e.Kind == room.KindSettled):
		return c.moved(b, r, e)
	case r.State == roomLost && r.attempt != nil && e.Kind == room.KindHandshake && e.Txn == r.attempt.txn:
		return c.reenter(b, r, e)
	case r.State == roomJoined && e.Kind == room.KindMessage:
		return c.message(b, r, e)
	case r.State == roomLost && e.Kind == room.KindHandshake:
		// Others' commits cannot be read, but whom they let decide can.
		if h, err := room.ParseHandshake(e.Body); err == nil && h.Info() != nil {
			r.Lead = r.Lead.FollowInfo(h.Info(), e)
			if end, err := room.TombstoneOf(&h.Info().Context); err == nil && end != nil && r.Peer != "" {
				if err := c.yielded(b, r, end.Successor); err != nil {
					return err
				}
				return c.leaveGroup(b, r, roomLeft, "the room was ended")
			}
		}
	case r.State == roomLost && e.Kind == room.KindMessage:
		// Others' cannot be read; own ones are known by their ciphertext.
		if body, err := room.ParseMessage(e.Body); err == nil {
			hash := sha256.Sum256(body.Message.Bytes())
			if o := c.outItemBy(r, hash[:]); o != nil {
				return c.finalMessage(b, r, o, body, e)
			}
		}
	case r.State == roomJoined && e.Kind == room.KindHandshake:
		return c.handshake(b, r, e)
	case r.State == roomJoined:
		return c.diverge(b, r, fmt.Errorf("%s: %w", e.Kind, room.ErrKind))
	}
	return nil
}

// decided follows what a commit does to the replica set.
func (r *roomState) decided(ch *mls.Change, e *room.Entry) (err error) {
	r.hostingAt = time.Time{}
	r.Lead, err = r.Lead.FollowCommit(e, ch)
	return err
}

// anchorless says whether an error may pass when providers' keys are known.
func (c *Client) anchorless(r *roomState, err error) bool {
	if errors.Is(err, x509auth.ErrUnknownProvider) {
		return true // anchors has noted which
	}
	if errors.Is(err, x509auth.ErrUntrusted) && c.cfg.Now().Sub(r.refreshed) > time.Hour {
		r.refreshed = c.cfg.Now()
		c.trust.refresh()
		return true
	}
	return false
}

// diverge deals with an entry that this member cannot follow. Where the hub has
// broken the room's rules, it is followed no further; otherwise the fault is
// here, and the group is entered again.
func (c *Client) diverge(b *batch, r *roomState, err error) error {
	err = fmt.Errorf("following %s: %w", r.uri, err)
	for _, sentinel := range []error{room.ErrPolicy, room.ErrPending, room.ErrHosting, room.ErrBody, room.ErrKind} {
		if errors.Is(err, sentinel) {
			b.tell(Problem{r.uri, err})
			return c.leaveGroup(b, r, roomStopped, err.Error())
		}
	}
	b.tell(Rejoining{r.uri, err})
	return c.leaveGroup(b, r, roomLost, err.Error())
}

// handshake follows a commit or proposals.
func (c *Client) handshake(b *batch, r *roomState, e *room.Entry) error {
	at := time.UnixMilli(int64(e.AcceptedAt))
	h, err := room.ParseHandshake(e.Body)
	if err != nil {
		return c.diverge(b, r, err)
	}
	own := c.wishBy(r, e.Txn)
	if own != nil && own.Staged != nil {
		s, err := r.group.LoadStaged(own.Staged)
		if err == nil {
			err = c.judge(r, s.Change, at)
		}
		if err == nil {
			r.overhears(s.Change)
			err = r.group.Merge(s)
		}
		if err == nil {
			err = r.decided(s.Change, e)
		}
		if err != nil {
			return c.diverge(b, r, err)
		}
		return c.committed(b, r, s.Change, own)
	}
	var all []*mls.Received
	var changes []*mls.Change
	for _, m := range append([]*mls.Message{h.Bundle.Message}, h.Bundle.MoreProposals...) {
		x, err := r.group.Process(m, at)
		if err != nil {
			if c.anchorless(r, err) {
				return errWait
			}
			return c.diverge(b, r, err)
		}
		all = append(all, x)
		changes = append(changes, x.Change)
	}
	if err := r.roster.JudgeAll(r.group.Public(), changes, &r.Lead, e.AcceptedAt, c.trust.anchors); err != nil {
		if c.anchorless(r, err) {
			return errWait
		}
		return c.diverge(b, r, err)
	}
	if all[0].Commit != nil {
		r.overhears(all[0].Change)
	}
	for _, x := range all {
		if err := r.group.Apply(x); err != nil {
			return c.diverge(b, r, err)
		}
	}
	if all[0].Commit != nil {
		if err := r.decided(all[0].Change, e); err != nil {
			return c.diverge(b, r, err)
		}
		return c.committed(b, r, all[0].Change, nil)
	}
	if own != nil { // the own wish to leave
		c.wishOrdered(b, own)
	}
	return c.deserted(b, r)
}

// judge says whether the room's policy allows a change of its group.
func (c *Client) judge(r *roomState, ch *mls.Change, at time.Time) error {
	return c.judgeAs(r, ch, &r.Lead, at)
}

func (c *Client) judgeAs(r *roomState, ch *mls.Change, lead *room.Lead, at time.Time) error {
	return r.roster.Judge(r.group.Public(), ch, lead, uint64(max(0, at.UnixMilli())), c.trust.anchors)
}

// moved follows an entry that says who orders the room or who decides.
func (c *Client) moved(b *batch, r *roomState, e *room.Entry) error {
	if e.Kind == room.KindHubChange {
		hc, err := room.ParseHubChange(e.Body)
		if err != nil {
			return c.diverge(b, r, err)
		}
		if hc.Via == room.ByMove {
			return c.movedByCommit(b, r, e, hc)
		}
	}
	lead, _, err := r.Lead.Follow(e, r.At, func(domain string) bool { return r.active(domain) }, c.trust.anchors)
	if err != nil {
		if c.anchorless(r, err) {
			return errWait
		}
		return c.diverge(b, r, err)
	}
	c.ledBy(b, r, lead)
	return nil
}

// ledBy draws the consequences of what the log says now of who orders the room and who
// decides.
func (c *Client) ledBy(b *batch, r *roomState, lead room.Lead) {
	was := r.Lead.Hub.Domain
	r.Lead = lead
	if lead.Hub.Domain == was {
		return
	}
	r.silent, r.stalls = false, false
	b.tell(HubChanged{r.uri, lead.Hub.Domain})
	// What the old hub took and did not finish is the new one's to take. It knows
	// what it has by its transaction id.
	for _, o := range c.outboxOf(r) {
		if o.Accepted {
			o.Accepted = false
			o.save(b)
		}
	}
	for _, w := range c.wishesOf(r) {
		if w.Answered && !w.Ordered {
			w.Answered = false
			w.save(b)
		}
	}
	r.sending.fails, r.sending.at, r.changing.fails, r.changing.at = 0, time.Time{}, 0, time.Time{}
}

// active says whether a provider takes part in the room, as far as this device knows.
func (r *roomState) active(domain string) bool {
	if r.group == nil {
		return true // it cannot tell; whoever may, has checked it
	}
	return slices.Contains(r.providers(), domain)
}

// removal says, of a commit that takes this device out of a room, how that came.
func (c *Client) removal(r *roomState, ch *mls.Change) string {
	by := ""
	if u, ok := r.roster.User(ch.Sender.Leaf); ok && ch.Sender.Type == mls.SenderMember {
		by = " by " + r.shown(u).Short()
	}
	list, err := room.ParticipantsOf(ch.Context)
	if err != nil {
		return "removed from the room" + by
	}
	switch i := slices.IndexFunc(list, func(p wire.UserRolePair) bool { return string(p.User) == c.as(r).String() }); {
	case i < 0 && r.strayed(ch) != "":
		return r.strayed(ch)
	case i < 0:
		return "removed from the room" + by
	case roleOf(list[i]) == policy.Banned && enforced(ch, i):
		return "banned from the room by " + r.Lead.Hub.Domain + ", the provider that orders it"
	case roleOf(list[i]) == policy.Banned:
		return "banned from the room" + by
	}
	return "this device was removed from the room" + by + "; its user still takes part"
}

// enforced says whether a commit takes up what the hub proposed about a participant.
func enforced(ch *mls.Change, index int) bool {
	return slices.ContainsFunc(ch.Proposals, func(p *mls.UsedProposal) bool {
		a := p.Proposal.AppData
		if p.Sender.Type != mls.SenderExternal || p.Proposal.Type != mls.ProposalAppDataUpdate || a.Component != wire.ComponentParticipantList {
			return false
		}
		up, err := wire.ParseParticipantListUpdate(a.Update, room.BodyLimits())
		return err == nil && slices.ContainsFunc(up.Changed, func(c wire.UserIndexRolePair) bool { return int(c.Index) == index })
	})
}

// committed draws the consequences of a commit that the group has merged.
func (c *Client) committed(b *batch, r *roomState, ch *mls.Change, own *wish) error {
	r.commitAt = time.Time{}
	if r.group.Removed() {
		for _, m := range ch.Added {
			// Whoever replaces this leaf by one of the same client is this client: it
			// rejoined, and was stopped before it knew.
			if c.sameDevice(r, m.Node) {
				b.tell(Rejoining{r.uri, errors.New("coming back was interrupted")})
				return c.leaveGroup(b, r, roomLost, "coming back was interrupted")
			}
		}
		reason := c.removal(r, ch)
		for _, w := range c.wishesOf(r) {
			if w.Kind == wishLeave {
				reason = "left the room"
			}
		}
		return c.leaveGroup(b, r, roomLeft, reason)
	}
	if r.mask != nil {
		if err := c.maskCommitted(b, r, ch, own); err != nil {
			return c.diverge(b, r, err)
		}
	}
	before := map[uri.User]int{}
	touched := func(u uri.User) { before[u] = r.roster.Clients(u) }
	var leaves []*mls.LeafNode
	for _, m := range ch.Removed {
		if u, ok := r.roster.User(m.Leaf); ok {
			touched(u)
		}
	}
	for _, m := range ch.Added {
		leaves = append(leaves, m.Node)
		if u, err := room.UserOf(m.Node); err == nil {
			touched(u)
		}
	}
	for _, m := range ch.Updated {
		leaves = append(leaves, m.New)
	}
	by, _ := r.roster.User(ch.Sender.Leaf) // nobody, if ch.Sender is no member
	if err := r.roster.Apply(ch); err != nil {
		return c.diverge(b, r, err)
	}
	if end, err := room.TombstoneOf(ch.Context); err == nil && end != nil {
		return c.roomEnded(b, r, own, by, end)
	}
	c.tellSuccession(b, r, by)
	c.tellRecruit(b, r)
	n := MembersChanged{Room: r.uri}
	for u, was := range before {
		switch now := r.roster.Clients(u); {
		case was == 0 && now > 0:
			n.Added = append(n.Added, r.shown(u))
		case was > 0 && now == 0:
			n.Removed = append(n.Removed, r.shown(u))
		}
	}
	if len(n.Added)+len(n.Removed) > 0 {
		byName := func(x, y uri.User) int {
			if x.String() < y.String() {
				return -1
			}
			return 1
		}
		slices.SortFunc(n.Added, byName)
		slices.SortFunc(n.Removed, byName)
		b.tell(n)
	}
	c.noteUsers(b, r, leaves)
	r.changing.fails = 0
	for _, w := range c.wishesOf(r) {
		if w == own {
			c.wishDone(b, w, nil)
		} else {
			c.unstage(b, w) // it was made for the epoch that has ended
		}
	}
	return nil
}

// message follows a message entry. One that cannot be read is told of and
// skipped: it changes nothing for those after it.
func (c *Client) message(b *batch, r *roomState, e *room.Entry) error {
	skip := func(err error) error {
		b.unread(r, e, err)
		return nil
	}
	body, err := room.ParseMessage(e.Body)
	if err != nil {
		return skip(err)
	}
	hash := sha256.Sum256(body.Message.Bytes())
	if o := c.outItemBy(r, hash[:]); o != nil {
		return c.finalMessage(b, r, o, body, e)
	}
	x, err := r.group.Process(body.Message, time.UnixMilli(int64(e.AcceptedAt)))
	switch {
	case errors.Is(err, mls.ErrReplayed):
		// A copy of what was read before; or, this time, with a frank.
		u, err := c.takeUnfranked(b, r, hash)
		if u == nil || err != nil {
			return err
		}
		return c.readable(b, r, e, body, &messageRecord{Sender: u.Sender, Content: u.Content, Hash: hash[:]})
	case errors.Is(err, mls.ErrOwnMessage):
		return nil // a copy of what was sent and seen before
	case errors.Is(err, mls.ErrWrongEpoch) && body.Message.Private.Epoch() < r.Joined:
		return nil // sent by somebody who did not know yet that this device is here
	case err != nil:
		return skip(err)
	}
	who, err := room.UserOf(x.Leaf)
	if err != nil {
		return skip(err)
	}
	sender := who.String()
	if r.mask != nil && pseudonym.IsTold(x.Data) {
		if err := c.maskTold(b, r, x.Sender.Leaf, x.Data); err != nil {
			return skip(err)
		}
		return nil
	}
	if content.IsStatusReport(x.Data) {
		// Nobody is shown what is in it, so nobody reports it, and it has no salt.
		from, err := uri.ParseParticipant(sender)
		if err != nil {
			return skip(err)
		}
		report, err := content.DecodeStatusReport(x.Data, content.Limits{})
		if err != nil {
			return skip(err)
		}
		return c.reported(b, r, from, report, e.AcceptedAt)
	}
	return c.readable(b, r, e, body, &messageRecord{Sender: sender, Content: x.Data, Hash: hash[:]})
}

// unread tells of a message that is not shown.
func (b *batch) unread(r *roomState, e *room.Entry, err error) {
	b.tell(Problem{r.uri, fmt.Errorf("message %d of %s cannot be read: %w", e.Seq, r.uri, err)})
}

// readable shows a message that was decrypted, if all is well with it. m has its sender,
// content and hash.
func (c *Client) readable(b *batch, r *roomState, e *room.Entry, body *room.Message, m *messageRecord) error {
	skip := func(err error) error {
		b.unread(r, e, err)
		return nil
	}
	sender := m.Sender
	m.Seq, m.AcceptedAt, m.State = e.Seq, e.AcceptedAt, StateFinal
	said, err := content.Decode(m.Content, content.Limits{})
	if err == nil {
		err = r.franked(m, body, e, said)
	}
	if hubsFault(err) {
		c.keepUnfranked(b, r, m)
		return skip(err)
	}
	b.del(tableUnfranked(r.id), hex.EncodeToString(m.Hash))
	if err == nil {
		err = said.CheckExpiry(time.UnixMilli(int64(e.AcceptedAt)))
	}
	if err != nil {
		return skip(err)
	}
	from, err := uri.ParseParticipant(sender)
	if err != nil {
		return skip(err)
	}
	refused := new(policy.Refusal)
	at := time.UnixMilli(int64(e.AcceptedAt))
	if err := r.lasts(said, at); err != nil {
		return skip(fmt.Errorf("%s: %w", from, err))
	}
	if err := c.permits(b, r, from, said); errors.As(err, &refused) {
		return skip(fmt.Errorf("%s: %w", from, err))
	} else if err != nil {
		return err
	}
	id, err := content.DeriveID(m.Content, sender, r.uri.String())
	if err != nil {
		return skip(err)
	}
	if at, index, err := c.find(b, r, id); err != nil {
		return err
	} else if index != nil {
		return c.again(b, at, marshal(*index), m) // encrypted again by its sender
	}
	m.ID, m.Also = id, c.idsIn(r, m)
	m.Untold = r.Into != ""
	if x := said.Expires; x != nil && !x.Relative && !x.At(at).After(c.cfg.Now()) {
		r.NextMessage++ // it has ended before it came; only its id is kept
		b.put(tableIDs(r.id), string(id[:]), r.NextMessage-1)
		return nil
	}
	c.addMessage(b, r, m)
	if x := said.Expires; x != nil && (!x.Relative || sender == c.as(r).String()) {
		c.endsAt(b, r, m, x, at)
	}
	c.owe(b, r, m, said, content.Delivered)
	shown, err := m.show()
	if err != nil {
		return skip(err)
	}
	shown.Sender = r.shown(shown.Sender)
	shown.Mentioned = c.mentioned(shown)
	if !m.Untold { // else it is told when it is carried over
		b.tell(MessageReceived{r.uri, *shown})
	}
	return nil
}

// find returns where a message is, by its id in a room: there, or in the one that this yields
// to. A nil index: nowhere.
func (c *Client) find(b *batch, r *roomState, id content.MessageID) (*roomState, *uint64, error) {
	index, err := c.indexOf(b, r, id)
	if index == nil && err == nil && r.Into != "" {
		r = c.current(r)
		index, err = c.indexOf(b, r, id)
	}
	return r, index, err
}

// again takes a copy of a message that is here. One that was said in a lost branch is in
// the room with it.
func (c *Client) again(b *batch, r *roomState, at []byte, m *messageRecord) error {
	var index uint64
	if err := unmarshal("where a message is", at, &index); err != nil {
		return err
	}
	if old, err := c.messageAt(b, r, index); err != nil || old == nil {
		return err // it has ended
	}
	return c.changeMessage(b, r, index, func(old *messageRecord) {
		if old.State == StateLost {
			old.State, old.Seq, old.AcceptedAt, old.Hash = StateFinal, m.Seq, m.AcceptedAt, m.Hash
		}
	})
}

// get reads a value as it will be after the batch.
func (c *Client) get(b *batch, table, name string) (v []byte, err error) {
	for _, w := range slices.Backward(b.writes) {
		if w.table == table && w.name == name {
			return w.value, nil
		}
	}
	err = c.cfg.Storage.View(func(tx Tx) (err error) {
		v, err = tx.Get(table, name)
		return err
	})
	if err != nil {
		return nil, storageError(err)
	}
	return v, nil
}

func uriOf(u uri.User) wire.IdentifierURI { return wire.IdentifierURI(u.String()) }
