package clienthttp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
)

// Calls that need no token.
var open = []string{"POST /v1/accounts", "GET /v1/provider", sayHello, introduceCall}

type (
	identityKey struct{}
	loggerKey   struct{}
)

// logger is the request's, which knows its id.
func logger(ctx context.Context, otherwise *slog.Logger) *slog.Logger {
	if l, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return l
	}
	return otherwise
}

// who is the device that an authenticated request comes from.
func who(ctx context.Context) account.Identity {
	id, _ := ctx.Value(identityKey{}).(account.Identity)
	return id
}

// response remembers what has been answered, for the log and for panics. It has no
// Unwrap, which hides deadlines from huma: it would take away that of timeBody.
type response struct {
	http.ResponseWriter
	status int
}

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// outermost gives the request an id, bounds the time of its body, catches panics, and
// writes the line in the log.
func (s *Server) outermost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var b [8]byte
		rand.Read(b[:])
		id := hex.EncodeToString(b[:])
		log := s.cfg.Log.With("request", id)
		w.Header().Set("X-Request-Id", id)
		res := &response{ResponseWriter: w}
		begin := time.Now()
		req = req.WithContext(context.WithValue(req.Context(), loggerKey{}, log))
		s.timeBody(w, req)
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				log.Error("panic while serving a request", "pattern", req.Pattern, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				if res.status != 0 {
					panic(http.ErrAbortHandler) // too late for a problem: break the connection off
				}
				writeProblem(res, internal())
			}
			log.Debug("served a request", "pattern", req.Pattern, "status", res.status, "took", time.Since(begin))
		}()
		next.ServeHTTP(res, req)
	})
}

// router registers handlers with everything around them that a call needs.
type router struct {
	s   *Server
	mux *http.ServeMux
	// methods by path, for what is not allowed
	methods map[string][]string
}

// HandleFunc makes a router a humago.Mux.
func (r *router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	r.handle(pattern, r.s.timed(h))
}

func (r *router) handle(pattern string, h http.HandlerFunc) {
	method, path, _ := strings.Cut(pattern, " ")
	r.methods[path] = append(r.methods[path], method)
	r.mux.HandleFunc(pattern, r.s.guarded(pattern, h))
}

// ServeHTTP makes a router a humago.Mux.
func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

// finish adds the answers to whatever has no handler.
func (r *router) finish() {
	for path, methods := range r.methods {
		slices.Sort(methods)
		allow := strings.Join(methods, ", ")
		r.mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Allow", allow)
			writeProblem(w, problem(http.StatusMethodNotAllowed, clientapi.CodeInvalid, "%.20s is not for this path: use %s", req.Method, allow))
		})
	}
	r.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no such path in this API: see /docs"))
	})
}

// guarded authenticates and keeps to the rates.
func (s *Server) guarded(pattern string, next http.HandlerFunc) http.HandlerFunc {
	isOpen := slices.Contains(open, pattern)
	isRegistration := pattern == "POST /v1/accounts" || pattern == sayHello || pattern == introduceCall
	return func(w http.ResponseWriter, req *http.Request) {
		if s.stopping.Load() {
			writeProblem(w, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "the provider is stopping: try again soon"))
			return
		}
		if isRegistration {
			if ok, wait := s.strangers.Take(remote(req), 1, s.cfg.Now()); !ok {
				writeProblem(w, tooMany("registrations from your address", wait))
				return
			}
		}
		if !isOpen {
			id, err := s.authenticate(req)
			if err != nil {
				s.refuse(w, req, err)
				return
			}
			req = withIdentity(req, id)
		}
		next(w, req)
	}
}

func withIdentity(req *http.Request, id account.Identity) *http.Request {
	pattern := req.Pattern
	req = req.WithContext(context.WithValue(req.Context(), identityKey{}, id))
	req.Pattern = pattern
	return req
}

// underlying is the server's own writer.
func underlying(w http.ResponseWriter) http.ResponseWriter {
	if r, ok := w.(*response); ok {
		return r.ResponseWriter
	}
	return w
}

// timeBody bounds the time that a body may take. That holds for refused requests,
// too: net/http reads what they leave of their bodies, and has no deadline of its own
// for that. It takes the deadline away once a body has been read to its end, so that
// the call itself may take longer.
func (s *Server) timeBody(w http.ResponseWriter, req *http.Request) {
	if req.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout))
	}
}

// timed bounds a call that is no stream.
func (s *Server) timed(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithTimeout(req.Context(), s.cfg.RequestTimeout)
		defer cancel()
		rc := http.NewResponseController(underlying(w))
		// What is written then has as long as a stream's client.
		_ = rc.SetWriteDeadline(time.Now().Add(s.cfg.RequestTimeout + s.cfg.WriteTimeout))
		next(w, req.WithContext(ctx))
	}
}

// authenticate returns the request's device, and charges it.
func (s *Server) authenticate(req *http.Request) (account.Identity, error) {
	id, err := s.identify(req)
	if err != nil {
		var p *clientapi.Problem
		if errors.As(err, &p) && p.Code == clientapi.CodeUnauthorized {
			if ok, wait := s.strangers.Take(remote(req), 1, s.cfg.Now()); !ok {
				return id, tooMany("requests with a bad token from your address", wait)
			}
		}
		return id, err
	}
	if ok, wait := s.devices.Take(id.Client.String(), 1, s.cfg.Now()); !ok {
		return id, tooMany("requests of "+id.Client.String(), wait)
	}
	return id, nil
}

func (s *Server) identify(req *http.Request) (account.Identity, error) {
	token, err := bearer(req.Header)
	if err != nil {
		return account.Identity{}, err
	}
	return s.cfg.Services.Accounts.Authenticate(req.Context(), token)
}

func bearer(h http.Header) (string, error) {
	values := h.Values("Authorization")
	if len(values) == 1 {
		if scheme, token, ok := strings.Cut(values[0], " "); ok && strings.EqualFold(scheme, "Bearer") && token != "" && len(token) <= 512 {
			return token, nil
		}
	}
	return "", problem(http.StatusUnauthorized, clientapi.CodeUnauthorized,
		"the call needs one header \"Authorization: Bearer TOKEN\" with the token from registration")
}

// remote is the address that a stranger is counted by. An IPv6 customer has a whole
// /64 to choose from.
func remote(req *http.Request) string {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	if ip = ip.Unmap(); ip.Is6() {
		p, _ := ip.WithZone("").Prefix(64)
		return p.String()
	}
	return ip.String()
}

// refuse answers with an error outside of huma, and logs it if it is a fault.
func (s *Server) refuse(w http.ResponseWriter, req *http.Request, err error) {
	p := s.judge(req.Context(), err)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeProblem(w, p)
}

// judge turns any error into a problem; here, and nowhere else, faults are logged.
func (s *Server) judge(ctx context.Context, err error) *clientapi.Problem {
	p, logged := problemOf(err)
	if logged && !errors.Is(ctx.Err(), context.Canceled) {
		logger(ctx, s.cfg.Log).Error("a call failed", "client", who(ctx).Client, "status", p.Status, "error", err)
	}
	return p
}
