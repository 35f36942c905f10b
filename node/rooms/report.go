package rooms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Reports keeps the reports of abuse in the rooms that this provider orders, for its
// operator.
type Reports interface {
	// Put returns when the report is durable. Errors: abuse.ErrFull, abuse.ErrLarge.
	Put(ctx context.Context, r abuse.Report, v abuse.Voice) (uint64, error)
}

// Bounds of reports. A report costs its hub the reading of what it shows and a signature
// for each of the room's hubs; who may report is bounded before that, per user by the own
// provider and per provider by the hub.
const (
	maxReport   = 512 << 10 // encoded
	maxReported = 16        // messages in one report
)

var (
	userReports     = ration.Config{PerSecond: 1.0 / 60, Burst: 10}
	providerReports = ration.Config{PerSecond: 1, Burst: 60}
)

func newRations() (users, providers *ration.Ration) {
	return ration.New(userReports), ration.New(providerReports)
}

func tooManyReports(wait time.Duration) *clientapi.Problem {
	return &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: max(1, wait.Milliseconds()),
		Detail: fmt.Sprintf("too many reports; try again in %v", wait.Round(time.Second))}
}

// ReportAbuse brings a user's report to the room's hub.
func (r *Rooms) ReportAbuse(ctx context.Context, who account.Identity, id store.RoomID, a *clientapi.ReportAbuse) error {
	nonce, err := nonceOf(a.Nonce)
	if err != nil {
		return err
	}
	m, err := wire.ParseAbuseReport(a.Request, room.BodyLimits())
	if err != nil {
		return problem(422, clientapi.CodeInvalid, "the report cannot be read: %s", err)
	}
	if ok, wait := r.reporters.Take(who.User.String(), 1, r.cfg.Now()); !ok {
		return tooManyReports(wait)
	}
	// Who has left, or was removed, may still report what it has seen.
	h, err := r.once(who, id)
	if err != nil {
		return err
	}
	// In a pseudonymous room a name in it would tell the hub what it must not know.
	as, err := r.as(who.User, h.stand().URI)
	if err != nil {
		return err
	}
	if m.Reporter != "" && string(m.Reporter) != as.String() {
		return problem(422, clientapi.CodeInvalid, "a report by %.100q made by %s", m.Reporter, as)
	}
	_, err = r.bring(ctx, h, wire.EndpointReportAbuse, nonce, a.Request,
		func(ctx context.Context, id room.ID, from string, _ room.TxnNonce, raw []byte) ([]byte, error) {
			return nil, r.report(ctx, id, from, raw)
		})
	return err
}

func (r *Rooms) serveReport(ctx context.Context, q *Request) (*Response, error) {
	if err := r.report(ctx, room.IDOf([]byte(q.Subject)), q.Source, q.Body); err != nil {
		return nil, err
	}
	return &Response{Status: 201}, nil
}

// unproven is the answer to every report that does not verify, whatever is wrong with it.
var unproven = clientapi.Problem{Status: 422, Code: clientapi.CodeInvalid,
	Detail: "the report shows nothing that its user has sent to this room: who forwards a report must not change a message in it"}

// report is the hub's answer to a report of abuse (MIMI protocol section 5.9), and, in a
// pseudonymous room, that of the provider of whoever is accused, to which the hub passes it on.
func (r *Rooms) report(ctx context.Context, id room.ID, from string, raw []byte) error {
	h, err := r.lookup(id)
	if err != nil {
		return asProblem(err)
	}
	head := h.stand()
	switch {
	case slices.Contains(head.Outside, from):
		return asProblem(ErrUnknown)
	}
	took, masked := slices.Contains(head.Providers, from), false
	err = r.view(ctx, h, func(s *room.State) {
		if masked = s.Roster().Pseudonymous(); !took {
			_, took = s.MayRead(from) // it took part once: its users may have messages still
		}
	})
	elsewhere := head.Hub != r.cfg.Domain
	switch {
	case err != nil || !took:
		return asProblem(cmp.Or(err, ErrUnknown))
	case elsewhere && !masked:
		return asProblem(fmt.Errorf("the hub is %s: %w", head.Hub, errMoving))
	case r.cfg.Reports == nil && elsewhere:
		return r.notTaken("there is nowhere to keep them")
	case r.cfg.Reports == nil:
		return problem(503, clientapi.CodeUnavailable, "this provider takes no reports")
	}
	if ok, wait := r.reporting.Take(from, 1, r.cfg.Now()); !ok {
		if elsewhere {
			return r.notTaken("too many come from %s", from)
		}
		return tooManyReports(wait)
	}
	if len(raw) > maxReport {
		return problem(413, clientapi.CodeTooLarge, "a report of %d octets, at most %d", len(raw), maxReport)
	}
	m, err := wire.ParseAbuseReport(raw, room.BodyLimits())
	if err != nil {
		return problem(422, clientapi.CodeInvalid, "the report cannot be read: %s", err)
	}
	if n := len(m.Messages); n == 0 || n > maxReported {
		return problem(422, clientapi.CodeInvalid, "a report of %d messages: 1 to %d", n, maxReported)
	}
	accused, err := uri.ParseParticipant(string(m.Abuser))
	if err != nil {
		return problem(422, clientapi.CodeInvalid, "a report of %.100q, who is no user", m.Abuser)
	}
	if elsewhere {
		// It is passed on, for whose pseudonym it is; or the hub has changed under who brings it.
		switch _, own, err := r.real(nil, accused, head.URI); {
		case err != nil:
			return asProblem(err)
		case !own && accused.Provider().Domain() == r.cfg.Domain:
			return r.notTaken("%s is nobody's here", accused)
		case !own:
			return asProblem(fmt.Errorf("the hub is %s: %w", head.Hub, errMoving))
		}
		if err := r.do(ctx, h, task{catch: from}); err != nil { // it may not have come here yet
			r.log.Info("following a room for a report", "room", id, "from", from, "err", err)
		}
	}
	if m.Reporter != "" {
		u, err := uri.ParseParticipant(string(m.Reporter))
		if _, is := u.Pseudonym(); err != nil || elsewhere || is != masked || u.Provider().Domain() != from {
			return problem(422, clientapi.CodeInvalid, "a report by %.100q brought by %s", m.Reporter, from)
		}
	}
	out := abuse.Report{Room: head.URI.String(), RoomID: store.RoomID(id), Abuser: string(m.Abuser)}
	shown, err := r.judgeReport(ctx, h, m)
	switch {
	case errors.Is(err, errUnproven):
		r.counts.forged.Add(1)
		r.log.Info("a report of abuse does not verify", "room", id, "from", from)
		p := unproven
		return &p
	case err != nil:
		return asProblem(err)
	}
	out.Messages = shown
	_, err = r.cfg.Reports.Put(ctx, out, abuse.Voice{Provider: from, Reporter: string(m.Reporter), Note: m.Note, Passed: elsewhere})
	if err == nil && masked && !elsewhere {
		err = r.passReport(ctx, head.URI.String(), accused.Provider().Domain(), m)
	}
	switch {
	case errors.Is(err, abuse.ErrFull) && elsewhere:
		return r.notTaken("too many wait for the operator")
	case errors.Is(err, abuse.ErrFull):
		return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 60_000, Detail: "too many reports wait for the operator of " + r.cfg.Domain}
	case errors.Is(err, abuse.ErrLarge):
		return problem(413, clientapi.CodeTooLarge, "the report shows more than %d octets", abuse.MaxContent)
	}
	return asProblem(err)
}

// notTaken refuses a report that was passed on, for good. Its hub has it, and would say nothing
// else to this provider while it says this again: notices of the room are in the same queue.
func (r *Rooms) notTaken(why string, args ...any) error {
	return problem(409, clientapi.CodeForbidden, "reports that are passed on are not taken: "+why, args...)
}

// passReport passes a verified report on to the provider of whoever is accused: in a
// pseudonymous room that one alone knows whom it can do something about. It verifies the report
// by the log, as this provider did. Who reports is none of its business: the accused may run it.
func (r *Rooms) passReport(ctx context.Context, name, to string, m *wire.AbuseReport) error {
	if to == r.cfg.Domain {
		return nil
	}
	on := *m
	on.Reporter, on.Note = "", ""
	raw, err := on.Bytes()
	if err != nil {
		return fmt.Errorf("passing on a report of abuse: %w", err)
	}
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return r.cfg.Outbox.Put(tx, Call{Target: to, Endpoint: wire.EndpointReportAbuse.String(), Subject: name, Room: wire.IdentifierURI(name), Body: raw})
	})
}

// Whose returns which own user goes by a pseudonym in a room; the zero User for none.
func (r *Rooms) Whose(name, pseudonym string) (uri.User, error) {
	u, err := uri.ParseRoom(name)
	if err != nil {
		return uri.User{}, fmt.Errorf("a room: %w", err)
	}
	p, err := uri.ParseParticipant(pseudonym)
	if err != nil {
		return uri.User{}, fmt.Errorf("a pseudonym: %w", err)
	}
	if _, masked := p.Pseudonym(); !masked {
		return uri.User{}, nil
	}
	real, _, err := r.real(nil, p, u)
	return real, err
}

var errUnproven = errors.New("rooms: a report that shows nothing")

// judgeReport verifies all messages of a report, the good ones and the bad ones with the
// same work, and returns them. Error: errUnproven if one of them is not the accused user's
// in this room.
func (r *Rooms) judgeReport(ctx context.Context, h *handle, m *wire.AbuseReport) ([]abuse.Message, error) {
	var hubs []room.Replica
	if err := r.view(ctx, h, func(s *room.State) { hubs = append(slices.Clone(s.Former()), *s.Hub()) }); err != nil {
		return nil, err
	}
	blinds, bad := m.Blinds()
	if bad != nil {
		blinds = make([]wire.Blind, len(m.Messages))
	}
	name := h.stand().URI.String()
	var out []abuse.Message
	for i := range m.Messages {
		x := &m.Messages[i]
		said, err := content.Decode(x.Content, content.Limits{})
		if err != nil {
			said, bad = content.New(content.Origin{}, content.Text("")), errUnproven
		}
		if said.Sender != string(m.Abuser) || said.Room != name {
			bad = errUnproven
		}
		shown := &room.Reported{Frank: &x.Frank, AcceptedAt: x.AcceptedAt, Nonce: room.TxnNonce(blinds[i]),
			Plain: &room.Plain{Salt: said.Salt, Sender: said.Sender, Room: said.Room, Data: x.Content}}
		if shown.Logged, err = r.logged(h.id, shown); err != nil {
			return nil, err
		}
		hub, err := shown.Judge(r.cfg.Franker, r.cfg.Domain, hubs)
		if err != nil {
			bad = errUnproven
		}
		id, err := content.DeriveID(x.Content, said.Sender, said.Room)
		if err != nil {
			bad = errUnproven
		}
		out = append(out, abuse.Message{ID: id.String(), Text: said.Text(), Content: x.Content, AcceptedAt: time.UnixMilli(int64(x.AcceptedAt)).UTC(),
			Hub: hub, Frank: x.Frank.ServerFrank})
	}
	if bad != nil {
		return nil, errUnproven
	}
	return out, nil
}

// logged looks for a reported message among the entries of its time.
func (r *Rooms) logged(id room.ID, x *room.Reported) (found bool, err error) {
	err = r.cfg.Store.View(func(tx *store.Tx) error {
		found = false
		head, err := logstore.ReadHead(tx, id)
		if err != nil {
			return err
		}
		seq, err := r.since(tx, id, x.AcceptedAt, head.At.Next)
		for end := min(head.At.Next, seq+batchEntries); err == nil && !found && seq < end; seq++ {
			var e *room.Entry
			if e, err = r.readEntry(tx, id, seq); err == nil {
				if found = x.Holds(e); e.AcceptedAt > x.AcceptedAt {
					return nil
				}
			}
		}
		return err
	})
	return found, err
}

// since returns the first entry that was accepted at a time or later. Times never fall
// along a log, so the place is found by halving.
func (r *Rooms) since(tx *store.Tx, id room.ID, at, end uint64) (seq uint64, err error) {
	for seq < end {
		mid := seq + (end-seq)/2
		e, err := r.readEntry(tx, id, mid)
		if err != nil {
			return 0, err
		}
		if e.AcceptedAt < at {
			seq = mid + 1
		} else {
			end = mid
		}
	}
	return seq, nil
}
