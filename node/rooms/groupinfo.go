package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// A GroupInfo names all members and is large, and who has it is expected to join (MIMI
// protocol section 5.6). So it is rationed, per provider and per user who asks; what was
// taken is given back when the user's commit is in the log. A device that loses every race
// has to wait, too, which ends the race.
var (
	userEntries     = ration.Config{PerSecond: 1.0 / 10, Burst: 12}
	providerEntries = ration.Config{PerSecond: 10, Burst: 240}
)

// entries are the GroupInfos that no commit has followed yet.
type entries struct {
	users, providers *ration.Ration
}

func newEntries() entries { return entries{ration.New(userEntries), ration.New(providerEntries)} }

// followed gives back what a user took who has joined.
func (e *entries) followed(u uri.User) {
	e.users.Return(u.String(), 1)
	e.providers.Return(u.Provider().Domain(), 1)
}

func tooManyEntries(wait time.Duration) *clientapi.Problem {
	return &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: max(1, wait.Milliseconds()),
		Detail: fmt.Sprintf("many have asked for what joining takes, and not joined; try again in %v", max(wait, time.Second).Round(time.Second))}
}

// serveGroupInfo is groupInfo for other providers, who hear of a room that is not here what
// MIMI has for it. Whom a room does not let in hears notAuthorized instead, so that this is
// no secret: a room's name is given to those who are to come, and says nothing of who is in.
func (r *Rooms) serveGroupInfo(ctx context.Context, q *Request) (*Response, error) {
	body, err := r.groupInfo(ctx, room.IDOf([]byte(q.Subject)), q.Source, q.Body)
	var p *clientapi.Problem
	if errors.As(err, &p) && p.Code == clientapi.CodeNotFound {
		if name, bad := uri.ParseRoom(q.Subject); bad == nil {
			return ok((&wire.GroupInfoResponse{Room: wire.IdentifierURI(name.String()), Status: wire.GroupInfoNoSuchRoom}).Bytes())
		}
	}
	return ok(body, err)
}

// groupInfo is the hub's answer to who wants to join by itself (MIMI protocol
// section 5.6): a client of a participant, or of somebody whom the room lets in, whose
// provider asks, or somebody else's who holds a join link. To a pseudonymous room who asks
// has a pseudonym, and the leaf's signature key. Who holds a link that does not
// count is told why not, by a Problem; the draft's answer has no place for it.
func (r *Rooms) groupInfo(ctx context.Context, id room.ID, from string, raw []byte) ([]byte, error) {
	req, err := wire.ParseGroupInfoRequest(raw, room.BodyLimits())
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the request cannot be read: %s", err)
	}
	h, err := r.lookup(id)
	if err != nil {
		return nil, asProblem(err)
	}
	if ok, wait := r.entries.providers.Take(from, 1, r.cfg.Now()); !ok {
		return nil, tooManyEntries(wait)
	}
	out := &wire.GroupInfoResponse{Room: wire.IdentifierURI(h.stand().URI.String()), Status: wire.GroupInfoNotAuthorized}
	fault, err := r.learnStranger(ctx, h, from, req)
	if err != nil {
		return nil, asProblem(err)
	}
	v, err := req.Verify(room.Config(r.cfg.Rules.Auth).Authenticator, r.cfg.Now())
	if err != nil {
		r.log.Debug("GroupInfo refused", "room", id, "from", from, "err", err)
		if fault != nil {
			return nil, fault
		}
		return out.Bytes()
	}
	// Whose a pseudonym is, its provider alone knows, and has seen to it (goesAs there).
	user, err := room.UserOf(&mls.LeafNode{Credential: req.Credential, SignatureKey: req.SignatureKey})
	if err != nil || user.Provider().Domain() != from {
		return out.Bytes()
	}
	if ok, wait := r.entries.users.Take(user.String(), 1, r.cfg.Now()); !ok {
		return nil, tooManyEntries(wait)
	}
	var leaving []wire.PendingProposal
	refs, wait, err := r.leaving(ctx, h)
	switch {
	case err != nil:
		return nil, asProblem(err)
	case wait:
		return nil, &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 1000,
			Detail: "somebody is leaving the room, which a member's device has to commit before anybody joins by itself; try again in a second"}
	case len(refs) > 0:
		if leaving, err = r.proposalsOf(ctx, h, refs); err != nil {
			return nil, asProblem(err)
		}
	}
	var fill error
	err = r.view(ctx, h, func(s *room.State) {
		if s.Hub().Domain != r.cfg.Domain || req.Suite != room.Suite {
			return
		}
		err := s.MayEnter(user, v.Request().Credential)
		if err != nil && len(req.JoiningCode) > 0 {
			err = s.MayAsk(user, req.JoiningCode, req.SignatureKey, req.GroupInfoKey, uint64(r.cfg.Now().UnixMilli()))
			fill = notByLink(s, user, err)
		}
		if err != nil {
			r.log.Debug("GroupInfo refused", "room", id, "from", from, "err", err)
			return
		}
		fill = r.fillGroupInfo(s, req, leaving, out)
	})
	if err = errors.Join(err, fill); err != nil {
		return nil, asProblem(err)
	}
	return out.Bytes()
}

// notByLink is what is told to somebody who holds a link and is not let in; nil: no more than
// to anybody else.
func notByLink(s *room.State, user uri.User, why error) error {
	var fault *room.LinkError
	refusal, refused := errors.AsType[*policy.Refusal](why)
	switch {
	case why == nil:
		return nil
	case errors.As(why, &fault):
		return linkProblem(fault)
	case errors.Is(why, room.ErrEnded):
		return problem(403, clientapi.CodeForbidden, "the room has ended")
	case s.Role(user) == policy.Banned:
		return problem(403, clientapi.CodeForbidden, "you are banned from the room, and a link does not change that")
	case refused:
		return problem(403, clientapi.CodeForbidden, "the room lets nobody in by a link any more: %s", refusal)
	}
	return nil
}

func linkProblem(fault *room.LinkError) *clientapi.Problem {
	code := clientapi.CodeLinkUnknown
	switch fault.Fault {
	case room.LinkExpired:
		code = clientapi.CodeLinkExpired
	case room.LinkUsedUp:
		code = clientapi.CodeLinkUsed
	case room.LinkRevoked:
		code = clientapi.CodeLinkRevoked
	}
	return problem(403, code, "%s", fault)
}

// learnStranger looks up the provider of somebody who may want to join a room that lets
// people in, or for whom the request shows a link that counts. It has shown its key to call
// here; this finds the same, and remembers it. fault is what is wrong with a link that does
// not count, by which nobody can have anybody looked up.
func (r *Rooms) learnStranger(ctx context.Context, h *handle, from string, req *wire.GroupInfoRequest) (fault, err error) {
	open := false
	err = r.view(ctx, h, func(s *room.State) {
		if s.Hub().Domain != r.cfg.Domain {
			return
		}
		open = opened(s)
		if len(req.JoiningCode) > 0 {
			err := s.LinkStands(req.JoiningCode, req.SignatureKey, req.GroupInfoKey, uint64(r.cfg.Now().UnixMilli()))
			if x, bad := errors.AsType[*room.LinkError](err); bad {
				fault = linkProblem(x)
			}
			open = open || err == nil
		}
	})
	if err != nil || !open || len(r.cfg.Rules.Anchors(from)) > 0 || from == r.cfg.Domain {
		return fault, err
	}
	if err := r.learnBy(ctx, from, r.cfg.Peers.Resolve); err != nil {
		r.log.Debug("looking up the provider of who joins", "from", from, "err", err)
	}
	return fault, nil
}

// opened says whether people come into a room by themselves who hold no link.
func opened(s *room.State) bool {
	v := s.View()
	return v.Rules.May(policy.None, policy.OpenJoin) || len(v.Preauth.Entries) > 0
}

// letsIn says whether people come into a room by themselves, by a link or without.
func (r *Rooms) letsIn(s *room.State) bool {
	return opened(s) || s.HasLinks(uint64(r.cfg.Now().UnixMilli()))
}

func (r *Rooms) fillGroupInfo(s *room.State, req *wire.GroupInfoRequest, leaving []wire.PendingProposal, out *wire.GroupInfoResponse) error {
	tbe := &wire.GroupInfoRatchetTreeTBE{GroupInfo: s.GroupInfo(), Tree: wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: s.Group().Tree()},
		Pending: leaving}
	ct, err := tbe.Seal(room.Suite, req.GroupInfoKey, out.Room)
	if err != nil {
		return nil // a key that is none: not authorized
	}
	signer, err := r.signer(s.HubKey())
	if err != nil {
		return err
	}
	key, err := mls.ParseSignatureKey(room.Suite, signer.Seed())
	if err != nil {
		return fmt.Errorf("provider key as a signature key: %w", err)
	}
	out.Status = wire.GroupInfoSuccess
	out.Success = &wire.GroupInfoSuccessPart{Suite: room.Suite, Encrypted: ct,
		HubSender: mls.ExternalSender{SignatureKey: key.Public(), Credential: mls.BasicCredential([]byte("mimi://" + r.cfg.Domain))}}
	return out.Sign(key)
}

// leaving returns the references of the SelfRemoves that an external commit has to take up
// (MIMI protocol section 5.6). wait: with one of them a change of the participant list is
// pending, which such a commit cannot refer to. The list update would be lost with the epoch,
// and who wanted to leave would stay on the list for ever; so members' devices come first.
func (r *Rooms) leaving(ctx context.Context, h *handle) (refs map[string]bool, wait bool, err error) {
	err = r.view(ctx, h, func(s *room.State) {
		refs, wait = map[string]bool{}, false
		if s.Ended() != nil {
			return // nobody comes in, so nobody has to wait for it
		}
		lists := false
		for _, p := range s.Group().Pending() {
			switch {
			case p.Proposal.Type == mls.ProposalSelfRemove:
				refs[string(p.Ref)] = true
			case p.Proposal.Type == mls.ProposalAppDataUpdate && p.Sender.Type == mls.SenderMember:
				lists = lists || p.Proposal.AppData.Component == wire.ComponentParticipantList
			}
		}
		wait = lists && len(refs) > 0
	})
	return refs, wait, err
}

// proposalsOf finds proposals of the present epoch in the log, from its end on. Those that
// are too far back are left out: then a commit without them is refused.
func (r *Rooms) proposalsOf(ctx context.Context, h *handle, refs map[string]bool) (out []wire.PendingProposal, err error) {
	next := h.stand().At.Next
	stop := next - min(next, r.searchLimit)
	for done := false; next > stop && len(refs) > 0 && !done && err == nil; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err = r.cfg.Store.View(func(tx *store.Tx) error {
			for page := next - min(next-stop, searchPage); next > page && len(refs) > 0 && !done; next-- {
				e, err := r.readEntry(tx, h.id, next-1)
				if err != nil {
					return err
				}
				if e.Kind != room.KindHandshake {
					continue
				}
				b, err := room.ParseHandshake(e.Body)
				if err != nil {
					return err
				}
				done = b.Info() != nil // the commit that began the epoch
				for _, m := range b.Messages() {
					if ref := string(m.ProposalRef()); refs[ref] {
						delete(refs, ref)
						out = append(out, wire.PendingProposal{Proposal: m.Message(), AcceptedAt: e.AcceptedAt})
					}
				}
			}
			return nil
		})
	}
	slices.Reverse(out)
	return out, err
}
