package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/uri"
)

// ConsentModes are what becomes of people about whom a user has decided nothing.
type ConsentModes = clientapi.ConsentModes

// ErrMode: what was given as a mode of consent, or whom it is for, is none. Say ask, open,
// quarantine or closed, for a user such as bob@biloxi.example or a provider's domain.
var ErrMode = errors.New("client: not a mode of consent")

// ConsentModes returns what becomes of people about whom this user has decided nothing.
func (c *Client) ConsentModes(ctx context.Context) (*ConsentModes, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	out := new(clientapi.ConsentModes)
	if err := api.call(ctx, "GET", "/v1/consent/modes", nil, out); err != nil {
		return nil, fmt.Errorf("reading modes of consent: %w", err)
	}
	return out, nil
}

// SetConsentMode sets the mode (consent.Mode, by its name) for one user or for all of a
// provider that it names, and for all for whom there is no exception if who is empty. An empty
// mode takes an exception away. It returns when the provider has it on its disk; the
// devices of this user then act by it, as far as they are reached.
//
// Errors: ErrMode, ErrUnreachable, *clientapi.Problem.
func (c *Client) SetConsentMode(ctx context.Context, who, mode string) (*ConsentModes, error) {
	if _, ok := consent.ParseMode(mode); !ok && (mode != "" || who == "") {
		return nil, fmt.Errorf("%.40q: %w", mode, ErrMode)
	}
	who, err := exceptionFor(who)
	if err != nil {
		return nil, err
	}
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		m, err := c.ConsentModes(ctx)
		if err != nil {
			return nil, err
		}
		setMode(m, who, mode)
		out := new(clientapi.ConsentModes)
		err = api.call(ctx, "PUT", "/v1/consent/modes", m, out)
		if p, ok := errors.AsType[*clientapi.Problem](err); ok && p.Code == clientapi.CodeRevision && try < 3 {
			continue // another device was faster
		}
		if err != nil {
			return nil, fmt.Errorf("setting modes of consent: %w", err)
		}
		return out, nil
	}
}

func setMode(m *clientapi.ConsentModes, who, mode string) {
	if who == "" {
		m.Mode = mode
		return
	}
	list := []clientapi.ConsentException{}
	for _, x := range m.Exceptions {
		if x.Who != who {
			list = append(list, x)
		}
	}
	if mode != "" {
		list = append(list, clientapi.ConsentException{Who: who, Mode: mode})
	}
	m.Exceptions = list
}

// exceptionFor reads a user, as a URI or short, or a domain; "" is nobody in particular.
func exceptionFor(who string) (string, error) {
	switch {
	case who == "":
		return "", nil
	case strings.Contains(who, "/"):
		u, err := uri.ParseUser(who)
		if err != nil {
			return "", fmt.Errorf("%w: %w", err, ErrMode)
		}
		return u.String(), nil
	case strings.Contains(who, "@"):
		u, err := uri.ParseShort(who)
		if err != nil {
			return "", fmt.Errorf("%w: %w", err, ErrMode)
		}
		return u.String(), nil
	}
	p, err := uri.ParseDomain(who)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, ErrMode)
	}
	return p.Domain(), nil
}

// decisions are what this user has decided about others, and what becomes of the rest.
type decisions struct {
	about map[consentScope]consent.State
	modes *clientapi.ConsentModes
}

// modeFor is the mode that holds for a requester.
func (d *decisions) modeFor(requester string) consent.Mode {
	if d.modes == nil {
		return consent.Ask
	}
	domain := ""
	if u, err := uri.ParseUser(requester); err == nil {
		domain = u.Provider().Domain()
	}
	var contact, provider consent.Mode
	for _, x := range d.modes.Exceptions {
		m, ok := consent.ParseMode(x.Mode)
		switch {
		case !ok: // of a newer provider
		case x.Who == requester:
			contact = m
		case x.Who == domain:
			provider = m
		}
	}
	own, _ := consent.ParseMode(d.modes.Mode)
	return consent.Resolve(contact, provider, own)
}

// admits says whether the user lets somebody add it to a room.
func (d *decisions) admits(requester, room string) bool {
	return consent.Judge(d.modeFor(requester), d.about[consentScope{requester, ""}], d.about[consentScope{requester, room}]) == consent.Admit
}
