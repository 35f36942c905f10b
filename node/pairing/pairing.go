// Package pairing keeps the boxes in which a user's device and a new one, on another machine,
// leave their two messages (protocol/pairing). The provider cannot read or make them: it
// keeps each box to the user who has opened it, and to the first new device that comes.
//
// Boxes are in memory only, and gone when the provider stops or protocol/pairing.Lifetime is
// over; then the user makes another code. A user has one box at a time. With the box comes an
// invite for one more device of the user, which is good a little longer: it is of no use to
// who has not the user's key.
//
// Calls that wait for the other device return empty-handed after Config.Wait, and are to be
// made again.
package pairing

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/pairing"
)

// MaxBoxes is how many boxes there are at one time.
const MaxBoxes = 10_000

// grace is how much longer than a box its invite is good.
const grace = 5 * time.Minute

// Invites makes invites for further devices; *account.Registry does.
type Invites interface {
	CreateInvite(ctx context.Context, n account.NewInvite) (*account.Invite, string, error)
	RevokeInvite(ctx context.Context, id string) error
}

// Config configures a Service.
type Config struct {
	Invites Invites
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Wait is how long a call waits for the other device. Default 20 seconds.
	Wait time.Duration
	// Log receives what an operator may want to know. Default: nothing.
	Log *slog.Logger
}

// Service keeps boxes. It is safe for concurrent use. Errors are *clientapi.Problem for what
// a client did wrong, and others for what went wrong here.
type Service struct {
	cfg Config

	mu    sync.Mutex
	boxes map[string]*box // by name
	users map[string]*box // by the URI of who has opened it
}

type box struct {
	name, user, invite string
	expires            time.Time
	hello, answer      []byte
	changed            chan struct{} // closed when something has changed, and made anew
}

// New returns a Service without boxes.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 20 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, boxes: map[string]*box{}, users: map[string]*box{}}
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func gone() error {
	return problem(http.StatusNotFound, clientapi.CodeNotFound, "this provider does not know the code: it has expired, or was taken back, or is for another provider; make another one on your other device")
}

// OpenPairing opens a box for a user's device, in place of one that the user has.
// Problems: CodeInvalid, CodeExists, CodeUnavailable.
func (s *Service) OpenPairing(ctx context.Context, who account.Identity, n *clientapi.NewPairing) (*clientapi.Pairing, error) {
	if b, err := hex.DecodeString(n.Box); err != nil || len(b) != 16 {
		return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "a box's name has 32 hexadecimal digits")
	}
	inv, code, err := s.cfg.Invites.CreateInvite(ctx, account.NewInvite{Name: who.User.Name(), Lifetime: pairing.Lifetime + grace})
	if err != nil {
		return nil, fmt.Errorf("making an invite for a device of %s: %w", who.User, err)
	}
	x := &box{name: n.Box, user: who.User.String(), invite: inv.ID, expires: s.cfg.Now().Add(pairing.Lifetime), changed: make(chan struct{})}
	old, err := s.put(x)
	s.revoke(ctx, old)
	if err != nil {
		s.revoke(ctx, x)
		return nil, err
	}
	return &clientapi.Pairing{Invite: code, Expires: x.expires.UnixMilli()}, nil
}

// put adds a box, and takes away what has expired and the user's former one, which it returns.
func (s *Service) put(x *box) (old *box, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for _, b := range s.boxes {
		if !now.Before(b.expires) {
			s.drop(b)
		}
	}
	if s.boxes[x.name] != nil {
		return nil, problem(http.StatusConflict, clientapi.CodeExists, "there is a box of this name: make another code")
	}
	if old = s.users[x.user]; old != nil {
		s.drop(old)
	}
	if len(s.boxes) >= MaxBoxes {
		return old, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "too many devices are being added at this provider now: try again in some minutes")
	}
	s.boxes[x.name], s.users[x.user] = x, x
	return old, nil
}

// drop takes a box away. With mu held.
func (s *Service) drop(b *box) {
	delete(s.boxes, b.name)
	if s.users[b.user] == b {
		delete(s.users, b.user)
	}
	close(b.changed) // whoever waits sees that it is gone
}

// revoke takes the invite of a box back that nobody was given. b may be nil.
func (s *Service) revoke(ctx context.Context, b *box) {
	if b == nil || b.answer != nil {
		return
	}
	if err := s.cfg.Invites.RevokeInvite(context.WithoutCancel(ctx), b.invite); err != nil {
		s.cfg.Log.Debug("revoking the invite of a device that has not come", "user", b.user, "err", err)
	}
}

// find returns a box that has not expired. With mu held.
func (s *Service) find(name, user string) (*box, error) {
	b := s.boxes[name]
	if b == nil || user != "" && b.user != user || !s.cfg.Now().Before(b.expires) {
		return nil, gone()
	}
	return b, nil
}

// wait waits until look is content or has an error, or Wait is over.
func (s *Service) wait(ctx context.Context, name, user string, look func(b *box) (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Wait)
	defer cancel()
	for {
		s.mu.Lock()
		b, err := s.find(name, user)
		done := false
		var changed chan struct{}
		if err == nil {
			done, err = look(b)
			changed = b.changed
		}
		s.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// change notes that a box has changed. With mu held.
func (b *box) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// PairingHello waits for the new device's hello. Problem: CodeNotFound.
func (s *Service) PairingHello(ctx context.Context, who account.Identity, name string) (*clientapi.PairingHello, error) {
	out := new(clientapi.PairingHello)
	err := s.wait(ctx, name, who.User.String(), func(b *box) (bool, error) {
		out.Hello = slices.Clone(b.hello)
		return b.hello != nil, nil
	})
	return out, err
}

// AnswerPairing leaves the answer to the hello. It takes one; the same again changes nothing.
// Problems: CodeNotFound, CodeInvalid, CodeExists.
func (s *Service) AnswerPairing(_ context.Context, who account.Identity, name string, a *clientapi.PairingAnswer) error {
	if len(a.Answer) == 0 || len(a.Answer) > pairing.MaxAnswer {
		return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "an answer of %d octets: there are 1 to %d", len(a.Answer), pairing.MaxAnswer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.find(name, who.User.String())
	switch {
	case err != nil:
		return err
	case b.hello == nil:
		return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "no device has come yet")
	case b.answer != nil && !bytes.Equal(b.answer, a.Answer):
		return problem(http.StatusConflict, clientapi.CodeExists, "the device has its answer already")
	case b.answer == nil:
		b.answer = slices.Clone(a.Answer)
		b.change()
	}
	return nil
}

// ClosePairing takes a box away, and its invite if nobody was given it. Problem: CodeNotFound.
func (s *Service) ClosePairing(ctx context.Context, who account.Identity, name string) error {
	s.mu.Lock()
	b, err := s.find(name, who.User.String())
	if err == nil {
		s.drop(b)
	}
	s.mu.Unlock()
	if err == nil {
		s.revoke(ctx, b)
	}
	return err
}

// SayHello leaves a new device's hello, and waits for the answer. The first hello is taken; the
// same again waits on. Problems: CodeNotFound, CodeInvalid, CodeExists: another device has
// used the code.
func (s *Service) SayHello(ctx context.Context, name string, h *clientapi.PairingHello) (*clientapi.PairingAnswer, error) {
	if len(h.Hello) == 0 || len(h.Hello) > pairing.MaxHello {
		return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "a hello of %d octets: there are 1 to %d", len(h.Hello), pairing.MaxHello)
	}
	out := new(clientapi.PairingAnswer)
	err := s.wait(ctx, name, "", func(b *box) (bool, error) {
		switch {
		case b.hello == nil:
			b.hello = slices.Clone(h.Hello)
			b.change()
		case !bytes.Equal(b.hello, h.Hello):
			return false, problem(http.StatusConflict, clientapi.CodeExists, "the code was used already, by another device or an attempt that was broken off; make another one on your other device, and if you did not use this one, see there which device has")
		}
		out.Answer = slices.Clone(b.answer)
		return b.answer != nil, nil
	})
	return out, err
}
