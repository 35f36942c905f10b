package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Join links: whoever holds one comes into the room by itself, by an external commit that uses
// it up by one. What the room has of a link is a public key; the link is told to who makes it,
// once, and kept nowhere but in the records of those who are coming in by it.

// HeldLink is a link as who may use it holds it. It is printed without its secret, which
// Reveal returns.
type HeldLink = room.HeldLink

// ErrLink: a join link that lets nobody in. It comes with ErrRefused where the room has said
// so.
var ErrLink = errors.New("client: join link")

// LinkTerms says whom a link lets in.
type LinkTerms struct {
	// Role of who comes in; empty: that of newcomers.
	Role string
	// Uses is how often it can be used; 0: any number of times.
	Uses uint32
	// For is how long it can be used; 0: for good.
	For time.Duration
}

// Link is a link as the room's members see it.
type Link struct {
	ID      string // the beginning of its public key, by which it is revoked
	Role    string
	Uses    uint32    // how often it can still be used; 0: any number of times
	Expires time.Time // zero: never
	Expired bool      // it counts no longer, and is gone when the next link is made
}

// linkID is how people name a link; that two of a room have the same is as good as impossible.
func linkID(key [32]byte) string { return hex.EncodeToString(key[:5]) }

// MakeLink makes a join link and returns it when the room has it. Links that have expired go
// with the same commit, where this user may revoke links. If ctx ends before, the room may
// have the link all the same, which nobody holds then: RevokeLinks takes it away.
//
// Errors: ErrName for a role that there is not, ErrRefused, and those of AddUser.
func (c *Client) MakeLink(ctx context.Context, u uri.Room, t LinkTerms) (*HeldLink, error) {
	h, l := room.NewLink(u)
	if t.Uses > 0 {
		l.Uses = policy.AtMost(t.Uses)
	}
	if t.For > 0 {
		l.Expires = uint64(c.cfg.Now().Add(t.For).UnixMilli())
	}
	err := c.joined(ctx, u, func(r *roomState) (err error) {
		h.Pseudonymous = r.mask != nil
		if t.Role != "" {
			if l.Role, err = r.roles().Named(t.Role); err != nil {
				return fmt.Errorf("%w: %w", err, ErrName)
			}
		} else if l.Role, err = r.roles().Newcomer(c.roleIn(r, c.as(r))); err != nil {
			return fmt.Errorf("%w: %w", err, ErrRefused)
		}
		if r.mask != nil && !r.roles().Posts(l.Role) {
			return fmt.Errorf("who comes in by itself has to say who it is, and who is %s may say nothing; add it: %w", r.roles().Name(l.Role), ErrRefused)
		}
		return nil
	})
	if err == nil {
		err = c.change(ctx, u, &wish{Kind: wishLinks, Data: (&room.JoinLinksUpdate{Made: []room.JoinLink{l}}).Append(nil)})
	}
	if err == nil { // and with it what makes it good, so nobody can show another room for it
		err = c.joined(ctx, u, func(r *roomState) error { h.Pin(r.At); return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("making a join link to %s: %w", u, err)
	}
	return h, nil
}

// Links lists a room's join links, in the order in which they were made. Errors: ErrNoRoom,
// ErrNotReady.
func (c *Client) Links(ctx context.Context, u uri.Room) (out []Link, err error) {
	err = c.joined(ctx, u, func(r *roomState) error {
		all, err := r.links()
		if err != nil {
			return err
		}
		for _, l := range all.Links {
			x := Link{ID: linkID(l.Key), Role: r.roles().Name(l.Role)}
			if l.Uses.Set {
				x.Uses = l.Uses.N
			}
			if l.Expires > 0 {
				x.Expires = time.UnixMilli(int64(min(l.Expires, 1<<62)))
				x.Expired = !c.cfg.Now().Before(x.Expires)
			}
			out = append(out, x)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the join links of %s: %w", u, err)
	}
	return out, nil
}

// RevokeLinks takes join links away, by their ids, or the beginning of one. It returns when
// the room has them no more. Errors: ErrName for a link that there is not, ErrRefused, and
// those of AddUser.
func (c *Client) RevokeLinks(ctx context.Context, u uri.Room, ids ...string) error {
	up := new(room.JoinLinksUpdate)
	err := c.joined(ctx, u, func(r *roomState) error {
		all, err := r.links()
		if err != nil {
			return err
		}
		seen := map[[32]byte]bool{}
		for _, id := range ids {
			var of [][32]byte
			for _, l := range all.Links {
				if id != "" && strings.HasPrefix(hex.EncodeToString(l.Key[:]), strings.ToLower(id)) {
					of = append(of, l.Key)
				}
			}
			switch {
			case len(of) == 0:
				return fmt.Errorf("no link of the room has the id %.20q; `mimid client room links` lists them: %w", id, ErrName)
			case len(of) > 1:
				return fmt.Errorf("%d links of the room have ids that begin with %.20q: %w", len(of), id, ErrName)
			case !seen[of[0]]:
				seen[of[0]] = true
				up.Revoked = append(up.Revoked, of[0])
			}
		}
		return nil
	})
	if err == nil && len(up.Revoked) > 0 {
		err = c.change(ctx, u, &wish{Kind: wishLinks, Data: up.Append(nil)})
	}
	if err != nil {
		return fmt.Errorf("revoking join links of %s: %w", u, err)
	}
	return nil
}

// links returns the room's links.
func (r *roomState) links() (*room.JoinLinks, error) {
	d, err := r.group.Public().Context().Extensions.Dictionary(room.BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	return room.JoinLinksIn(d)
}

// stageLinks makes and revokes links; done: the room is as it is wished.
func (c *Client) stageLinks(r *roomState, w *wish, o *mls.CommitOptions) (done bool, err error) {
	want, err := room.ParseJoinLinksUpdate(w.Data)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	now, err := r.links()
	if err != nil {
		return false, err
	}
	at := uint64(c.cfg.Now().UnixMilli())
	has := map[[32]byte]bool{}
	var made []room.JoinLink
	var revoked [][32]byte
	for _, l := range now.Links {
		has[l.Key] = true
		if _, err := now.Usable(l.Key, at); err != nil && len(want.Made) > 0 && r.roles().May(c.roleIn(r, c.as(r)), policy.DeleteJoinCode) {
			revoked = append(revoked, l.Key)
			delete(has, l.Key)
		}
	}
	for _, l := range want.Made {
		if !has[l.Key] {
			made = append(made, l)
		}
	}
	for _, k := range want.Revoked {
		if has[k] {
			revoked = append(revoked, k)
		}
	}
	if len(made)+len(revoked) == 0 {
		return true, nil
	}
	o.Proposals = append(o.Proposals, room.ChangeLinks(made, revoked...))
	return false, nil
}

// parseAddress reads what somebody joins by: a room's URI, or a link. What may be a link's
// secret is in no error.
func parseAddress(s string) (uri.Room, *HeldLink, error) {
	s = strings.TrimSpace(s)
	name, _, isLink := strings.Cut(s, "?")
	if !isLink {
		u, err := ParseRoom(s)
		return u, nil, err
	}
	h, err := room.ParseLink(s)
	if err != nil {
		return uri.Room{}, nil, fmt.Errorf("what begins with %.255q is no join link, or not the whole of it (%w); copy it again, from mimi: to the end: %w: %w", name, err, ErrLink, ErrName)
	}
	return h.Room, h, nil
}

// linkText is a link as it is stored, which is printed as what it is.
type linkText string

// Format implements fmt.Formatter; no verb prints the link.
func (linkText) Format(s fmt.State, _ rune) { fmt.Fprint(s, "(a join link)") }

// link returns the link by which this device comes in, nil if it has none.
func (e *entering) link() *HeldLink {
	if e == nil || e.Link == "" {
		return nil
	}
	h, err := room.ParseLink(string(e.Link))
	if err != nil {
		return nil // as it would be without one: refused, if it needs one
	}
	return h
}

// swapped says whether a room that this device comes into by a link is another one than the
// link was made for: whoever answers under its name has made it up, or leads another branch.
func (c *Client) swapped(r *roomState, entries []*room.Entry) error {
	link := r.Entering.link()
	if link == nil {
		return nil
	}
	for _, e := range entries {
		entered := r.attempt != nil && e.Kind == room.KindHandshake && e.Txn == r.attempt.txn
		if err := link.Judge(e, entered); err != nil {
			return fmt.Errorf("%w: what is shown under its name is not the room that it was made for; ask whoever gave it to you: %w: %w", ErrLink, ErrRefused, err)
		}
	}
	return nil
}

// linkRefusal says to a person what a link's fault means, and what to do.
func linkRefusal(f room.LinkFault, h *HeldLink) error {
	var what, then string
	switch f {
	case room.LinkExpired:
		what, then = "it has expired", "ask whoever gave it to you for a new one"
	case room.LinkUsedUp:
		what, then = "it was used as often as it could be", "ask whoever gave it to you for a new one"
	case room.LinkRevoked:
		what, then = "it was revoked", "ask whoever gave it to you"
	default:
		what, then = "the room knows no such link", "copy it again, from mimi: to the end, or ask whoever gave it to you for a new one"
	}
	if h.Pseudonymous { // who knocks tells its name
		return fmt.Errorf("%w: %s; %s: %w", ErrLink, what, then, ErrRefused)
	}
	return fmt.Errorf("%w: %s; %s, or ask to be let in with `mimid client room knock %s`: %w", ErrLink, what, then, h.Room, ErrRefused)
}

// linkFaults are the hub's words for what is wrong with a link.
var linkFaults = map[clientapi.Code]room.LinkFault{clientapi.CodeLinkUnknown: room.LinkUnknown, clientapi.CodeLinkExpired: room.LinkExpired,
	clientapi.CodeLinkUsed: room.LinkUsedUp, clientapi.CodeLinkRevoked: room.LinkRevoked}

// refusedBy says why a hub has refused the GroupInfo of a room to this device, which holds a
// link or nil; nil if that was no refusal. It is for any goroutine.
func refusedBy(u uri.Room, link *HeldLink, err error) error {
	p, told := errors.AsType[*clientapi.Problem](err)
	switch {
	case told && link != nil && linkFaults[p.Code] != 0:
		return linkRefusal(linkFaults[p.Code], link)
	case link != nil && told && p.Code == clientapi.CodeForbidden:
		return fmt.Errorf("%w: %s: %w", ErrLink, p.Detail, ErrRefused)
	case link != nil && (errors.Is(err, errOut) || told && p.Code == clientapi.CodeNotFound):
		return fmt.Errorf("%w: %s is not there, or its provider does not know this link or your provider; ask whoever gave it to you: %w", ErrLink, u, ErrRefused)
	case errors.Is(err, errOut), told && (p.Code == clientapi.CodeNotFound || p.Code == clientapi.CodeForbidden):
		return fmt.Errorf("%w: %w", errNotLetIn, ErrRefused)
	}
	return nil
}

// entryBy returns the proposals by which this user comes in by a link.
func (c *Client) entryBy(r *roomState, h *HeldLink, g *mls.PublicGroup) ([]*mls.Proposal, error) {
	d, err := g.Context().Extensions.Dictionary(room.BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	all, err := room.JoinLinksIn(d)
	if err != nil {
		return nil, err
	}
	l, err := all.Usable(h.Key(), uint64(c.cfg.Now().UnixMilli()))
	if fault, bad := errors.AsType[*room.LinkError](err); bad {
		return nil, linkRefusal(fault.Fault, h)
	}
	if err != nil {
		return nil, err
	}
	p, err := room.UpdateParticipants(g.Context(), []room.Participant{{User: c.as(r), Role: l.Role}}, nil)
	if err != nil {
		return nil, err
	}
	return []*mls.Proposal{p, h.Use(g.GroupID(), g.Epoch(), c.as(r))}, nil
}
