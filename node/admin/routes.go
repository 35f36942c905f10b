package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
)

const maxBody = 64 << 10

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, format, args...)
}

func (s *Server) routes() http.Handler {
	v := &s.cfg.Services
	mux := http.NewServeMux()
	mux.Handle("GET /status", s.call(func(req *http.Request) (any, error) { return v.Node.Status(req.Context()) }))
	mux.Handle("POST /invites", s.change(s.createInvite))
	mux.Handle("GET /invites", s.call(s.invites))
	mux.Handle("DELETE /invites/{id}", s.change(func(req *http.Request) (any, error) {
		return nil, v.Accounts.RevokeInvite(req.Context(), req.PathValue("id"))
	}))
	mux.Handle("GET /users", s.call(s.users))
	mux.Handle("GET /rooms", s.call(s.rooms))
	mux.Handle("GET /rooms/{id}", s.call(func(req *http.Request) (any, error) {
		return v.Rooms.ShowRoom(req.Context(), req.PathValue("id"))
	}))
	mux.Handle("GET /rooms/{id}/log", s.call(s.log))
	mux.Handle("POST /rooms/{id}/move", s.change(s.move))
	mux.Handle("POST /rooms/{id}/rejoin", s.change(func(req *http.Request) (any, error) {
		ctx, cancel := context.WithTimeout(req.Context(), moveTime)
		defer cancel()
		return v.Rooms.RejoinRoom(ctx, req.PathValue("id"))
	}))
	mux.Handle("POST /drain", http.HandlerFunc(s.drain))
	mux.Handle("GET /peers", s.call(func(req *http.Request) (any, error) {
		all, err := v.Peers.Peers(req.Context())
		return &PeerList{all}, err
	}))
	mux.Handle("POST /peers/{domain}/pin", s.change(s.pin))
	mux.Handle("DELETE /peers/{domain}/pin", s.change(func(req *http.Request) (any, error) {
		domain, err := domainOf(req)
		if err != nil {
			return nil, err
		}
		return nil, v.Peers.Forget(req.Context(), domain)
	}))
	mux.Handle("GET /reports", s.call(s.reports))
	mux.Handle("GET /reports/{id}", s.call(s.report))
	mux.Handle("POST /reports/{id}/resolve", s.change(s.resolve))
	mux.Handle("POST /key/rotate", s.change(func(req *http.Request) (any, error) { return v.Node.RotateKey(req.Context()) }))
	mux.Handle("POST /verify", s.call(func(req *http.Request) (any, error) { return v.Node.Verify(req.Context()) }))
	mux.Handle("POST /doctor", s.call(func(req *http.Request) (any, error) { return v.Node.Doctor(req.Context()) }))
	mux.Handle("GET /onion", s.call(func(req *http.Request) (any, error) { return v.Node.Onion(req.Context()) }))
	mux.Handle("POST /onion/ping", s.call(func(req *http.Request) (any, error) {
		var p OnionPing
		if err := read(req, &p); err != nil {
			return nil, err
		}
		d, err := uri.ParseDomain(p.Domain)
		if err != nil {
			return nil, invalid("%q is not a provider's name", p.Domain)
		}
		return v.Node.OnionPing(req.Context(), d.Domain())
	}))
	mux.Handle("POST /backup", http.HandlerFunc(s.backup))
	mux.Handle("/", s.call(func(req *http.Request) (any, error) {
		return nil, problem(http.StatusNotFound, clientapi.CodeNotFound,
			"this node does not know %s %.100s: the command may be of a newer version than the node", req.Method, req.URL.Path)
	}))
	return mux
}

// moveTime is how long a hand over is waited for.
const moveTime = 15 * time.Second

func (s *Server) move(req *http.Request) (any, error) {
	var m Move
	if err := read(req, &m); err != nil {
		return nil, err
	}
	d, err := uri.ParseDomain(m.Target)
	if err != nil {
		return nil, invalid("%q is not a provider's name", m.Target)
	}
	ctx, cancel := context.WithTimeout(req.Context(), moveTime)
	defer cancel()
	return s.cfg.Services.Rooms.MoveRoom(ctx, req.PathValue("id"), d.Domain())
}

// call answers with what f returns.
func (s *Server) call(f func(req *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = http.MaxBytesReader(w, req.Body, maxBody)
		out, err := s.guarded(req, f)
		if err != nil {
			refuse(w, err)
			return
		}
		if out == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	})
}

func refuse(w http.ResponseWriter, err error) {
	var p *clientapi.Problem
	if !errors.As(err, &p) {
		p = problem(http.StatusInternalServerError, clientapi.CodeInternal, "%v", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// change is a call that changes something, which the log is told.
func (s *Server) change(f func(req *http.Request) (any, error)) http.Handler {
	return s.call(func(req *http.Request) (any, error) {
		begin := time.Now()
		out, err := f(req)
		// No path: it may hold an invite's id, and soon something more secret.
		s.cfg.Log.Info("operator's command", "call", req.Pattern, "took", time.Since(begin), "error", err)
		return out, err
	})
}

func (s *Server) guarded(req *http.Request, f func(req *http.Request) (any, error)) (out any, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Log.Error("panic while serving the operator", "call", req.Pattern, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = problem(http.StatusInternalServerError, clientapi.CodeInternal, "a fault of the node, which is in its log: %v", v)
		}
	}()
	return f(req)
}

func read(req *http.Request, into any) error {
	d := json.NewDecoder(req.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "a body of more than %d octets", large.Limit)
	case err != nil:
		return invalid("reading the request: %v", err)
	case d.More():
		return invalid("reading the request: something follows it")
	}
	return nil
}

func number(req *http.Request, name string, otherwise, least, most uint64) (uint64, error) {
	text := req.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, invalid("%s is %.40q: a number from %d to %d", name, text, least, most)
	}
	return n, nil
}

func limitOf(req *http.Request) (int, error) {
	n, err := number(req, "limit", 100, 1, MaxPage)
	return int(n), err
}

func domainOf(req *http.Request) (string, error) {
	domain := req.PathValue("domain")
	if _, err := uri.ParseDomain(domain); err != nil {
		return "", invalid("%.100q is no domain: %v", domain, err)
	}
	return domain, nil
}

func (s *Server) createInvite(req *http.Request) (any, error) {
	var n NewInvite
	if err := read(req, &n); err != nil {
		return nil, err
	}
	if n.Lifetime < 0 || n.Lifetime > int64(account.MaxInviteLifetime/time.Second) {
		return nil, invalid("lifetime_s is %d: at most %d", n.Lifetime, int64(account.MaxInviteLifetime/time.Second))
	}
	inv, code, err := s.cfg.Services.Accounts.CreateInvite(req.Context(), account.NewInvite{
		Name: n.Name, Lifetime: time.Duration(n.Lifetime) * time.Second, Replaces: n.Replaces})
	if err != nil {
		return nil, err
	}
	out := showInvite(inv)
	out.Code = code
	return &out, nil
}

func showInvite(i *account.Invite) Invite {
	out := Invite{ID: i.ID, User: i.User, Created: i.Created, Expires: i.Expires, Replaces: i.Replaces, Exists: i.Exists, Device: i.Device}
	if !i.Used.IsZero() {
		out.Used = &i.Used
	}
	return out
}

func (s *Server) invites(req *http.Request) (any, error) {
	all, err := s.cfg.Services.Accounts.Invites(req.Context())
	out := &InviteList{Invites: make([]Invite, 0, len(all))}
	for i := range all {
		out.Invites = append(out.Invites, showInvite(&all[i]))
	}
	return out, err
}

func (s *Server) users(req *http.Request) (any, error) {
	limit, err := limitOf(req)
	if err != nil {
		return nil, err
	}
	all, err := s.cfg.Services.Accounts.Users(req.Context(), req.URL.Query().Get("after"), limit)
	if err != nil {
		return nil, err
	}
	out := &UserList{Users: make([]User, 0, len(all))}
	for _, u := range all {
		x := User{Name: u.Name, URI: u.URI, Created: u.Created, Devices: []Device{}, Stock: u.Stock}
		for _, d := range u.Devices {
			x.Devices = append(x.Devices, Device{Name: d.Name, Created: time.UnixMilli(d.CreatedAt), KeyPackages: d.KeyPackages, LastResort: d.LastResort})
		}
		out.Users = append(out.Users, x)
	}
	if len(all) == limit {
		out.Next = all[len(all)-1].Name
	}
	return out, nil
}

func (s *Server) rooms(req *http.Request) (any, error) {
	limit, err := limitOf(req)
	if err != nil {
		return nil, err
	}
	all, err := s.cfg.Services.Rooms.ListRooms(req.Context(), req.URL.Query().Get("after"), limit)
	if err != nil {
		return nil, err
	}
	out := &RoomList{Rooms: append([]Room{}, all...)}
	if len(all) == limit {
		out.Next = all[len(all)-1].ID
	}
	return out, nil
}

func (s *Server) log(req *http.Request) (any, error) {
	limit, err := limitOf(req)
	if err != nil {
		return nil, err
	}
	from, err := number(req, "from", 0, 0, 1<<63)
	if err != nil {
		return nil, err
	}
	branch, err := number(req, "branch", 0, 0, 1<<32-1)
	if err != nil {
		return nil, err
	}
	if branch > 0 {
		return s.cfg.Services.Rooms.ShowBranch(req.Context(), req.PathValue("id"), uint32(branch), from, limit)
	}
	return s.cfg.Services.Rooms.ShowLog(req.Context(), req.PathValue("id"), from, limit)
}

func (s *Server) pin(req *http.Request) (any, error) {
	domain, err := domainOf(req)
	if err != nil {
		return nil, err
	}
	var p Pin
	if err := read(req, &p); err != nil {
		return nil, err
	}
	return nil, s.cfg.Services.Peers.Pin(req.Context(), domain, p.Fingerprint)
}
