package client

import (
	"context"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
)

// token has this user's provider sign a token that introduces a user of its at another provider,
// this week. The provider learns that its user wants a token, and not for where.
func (c *Client) token(ctx context.Context, origin string) (*privacypass.Token, introduction.Week, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, 0, err
	}
	for try := 1; ; try++ {
		t, w, err := freshToken(ctx, api, c.user.Provider().Domain(), origin, c.cfg.Now())
		if hasCode(err, clientapi.CodeRevision) && try < 3 {
			continue // the week has ended meanwhile
		}
		if err != nil {
			return nil, 0, fmt.Errorf("getting a token for an anonymous request: %w", err)
		}
		return t, w, nil
	}
}

func freshToken(ctx context.Context, api *provider, issuer, origin string, now time.Time) (*privacypass.Token, introduction.Week, error) {
	got := new(clientapi.TokenKeys)
	if err := api.call(ctx, "GET", "/v1/tokens", nil, got); err != nil {
		return nil, 0, err
	}
	keys, err := introduction.ParseKeys(got.Keys)
	if err != nil {
		return nil, 0, fmt.Errorf("the keys of tokens: %w: %w", ErrProtocol, err)
	}
	if len(keys) == 0 || !keys[0].Week.Takes(now) { // a week of a user's own would name the user
		return nil, 0, fmt.Errorf("the provider signs tokens of another week than this one; is this device's clock right? %w", ErrProtocol)
	}
	w := keys[0].Week
	request, pending, err := privacypass.Ask(keys[0].Key, introduction.Challenge(issuer, origin, w))
	if err != nil {
		return nil, 0, err
	}
	// The same octets again cost nothing more, so what got lost is asked for again.
	out := new(clientapi.Tokens)
	for try := 1; ; try++ {
		err = api.call(ctx, "POST", "/v1/tokens", &clientapi.NewTokens{Requests: [][]byte{request}}, out)
		if again, _ := transient(err); err == nil || !again || hasCode(err, clientapi.CodeTooMany) || try == 3 {
			break
		}
	}
	if err != nil {
		return nil, 0, err
	}
	if len(out.Responses) != 1 {
		return nil, 0, fmt.Errorf("%d tokens, and one was asked for: %w", len(out.Responses), ErrProtocol)
	}
	t, err := pending.Finish(out.Responses[0])
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return t, w, nil
}
