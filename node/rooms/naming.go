package rooms

import (
	"context"
	"fmt"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Pseudonyms knows which own users go by which pseudonyms; *pseudonyms.Service does. What it
// once says of a pseudonym and a room it says for good.
type Pseudonyms interface {
	// User returns whose pseudonym somebody in a room is, the zero User for nobody's here.
	User(tx *store.Tx, p uri.User, name uri.Room) (uri.User, error)
	// In returns what an own user goes by in a room, the zero User for nothing.
	In(tx *store.Tx, u uri.User, name uri.Room) (uri.User, error)
}

// maxKnown bounds how many pseudonyms are remembered; then they are read again.
const maxKnown = 1 << 16

type mask struct {
	pseudonym uri.User
	room      uri.Room
}

// real returns who takes part in a room as p, if that is an own user: p itself in an open room.
// tx may be nil.
func (r *Rooms) real(tx *store.Tx, p uri.User, name uri.Room) (u uri.User, is bool, err error) {
	if p.Provider().Domain() != r.cfg.Domain {
		return uri.User{}, false, nil
	}
	if _, masked := p.Pseudonym(); !masked {
		return p, true, nil
	}
	if r.cfg.Pseudonyms == nil {
		return uri.User{}, false, nil
	}
	r.mu.RLock()
	u, is = r.masks[mask{p, name}]
	r.mu.RUnlock()
	if is {
		return u, true, nil
	}
	look := func(tx *store.Tx) (err error) {
		u, err = r.cfg.Pseudonyms.User(tx, p, name)
		return err
	}
	if tx != nil {
		err = look(tx)
	} else {
		err = r.cfg.Store.View(look)
	}
	if err != nil || u.IsZero() {
		return uri.User{}, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.masks) >= maxKnown {
		clear(r.masks)
	}
	r.masks[mask{p, name}] = u
	return u, true, nil
}

// usersIn returns the users of this provider that take part in a room, whatever they go by.
func (r *Rooms) usersIn(name uri.Room, list []room.Participant) ([]uri.User, error) {
	var out []uri.User
	for _, p := range list {
		if !p.Active {
			continue
		}
		u, own, err := r.real(nil, p.User, name)
		if err != nil {
			return nil, fmt.Errorf("looking up whose pseudonym %s is: %w", p.User, err)
		}
		if own {
			out = append(out, u)
		}
	}
	return out, nil
}

// localUsers is usersIn for what is only told to devices: who cannot be found is not told.
func (r *Rooms) localUsers(name uri.Room, list []room.Participant) []uri.User {
	out, err := r.usersIn(name, list)
	if err != nil {
		r.log.Error("looking up who takes part", "err", err)
	}
	return out
}

// as returns what an own user goes by in a room: the pseudonym, if it has one there.
func (r *Rooms) as(u uri.User, name uri.Room) (uri.User, error) {
	if r.cfg.Pseudonyms == nil {
		return u, nil
	}
	out := u
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		p, err := r.cfg.Pseudonyms.In(tx, u, name)
		if !p.IsZero() {
			out = p
		}
		return err
	})
	return out, err
}

// goesAs refuses a leaf with which an own user would come into a room as somebody else. Of
// certificates the hub sees whose they are. Whose a pseudonym is knows this provider alone, and the
// hub takes its word for it: here is why a user has one in a room, and who is banned stays so.
func (r *Rooms) goesAs(who account.Identity, name uri.Room, l *mls.LeafNode) error {
	if l == nil || l.Credential.Type != pseudonym.CredentialType {
		return nil
	}
	p, err := room.UserOf(l)
	if err != nil {
		return problem(422, clientapi.CodeInvalid, "the pseudonym: %s", err)
	}
	as, err := r.as(who.User, name)
	if err != nil {
		return asProblem(err)
	}
	if p != as {
		r.counts.refused.Add(1)
		return problem(403, clientapi.CodeForbidden, "%s is not what %s goes by in %s", p, who.User, name)
	}
	return nil
}

// entersAs is goesAs for a handshake with which somebody may come in by itself.
func (r *Rooms) entersAs(who account.Identity, name uri.Room, raw []byte) error {
	if r.cfg.Pseudonyms == nil {
		return nil
	}
	req, err := wire.ParseUpdateRequest(raw, room.BodyLimits())
	if err != nil {
		return problem(422, clientapi.CodeInvalid, "the update cannot be read: %s", err)
	}
	m := req.Bundle.Message.Public
	if m == nil || m.Sender().Type != mls.SenderNewMemberCommit {
		return nil
	}
	return r.goesAs(who, name, m.CommitLeaf())
}

// asksAs is goesAs for a request for a GroupInfo. Nobody's name leaves for a room of which it is
// known here that it is pseudonymous.
func (r *Rooms) asksAs(ctx context.Context, who account.Identity, name uri.Room, raw []byte) error {
	req, err := wire.ParseGroupInfoRequest(raw, room.BodyLimits())
	if err != nil {
		return problem(422, clientapi.CodeInvalid, "the request cannot be read: %s", err)
	}
	if req.Credential.Type != pseudonym.CredentialType {
		h, err := r.lookup(room.IDOf([]byte(name.String())))
		if err != nil {
			return nil // it is not here
		}
		masked := false
		if err := r.view(ctx, h, func(s *room.State) { masked = s.Roster().Pseudonymous() }); err != nil {
			return nil // nor in use
		}
		if masked {
			return problem(403, clientapi.CodeForbidden, "%s is pseudonymous: who comes in asks under a pseudonym, which a link to it says", name)
		}
		return nil
	}
	return r.goesAs(who, name, &mls.LeafNode{Credential: req.Credential, SignatureKey: req.SignatureKey})
}

// attest vouches for the leaf with which an own user asks, as asksAs has found right; nothing for one
// with a certificate.
func (r *Rooms) attest(name uri.Room, raw []byte) ([]byte, error) {
	req, err := wire.ParseGroupInfoRequest(raw, room.BodyLimits())
	if err != nil {
		return nil, err
	}
	if req.Credential.Type != pseudonym.CredentialType {
		return nil, nil
	}
	c, err := pseudonym.Of(req.Credential, req.SignatureKey)
	if err != nil {
		return nil, err
	}
	id, err := room.GroupID(name)
	if err != nil {
		return nil, err
	}
	return pseudonym.Attest(r.cfg.Key, id, c.User, c.Key), nil
}

// entered is the room that somebody asks for to come into it by itself: one that is here, or whose
// URI comes along.
func (r *Rooms) entered(id store.RoomID, from *clientapi.Where) (name uri.Room, err error) {
	if from == nil {
		h, err := r.lookup(room.ID(id))
		if err != nil {
			return name, asProblem(err)
		}
		return h.stand().URI, nil
	}
	if name, err = uri.ParseRoom(from.URI); err != nil {
		return name, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	if room.IDOf([]byte(name.String())) != room.ID(id) {
		return name, problem(422, clientapi.CodeInvalid, "%s has another id than %s", name, room.ID(id))
	}
	return name, nil
}
