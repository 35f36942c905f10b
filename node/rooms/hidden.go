package rooms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Hidden messages (package room, hidden.go): a device's provider brings them to the hub over relays, and the hub
// learns neither sender nor provider. Nothing else is different: a hidden message is an entry like others, known
// by its transaction, so one that comes again, over whatever path, is answered with the entry that it is.
//
// What the provider does for others it does not do here, because it would tell who submits: a hub that leaves
// hidden messages lying is not shown to the other replicas (relay.go). If the hub is dead, who has something to
// say asks for another one, and the other replicas see which provider does.

// EndpointHidden takes a room.Hidden from nobody in particular; the subject is the room's URI, the answer MIMI's
// SubmitMessageResponse.
const EndpointHidden = "mimid-hidden"

// Veil brings requests to other providers so that these do not learn from whom, or not at all.
type Veil interface {
	// Check says whether it can be done as a user asks for; a Problem if not.
	Check(p *clientapi.Privacy) error
	// Call is as that of Peers; ID and Room are not used.
	Call(ctx context.Context, c Call) ([]byte, error)
}

const (
	// hiddenWithin is how long a submission over relays may take, the answer included.
	hiddenWithin = time.Minute
	maxHidden    = 4 << 10 // of the answer
)

// hiddenEach bounds the hidden messages of a room, since nobody can be told apart in it.
var hiddenEach = ration.Config{PerSecond: 8, Burst: 256, MaxKeys: 1 << 14}

func private(format string, args ...any) *clientapi.Problem {
	return problem(503, clientapi.CodePrivacy, format, args...)
}

// submitHidden brings a message over relays, or not at all.
func (r *Rooms) submitHidden(ctx context.Context, who account.Identity, id store.RoomID, m *clientapi.SubmitMessage, nonce room.TxnNonce, req *wire.SubmitMessageRequest) (*clientapi.SubmittedMessage, error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	head := h.stand()
	x := &room.Hidden{Nonce: nonce, Request: m.Request}
	switch {
	case len(m.Proof) != len(x.Proof):
		return nil, problem(422, clientapi.CodeInvalid, "proof of %d octets, %d are needed", len(m.Proof), len(x.Proof))
	case req.SendingURI != room.HiddenSender(head.URI):
		return nil, problem(422, clientapi.CodeInvalid, "a message over relays names the room as its sender, and not %q", req.SendingURI)
	case r.cfg.Veil == nil:
		return nil, private("this provider asks nobody over relays; nothing was sent")
	case head.Hub == r.cfg.Domain:
		return nil, private("your own provider orders the room now, and it knows who you are: nothing is hidden from the room's hub; nothing was sent")
	}
	copy(x.Proof[:], m.Proof)
	if err := r.cfg.Veil.Check(m.Privacy); err != nil {
		return nil, err
	}
	if err := r.orders(h, head.Hub, len(head.Set) > 0); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, hiddenWithin)
	defer cancel()
	stop := h.whenMoved(cancel)
	defer stop()
	body, err := r.cfg.Veil.Call(ctx, Call{Target: head.Hub, Endpoint: EndpointHidden, Subject: head.URI.String(), Body: x.Bytes(), Max: maxHidden})
	if err != nil && h.stand().Hub != head.Hub {
		err = asProblem(fmt.Errorf("%s does not order the room any more: %w", head.Hub, errMoving))
	}
	if err != nil {
		return nil, asProblem(err)
	}
	return &clientapi.SubmittedMessage{Response: body, Over: m.Privacy.Over}, nil
}

// serveHidden is the hub's answer to a hidden message.
func (r *Rooms) serveHidden(ctx context.Context, q *Request) (*Response, error) {
	x, err := room.ParseHidden(q.Body)
	var req *wire.SubmitMessageRequest
	if err == nil {
		req, err = wire.ParseSubmitMessageRequest(x.Request, room.BodyLimits())
	}
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "the message cannot be read: %s", err)
	}
	name, err := uri.ParseRoom(q.Subject)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	h, err := r.lookup(room.IDOf([]byte(name.String())))
	if err != nil {
		return nil, asProblem(err)
	}
	return ok(r.answerMessage(ctx, h, &submission{txn: x.Txn(), nonce: x.Nonce, message: req, hidden: x}))
}

// admitHidden is AdmitHidden, and not too often.
func (l *live) admitHidden(s *submission, by *room.Franker) (*room.Message, error) {
	m, err := l.state.AdmitHidden(s.hidden, s.message, by)
	if err != nil {
		return nil, err
	}
	if ok, wait := l.r.hidden.Take(l.h.id.String(), 1, l.r.cfg.Now()); !ok {
		return nil, &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: max(1, wait.Milliseconds()),
			Detail: fmt.Sprintf("the room has more messages over relays than its hub takes; try again in %v", wait)}
	}
	return m, nil
}

// hiddenProblem is what somebody who is not named is told beyond the codes of MIMI; nil for what these say.
func hiddenProblem(err error) error {
	switch {
	case errors.Is(err, room.ErrHidden):
		return problem(403, clientapi.CodeForbidden, "%s", err)
	case errors.Is(err, room.ErrLeaving):
		return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 1000, Detail: err.Error()}
	case errors.Is(err, room.ErrSubmission):
		// The proof is for one hub, and for one epoch, of which another commit may have been heard here.
		return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Retry: 1000, Detail: "the proof is not one of a member of the room in this epoch, for this hub"}
	}
	return nil
}
