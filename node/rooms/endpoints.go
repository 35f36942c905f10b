package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Endpoints between providers beside MIMI's. Bodies are room.Stands; the subject
// is the room's id for EndpointLog and the asked provider's domain for the others.
const (
	// EndpointLog answers with a room.Piece from where the one stand of the
	// request is, or with nothing if there is no more.
	EndpointLog = "mimid-log"
	// EndpointHeads answers with the stands of those rooms that are further here, or end
	// with another entry at the same place.
	EndpointHeads = "mimid-heads"
	// EndpointNudge says that rooms went on which the asked provider did not hear
	// of. The response is empty.
	EndpointNudge = "mimid-nudge"
	// EndpointBegun says that a room has begun, in whose first entry users of the asked
	// provider take part: one with fixed membership. The subject is the room's URI, body and
	// response are empty. MIMI's notify has no message for that.
	EndpointBegun = "mimid-begun"
	// EndpointFranking answers with the key of the provider's franks, which rooms that
	// it becomes a replica of name.
	EndpointFranking = "mimid-franking"
	// EndpointRecruit asks whether the provider would be a replica of a room in which none
	// of its users takes part: a replica.RecruitAsk, answered by a replica.RecruitAnswer.
	EndpointRecruit = "mimid-recruit"
	// EndpointWilling answers with the domain of the asked provider, if that offers to be
	// a replica of others' rooms: who finds a node in the DHT does not know whose it is.
	EndpointWilling = "mimid-willing"
	// EndpointRecord answers with the record of a provider, as that one has signed it
	// (overlay.MaxRecord), or with nothing: of providers that are gone, whose keys a room's
	// log rests on, for who takes part in the room. The subject is the room's id, the body
	// its 32 octets and the provider's domain.
	EndpointRecord = "mimid-record"
	// EndpointEphemeral brings what a member tells the others beside the log, which nobody
	// keeps; the subject is the room's URI.
	EndpointEphemeral = "mimid-ephemeral"
)

// Request is a call by another provider, authenticated.
type Request struct {
	Source  string // domain
	Subject string
	Room    wire.IdentifierURI
	ID      [16]byte
	Body    []byte
}

// Response is its answer.
type Response struct {
	Status int
	Body   []byte
}

// Endpoint handles the calls of one endpoint. An error is a *clientapi.Problem,
// or something inside that is nobody's business.
type Endpoint func(ctx context.Context, q *Request) (*Response, error)

// Endpoints returns what other providers may call.
func (r *Rooms) Endpoints() map[string]Endpoint {
	return map[string]Endpoint{
		wire.EndpointSubmitMessage.String(): r.serveMessage,
		wire.EndpointUpdate.String():        r.serveUpdate,
		wire.EndpointGroupInfo.String():     r.serveGroupInfo,
		wire.EndpointNotify.String():        r.serveNotify,
		wire.EndpointReportAbuse.String():   r.serveReport,
		EndpointLog:                         r.serveLog,
		EndpointHeads:                       r.serveHeads,
		EndpointNudge:                       r.serveNudge,
		EndpointBegun:                       r.serveBegun,
		EndpointReplica:                     r.serveReplica,
		EndpointFranking:                    r.serveFranking,
		EndpointRecruit:                     r.serveRecruit,
		EndpointWilling:                     r.serveWilling,
		EndpointRecord:                      r.serveRecord,
		EndpointEphemeral:                   r.serveEphemeral,
		EndpointHidden:                      r.serveHidden,
	}
}

func ok(body []byte, err error) (*Response, error) {
	if err != nil {
		return nil, err
	}
	return &Response{Status: 200, Body: body}, nil
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// asProblem says in a client's or provider's terms why something cannot be done;
// what is not listed is internal.
func asProblem(err error) error {
	var p *clientapi.Problem
	switch {
	case err == nil || errors.As(err, &p):
		return err
	case errors.Is(err, ErrUnknown), errors.Is(err, store.ErrNotFound):
		return problem(404, clientapi.CodeNotFound, "there is no such room here, or it is not yours to see")
	case errors.Is(err, errExists):
		return problem(409, clientapi.CodeExists, "a room with this URI exists already; choose another")
	case errors.Is(err, room.ErrTag):
		return problem(422, clientapi.CodeInvalid, "%s", err)
	case errors.Is(err, errLarge):
		return problem(413, clientapi.CodeTooLarge, "%s", err)
	case errors.Is(err, ErrBusy):
		return &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: 1000, Detail: "too much is waiting for this room; try again in a second"}
	case errors.Is(err, errMoving), errors.Is(err, hub.ErrNotHub), errors.Is(err, hub.ErrWait), errors.Is(err, room.ErrSettling), errors.Is(err, errLong):
		return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 200, Detail: fmt.Sprintf("try again: %s", err)}
	case errors.Is(err, store.ErrDiskFull):
		return problem(503, clientapi.CodeUnavailable, "the provider's disk is full; nothing was written; try again later")
	case errors.Is(err, ErrNoKey):
		return problem(503, clientapi.CodeUnavailable, "the room's hub lacks the key that the room is ordered with; its operator has to put it back")
	case errors.Is(err, ErrStopped), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFailed):
		return problem(503, clientapi.CodeUnavailable, "the provider is starting or stopping; try again")
	case errors.Is(err, errParted):
		return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 5000,
			Detail: fmt.Sprintf("%s; come back into it with `mimid client room rejoin`", err)}
	case errors.Is(err, errConflict):
		return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 5000, Detail: fmt.Sprintf("%s: `mimid client room move`", err)}
	case errors.Is(err, ErrBroken):
		return problem(409, clientapi.CodeForbidden, "this provider cannot follow the room any further: %s", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem(503, clientapi.CodeUnavailable, "the room did not answer in time; try again with the same nonce")
	}
	return err
}

// submission hands a submission to the room's goroutine and waits.
func (r *Rooms) submission(ctx context.Context, h *handle, s *submission) (result, error) {
	s.result = make(chan result, 1)
	if err := r.send(h, task{submit: s}); err != nil {
		return result{}, err
	}
	select {
	case res := <-s.result:
		return res, res.err
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
}

// refusal says whether an error is about the submission itself, which its sender
// may know in full.
func refusal(err error) bool {
	for _, target := range []error{room.ErrPolicy, room.ErrPending, room.ErrSubmission, room.ErrHosting, room.ErrBody, room.ErrWrongRoom, room.ErrEnded,
		mls.ErrBadSignature, mls.ErrBadCredential, mls.ErrBadProposal, mls.ErrProposalList, mls.ErrUnknownProposal, mls.ErrBadLeaf,
		mls.ErrCapabilities, mls.ErrDuplicateKey, mls.ErrExpired, mls.ErrBadPath, mls.ErrBadGroupInfo, mls.ErrTooLarge, mls.ErrRemoved,
		mls.ErrWrongGroup, mls.ErrUnknownSender, mls.ErrBadTree, mls.ErrUnsupported, wire.ErrCombination} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// message is the hub's answer to a message (MIMI protocol section 5.4).
func (r *Rooms) message(ctx context.Context, id room.ID, from string, nonce room.TxnNonce, raw []byte) ([]byte, error) {
	req, err := wire.ParseSubmitMessageRequest(raw, room.BodyLimits())
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the message cannot be read: %s", err)
	}
	h, err := r.lookup(id)
	if err != nil {
		return nil, asProblem(err)
	}
	return r.answerMessage(ctx, h, &submission{from: from, txn: room.TxnIDOf(nonce, raw), nonce: nonce, message: req})
}

// answerMessage orders a message and answers it.
func (r *Rooms) answerMessage(ctx context.Context, h *handle, s *submission) ([]byte, error) {
	res, err := r.submission(ctx, h, s)
	if s.hidden != nil {
		if bad := hiddenProblem(err); bad != nil {
			r.counts.refused.Add(1)
			return nil, bad
		}
	}
	out := &wire.SubmitMessageResponse{}
	switch {
	case err == nil:
		out.AcceptedAt, out.Frank = res.acceptedAt, res.frank
	case errors.Is(err, room.ErrEpoch) && s.message.Message.Private.Epoch() < res.epoch:
		out.Code, out.CurrentEpoch = wire.SubmitEpochTooOld, res.epoch
	case refusal(err), errors.Is(err, room.ErrEpoch):
		r.counts.refused.Add(1)
		r.log.Debug("message refused", "room", h.id, "from", s.from, "err", err)
		out.Code = wire.SubmitNotAllowed
	default:
		return nil, asProblem(err)
	}
	return out.Bytes()
}

// update is the hub's answer to a handshake (MIMI protocol section 5.3).
func (r *Rooms) update(ctx context.Context, id room.ID, from string, nonce room.TxnNonce, raw []byte) ([]byte, error) {
	req, err := wire.ParseUpdateRequest(raw, room.BodyLimits())
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the update cannot be read: %s", err)
	}
	h, err := r.lookup(id)
	if err != nil {
		return nil, asProblem(err)
	}
	if g := req.Bundle.GroupInfo; g != nil && g.Full != nil && slices.Contains(h.stand().Providers, from) {
		// Users of providers that are new here: look those up before, not in the
		// room's goroutine. A stranger cannot make us look up any, nor can those who
		// take part make us look up more than maxLookups.
		if err := r.learnParticipants(ctx, &g.Full.Context, maxLookups, false, nil); err != nil {
			r.log.Debug("looking up providers of an update", "room", id, "err", err)
		}
	}
	submit := func() (result, error) {
		return r.submission(ctx, h, &submission{from: from, txn: room.TxnIDOf(nonce, raw), update: &req.Bundle})
	}
	res, err := submit()
	if g := req.Bundle.GroupInfo; errors.Is(err, x509auth.ErrUntrusted) && g != nil && g.Full != nil {
		if err := r.learnParticipants(ctx, &g.Full.Context, maxLookups, true, nil); err != nil {
			r.log.Debug("looking up providers of an update again", "room", id, "err", err)
		}
		res, err = submit()
	}
	out := &wire.UpdateRoomResponse{}
	switch {
	case err == nil:
		out.AcceptedAt = res.acceptedAt
	case errors.Is(err, mls.ErrWrongEpoch):
		out.Code, out.CurrentEpoch = wire.UpdateWrongEpoch, res.epoch
	case refusal(err):
		r.counts.refused.Add(1)
		r.log.Debug("update refused", "room", id, "from", from, "err", err)
		refuseUpdate(out, err)
	default:
		return nil, asProblem(err)
	}
	return out.Bytes()
}

// refuseUpdate says why a handshake is refused: invalidProposal where a proposal could be in
// no commit, whoever made it, with its reference if it has one; and notAllowed.
func refuseUpdate(out *wire.UpdateRoomResponse, err error) {
	out.Code, out.Description = wire.UpdateNotAllowed, err.Error()
	var bad *mls.ProposalError
	if errors.As(err, &bad) && !errors.Is(err, x509auth.ErrUnknownProvider) {
		out.Code = wire.UpdateInvalidProposal
		if bad.Ref != nil {
			out.InvalidProposals = [][]byte{bad.Ref}
		}
	}
}

func (r *Rooms) serveMessage(ctx context.Context, q *Request) (*Response, error) {
	return ok(r.message(ctx, room.IDOf([]byte(q.Subject)), q.Source, q.ID, q.Body))
}

func (r *Rooms) serveUpdate(ctx context.Context, q *Request) (*Response, error) {
	return ok(r.update(ctx, room.IDOf([]byte(q.Subject)), q.Source, q.ID, q.Body))
}

func (r *Rooms) publicKey() ed25519.PublicKey { return r.cfg.Key.Public().(ed25519.PublicKey) }

// serveNotify takes what a hub tells of a room: that it is there and went on, and
// Welcomes for local users (MIMI protocol section 5.5). It answers when it has
// caught up and put the Welcomes into the feeds, so the hub tells again otherwise.
func (r *Rooms) serveNotify(ctx context.Context, q *Request) (*Response, error) {
	name, err := uri.ParseRoom(q.Subject)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	msgs, err := wire.ParseFanout(q.Body, room.NoticeLimits())
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the notice cannot be read: %s", err)
	}
	h := r.obtain(room.IDOf([]byte(name.String())))
	defer r.release(h)
	if err := r.told(ctx, h, name, q); err != nil {
		return nil, err
	}
	for _, m := range msgs {
		if m.Message.Welcome == nil {
			continue
		}
		if err := r.welcomed(ctx, h, m); err != nil {
			return nil, asProblem(err)
		}
	}
	return &Response{Status: 201}, nil
}

// serveBegun follows a room that has begun.
func (r *Rooms) serveBegun(ctx context.Context, q *Request) (*Response, error) {
	name, err := uri.ParseRoom(q.Subject)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	h := r.obtain(room.IDOf([]byte(name.String())))
	defer r.release(h)
	return ok(nil, r.told(ctx, h, name, q))
}

// told catches up with a room of which its hub tells.
func (r *Rooms) told(ctx context.Context, h *handle, name uri.Room, q *Request) error {
	// Where this provider has no part in a room, as far as it knows, it cannot know the hub
	// either: the room may have moved away from where its name says that it began. The log
	// tells, which proves itself.
	head := h.stand()
	known := head != nil && (slices.Contains(head.Providers, r.cfg.Domain) || head.Hub == r.cfg.Domain || head.Member(r.cfg.Domain))
	if known && head.Hub != q.Source && !head.Member(q.Source) {
		// It may have come to order the room while this provider was away, and then the
		// others know. If nobody can be asked, it shall say it again.
		switch heard := r.askAround(ctx, h, q.Source); {
		case h.stand().Hub == q.Source:
		case !heard:
			return problem(503, clientapi.CodeUnavailable, "who orders %s cannot be found out now", name)
		default:
			return problem(403, clientapi.CodeForbidden, "%s is not the hub of %s", q.Source, name)
		}
	}
	if err := r.do(ctx, h, task{catch: q.Source}); err != nil {
		r.log.Warn("following room", "room", name, "hub", q.Source, "err", err)
		if refusal(err) {
			return problem(422, clientapi.CodeInvalid, "the room cannot be followed: %s", err)
		}
		var p *clientapi.Problem
		if errors.As(err, &p) && p.Status == 404 && !known {
			return problem(403, clientapi.CodeForbidden, "%s does not show the log of %s", q.Source, name)
		}
		return problem(503, clientapi.CodeUnavailable, "the room could not be read: %s", errText(err))
	}
	switch now := h.stand(); {
	case now == nil:
		return problem(422, clientapi.CodeInvalid, "%s shows no entry of %s", q.Source, name)
	case now.Hub != q.Source:
		return problem(403, clientapi.CodeForbidden, "%s is not the hub of %s", q.Source, name)
	}
	return nil
}

// errText keeps what is inside from leaving.
func errText(err error) string {
	var p *clientapi.Problem
	if errors.As(err, &p) {
		return p.Detail
	}
	return "see this provider's log"
}

// welcomed puts a Welcome into the feeds of the local users that the commit added,
// which is the one that made the tree.
func (r *Rooms) welcomed(ctx context.Context, h *handle, m *wire.FanoutMessage) error {
	if m.Tree == nil || m.Tree.Tree == nil {
		return problem(422, clientapi.CodeInvalid, "a Welcome without its ratchet tree")
	}
	hash := m.Tree.Tree.Hash()
	var users []uri.User
	var at room.Position
	found := false
	err := r.recent(ctx, h, hash, func(a recentAdd) {
		at, found = a.at, true
		for _, x := range a.added {
			if x.User.Provider().Domain() == r.cfg.Domain {
				users = append(users, x.User)
			}
		}
	})
	if err != nil {
		return err
	}
	if !found {
		// Written before a restart: search the log, and tell all local users.
		if at, found, err = r.searchCommit(ctx, h, hash, m.Timestamp); err != nil {
			return err
		}
		if !found {
			return problem(422, clientapi.CodeInvalid, "no commit of the room makes the Welcome's ratchet tree")
		}
		err = r.view(ctx, h, func(s *room.State) { users = r.localUsers(s.URI(), s.Participants()) })
		if err != nil {
			return err
		}
	}
	name := h.stand().URI
	return r.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		// A hub tells again until it hears the answer.
		if first, err := r.cfg.Feed.Once(tx, h.id, at.Next); err != nil || !first {
			return err
		}
		return r.tellWelcome(tx, name, users, m.Message.Welcome, m.Tree.Tree, at)
	})
}

// recent asks the room's goroutine for whom a commit added.
func (r *Rooms) recent(ctx context.Context, h *handle, tree []byte, f func(recentAdd)) error {
	h.mu.Lock()
	l := h.live
	h.mu.Unlock()
	if l == nil {
		return nil
	}
	return r.view(ctx, h, func(*room.State) {
		// On the goroutine of the live room that is there now, which may be
		// another than l; then the adds are gone.
		h.mu.Lock()
		same := h.live == l
		h.mu.Unlock()
		if same {
			if a, ok := l.adds.find(tree); ok {
				f(a)
			}
		}
	})
}

// Bounds of the search for a commit: entries in all, and in one snapshot of the
// store, which a long look would keep from discarding what is old.
const (
	maxSearch  = 4 * batchEntries
	searchPage = 256
)

// searchCommit finds the commit that made a tree, from the time on at which it was
// accepted.
func (r *Rooms) searchCommit(ctx context.Context, h *handle, tree []byte, at uint64) (p room.Position, found bool, err error) {
	var seq, end uint64
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		head, err := logstore.ReadHead(tx, h.id)
		if err != nil {
			return err
		}
		end = head.At.Next
		seq, err = r.since(tx, h.id, at, end)
		return err
	})
	end = min(end, seq+r.searchLimit)
	for err == nil && !found && seq < end {
		if err := ctx.Err(); err != nil {
			return p, false, err
		}
		err = r.cfg.Store.View(func(tx *store.Tx) error {
			for stop := min(seq+searchPage, end); seq < stop && !found; seq++ {
				e, err := r.readEntry(tx, h.id, seq)
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
				if i := b.Info(); i != nil && slices.Equal(i.Context.TreeHash, tree) {
					p, found = room.Position{Term: e.Term, Next: e.Seq + 1, Last: e.Hash(), AcceptedAt: e.AcceptedAt}, true
				}
			}
			return nil
		})
	}
	return p, found, err
}

func (r *Rooms) readEntry(tx *store.Tx, id room.ID, seq uint64) (*room.Entry, error) {
	r.counts.searched.Add(1)
	return logstore.ReadEntry(tx, id, seq)
}

// serveLog hands out a range of a room's log to a provider that takes part, or up
// to the entry with which it ceased to.
func (r *Rooms) serveLog(ctx context.Context, q *Request) (*Response, error) {
	stands, err := room.ParseStands(q.Body)
	if err != nil || len(stands) != 1 || stands[0].Room.String() != q.Subject {
		return nil, problem(422, clientapi.CodeInvalid, "one stand in the room %s is asked for", q.Subject)
	}
	h, err := r.lookup(stands[0].Room)
	if err != nil {
		return nil, asProblem(err)
	}
	// Who takes part is read from the same snapshot as the entries: who is removed
	// between two looks would read what came after.
	var body []byte
	takesPart := false
	read := func(tx *store.Tx, last uint64) error {
		from, err := parting(tx, h.id, stands[0])
		if err != nil {
			return err
		}
		// Where a provider stopped following a piece ends, so that whoever reads it has a
		// head to show that provider its end with. A batch that is longer, written before
		// its writer had such a head, goes as it is.
		limit := min(rangeBytes, 2*r.cfg.BatchBytes)
		cut, found, err := logstore.NextDeparture(tx, h.id, from)
		if err != nil {
			return err
		}
		var entries [][]byte
		var b *logstore.Batch
		if found && cut < last {
			entries, b, err = logstore.Range(tx, h.id, from, cut, limit)
		}
		if err == nil && b == nil {
			entries, b, err = logstore.Range(tx, h.id, from, last, limit)
		}
		if err == nil && b != nil {
			if last == ^uint64(0) {
				body, err = r.overTail(tx, h.id, entries, b)
			}
			if err == nil && body == nil {
				body = room.AppendPiece(nil, &b.Head, entries, certifiedOf(b))
			}
		} else if err == nil && last == ^uint64(0) {
			body, err = r.tailPiece(tx, h.id, from)
		}
		return err
	}
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		head, err := logstore.ReadHead(tx, h.id)
		if err != nil {
			return err
		}
		if takesPart = slices.Contains(head.Providers, q.Source); !takesPart {
			return nil
		}
		return read(tx, ^uint64(0))
	})
	if err != nil || takesPart {
		return ok(body, asProblem(err))
	}
	var last uint64
	may := false
	err = r.view(ctx, h, func(s *room.State) {
		if last, may = s.MayRead(q.Source); slices.Contains(s.Outside(), q.Source) {
			return // recruited by what is not final, perhaps not without it
		} else if may {
			last = min(last, s.At().Next-1) // if it takes part again since: to here, for now
		}
	})
	if err == nil && !may {
		err = ErrUnknown
	}
	if err == nil {
		err = r.cfg.Store.View(func(tx *store.Tx) error { return read(tx, last) })
	}
	return ok(body, asProblem(err))
}

func (r *Rooms) serveHeads(_ context.Context, q *Request) (*Response, error) {
	stands, err := room.ParseStands(q.Body)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	var out []room.Stand
	for _, s := range stands {
		h, err := r.lookup(s.Room)
		if err != nil {
			continue
		}
		head := h.stand()
		next := max(head.At.Next, h.tip.Load())
		if ahead(room.Stand{Term: head.At.Term, Next: next}, room.Position{Term: s.Term, Next: s.Next}) && (slices.Contains(head.Providers, q.Source) || head.Member(q.Source)) {
			told := room.Stand{Room: s.Room, Term: head.At.Term, Next: next}
			if next == head.At.Next {
				told.Last = head.At.Last
			}
			out = append(out, told)
		} else if forked(s, head.At) && r.fellows(head, q.Source) {
			out = append(out, standOf(s.Room, head))
		}
	}
	return ok(room.AppendStands(nil, out), nil)
}

func (r *Rooms) serveNudge(_ context.Context, q *Request) (*Response, error) {
	if err := r.compare(q.Source, q.Body); err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	return ok(nil, nil)
}

func (r *Rooms) serveFranking(context.Context, *Request) (*Response, error) {
	return ok(r.cfg.Replica().FrankingKey, nil)
}
