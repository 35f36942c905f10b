package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// ErrPrivacy: what was given as privacy is none.
var ErrPrivacy = errors.New("client: not a privacy")

// Ways in which this device has other providers asked.
const (
	PrivacyOpen  = "open"  // the own provider asks in its name
	PrivacyOnion = "onion" // over relays, or not at all
)

// Privacy is how this device has other providers asked when it looks for people (Discover, Owner), has identifiers
// evaluated (also to publish them), and asks without a name (RequestAnonymously). How messages come to a room, each
// room has said for itself (SetRoomPrivacy). All else is as it is: changes of rooms, and requests in the user's name.
// The own provider sees all of it either way.
type Privacy struct {
	Over string `json:"privacy"` // PrivacyOpen or PrivacyOnion
	// WarnBelow and RefuseBelow are among how many providers a request has to hide, by the own provider's
	// estimate at the time: below, an application warns, or the own provider refuses. 0: never.
	WarnBelow   float64 `json:"warn_below"`
	RefuseBelow float64 `json:"refuse_below"`
	// Steady has the own provider write to this device as much at any time, whether it has something to
	// say or not, SteadyEvery: who watches the device's line does not see whether anything came. What the device
	// sends, and what it fetches, is seen all the same. It takes longer, and a long room many of them.
	Steady bool `json:"steady"`
}

// SteadyEvery is the time between two pieces of clientapi.SteadySize octets that are written to a steady device.
const (
	SteadyEvery = 2 * time.Second
	SteadySize  = clientapi.SteadySize
)

// PrivacyReport says what it is worth now to ask over relays, and what it costs.
type PrivacyReport = clientapi.PrivacyReport

// warnBelow is where nothing was chosen: who hides among fewer is as good as named.
const warnBelow = 3

const namePrivacy = "privacy"

// overRelays is how long a call may take that goes over relays: the provider's own limit, and some.
const overRelays = 70 * time.Second

// Privacy returns how others are asked. Where nothing was chosen, openly.
func (c *Client) Privacy(ctx context.Context) (p Privacy, err error) {
	err = c.do(ctx, func() (bad, _ error) { p, bad = c.storedPrivacy(); return bad, nil })
	return p, err
}

// storedPrivacy works on any goroutine.
func (c *Client) storedPrivacy() (Privacy, error) {
	p := Privacy{Over: PrivacyOpen, WarnBelow: warnBelow}
	err := c.cfg.Storage.View(func(tx Tx) error {
		b, err := tx.Get(tableSelf, namePrivacy)
		if err != nil || b == nil {
			return err
		}
		if err := unmarshal(namePrivacy, b, &p); err != nil {
			return err
		}
		return p.check()
	})
	return p, err
}

// hear opens the stream as the user has chosen, until it ends or the user chooses otherwise.
func (c *Client) hear(ctx context.Context, cursor string, opened func(), take func(frame) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	again := func() { cancel(fmt.Errorf("the user has chosen another way to read: %w", ErrUnreachable)) }
	c.hearAgain.Store(&again)
	p, err := c.storedPrivacy()
	if err != nil {
		return err
	}
	return c.api.stream(ctx, cursor, p.Steady, opened, take)
}

// check keeps a setting that cannot be read as one from being taken for open.
func (p Privacy) check() error {
	if p.Over != PrivacyOpen && p.Over != PrivacyOnion {
		return fmt.Errorf("%.40q, where open and onion are possible: %w", p.Over, ErrPrivacy)
	}
	return p.checkFloors()
}

func (p Privacy) checkFloors() error {
	// NaN is not above 0 either.
	if !(p.WarnBelow >= 0 && p.WarnBelow <= 1e6) || !(p.RefuseBelow >= 0 && p.RefuseBelow <= 1e6) {
		return fmt.Errorf("floors of %v and %v providers, where 0 to a million are possible: %w", p.WarnBelow, p.RefuseBelow, ErrPrivacy)
	}
	return nil
}

// SetPrivacy says how others are to be asked by this device from now on. Errors: ErrPrivacy, ErrStorage.
func (c *Client) SetPrivacy(ctx context.Context, p Privacy) error {
	if err := p.check(); err != nil {
		return err
	}
	err := c.do(ctx, func() (error, error) {
		was, err := c.storedPrivacy()
		b := new(batch)
		b.put(tableSelf, namePrivacy, p)
		if err := c.commit(b); err != nil {
			return nil, err
		}
		if again := c.hearAgain.Load(); again != nil && (err != nil || was.Steady != p.Steady) {
			(*again)()
		}
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("setting privacy: %w", err)
	}
	return nil
}

// PrivacyReport is what the own provider says it is worth now to ask over relays, and costs.
func (c *Client) PrivacyReport(ctx context.Context) (*PrivacyReport, error) {
	return c.privacyTo(ctx, "")
}

// privacyTo is PrivacyReport for requests to one provider, which has to take part; "": to anybody.
func (c *Client) privacyTo(ctx context.Context, to string) (*PrivacyReport, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	out, path := new(PrivacyReport), "/v1/privacy"
	if to != "" {
		path += "?to=" + url.QueryEscape(to)
	}
	if err := api.call(ctx, "GET", path, nil, out); err != nil {
		return nil, fmt.Errorf("asking what it is worth to ask over relays: %w", err)
	}
	return out, nil
}

// want is what requests that go to other providers say of privacy, nil if they go openly.
func (c *Client) want(ctx context.Context) (*clientapi.Privacy, error) {
	p, err := c.Privacy(ctx)
	if err != nil || p.Over == PrivacyOpen {
		return nil, err
	}
	return &clientapi.Privacy{Over: p.Over, Floor: p.RefuseBelow}, nil
}

// callAs makes a call that others are asked for. Went is the way that the answer says it went, read after the call: a
// provider that does not know of ways, or forgets, has perhaps asked openly.
func (p *provider) callAs(ctx context.Context, want *clientapi.Privacy, path string, in, out any, went *string) error {
	if want == nil {
		return p.call(ctx, "POST", path, in, out)
	}
	if err := p.callWithin(ctx, overRelays, "POST", path, in, out); err != nil {
		return err
	}
	if *went != want.Over {
		return fmt.Errorf("%w: it was to ask others over %s, and does not say that it has: it may have asked in its name", ErrProtocol, want.Over)
	}
	return nil
}
