package clienthttp

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mimid/mimid/protocol/clientapi"
)

func (s *Server) registerIntroductions(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "GET", path: "/v1/tokens", id: "get-token-keys", summary: "With what tokens for anonymous requests are signed", tag: "consent"},
		func(ctx context.Context, _ *none) (*clientapi.TokenKeys, error) {
			return v.Introductions.TokenKeys(ctx, who(ctx))
		})
	add(s, api, call{method: "POST", path: "/v1/tokens", id: "new-tokens", summary: "Have tokens for anonymous requests signed, blinded", tag: "consent"},
		func(ctx context.Context, in *withBody[clientapi.NewTokens]) (*clientapi.Tokens, error) {
			return v.Introductions.NewTokens(ctx, who(ctx), &in.Body)
		})
}
