package veil

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
)

// Kind is the kind of messages that are requests.
const Kind = "ask"

const (
	tries = 3
	// handleWithin is what a handler has, and longer than any of those that are asked so.
	handleWithin = 10 * time.Second
)

// Over is the way that clientapi.Privacy names.
const Over = "onion"

// ErrConfig says that a Service cannot be made of its configuration.
var ErrConfig = errors.New("veil: wrong configuration")

// Net is the onion overlay, as a node has it.
type Net interface {
	// Node is the node in the present list of relays of a provider, by its domain, or by its name as
	// a peer (overlay.PeerHost).
	Node(target string) (onion.NodeID, bool)
	// Send is mix.Sender's, Blocks likewise.
	Send(ctx context.Context, exit onion.NodeID, to onion.Mailbox, id onion.MessageID, message []byte) error
	Blocks(ctx context.Context, far onion.NodeID, n int) (*mix.Blocks, error)
	// Answer is mix.Exit's.
	Answer(block onion.SURB, payload []byte) error
	// Privacy says what it is worth now to go this way.
	Privacy() clientapi.PrivacyReport
}

// Config says what a Service works on.
type Config struct {
	// Net may be nil: the onion overlay is off here, and nothing can be asked over it.
	Net    Net
	Format onion.Format
	// Margin is what an answer has beside the delays of its packets and the handler's time.
	Margin time.Duration
	Log    *slog.Logger // nil discards
}

// Service asks and answers. Its methods may be called from any goroutine.
type Service struct {
	cfg    Config
	jobs   chan *request
	routes atomic.Pointer[map[string]peering.Route]

	asked, answered, served, shed atomic.Uint64
}

// Counts is what a Service has done.
type Counts struct {
	Asked, Answered uint64 // requests of this provider that left it, and those that were answered
	Served, Shed    uint64 // requests to this provider: answered, and refused since too many waited
}

// New makes a Service. Error: ErrConfig.
func New(c Config) (*Service, error) {
	if c.Net != nil && (c.Format.MaxPayload() <= partFixed+1 || c.Margin <= 0) {
		return nil, fmt.Errorf("%w: Format and Margin are needed", ErrConfig)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: c, jobs: make(chan *request, waiting)}
	s.Serve(nil)
	return s, nil
}

// Counts says what was done.
func (s *Service) Counts() Counts {
	return Counts{Asked: s.asked.Load(), Answered: s.answered.Load(), Served: s.served.Load(), Shed: s.shed.Load()}
}

// Privacy says what it is worth now to ask so.
func (s *Service) Privacy() clientapi.PrivacyReport {
	if s.cfg.Net == nil {
		return clientapi.PrivacyReport{Why: "the onion overlay is off at this provider"}
	}
	return s.cfg.Net.Privacy()
}

// PrivacyTo says what it is worth now to ask a provider so; of nobody in particular, as Privacy.
func (s *Service) PrivacyTo(target string) clientapi.PrivacyReport {
	r := s.Privacy()
	if r.Onion && target != "" {
		if _, ok := s.cfg.Net.Node(target); !ok {
			r.Onion, r.AnonymitySet, r.Why = false, 0, fmt.Sprintf("%.255s does not take part in the onion overlay now", target)
		}
	}
	return r
}

// Check says whether a user's request may go as it asks for. Error: a Problem with CodePrivacy if not.
func (s *Service) Check(p *clientapi.Privacy) error {
	if p.Over != Over {
		return &clientapi.Problem{Status: http.StatusUnprocessableEntity, Code: clientapi.CodeInvalid, Detail: fmt.Sprintf("privacy %.40q: onion is possible", p.Over)}
	}
	r := s.Privacy()
	switch {
	case !r.Onion:
		return refused("%s; nothing was sent", r.Why)
	case r.AnonymitySet < p.Floor:
		return refused("a request would hide among %.0f providers, and you ask for %g at least; nothing was sent", r.AnonymitySet, p.Floor)
	}
	return nil
}

func refused(format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: http.StatusServiceUnavailable, Code: clientapi.CodePrivacy, Detail: fmt.Sprintf(format, args...)}
}

// Call asks a provider over relays; ID, Room and Status are not used. Errors: *peering.Refused,
// peering.ErrTooLarge; peering.ErrUnreachable, with which the request may have happened; a *clientapi.Problem with
// CodePrivacy, with which nothing was sent; ctx's.
func (s *Service) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	if s.cfg.Net == nil {
		return nil, s.Check(&clientapi.Privacy{Over: Over})
	}
	n := blocksFor(s.cfg.Format, q.MaxResponse)
	if q.MaxResponse < 1 || n > onion.MaxParts || len(q.Body) > maxBody || len(q.Endpoint) > maxEndpoint || len(q.Subject) > peering.MaxSubject {
		return nil, fmt.Errorf("%w: asking for %d octets with %d", peering.ErrTooLarge, q.MaxResponse, len(q.Body))
	}
	sent := false
	var last error
	for range tries {
		resp, left, err := s.try(ctx, &q, n)
		if left && !sent {
			sent = true
			s.asked.Add(1)
		}
		if err == nil {
			s.answered.Add(1)
			return resp, nil
		}
		refusal, isRefusal := errors.AsType[*peering.Refused](err)
		switch {
		case isRefusal:
			s.answered.Add(1)
			return nil, refusal
		case errors.Is(err, mix.ErrRefused):
			return nil, refused("%s does not take requests over relays; nothing was sent another way", q.Target)
		case !sent: // nothing can have arrived
			return nil, err
		case errors.Is(err, peering.ErrTooLarge), errors.Is(err, ErrMalformed):
			return nil, fmt.Errorf("%w: %w", peering.ErrUnreachable, err)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: no answer by %s over relays in time: %w", peering.ErrUnreachable, q.Target, context.Cause(ctx))
		}
		last = err
	}
	return nil, fmt.Errorf("%w: no answer by %s over relays: %w", peering.ErrUnreachable, q.Target, last)
}

var errSilent = errors.New("veil: the request was taken, and no answer came")

// try asks once. Left says that something may have arrived.
func (s *Service) try(ctx context.Context, q *peering.Request, n int) (_ *peering.Response, left bool, err error) {
	node, ok := s.cfg.Net.Node(q.Target)
	if !ok {
		return nil, false, refused("%s does not take part in the onion overlay now; nothing was sent", q.Target)
	}
	blocks, err := s.cfg.Net.Blocks(ctx, node, n)
	if err != nil {
		return nil, false, way(err)
	}
	defer blocks.Close()
	message := (&request{endpoint: q.Endpoint, subject: q.Subject, body: q.Body, blocks: blocks.Blocks}).bytes()
	var id onion.MessageID
	rand.Read(id[:])
	ctx, cancel := context.WithCancel(ctx)
	acked := make(chan error, 1)
	go func() { acked <- s.cfg.Net.Send(ctx, node, mix.MailboxOf(Kind), id, message) }()
	defer func() { // not to leave it behind
		cancel()
		if acked != nil {
			<-acked
		}
	}()
	var timeout <-chan time.Time
	var g gathering
	for {
		select {
		case part := <-blocks.Answers:
			whole, err := g.add(part, n)
			if err != nil {
				return nil, true, err
			}
			if whole == nil {
				continue
			}
			resp, err := decode(whole, q)
			return resp, true, err
		case err := <-acked:
			acked = nil
			if err != nil {
				return nil, errors.Is(err, mix.ErrUnconfirmed) || errors.Is(err, mix.ErrRefused), way(err)
			}
			timer := time.NewTimer(blocks.Delay + s.cfg.Margin + handleWithin)
			defer timer.Stop()
			timeout = timer.C
		case <-timeout:
			return nil, true, errSilent
		case <-ctx.Done():
			return nil, true, context.Cause(ctx)
		}
	}
}

// way is an error of Net's, which with those of mix that say that nothing was sent becomes a Problem.
func way(err error) error {
	switch {
	case errors.Is(err, mix.ErrUnconfirmed), errors.Is(err, mix.ErrRefused), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", refused("there is no way over relays now, and nothing was sent: %v", err), err)
}
