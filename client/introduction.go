package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// ErrAnonymousText: the words that go with an anonymous request are no line of text, or too long.
var ErrAnonymousText = introduction.ErrText

// Introduction is a request by somebody who has not said who it is, see Introductions.
type Introduction = clientapi.Introduction

// anonymous is an own request without a name, until it was followed by one with a name, or its
// token is too old for an answer. It is stored under the target's URI.
type anonymous struct {
	Target  string
	Secret  []byte
	Request []byte // introduction.Request
	Week    introduction.Week
	// Granted: the target has said yes, and is to be asked by name.
	Granted bool
}

// RequestAnonymously asks a user for first contact without saying who asks: the user, and its
// provider, see words, and by which provider it is. It is to be called again, with any text, to
// look for an answer: it says whether the user has said yes, and then asks for consent by name, which
// is granted at once unless the user has refused this one. Until then, there may be no such user.
//
// The own provider passes it on, so it sees whom somebody asks, not who of its users: that comes
// over a connection of its own. It goes as Privacy says: over relays, who watches the links between providers does
// not see which asks which, and the token still tells the user's provider of which it is. It sees the address that it comes from, though, and when it gave
// whom a token.
//
// Errors: ErrAnonymousText, ErrUnreachable, *clientapi.Problem: CodeNotFound where no tokens are
// given, CodeTooMany where today's are used up.
func (c *Client) RequestAnonymously(ctx context.Context, who uri.User, text string) (granted bool, err error) {
	if err := introduction.CheckText(text); err != nil {
		return false, err
	}
	_, api, err := c.self(ctx)
	if err != nil {
		return false, err
	}
	fail := func(err error) (bool, error) { return false, fmt.Errorf("asking %s anonymously: %w", who, err) }
	a, err := c.anonymousTo(ctx, who)
	if err != nil {
		return fail(err)
	}
	if a == nil {
		if a, err = c.newAnonymous(ctx, who, text); err != nil {
			return fail(err)
		}
	}
	if !a.Granted {
		stranger := &provider{base: api.base, http: apart(api.http)}
		want, err := c.want(ctx)
		if err != nil {
			return fail(err)
		}
		out := new(clientapi.Introduced)
		err = stranger.callAs(ctx, want, "/v1/introduce", &clientapi.Introduce{Request: a.Request, Privacy: want}, out, &out.Over)
		switch {
		case hasCode(err, clientapi.CodeForbidden), hasCode(err, clientapi.CodeSpent):
			// This token will never do: the next call takes another.
			return fail(errors.Join(err, c.keepAnonymous(ctx, who, nil)))
		case err != nil:
			return fail(err)
		case !out.Granted:
			return false, nil
		}
		// Before the name is said: what the yes is found by is gone then.
		a.Granted = true
		if err := c.keepAnonymous(ctx, who, a); err != nil {
			return fail(err)
		}
	}
	if err := c.nameSelf(ctx, who, introduction.Secret(a.Secret)); err != nil {
		return fail(err)
	}
	if err := c.keepAnonymous(ctx, who, nil); err != nil {
		return fail(err)
	}
	return true, nil
}

// anonymousTo is what this device has asked a user, nil if it was not, or too long ago.
func (c *Client) anonymousTo(ctx context.Context, who uri.User) (a *anonymous, err error) {
	err = c.do(ctx, func() (error, error) {
		return c.cfg.Storage.View(func(tx Tx) error {
			return scan(tx, tableAnonymous, func(name string, v *anonymous) error {
				if name == who.String() && (v.Granted || v.Week.Takes(c.cfg.Now())) && len(v.Secret) == len(introduction.Secret{}) {
					a = v
				}
				return nil
			})
		}), nil
	})
	return a, err
}

// newAnonymous makes a request and keeps it, so that it is sent once however often.
func (c *Client) newAnonymous(ctx context.Context, who uri.User, text string) (*anonymous, error) {
	t, w, err := c.token(ctx, who.Provider().Domain())
	if err != nil {
		return nil, err
	}
	s := introduction.NewSecret()
	r := &introduction.Request{Issuer: c.user.Provider(), Target: who, Handle: s.Handle(), Text: text, Token: *t}
	a := &anonymous{Target: who.String(), Secret: s[:], Request: r.Bytes(), Week: w}
	return a, c.keepAnonymous(ctx, who, a)
}

// keepAnonymous stores an own request; nil: no more.
func (c *Client) keepAnonymous(ctx context.Context, who uri.User, a *anonymous) error {
	return c.do(ctx, func() (error, error) {
		b := new(batch)
		if a == nil {
			b.del(tableAnonymous, who.String())
		} else {
			b.put(tableAnonymous, who.String(), a)
		}
		return nil, c.commit(b)
	})
}

// nameSelf asks by name whom this device has asked without one, and who has said yes.
func (c *Client) nameSelf(ctx context.Context, who uri.User, s introduction.Secret) error {
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	entry, err := c.consentEntryWith(ctx, wire.ConsentRequest, who, uri.Room{}, func(e *wire.ConsentEntry) { introduction.Attach(e, s) })
	if err != nil {
		return err
	}
	return api.call(ctx, "POST", "/v1/consent", &clientapi.SendConsent{Entry: entry}, nil)
}

// apart is a client whose connections are not those on which the device says who it is.
func apart(h *http.Client) *http.Client {
	out := *h
	out.Jar = nil
	t := h.Transport
	if t == nil {
		t = http.DefaultTransport
	}
	if t, ok := t.(*http.Transport); ok {
		t = t.Clone()
		t.DisableKeepAlives = true
		if t.TLSClientConfig != nil {
			t.TLSClientConfig.ClientSessionCache = nil
		}
		out.Transport = t
	}
	return &out
}

// Introductions lists requests to this user by people who have not said who they are.
func (c *Client) Introductions(ctx context.Context) ([]Introduction, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	out := new(clientapi.Introductions)
	if err := api.call(ctx, "GET", "/v1/introductions", nil, out); err != nil {
		return nil, fmt.Errorf("listing anonymous requests: %w", err)
	}
	return out.Introductions, nil
}

// JudgeIntroduction answers one, by its handle. After yes, whoever it is may add this user to rooms
// once it has said its name; ConsentChanged tells it. No is told to nobody.
func (c *Client) JudgeIntroduction(ctx context.Context, handle string, accept bool) error {
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	if err := api.call(ctx, "POST", "/v1/introductions", &clientapi.JudgeIntroduction{Handle: handle, Accept: accept}, nil); err != nil {
		return fmt.Errorf("answering an anonymous request: %w", err)
	}
	return nil
}

// introduced tells of an anonymous request.
func (c *Client) introduced(b *batch, data []byte) error {
	v := new(Introduction)
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	if err := introduction.CheckText(v.Text); err != nil {
		return err
	}
	b.tell(Introduced{*v})
	return nil
}
