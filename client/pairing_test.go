package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/pairing"
)

// fakeBox is a box of the fake provider, which lets nobody wait.
type fakeBox struct {
	of            *fakeUser
	hello, answer []byte
	closed        bool
}

func (f *fake) openBox(r *http.Request, u *fakeUser) (any, error) {
	n, err := body[clientapi.NewPairing](r)
	if err != nil {
		return nil, err
	}
	if f.boxes == nil {
		f.boxes = map[string]*fakeBox{}
	}
	f.boxes[n.Box] = &fakeBox{of: u}
	return &clientapi.Pairing{Invite: u.uri[strings.LastIndex(u.uri, "/")+1:], Expires: f.now().Add(time.Hour).UnixMilli()}, nil
}

func (f *fake) box(r *http.Request, u *fakeUser) (*fakeBox, error) {
	x := f.boxes[r.PathValue("box")]
	if x == nil || x.closed || u != nil && x.of != u {
		return nil, refused(404, clientapi.CodeNotFound, "no such box")
	}
	return x, nil
}

func (f *fake) boxHello(r *http.Request, u *fakeUser) (any, error) {
	x, err := f.box(r, u)
	if err != nil {
		return nil, err
	}
	return &clientapi.PairingHello{Hello: x.hello}, nil
}

func (f *fake) boxAnswer(r *http.Request, u *fakeUser) (any, error) {
	x, err := f.box(r, u)
	if err != nil {
		return nil, err
	}
	a, err := body[clientapi.PairingAnswer](r)
	if err != nil {
		return nil, err
	}
	if x.answer = a.Answer; f.swap != nil {
		f.swap(x, false)
	}
	return nil, nil
}

func (f *fake) closeBox(r *http.Request, u *fakeUser) (any, error) {
	x, err := f.box(r, u)
	if err == nil {
		x.closed = true
	}
	return nil, err
}

func (f *fake) sayHello(r *http.Request, _ *fakeUser) (any, error) {
	x, err := f.box(r, nil)
	if err != nil {
		return nil, err
	}
	h, err := body[clientapi.PairingHello](r)
	switch {
	case err != nil:
		return nil, err
	case x.hello == nil:
		if x.hello = h.Hello; f.swap != nil {
			f.swap(x, true)
		}
	case string(x.hello) != string(h.Hello) && f.swap == nil:
		return nil, refused(409, clientapi.CodeExists, "the code was used already")
	}
	return &clientapi.PairingAnswer{Answer: x.answer}, nil
}

// tablet is a device that is not registered yet.
func (f *fake) tablet() *person {
	p := &person{t: f.t, f: f, name: "tablet", domain: "atlanta.example", store: newMemory(), http: &http.Client{Transport: &http.Transport{}}}
	p.open()
	f.t.Cleanup(p.http.CloseIdleConnections)
	return p
}

func (p *person) offers() *client.Offer {
	p.t.Helper()
	o, err := p.c.OfferDevice(ctx10(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

// comes has a new device use a code while the old one waits.
func comes(t *testing.T, o *client.Offer, tablet *person, code string) (device string, waited, came error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx10(t))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := tablet.c.RegisterByCode(ctx, code, "tablet")
		if done <- err; err != nil {
			cancel() // or the old one waits for ten minutes
		}
	}()
	device, waited = o.Wait(ctx)
	if waited != nil {
		cancel()
	}
	return device, waited, <-done
}

// TestPairing: a device on another machine becomes one of the user's, by a code that is good
// once, and one at a time.
func TestPairing(t *testing.T) {
	f := newFake(t)
	alice, tablet := f.person("alice", "atlanta.example"), f.tablet()
	before := alice.offers()
	o := alice.offers()
	device, waited, came := comes(t, o, tablet, o.Code())
	if waited != nil || came != nil || device != "tablet" || tablet.c.User() != alice.user() {
		t.Fatal(device, waited, came, tablet.c.User())
	}
	second := f.tablet()
	if err := second.c.RegisterByCode(ctx10(t), o.Code(), "another"); !errors.Is(err, client.ErrPairing) || !strings.Contains(err.Error(), "used already") {
		t.Errorf("the code a second time: %v", err)
	}
	if !second.c.User().IsZero() {
		t.Error("it is registered all the same")
	}
	if err := tablet.c.RegisterByCode(ctx10(t), before.Code(), "tablet"); !errors.Is(err, client.ErrRegistered) {
		t.Errorf("who is registered: %v", err)
	}
	_, code, _ := strings.Cut(o.Code(), "=")
	for _, bad := range []string{"", "clubhouse", o.Code()[:len(o.Code())-1], strings.Replace(o.Code(), "#device=", "#devise=", 1)} {
		if err := second.c.RegisterByCode(ctx10(t), bad, "x"); !errors.Is(err, client.ErrPairing) || strings.Contains(err.Error(), code[:8]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, p := range []*person{alice, tablet} {
		p.store.mu.Lock()
		for name, v := range p.store.data {
			if strings.Contains(string(v), code) {
				t.Errorf("%s keeps the code in %q", p.name, name)
			}
		}
		p.store.mu.Unlock()
	}
}

// TestPairingExpires: the old device answers nobody when its time is over, whatever the provider
// does with the box; nor when it has given up.
func TestPairingExpires(t *testing.T) {
	f := newFake(t)
	alice, tablet := f.person("alice", "atlanta.example"), f.tablet()
	o := alice.offers()
	alice.ahead.Store(int64(pairing.Lifetime))
	_, waited, came := comes(t, o, tablet, o.Code())
	if !errors.Is(waited, client.ErrPairing) || !strings.Contains(waited.Error(), "has expired") || came == nil || !tablet.c.User().IsZero() {
		t.Errorf("%v, %v", waited, came)
	}
	if err := tablet.c.RegisterByCode(ctx10(t), o.Code(), "tablet"); !errors.Is(err, client.ErrPairing) {
		t.Errorf("after that: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.boxes {
		if x.answer != nil || !x.closed {
			t.Error("it has answered, or left the box")
		}
	}
}

// TestPairingHostileProvider: a provider that puts its own key in the place of the new device's
// gets nothing; one that puts its own account in the place of the user's is not believed.
func TestPairingHostileProvider(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	guess := pairing.NewCode(f.url("atlanta.example"))
	own, err := pairing.Ask(guess, "tablet")
	if err != nil {
		t.Fatal(err)
	}
	evil := &pairing.Account{Domain: "atlanta.example", User: alice.user().String(), Invite: "alice", UserKey: [32]byte{6, 6, 6}}
	for what, c := range map[string]struct {
		swap func(x *fakeBox, hello bool)
		old  bool // it is the old device that sees it
	}{
		"another hello": {func(x *fakeBox, hello bool) {
			if hello {
				x.hello = own.Hello()
			}
		}, true},
		"another key in the hello": {func(x *fakeBox, hello bool) {
			if hello {
				copy(x.hello[1:33], own.Hello()[1:33])
			}
		}, true},
		"another answer": {func(x *fakeBox, hello bool) {
			if !hello {
				x.answer, _, _ = pairing.Answer(guess, own.Hello(), evil)
			}
		}, false},
		"a changed answer": {func(x *fakeBox, hello bool) {
			if !hello {
				x.answer[len(x.answer)/2] ^= 1
			}
		}, false},
		"an answer of its own, before the old device's": {func(x *fakeBox, hello bool) {
			if hello {
				x.answer, _, _ = pairing.Answer(guess, own.Hello(), evil)
			}
		}, false},
	} {
		tablet := f.tablet()
		f.mu.Lock()
		f.swap = c.swap
		f.mu.Unlock()
		o := alice.offers()
		_, waited, came := comes(t, o, tablet, o.Code())
		f.mu.Lock()
		for _, x := range f.boxes {
			if c.old && x.answer != nil {
				t.Errorf("%s is answered", what)
			}
		}
		f.boxes = nil
		f.mu.Unlock()
		if c.old && (!errors.Is(waited, client.ErrPairing) || !errors.Is(waited, pairing.ErrForged) || !strings.Contains(waited.Error(), "nothing was given away")) {
			t.Errorf("%s: the old device says %v", what, waited)
		}
		if !c.old && (!errors.Is(came, client.ErrPairing) || !errors.Is(came, pairing.ErrForged)) {
			t.Errorf("%s: the new device says %v", what, came)
		}
		if came == nil || !tablet.c.User().IsZero() {
			t.Errorf("%s: the new device is registered", what)
		}
	}
}
