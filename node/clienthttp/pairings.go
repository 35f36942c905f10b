package clienthttp

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mimid/mimid/protocol/clientapi"
)

// sayHello is open: who comes with it has no account yet.
const sayHello = "POST /v1/pairings/{box}/hello"

// OfBox is exported because huma does not look into others.
type OfBox struct {
	Box string `path:"box" maxLength:"32" doc:"Name of the box"`
}

func (s *Server) registerPairings(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "POST", path: "/v1/pairings", id: "open-pairing", summary: "Begin to add a device on another machine", tag: "account"},
		func(ctx context.Context, in *withBody[clientapi.NewPairing]) (*clientapi.Pairing, error) {
			return v.Pairings.OpenPairing(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/pairings/{box}", id: "await-pairing-hello", summary: "Wait for the new device", tag: "account"},
		func(ctx context.Context, in *OfBox) (*clientapi.PairingHello, error) {
			return v.Pairings.PairingHello(ctx, who(ctx), in.Box)
		})
	add(s, api, call{method: "POST", path: "/v1/pairings/{box}/answer", id: "answer-pairing", summary: "Answer the new device", tag: "account", status: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			OfBox
			withBody[clientapi.PairingAnswer]
		}) (*none, error) {
			return nil, v.Pairings.AnswerPairing(ctx, who(ctx), in.Box, &in.Body)
		})
	add(s, api, call{method: "DELETE", path: "/v1/pairings/{box}", id: "close-pairing", summary: "Add no device after all", tag: "account", status: http.StatusNoContent},
		func(ctx context.Context, in *OfBox) (*none, error) {
			return nil, v.Pairings.ClosePairing(ctx, who(ctx), in.Box)
		})
	add(s, api, call{method: "POST", path: "/v1/pairings/{box}/hello", id: "say-hello", summary: "Ask to be a device of the user who has opened the box, and wait for the answer", tag: "account"},
		func(ctx context.Context, in *struct {
			OfBox
			withBody[clientapi.PairingHello]
		}) (*clientapi.PairingAnswer, error) {
			return v.Pairings.SayHello(ctx, in.Box, &in.Body)
		})
}
