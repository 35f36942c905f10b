package clienthttp

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mimid/mimid/protocol/clientapi"
)

// introduceCall is open: who calls does not say who it is. A token of another kind is in the body.
const introduceCall = "POST /v1/introduce"

func (s *Server) registerIntroductions(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "POST", path: "/v1/introduce", id: "introduce", summary: "Ask somebody for first contact, without saying who one is", tag: "consent"},
		func(ctx context.Context, in *withBody[clientapi.Introduce]) (*clientapi.Introduced, error) {
			return v.Introductions.Introduce(ctx, &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/privacy", id: "get-privacy", summary: "What it is worth now, and costs, to ask other providers over relays", tag: "discovery"},
		func(ctx context.Context, in *privacyOf) (*clientapi.PrivacyReport, error) {
			return v.Privacy.Privacy(ctx, who(ctx), in.To)
		})
	add(s, api, call{method: "GET", path: "/v1/introductions", id: "list-introductions", summary: "Anonymous requests that wait for an answer", tag: "consent"},
		func(ctx context.Context, _ *none) (*clientapi.Introductions, error) {
			return v.Introductions.Introductions(ctx, who(ctx))
		})
	add(s, api, call{method: "POST", path: "/v1/introductions", id: "judge-introduction", summary: "Answer an anonymous request", tag: "consent", status: http.StatusNoContent},
		func(ctx context.Context, in *withBody[clientapi.JudgeIntroduction]) (*none, error) {
			return nil, v.Introductions.JudgeIntroduction(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/tokens", id: "get-token-keys", summary: "With what tokens for anonymous requests are signed", tag: "consent"},
		func(ctx context.Context, _ *none) (*clientapi.TokenKeys, error) {
			return v.Introductions.TokenKeys(ctx, who(ctx))
		})
	add(s, api, call{method: "POST", path: "/v1/tokens", id: "new-tokens", summary: "Have tokens for anonymous requests signed, blinded", tag: "consent"},
		func(ctx context.Context, in *withBody[clientapi.NewTokens]) (*clientapi.Tokens, error) {
			return v.Introductions.NewTokens(ctx, who(ctx), &in.Body)
		})
}

type privacyOf struct {
	To string `query:"to" maxLength:"255" doc:"Domain of who is to be asked: whether that one takes part, too"`
}
