package clienthttp

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mimid/mimid/protocol/clientapi"
)

func (s *Server) registerOblivious(api huma.API) {
	v := &s.cfg.Services
	none := func() error {
		return problem(http.StatusNotFound, clientapi.CodeNotFound, "this provider passes no oblivious requests on")
	}
	add(s, api, call{method: "POST", path: "/v1/oblivious/keys", id: "oblivious-keys", summary: "The keys of a gateway", tag: "assets"},
		func(ctx context.Context, in *withBody[clientapi.ObliviousKeys]) (*clientapi.GatewayKeys, error) {
			if v.Oblivious == nil {
				return nil, none()
			}
			b, err := v.Oblivious.Keys(ctx, in.Body.Gateway, in.Body.Anew)
			return &clientapi.GatewayKeys{Signed: b}, err
		})
	add(s, api, call{method: "POST", path: "/v1/oblivious", id: "pass-oblivious", summary: "Pass an encrypted request on to a gateway", tag: "assets"},
		func(ctx context.Context, in *withBody[clientapi.ObliviousRequest]) (*clientapi.ObliviousAnswer, error) {
			if v.Oblivious == nil {
				return nil, none()
			}
			b, err := v.Oblivious.Pass(ctx, in.Body.Gateway, in.Body.Sealed)
			return &clientapi.ObliviousAnswer{Sealed: b}, err
		})
}
