package contact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// MaxConsentEntry is the longest ConsentEntry, in octets: a grant may hold a
// KeyPackage for each device.
const MaxConsentEntry = 128 << 10

// word is a ConsentEntry with its names read.
type word struct {
	body  []byte
	entry *wire.ConsentEntry
	scope
	invited []byte               // consent.Invitation of a request about a room; nil if it is none
	secret  *introduction.Secret // of a request by somebody who has asked without a name before; else nil
	block   string               // of an own user's revocation, see clientapi.SendConsent
}

// fromRequester says whether it is the requester's to say, and travels as
// requestConsent.
func (w *word) fromRequester() bool {
	return w.entry.Operation == wire.ConsentRequest || w.entry.Operation == wire.ConsentCancel
}

// event is the operation as the state machine knows it.
func (w *word) event() consent.Event {
	switch w.entry.Operation {
	case wire.ConsentRequest:
		return consent.Request
	case wire.ConsentCancel:
		return consent.Cancel
	case wire.ConsentGrant:
		return consent.Grant
	}
	switch w.block {
	case "block":
		return consent.Block
	case "unblock":
		return consent.Unblock
	}
	return consent.Revoke
}

func parseWord(b []byte) (*word, *clientapi.Problem) {
	if len(b) > MaxConsentEntry {
		return nil, problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "a consent entry of %d octets: at most %d", len(b), MaxConsentEntry)
	}
	e, err := wire.ParseConsentEntry(b, wire.Limits{})
	if err != nil {
		return nil, invalid("the consent entry does not decode: %v", err)
	}
	w := &word{body: b, entry: e}
	if w.requester, err = uri.ParseUser(string(e.Scope.Requester)); err != nil {
		return nil, invalid("the requester of the consent entry: %v", err)
	}
	if w.target, err = uri.ParseUser(string(e.Scope.Target)); err != nil {
		return nil, invalid("the target of the consent entry: %v", err)
	}
	if w.requester == w.target {
		return nil, invalid("the consent entry is about %s and itself, which needs no consent", w.target)
	}
	if e.Scope.Room != "" {
		if w.room, err = uri.ParseRoom(string(e.Scope.Room)); err != nil {
			return nil, invalid("the room of the consent entry: %v", err)
		}
	}
	if v, err := consent.InvitationOf(e.Extensions); err != nil {
		return nil, invalid("the invitation in the consent entry: %v", err)
	} else if v != nil {
		if w.entry.Operation != wire.ConsentRequest || w.room.IsZero() {
			return nil, invalid("an invitation is a request for consent about a room")
		}
		w.invited = v.Append(nil)
	}
	if secret, ok, err := introduction.SecretOf(e.Extensions); err != nil {
		return nil, invalid("the secret in the consent entry: %v", err)
	} else if ok {
		if w.entry.Operation != wire.ConsentRequest || !w.room.IsZero() {
			return nil, invalid("the secret of an anonymous request goes with a request for consent about any room")
		}
		w.secret = &secret
	}
	return w, nil
}

// signed checks the user's signature of a word, if it has one. MIMI's have none, and then it is
// the provider's word, which has to do. A refusal depends on the entry alone.
func (s *Service) signed(w *word, now time.Time) *clientapi.Problem {
	if _, err := consent.Verify(w.entry, s.cfg.Anchors, now); err != nil {
		return invalid("the signature in the consent entry: %v", err)
	}
	return nil
}

// SendConsent takes on a word on consent by an own user.
func (s *Service) SendConsent(ctx context.Context, who account.Identity, c *clientapi.SendConsent) error {
	now := s.cfg.Now()
	w, other, bad := s.ownWord(c.Entry, who.User, now)
	if bad != nil {
		return bad
	}
	if w.block = c.Block; c.Block != "" && (w.entry.Operation != wire.ConsentRevoke || c.Block != "block" && c.Block != "unblock") {
		return invalid("%.40q goes with a revocation, and is block or unblock", c.Block)
	}
	words := []*word{w}
	if c.Also != nil {
		also, about, bad := s.ownWord(c.Also, who.User, now)
		if bad != nil {
			return bad
		}
		if about != other || also.fromRequester() == w.fromRequester() || also.room != w.room {
			return invalid("the second word is about %s and as a %s; it is to be the other half of the first", about, also.entry.Operation)
		}
		words = append(words, also)
	}
	if ok, wait := s.sent.Take(who.User.String(), float64(len(words)), now); !ok {
		return tooMany(wait, "%s has sent many words on consent: wait", who.User)
	}
	exists, err := s.exists(ctx, other)
	if err != nil {
		return err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, w := range words {
			do := s.decide
			if w.fromRequester() {
				do = s.ask
			}
			if err := do(tx, w, exists, now); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, outbox.ErrFull) {
		return tooMany(time.Minute, "too much waits for %s, which does not answer: try again later", other.Provider().Domain())
	}
	if err != nil {
		return fmt.Errorf("storing consent: %w", err)
	}
	return nil
}

// ownWord reads a word of an own user, and whom it is about.
func (s *Service) ownWord(b []byte, speaker uri.User, now time.Time) (w *word, other uri.User, bad *clientapi.Problem) {
	if w, bad = parseWord(b); bad != nil {
		return nil, other, bad
	}
	says := w.target
	if other = w.requester; w.fromRequester() {
		says, other = w.requester, w.target
	}
	if says != speaker {
		return nil, other, forbidden("%s of consent is for %s to say, and this is %s", w.entry.Operation, says, speaker)
	}
	return w, other, s.signed(w, now)
}

// exists says whether a user has an account here; false for users of others.
func (s *Service) exists(ctx context.Context, u uri.User) (bool, error) {
	if !s.local(u) {
		return false, nil
	}
	ok, err := s.cfg.Accounts.Has(ctx, u)
	if err != nil {
		return false, fmt.Errorf("looking for an account: %w", err)
	}
	return ok, nil
}

// ask is an own user's request or its end.
func (s *Service) ask(tx *store.Tx, w *word, exists bool, now time.Time) error {
	old, err := readState(tx, asked, w.scope)
	if err != nil {
		return err
	}
	next := old
	switch {
	case w.entry.Operation == wire.ConsentCancel:
		next.state = consent.None
	case old.state != consent.Granted: // a repeated request does not end a grant
		next.state = consent.Requested
	}
	if err := s.write(tx, asked, w.scope, old, next.state, w.invited, now); err != nil {
		return err
	}
	if err := s.show(tx, w.requester, w, next.state); err != nil {
		return err
	}
	if s.local(w.target) {
		return s.receiveRequest(tx, w, exists, now)
	}
	return s.cfg.Outbox.Put(tx, w.target.Provider().Domain(), outbox.Item{
		Endpoint: wire.EndpointRequestConsent.String(), Subject: w.target.String(), Room: w.entry.Scope.Room, Body: w.body})
}

// decide is an own user's grant or revocation.
func (s *Service) decide(tx *store.Tx, w *word, exists bool, now time.Time) error {
	old, err := readState(tx, given, w.scope)
	if err != nil {
		return err
	}
	step := consent.Step
	if old.invited != nil {
		step = consent.StepInvitation
	}
	next, effect, err := step(consent.Ask, old.state, w.event()) // the mode is of no account for what the target says
	if errors.Is(err, consent.ErrBlocked) {
		return forbidden("%s is blocked: unblock it first", w.requester)
	}
	if err != nil {
		return fmt.Errorf("stepping consent: %w", err)
	}
	if err := s.write(tx, given, w.scope, old, next, nil, now); err != nil {
		return err
	}
	if err := s.show(tx, w.target, w, next); err != nil {
		return err
	}
	if next == consent.Granted && w.room.IsZero() {
		if err := s.releaseAll(tx, w.target, w.requester); err != nil {
			return err
		}
	}
	if effect != consent.TellGrant && effect != consent.TellRevoke {
		return nil
	}
	if s.local(w.requester) {
		return s.receiveUpdate(tx, w, exists, now)
	}
	return s.cfg.Outbox.Put(tx, w.requester.Provider().Domain(), outbox.Item{
		Endpoint: wire.EndpointUpdateConsent.String(), Subject: w.requester.String(), Room: w.entry.Scope.Room, Body: w.body})
}

// receiveRequest is a request, or its end, that reaches the target's provider.
// The requester learns nothing by it: what is over a limit, or for nobody,
// vanishes.
func (s *Service) receiveRequest(tx *store.Tx, w *word, exists bool, now time.Time) error {
	mode, err := s.modeFor(tx, w.target, w.requester)
	if err != nil {
		return err
	}
	if !exists {
		return s.decoy(tx, now)
	}
	old, err := readState(tx, given, w.scope)
	if err != nil {
		return err
	}
	if !w.room.IsZero() {
		any, err := readState(tx, given, scope{requester: w.requester, target: w.target})
		if err != nil {
			return err
		}
		if !consent.Hears(any.state) && w.entry.Operation == wire.ConsentRequest {
			return s.decoy(tx, now)
		}
	}
	event, introduced := w.event(), false
	if w.secret != nil && s.cfg.Redeem != nil && (old.state == consent.None || pending(old.state) > 0) { // not if this name was refused
		if introduced, err = s.cfg.Redeem(tx, w.target, w.requester, *w.secret); err != nil {
			return err
		}
		if introduced { // the target has said yes to who did not say this name yet
			event = consent.Grant
		}
	}
	next, effect, err := consent.Step(mode, old.state, event)
	if err != nil {
		return fmt.Errorf("stepping consent: %w", err)
	}
	if introduced {
		if err := errors.Join(s.show(tx, w.target, w, next), s.releaseAll(tx, w.target, w.requester)); err != nil {
			return err
		}
	}
	if pending(next) > pending(old.state) {
		if placed, err := s.place(tx, w.scope, now); err != nil || !placed {
			if err == nil {
				s.cfg.Log.Warn("request for consent vanishes: too many are pending", "target", w.target, "provider", w.requester.Provider().Domain())
			}
			return errors.Join(err, s.decoy(tx, now))
		}
	}
	switch effect {
	case consent.ShowRequest, consent.WithdrawRequest:
		if err := s.show(tx, w.target, w, next); err != nil {
			return err
		}
	case consent.TellGrant: // by the mode; or it was granted before, and the requester did not know
		if err := s.tellAgain(tx, w, now); err != nil {
			return err
		}
	}
	if next == old.state {
		return s.decoy(tx, now)
	}
	return s.write(tx, given, w.scope, old, next, w.invited, now)
}

// tellAgain repeats a grant, without the KeyPackages that it came with.
func (s *Service) tellAgain(tx *store.Tx, w *word, now time.Time) error {
	grant := &wire.ConsentEntry{Operation: wire.ConsentGrant, Scope: w.entry.Scope}
	body, err := grant.Bytes()
	if err != nil {
		return fmt.Errorf("repeating grant: %w", err)
	}
	if s.local(w.requester) {
		return s.receiveUpdate(tx, &word{body: body, entry: grant, scope: w.scope}, true, now)
	}
	err = s.cfg.Outbox.Put(tx, w.requester.Provider().Domain(), outbox.Item{
		Endpoint: wire.EndpointUpdateConsent.String(), Subject: w.requester.String(), Room: grant.Scope.Room, Body: body})
	if errors.Is(err, outbox.ErrFull) {
		return nil // the requester asked; its own provider does not answer
	}
	return err
}

// receiveUpdate is a grant or revocation that reaches the requester's provider.
func (s *Service) receiveUpdate(tx *store.Tx, w *word, exists bool, now time.Time) error {
	if !exists {
		return s.decoy(tx, now)
	}
	old, err := readState(tx, asked, w.scope)
	if err != nil {
		return err
	}
	next := consent.Granted
	if w.entry.Operation == wire.ConsentRevoke {
		if next = consent.Revoked; old.state == consent.None {
			return s.decoy(tx, now) // nobody asked, nothing was granted
		}
	}
	err = s.write(tx, asked, w.scope, old, next, nil, now)
	if p, ok := errors.AsType[*clientapi.Problem](err); ok && p.Code == clientapi.CodeTooMany {
		s.cfg.Log.Warn("grant of consent vanishes: its receiver has too many", "requester", w.requester)
		return s.decoy(tx, now)
	}
	if err != nil {
		return err
	}
	return s.show(tx, w.requester, w, next)
}

func (s *Service) show(tx *store.Tx, user uri.User, w *word, state consent.State) error {
	return s.cfg.Feed.Put(tx, user, clientapi.EventConsent, clientapi.ConsentEvent{Entry: w.body, State: state.String()})
}

// handleConsent serves requestConsent and updateConsent (MIMI section 5.7). Who
// is told anything but 201 learns from it nothing about the user: malformed,
// from the wrong provider, or too fast.
func (s *Service) handleConsent(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	now := s.cfg.Now()
	if ok, wait := s.requests.Take(in.Source, 1, now); !ok {
		return nil, tooMany(wait, "%s sends many words on consent: wait", in.Source)
	}
	w, bad := parseWord(in.Body)
	if bad != nil {
		return nil, bad
	}
	asks := in.Endpoint == wire.EndpointRequestConsent.String()
	from, to := w.target, w.requester
	if asks {
		from, to = w.requester, w.target
	}
	switch {
	case asks != w.fromRequester():
		return nil, invalid("%s does not go to %s", w.entry.Operation, in.Endpoint)
	case from.Provider().Domain() != in.Source:
		return nil, forbidden("%s does not speak for %s", in.Source, from)
	case !s.local(to):
		return nil, invalid("%s is no user of %s", to, s.cfg.Domain)
	case in.Subject != to.String() && in.Subject != s.cfg.Domain: // the draft's two forms
		return nil, invalid("the consent entry is for %s, the request was for %.200q", to, in.Subject)
	case in.Room != w.entry.Scope.Room && !in.Plain:
		return nil, invalid("the consent entry is for room %q, the envelope for %q", w.entry.Scope.Room, in.Room)
	}
	if bad := s.signed(w, now); bad != nil {
		return nil, bad
	}
	exists, err := s.exists(ctx, to)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if asks {
			return s.receiveRequest(tx, w, exists, now)
		}
		return s.receiveUpdate(tx, w, exists, now)
	})
	if err != nil {
		return nil, fmt.Errorf("storing consent: %w", err)
	}
	return &peering.Response{Status: http.StatusCreated}, nil
}

// Consents lists what the user gave and asked for.
func (s *Service) Consents(_ context.Context, who account.Identity) (*clientapi.Consents, error) {
	out := &clientapi.Consents{Consents: []clientapi.Consent{}}
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for _, side := range []byte{given, asked} {
			for r, err := range scopesOf(tx, side, who.User) {
				if err != nil {
					return err
				}
				if r.state == consent.Held {
					continue // who looks for such finds it in Quarantine
				}
				c := clientapi.Consent{Requester: r.requester.String(), Target: r.target.String(), Room: r.room.String(),
					State: r.state.String(), ChangedAt: int64(r.changed), Invitation: r.invited}
				out.Consents = append(out.Consents, c)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing consent: %w", err)
	}
	return out, nil
}
