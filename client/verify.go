package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
)

// ErrNoCode: no code was asked for, for this identifier on this device, or that was too long
// ago. Ask for one.
var ErrNoCode = errors.New("client: no code was asked for lately; ask with `mimid client publish IDENTIFIER --verify`")

// verificationRecord is a code that was asked for, and then what the authority states. It is
// kept for the next time that the identifier is published, while the statement lasts.
type verificationRecord struct {
	Authority string
	Request   []byte
	At        int64 // Unix milliseconds
	// Sent says that the authority has said that the code is on its way.
	Sent      bool
	Statement []byte `json:",omitempty"`
}

func verificationName(s discovery.SII) string { return "verification " + s.String() }

// verification reads the record of an identifier, or nil.
func (c *Client) verification(s discovery.SII) (*verificationRecord, error) {
	var v *verificationRecord
	err := c.cfg.Storage.View(func(tx Tx) error {
		b, err := tx.Get(tableSelf, verificationName(s))
		if err != nil || b == nil {
			return err
		}
		v = new(verificationRecord)
		return unmarshal("verification", b, v)
	})
	if err != nil {
		return nil, storageError(err)
	}
	return v, nil
}

// keepVerification stores it; nil deletes it.
func (c *Client) keepVerification(ctx context.Context, s discovery.SII, v *verificationRecord) error {
	return c.do(ctx, func() (error, error) {
		b := new(batch)
		if v == nil {
			b.del(tableSelf, verificationName(s))
		} else {
			b.put(tableSelf, verificationName(s), v)
		}
		return nil, c.commit(b)
	})
}

// RequestCode has an authority send a code to a number or address, to be given to
// EnterCode. The authority is a provider's domain; "" is the first that the own provider
// believes. It learns the identifier and who claims it. It returns the authority.
//
// Errors: discovery's for an identifier that is none, verification.ErrMethod for a handle,
// ErrUnreachable, *clientapi.Problem.
func (c *Client) RequestCode(ctx context.Context, sii, authority string) (string, error) {
	by, err := c.requestCode(ctx, sii, authority)
	if err != nil {
		return "", fmt.Errorf("asking for a code for %.80q: %w", sii, err)
	}
	return by, nil
}

func (c *Client) requestCode(ctx context.Context, sii, authority string) (string, error) {
	s, err := discovery.ParseSII(sii)
	if err != nil {
		return "", err
	}
	method, err := verification.MethodFor(s.Kind())
	if err != nil {
		return "", err
	}
	m, api, err := c.self(ctx)
	if err != nil {
		return "", err
	}
	if authority == "" {
		about := new(clientapi.Provider)
		if err := api.call(ctx, "GET", "/v1/provider", nil, about); err != nil {
			return "", err
		}
		if len(about.Authorities) == 0 {
			return "", &clientapi.Problem{Status: 422, Code: clientapi.CodeInvalid, Detail: "your provider believes no verification authority; ask its operator"}
		}
		authority = about.Authorities[0]
	}
	p, err := uri.ParseDomain(authority)
	if err != nil {
		return "", fmt.Errorf("authority: %w", err)
	}
	now := c.cfg.Now()
	v, err := c.verification(s)
	if err != nil {
		return "", err
	}
	// What got no answer is asked again as it was, so that it sends one code.
	again := v != nil && !v.Sent && v.Authority == p.Domain() && now.Sub(time.UnixMilli(v.At)).Abs() < verification.MaxAge/2
	if !again {
		q, err := verification.NewRequest(ed25519.NewKeyFromSeed(m.UserKey), m.UserCert, verification.Ask{Authority: p, Identifier: s, Method: method, User: m.user, At: now})
		if err != nil {
			return "", err
		}
		v = &verificationRecord{Authority: p.Domain(), Request: q.Bytes(), At: now.UnixMilli()}
		if err := c.keepVerification(ctx, s, v); err != nil {
			return "", err
		}
	}
	if err := api.call(ctx, "POST", "/v1/verifications", &clientapi.NewVerification{Authority: v.Authority, Request: v.Request}, nil); err != nil {
		return "", err
	}
	v.Sent = true
	return v.Authority, c.keepVerification(ctx, s, v)
}

// EnterCode gives the authority the code that came to an identifier, and keeps what it
// states; Publish then publishes that with the identifier.
//
// Errors: ErrNoCode, verification.ErrCode (it is not 8 digits), ErrUnreachable, ErrProtocol,
// *clientapi.Problem with CodeWrongCode, CodeSpent and others.
func (c *Client) EnterCode(ctx context.Context, sii, code string) error {
	if err := c.enterCode(ctx, sii, code); err != nil {
		return fmt.Errorf("entering the code for %.80q: %w", sii, err)
	}
	return nil
}

func (c *Client) enterCode(ctx context.Context, sii, code string) error {
	s, err := discovery.ParseSII(sii)
	if err != nil {
		return err
	}
	v, err := c.verification(s)
	if err != nil {
		return err
	}
	if v == nil || v.Statement == nil && c.cfg.Now().Sub(time.UnixMilli(v.At)) > verification.CodeLifetime+verification.MaxAge {
		return ErrNoCode
	}
	q, err := verification.ParseRequest(v.Request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	_, m, api, secret, err := c.identifier(ctx, sii)
	if err != nil {
		return err
	}
	key := ed25519.NewKeyFromSeed(m.UserKey)
	a, err := verification.NewAnswer(key, q.ID(), code)
	if err != nil {
		return err
	}
	out := new(clientapi.Verified)
	if err := api.call(ctx, "POST", "/v1/verifications/answer", &clientapi.VerificationAnswer{Authority: v.Authority, Answer: a.Bytes()}, out); err != nil {
		return err
	}
	st, err := verification.Parse(out.Statement)
	if err == nil {
		if err = c.know(ctx, v.Authority); err == nil {
			want := verification.Facts{ClaimID: secret.ClaimID(), User: m.user, Method: q.Ask().Method, Authority: q.Ask().Authority}
			if want.KeyID, err = discovery.KeyID(key.Public()); err == nil {
				err = st.Check(want, c.trust.anchors, c.cfg.Now())
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w: what the authority states: %w", ErrProtocol, err)
	}
	v.Statement = out.Statement
	return c.keepVerification(ctx, s, v)
}

// state puts into the terms of a claim what an authority has stated of the identifier, if
// that holds still. The claim ends with it.
func (c *Client) state(t *discovery.Terms, s discovery.SII, m *me, secret discovery.Secret) error {
	v, err := c.verification(s)
	if err != nil || v == nil || v.Statement == nil {
		return err
	}
	q, err := verification.ParseRequest(v.Request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	st, err := verification.Parse(v.Statement)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	want := verification.Facts{ClaimID: secret.ClaimID(), User: m.user, Method: q.Ask().Method, Authority: q.Ask().Authority}
	if want.KeyID, err = discovery.KeyID(ed25519.NewKeyFromSeed(m.UserKey).Public()); err != nil {
		return err
	}
	// One that has ended, or was for a network with other evaluators, is as none.
	if st.Check(want, c.trust.anchors, c.cfg.Now()) != nil {
		return nil
	}
	t.Statement, t.Method = v.Statement, want.Method
	if end := st.Expires(); t.Expires.After(end) {
		t.Expires = end
	}
	return nil
}

// standing says who stands for a claim, as this device can tell.
func (c *Client) standing(ctx context.Context, v *discovery.VerifiedClaim, believed []string) (verification.Standing, *verification.Verified) {
	if a, ok := verification.AuthorityOf(v); ok {
		for _, d := range believed {
			if d == a.Domain() {
				if err := c.know(ctx, d); err != nil {
					c.log.Warn("a verification authority cannot be looked up", "provider", d, "error", err)
				}
			}
		}
	}
	return verification.Judge(v, believed, c.trust.anchors, c.cfg.Now())
}
