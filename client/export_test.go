package client

import (
	"context"
	"crypto/sha256"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// SendMiscommitted sends one thing and commits to another, as a hostile device does that
// does not want to be reported.
func (c *Client) SendMiscommitted(ctx context.Context, u uri.Room, text string) error {
	said := content.New(content.Origin{Sender: c.user.String(), Room: u.String()}, content.Text(text))
	b, err := said.Encode(content.Limits{})
	if err != nil {
		return err
	}
	return c.do(ctx, func() (error, error) {
		r, w := c.rooms[room.IDOf([]byte(u.String()))], new(batch)
		m, err := r.group.Encrypt(b, mls.SendOptions{AAD: wire.NewFrankAAD(said.Salt[:], []byte("something harmless")).SafeAAD()})
		if err != nil {
			return err, nil
		}
		req, err := (&wire.SubmitMessageRequest{Message: m, SendingURI: uriOf(c.user)}).Bytes()
		if err != nil {
			return err, nil
		}
		rec := &messageRecord{Sender: said.Sender, Content: b, State: StateQueued}
		c.addMessage(w, r, rec)
		hash := sha256.Sum256(m.Bytes())
		nonce := room.MessageNonce(said.Salt, hash)
		o := &outItem{n: c.next, Room: r.id, Index: rec.Index, Content: b, Request: req, Nonce: nonce[:], Epoch: r.group.Epoch(), Hashes: [][]byte{hash[:]}}
		c.next++
		o.save(w)
		r.save(w)
		c.outbox[o.n] = o
		c.within(r.id)
		return nil, c.commit(w)
	})
}

// Looked is how often the loop has looked at a room.
func (c *Client) Looked() (n uint64) {
	c.do(context.Background(), func() (error, error) {
		c.untouched()
		n = c.looks.counted
		return nil, nil
	})
	return n
}

// Token gets a token for an anonymous request.
func (c *Client) Token(ctx context.Context, origin string) (*privacypass.Token, introduction.Week, error) {
	return c.token(ctx, origin)
}

// SendReport sends any octets in the place of a report, as a hostile device does.
func (c *Client) SendReport(ctx context.Context, u uri.Room, b []byte) error {
	return c.do(ctx, func() (error, error) {
		w := new(batch)
		c.enqueue(w, &outItem{Room: room.IDOf([]byte(u.String())), Report: true, Content: b})
		return nil, c.commit(w)
	})
}

// TypeUnjudged is SetTyping of who may not.
func (c *Client) TypeUnjudged(ctx context.Context, u uri.Room) error {
	return c.joined(ctx, u, func(r *roomState) error { return c.sayTyping(r, true) })
}

// SendUnjudged sends what the own role may not allow, as a hostile device does.
func (c *Client) SendUnjudged(ctx context.Context, u uri.Room, m *content.Message) (uint64, error) {
	return c.sendContent(ctx, u, m, func(*batch, *roomState, *content.Message) error { return nil })
}

// CommitUnjudged commits what make makes of the room, as a device does whose policy is
// switched off, and returns what the hub says.
func (c *Client) CommitUnjudged(ctx context.Context, u uri.Room, make func(*mls.PublicGroup) mls.CommitOptions) (*wire.UpdateRoomResponse, error) {
	var bundle wire.HandshakeBundle
	err := c.do(ctx, func() (error, error) {
		r := c.rooms[room.IDOf([]byte(u.String()))]
		s, err := r.group.Commit(make(r.group.Public()), c.cfg.Now())
		if err != nil {
			return err, nil
		}
		bundle = wire.HandshakeBundle{Message: s.Message, Welcome: s.Welcome, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
			Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	raw, err := (&wire.UpdateRequest{Bundle: bundle}).Bytes()
	if err != nil {
		return nil, err
	}
	n := room.NewTxnNonce()
	got := new(clientapi.SubmittedUpdate)
	if err := c.api.call(ctx, "POST", "/v1/rooms/"+room.IDOf([]byte(u.String())).String()+"/updates", &clientapi.SubmitUpdate{Request: raw, Nonce: n[:]}, got); err != nil {
		return nil, err
	}
	return wire.ParseUpdateRoomResponse(got.Response, wire.Limits{})
}

// DestroyTowards is Destroy with a successor.
func (c *Client) DestroyTowards(ctx context.Context, u, next uri.Room) error {
	return c.destroy(ctx, u, next)
}

// AnotherDirect makes a direct room whether there is one or not, as a hostile device does, with a
// name of its choice.
func (c *Client) AnotherDirect(ctx context.Context, who uri.User, fits func(uri.Room) bool) (u uri.Room, err error) {
	for u, err = c.newRoomName(); err == nil && !fits(u); {
		u, err = c.newRoomName()
	}
	if err != nil {
		return u, err
	}
	kps, err := c.claim(ctx, u, who)
	if err != nil {
		return u, err
	}
	return u, c.do(ctx, func() (err, fatal error) {
		b := new(batch)
		r, _, err := c.createAs(b, u, NewRoom{with: who})
		if err != nil {
			return err, nil
		}
		c.newWish(b, &wish{Room: r.id, Kind: wishAdd, User: who.String(), KeyPackages: kps})
		c.rooms[r.id] = r
		return nil, c.commit(b)
	})
}

// SendIn sends in exactly this room, whatever has taken its place, and whether it is allowed or
// not.
func (c *Client) SendIn(ctx context.Context, u uri.Room, m *content.Message) error {
	return c.do(ctx, func() (err, fatal error) {
		r, b := c.rooms[room.IDOf([]byte(u.String()))], new(batch)
		if _, err := c.queue(b, r, m, func(*batch, *roomState, *content.Message) error { return nil }); err != nil {
			return err, nil
		}
		return nil, c.commit(b)
	})
}

// TreesFit says whether one commit may add users of the hub's provider, and others.
func TreesFit(own, others bool, leaves int) bool { return treesFit(own, others, leaves) }

// WaitingInvitations is how many invitations may still lead to somebody being added.
func (c *Client) WaitingInvitations(ctx context.Context) (n int) {
	c.do(ctx, func() (error, error) {
		for _, v := range c.invites {
			if !v.Done {
				n++
			}
		}
		return nil, nil
	})
	return n
}

// Believes says whether a device would take an answer to a message that it sent over relays for the hub's.
func Believes(hub room.Replica, u uri.Room, nonce []byte, hidden bool, a *wire.SubmitMessageResponse) error {
	r := &roomState{uri: u}
	r.Lead.Hub = hub
	return r.believes(&outItem{Hidden: hidden, Nonce: nonce}, a)
}
