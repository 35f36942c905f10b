package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/pairing"
	"github.com/mimid/mimid/protocol/uri"
)

// A further device on another machine: package pairing has the protocol, and what the provider
// between the two can do.

// ErrPairing: no device was added, or this one did not become one. The text says why and
// what to do.
var ErrPairing = errors.New("client: adding a device")

// Offer is a code by which one new device becomes one of this user's. Its methods are not for
// concurrent use.
type Offer struct {
	c     *Client
	me    *me
	api   *provider
	code  *pairing.Code
	until time.Time
	with  pairing.Account
	path  string
}

// OfferDevice makes a code for a new device, which is good until it was used once, and for
// pairing.Lifetime at most. Show it to the user, and Wait. One code of the user is good at a
// time: the former one is not any more.
//
// Errors: ErrNotRegistered, ErrStopped, ErrUnreachable, *clientapi.Problem.
func (c *Client) OfferDevice(ctx context.Context) (*Offer, error) {
	m, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	o := &Offer{c: c, me: m, api: api, code: pairing.NewCode(m.URL), until: c.cfg.Now().Add(pairing.Lifetime)}
	got := new(clientapi.Pairing)
	if err := api.call(ctx, "POST", "/v1/pairings", &clientapi.NewPairing{Box: o.code.Box()}, got); err != nil {
		return nil, fmt.Errorf("making a code for a device: %w", err)
	}
	o.path = "/v1/pairings/" + o.code.Box()
	o.with = pairing.Account{Domain: m.Domain, User: m.User, Invite: got.Invite}
	copy(o.with.UserKey[:], m.UserKey)
	return o, nil
}

// Format implements fmt.Formatter; it prints no code.
func (o *Offer) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Offer(%v)", o.code) }

// Code returns the code, which makes who has it the user while it is good.
func (o *Offer) Code() string { return o.code.Reveal() }

// Expires says until when the code is good.
func (o *Offer) Expires() time.Time { return o.until }

// Wait waits for the new device and gives it the account. It returns the name by which that
// device calls itself. The code is good no longer after it, however it ends.
//
// Errors: ErrPairing: the code has expired, or what came was not said by who has it, and then
// nothing was given away; *clientapi.Problem.
func (o *Offer) Wait(ctx context.Context) (device string, err error) {
	answered := false
	defer func() {
		if !answered {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			_ = o.api.call(ctx, "DELETE", o.path, nil, nil) // or it expires
		}
	}()
	got := new(clientapi.PairingHello)
	for {
		if err := o.patiently(ctx, "GET", "", nil, got); err != nil {
			return "", err
		}
		if len(got.Hello) > 0 {
			break
		}
		if err := pause(ctx, o.c.cfg.Retry/4); err != nil {
			return "", err
		}
	}
	answer, device, err := pairing.Answer(o.code, got.Hello, &o.with)
	if errors.Is(err, pairing.ErrForged) {
		return "", fmt.Errorf("%w: what came is not from the device that you gave the code to: your provider, or somebody in between, has changed it; nothing was given away; make another code, and if this happens again tell your operator: %w", ErrPairing, err)
	}
	if err != nil {
		return "", fmt.Errorf("%w: the new device does not speak as this one does; see that both have the same version of this program: %w", ErrPairing, err)
	}
	// From here on it may have got it.
	answered = true
	if err := o.patiently(ctx, "POST", "/answer", &clientapi.PairingAnswer{Answer: answer}, nil); err != nil {
		return device, fmt.Errorf("giving the account to %q: %w", device, err)
	}
	return device, nil
}

// patiently makes a call until there is an answer, while the code is good.
func (o *Offer) patiently(ctx context.Context, method, path string, in, out any) error {
	return patiently(ctx, o.c, o.until, func() error { return o.api.call(ctx, method, o.path+path, in, out) })
}

// patiently makes a call again while it fails in a way that may pass, until a time.
func patiently(ctx context.Context, c *Client, until time.Time, call func() error) error {
	for {
		if !c.cfg.Now().Before(until) {
			return fmt.Errorf("%w: the code has expired; make another one", ErrPairing)
		}
		err := call()
		if hasCode(err, clientapi.CodeNotFound) || hasCode(err, clientapi.CodeExists) {
			return fmt.Errorf("%w: %w", ErrPairing, err)
		}
		passes, least := transient(err)
		if err == nil || !passes {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: given up, and the code is good no longer: %w", ErrPairing, ctx.Err())
		}
		if late := pause(ctx, max(least, c.cfg.Retry)); late != nil {
			return errors.Join(err, late)
		}
	}
}

// pause waits between two calls: a provider that does not let us wait is not asked in a circle.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RegisterByCode makes this client a further device of the user who has made a code on another
// device (OfferDevice), which has to wait there. It comes into the user's rooms by itself when
// it runs. Call it before Run.
//
// Errors: ErrPairing: the code is none, has expired or was used, or what came back was not
// said by who made it; and those of Register.
func (c *Client) RegisterByCode(ctx context.Context, code, device string) error {
	if c.me != nil {
		return fmt.Errorf("registering %s: %s: %w", device, c.me.Client, ErrRegistered)
	}
	x, err := pairing.ParseCode(code)
	if err != nil {
		return fmt.Errorf("%w: copy the code again, from https: to the end: %w", ErrPairing, err)
	}
	p, err := newProvider(x.URL(), c.cfg.HTTP)
	if err != nil {
		return err
	}
	n, err := pairing.Ask(x, device)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPairing, err)
	}
	until := c.cfg.Now().Add(pairing.Lifetime)
	got := new(clientapi.PairingAnswer)
	for {
		err := patiently(ctx, c, until, func() error {
			return p.call(ctx, "POST", "/v1/pairings/"+x.Box()+"/hello", &clientapi.PairingHello{Hello: n.Hello()}, got)
		})
		if err != nil {
			return fmt.Errorf("asking %s for the account: %w", x.URL(), err)
		}
		if len(got.Answer) > 0 {
			break
		}
		if err := pause(ctx, c.cfg.Retry/4); err != nil {
			return err
		}
	}
	a, err := n.Open(got.Answer)
	if err != nil {
		return fmt.Errorf("%w: the answer is not from the device that made the code: the provider, or somebody in between, has changed it; nothing was kept of it; make another code, and if this happens again tell the operator: %w", ErrPairing, err)
	}
	if err := checkOffered(a); err != nil {
		return err
	}
	// The code is used by now: a name that another device has is no reason to begin again.
	for i, name := 2, device; ; i++ {
		err = patiently(ctx, c, until, func() error {
			return c.registerAs(ctx, &registration{url: x.URL(), invite: a.Invite, device: name, userKey: a.UserKey[:], domain: a.Domain, user: a.User})
		})
		if !hasCode(err, clientapi.CodeNameTaken) || i > maxNamesakes {
			break
		}
		name = fmt.Sprintf("%s-%d", device, i)
	}
	if err != nil {
		return fmt.Errorf("registering at %s: %w", x.URL(), err)
	}
	return nil
}

// maxNamesakes is how many devices of one name are counted through, as device-2 and so on.
const maxNamesakes = 9

// checkOffered says whether an account is one that there can be.
func checkOffered(a *pairing.Account) error {
	u, err := uri.ParseUser(a.User)
	if err != nil || u.Provider().Domain() != a.Domain {
		return fmt.Errorf("%w: the other device gives an account that there cannot be, %.100q at %.100q", ErrPairing, a.User, a.Domain)
	}
	return nil
}

// Device is one of the user's devices.
type Device struct {
	Name  string
	Own   bool // this one
	Since time.Time
}

// Devices lists the user's devices, as the provider knows them.
func (c *Client) Devices(ctx context.Context) (out []Device, err error) {
	m, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	got := new(clientapi.Devices)
	if err := api.call(ctx, "GET", "/v1/devices", nil, got); err != nil {
		return nil, fmt.Errorf("listing devices: %w", err)
	}
	for _, d := range got.Devices {
		out = append(out, Device{Name: d.Name, Own: d.Name == m.Device, Since: time.UnixMilli(d.CreatedAt)})
	}
	return out, nil
}
