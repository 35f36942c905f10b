package peering

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Limits bounds what peers can ask for. A zero field means its default.
type Limits struct {
	// Past and Future are how far a request's time may be from ours. Default 5
	// minutes each: clocks are minutes off now and then, and nobody gets lost by it.
	Past, Future time.Duration
	// Requests of one source, and of one peer, in number and in octets. Default
	// 2,000 per second, 10,000 at once, and 16 MiB per second, 128 MiB at once.
	Requests, Octets ration.Config
	// InWork is how many requests of one source, and of one peer, are in work at
	// one time. Default 256.
	InWork int
	// Memory bounds the bodies of all requests in work. Default 256 MiB.
	Memory int64
	// BodyTimeout is how long a body may take, and a second more for every 64
	// KiB. Default 10 seconds.
	BodyTimeout time.Duration
	// HandlerTimeout ends a handler's context. Default 60 seconds.
	HandlerTimeout time.Duration
	// Remembered is how many requests of one source, to endpoints that are not
	// idempotent, are remembered; of all sources it is 16 times as many. Default
	// 4,096.
	Remembered int
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Past, 5*time.Minute)
	setDefault(&l.Future, 5*time.Minute)
	setDefault(&l.Requests.PerSecond, 2000)
	setDefault(&l.Requests.Burst, 10000)
	setDefault(&l.Octets.PerSecond, 16<<20)
	setDefault(&l.Octets.Burst, 128<<20)
	setDefault(&l.InWork, 256)
	setDefault(&l.Memory, 256<<20)
	setDefault(&l.BodyTimeout, 10*time.Second)
	setDefault(&l.HandlerTimeout, time.Minute)
	setDefault(&l.Remembered, 4096)
	return l
}

func setDefault[T int | int64 | float64 | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Config configures a Server.
type Config struct {
	// Domain is the own provider's.
	Domain string
	// Aliases are other hosts that requests to this server may be for: that of
	// its own node (overlay.PeerHost), for sources that do not know whose it is.
	Aliases []string
	// Routes are the endpoints.
	Routes []Route
	// Directory finds the sources' keys. It may be a Refresher.
	Directory Directory
	// Peer names the node at the other end, as a Directory names nodes. Default:
	// no channel proves anything.
	Peer func(*http.Request) (string, bool)
	// Certified names the provider that the channel proves by a certificate: over
	// HTTPS, see package mimihttps. Default: no channel does.
	Certified func(*http.Request) (domain string, ok bool)
	// PlainIDs is a secret of 16 octets or more that outlasts restarts: of it come
	// the ids of requests without an envelope. Without it, these are refused.
	PlainIDs []byte
	// DirectoryBase is the URL below which the endpoints are reached by HTTPS, in
	// the directory document. Default https://DOMAIN/v1.
	DirectoryBase string
	// Record returns the own provider record, for the directory document. Default:
	// the document has none.
	Record func(context.Context) ([]byte, error)
	Limits Limits
	// Now is the clock. Default time.Now. Deadlines follow the real clock.
	Now func() time.Time
	// Log receives panics and internal errors of handlers. Default: nothing.
	Log *slog.Logger
}

// Server answers other providers. It is an http.Handler; its paths begin with
// /v1/ and /.well-known/. Safe for concurrent use.
type Server struct {
	cfg       Config
	routes    map[string]*Route
	directory *directoryDocument
	started   time.Time
	gate      *gate
	requests  *ration.Ration
	octets    *ration.Ration
	replays   *replays
}

// NewServer returns a Server. It starts nothing. Error: ErrConfig.
func NewServer(cfg Config) (*Server, error) {
	if _, err := uri.ParseDomain(cfg.Domain); err != nil {
		return nil, fmt.Errorf("%w: domain %.100q: %w", ErrConfig, cfg.Domain, err)
	}
	if cfg.Directory == nil {
		return nil, fmt.Errorf("%w: no Directory", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Peer == nil {
		cfg.Peer = func(*http.Request) (string, bool) { return "", false }
	}
	if cfg.DirectoryBase == "" {
		cfg.DirectoryBase = "https://" + cfg.Domain + "/v1"
	}
	if cfg.Certified == nil {
		cfg.Certified = func(*http.Request) (string, bool) { return "", false }
	}
	if cfg.PlainIDs != nil && len(cfg.PlainIDs) < 16 {
		return nil, fmt.Errorf("%w: PlainIDs of %d octets", ErrConfig, len(cfg.PlainIDs))
	}
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Server{cfg: cfg, routes: map[string]*Route{}, started: cfg.Now()}
	for i := range cfg.Routes {
		r := cfg.Routes[i]
		setDefault(&r.MaxBody, 64<<10)
		if (r.Handler == nil) == (r.Stream == nil) || r.Endpoint == "" || escape(r.Endpoint) != r.Endpoint || s.routes[r.Endpoint] != nil {
			return nil, fmt.Errorf("%w: endpoint %q has no handler, no proper name, or is there twice", ErrConfig, r.Endpoint)
		}
		s.routes[r.Endpoint] = &r
	}
	var err error
	if s.directory, err = newDirectoryDocument(&s.cfg); err != nil {
		return nil, err
	}
	l := &s.cfg.Limits
	s.gate = newGate(l.InWork, l.Memory)
	s.requests, s.octets = ration.New(l.Requests), ration.New(l.Octets)
	s.replays = newReplays(l.Past+l.Future, l.Remembered, 16*l.Remembered)
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == wire.DirectoryPath {
		s.write(w, s.serveDirectory(r))
		return
	}
	if out := s.serve(w, r); out != nil {
		s.write(w, out)
	}
}

// serve judges a request, cheap things first: path, length, budget of the peer;
// envelope, body; source; budget of the source; repetition. It returns nil if the answer
// was a stream, which is written.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) *Response {
	endpoint, subject, bad := parsePath(r.URL.EscapedPath())
	if bad != nil {
		return refuse(bad)
	}
	route := s.routes[endpoint]
	switch {
	case route == nil:
		return refuse(problem(http.StatusNotFound, CodeEndpoint, "this provider has no endpoint %.64q", endpoint))
	case r.Method != route.method():
		return refuse(problem(http.StatusMethodNotAllowed, CodeMethod, "%s is called with %s, not %.20q", endpoint, route.method(), r.Method))
	}
	if bad := route.length(r); bad != nil {
		return refuse(bad)
	}
	in := &Incoming{Endpoint: endpoint, Subject: subject}
	in.Peer, _ = s.cfg.Peer(r)
	leave, bad := s.admit(payer(r, in.Peer), r.ContentLength)
	if bad != nil {
		return refuse(bad)
	}
	defer leave()
	if !s.gate.reserve(r.ContentLength) {
		return refuse(tooBusy(time.Second, "this provider is handling as much as it can hold in memory"))
	}
	defer s.gate.release(r.ContentLength)

	certified, proven := s.cfg.Certified(r)
	plain := proven && s.plain(r, endpoint)
	var e *wire.Envelope
	if !plain {
		if e, bad = s.envelope(r, route, subject, s.cfg.Now()); bad != nil {
			return refuse(bad)
		}
		if proven && e.Source != certified {
			return refuse(problem(http.StatusUnauthorized, CodeSource, "the envelope is of %.100q, and the certificate of %s", e.Source, certified))
		}
	}
	if in.Body, bad = s.body(w, r); bad != nil {
		return refuse(bad)
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Limits.HandlerTimeout)
	defer cancel()
	if plain {
		s.complete(in, route, certified)
	} else {
		in.Source, in.Room, in.ID = e.Source, e.Room, e.RequestID
		if bad := s.verify(ctx, e, in, proven, s.cfg.Now()); bad != nil {
			return refuse(bad)
		}
	}
	leaveSource, bad := s.admit("source "+in.Source, r.ContentLength)
	if bad != nil {
		return refuse(bad)
	}
	defer leaveSource()
	if route.Stream != nil {
		return s.stream(w, r, route, in)
	}
	call := func() *Response { return s.call(ctx, route, in) }
	if route.Idempotent {
		return call()
	}
	return s.replays.once(ctx, in, s.cfg.Now(), call)
}

// payer is who pays before the source is known.
func payer(r *http.Request, peer string) string {
	if peer != "" {
		return "peer " + peer
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return "address " + host
}

// admit takes a place and the budgets of a peer or source.
func (s *Server) admit(who string, octets int64) (leave func(), bad *clientapi.Problem) {
	now := s.cfg.Now()
	if ok, wait := s.requests.Take(who, 1, now); !ok {
		return nil, tooBusy(wait, "too many requests of %s", who)
	}
	if ok, wait := s.octets.Take(who, float64(octets), now); !ok {
		return nil, tooBusy(wait, "too many octets from %s", who)
	}
	if !s.gate.enter(who) {
		return nil, tooBusy(time.Second, "%d requests of %s are in work, which is the limit", s.cfg.Limits.InWork, who)
	}
	return func() { s.gate.leave(who) }, nil
}

func tooBusy(wait time.Duration, format string, args ...any) *clientapi.Problem {
	p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, format, args...)
	p.Retry = max(wait.Milliseconds(), 1)
	return p
}

// body reads what Content-Length promised, before a deadline.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, *clientapi.Problem) {
	control := http.NewResponseController(w)
	allowed := s.cfg.Limits.BodyTimeout + time.Duration(r.ContentLength>>16)*time.Second
	// A writer without deadlines has those of its server.
	limited := control.SetReadDeadline(time.Now().Add(allowed)) == nil
	b := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, b); err != nil {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return nil, problem(http.StatusRequestTimeout, CodeStalled, "the body of %d octets was not there after %v", r.ContentLength, allowed)
		}
		return nil, problem(http.StatusBadRequest, clientapi.CodeInvalid, "the body ends before the %d octets of its Content-Length", r.ContentLength)
	}
	if limited {
		// Lest it strikes during the handler and cancels its context.
		control.SetReadDeadline(time.Time{})
	}
	return b, nil
}

// call runs the handler. It returns an answer whatever the handler does.
func (s *Server) call(ctx context.Context, route *Route, in *Incoming) *Response {
	return s.guard(ctx, in, func() (*Response, error) {
		answer, err := route.Handler(ctx, in)
		if err != nil {
			return nil, err
		}
		if answer == nil {
			answer = &Response{}
		}
		done := *answer
		if done.Status == 0 {
			done.Status = defaultStatus(in.Endpoint)
		}
		return &done, nil
	})
}

// guard runs what a handler does, and makes answers of its errors and panics.
func (s *Server) guard(ctx context.Context, in *Incoming, handle func() (*Response, error)) (out *Response) {
	// Made only where something is wrong: a hub answers thousands a second.
	fault := func(msg string, args ...any) *Response {
		s.cfg.Log.Error(msg, append([]any{"endpoint", in.Endpoint, "source", in.Source, "request", idText(in.ID)}, args...)...)
		return refuse(s.internal(in))
	}
	defer func() {
		if v := recover(); v != nil {
			out = fault("handler of peer request panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	answer, err := handle()
	if err != nil {
		if p, ok := errors.AsType[*clientapi.Problem](err); ok {
			return refuse(p)
		}
		if ctx.Err() == nil {
			return fault("peer request met an internal error", "err", err)
		}
		return refuse(s.internal(in))
	}
	return answer
}

// internal is what a source hears of an error that is nobody's business.
func (s *Server) internal(in *Incoming) *clientapi.Problem {
	return problem(http.StatusInternalServerError, clientapi.CodeInternal, "an internal error of %s, which its operator finds in the log as request %s", s.cfg.Domain, idText(in.ID))
}

// refuse makes an answer of a problem.
func refuse(p *clientapi.Problem) *Response {
	b, err := json.Marshal(p)
	if err != nil { // texts and numbers cannot fail
		panic(fmt.Sprintf("peering: encoding a problem: %v", err))
	}
	status := p.Status
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	out := &Response{Status: status, Type: "application/problem+json", Body: b}
	out.retry = p.Retry
	return out
}

func (s *Server) write(w http.ResponseWriter, out *Response) {
	h := w.Header()
	h.Set("Content-Type", out.Type)
	if out.Type == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(out.Body)))
	if out.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt((out.retry+999)/1000, 10))
	}
	switch out.Status {
	case http.StatusRequestTimeout, http.StatusLengthRequired, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // or net/http waits for the rest of the body before it answers
	}
	w.WriteHeader(out.Status)
	w.Write(out.Body) // an error means that the peer has gone, and it asks again
}
