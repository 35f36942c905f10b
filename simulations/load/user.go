package load

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 1 << 20

// user is a user with one device.
type user struct {
	p       *provider
	account clientapi.Account
	key     ed25519.PrivateKey
	user    uri.User
}

// registrations is how many users come from one address: a provider lets strangers
// register slowly.
const registrations = 20

// register makes the n-th user of a run, with an invite of the operator.
func register(ctx context.Context, p *provider, name string, n int) (*user, error) {
	u := &user{p: p}
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("generating user key: %w", err)
	}
	u.key = key
	req := &clientapi.NewAccount{Device: "device", UserKey: pub}
	err = p.ask(ctx, func(a *admin.Client) error {
		inv, err := a.CreateInvite(ctx, admin.NewInvite{Name: name})
		if err == nil {
			req.Invite = inv.Code
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	req.Proof = ed25519.Sign(key, req.ProofTBS(p.domain))
	from := &net.Dialer{}
	if manyAddresses {
		from.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n/registrations))}
	}
	t := &http.Transport{DialContext: from.DialContext}
	defer t.CloseIdleConnections()
	for {
		err := u.call(ctx, &http.Client{Transport: t}, "POST", "/v1/accounts", req, &u.account)
		var slow *clientapi.Problem
		if errors.As(err, &slow) && slow.Code == clientapi.CodeTooMany {
			select {
			case <-time.After(time.Duration(max(slow.Retry, 100)) * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if err != nil {
			return nil, fmt.Errorf("registering %s at %s: %w", name, p.domain, err)
		}
		break
	}
	if u.user, err = uri.ParseUser(u.account.User); err != nil {
		return nil, fmt.Errorf("%w: account of %s: %w", ErrRefused, name, err)
	}
	return u, nil
}

// call makes one call. What the provider refuses is a *clientapi.Problem and
// ErrRefused.
func (u *user) call(ctx context.Context, h *http.Client, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.url()+path, body)
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if u.account.Token != "" {
		req.Header.Set("Authorization", "Bearer "+u.account.Token)
	}
	res, err := h.Do(req)
	if err != nil {
		return fmt.Errorf("calling %s: %w", u.p.domain, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("calling %s: %w", u.p.domain, err)
	}
	if res.StatusCode/100 != 2 {
		return refusal(res.StatusCode, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%w: answer to %s %s: %w", ErrRefused, method, path, err)
	}
	return nil
}

func (u *user) url() string { return u.p.status.Clients }

// address is where to connect to.
func (u *user) address() string { return strings.TrimPrefix(u.url(), "http://") }

func refusal(status int, body []byte) error {
	p := new(clientapi.Problem)
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		return fmt.Errorf("%w: status %d, %.200q", ErrRefused, status, body)
	}
	p.Status = status
	return fmt.Errorf("%w: %w", ErrRefused, p)
}
