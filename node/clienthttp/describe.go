package clienthttp

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mimid/mimid/protocol/clientapi"
)

//go:embed docs.html
var docsPage []byte

//go:embed docs.js
var docsScript []byte

const (
	apiTitle = "mimid client API"
	apiText  = "What a user's client and its provider say to each other. Octets are base64 in the standard alphabet. " +
		"What MLS or MIMI defines travels as the octets of that structure. Every other status than 2xx has a Problem as its body."
	tokenScheme = "token"
)

// routes builds the handler and the description.
func (s *Server) routes() (http.Handler, error) {
	r := &router{s: s, mux: http.NewServeMux(), methods: map[string][]string{}}
	// Not huma.DefaultConfig, which would serve pages that load scripts from
	// elsewhere, and add links to every answer.
	api := humago.New(r, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: apiTitle, Version: s.cfg.Version, Description: apiText},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					tokenScheme: {Type: "http", Scheme: "bearer", Description: "The device's token from registration"},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{fromHuma},
	})
	s.register(api)
	r.handle("GET /v1/events", s.events)
	s.describeEvents(api)
	r.handle("PATCH /v1/assets/{hash}", s.appendAsset)
	r.handle("GET /v1/download", s.download)
	s.describeAssets(api)
	for _, item := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				describeProblems(api, op)
			}
		}
	}
	// huma's own shape of errors, which nobody gets to see.
	schemas := api.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	var err error
	if s.openAPI, err = json.MarshalIndent(api.OpenAPI(), "", " "); err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	leaveBase64ToJSON(schemas)
	s.routeRest(r)
	r.finish()
	return s.outermost(r.mux), nil
}

// leaveBase64ToJSON takes a check from validation, after the description has been
// made: huma matches octets against a regular expression, which costs more than all
// the rest of a call with a large body, and the decoding of JSON into []byte that
// follows refuses the same.
func leaveBase64ToJSON(schemas map[string]*huma.Schema) {
	for _, s := range schemas {
		for _, p := range s.Properties {
			p.ContentEncoding = ""
			if p.Items != nil {
				p.Items.ContentEncoding = ""
			}
		}
	}
}

// routeRest adds what is not part of the API.
func (s *Server) routeRest(r *router) {
	rest := func(path string, h http.HandlerFunc) {
		r.methods[path] = append(r.methods[path], http.MethodGet)
		r.mux.HandleFunc("GET "+path, h)
	}
	static := func(path, contentType string, body []byte) {
		rest(path, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", contentType)
			h.Set("Content-Length", strconv.Itoa(len(body)))
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			_, _ = w.Write(body)
		})
	}
	static("/openapi.json", "application/openapi+json", s.openAPI)
	static("/docs", "text/html; charset=utf-8", docsPage)
	static("/docs.js", "text/javascript; charset=utf-8", docsScript)
	rest("/healthz", func(w http.ResponseWriter, _ *http.Request) { writeStatus(w, "ok") })
	rest("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := s.cfg.Ready()
		if s.stopping.Load() {
			err = errStopping
		}
		if err != nil {
			writeProblem(w, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "not ready: %v", err))
			return
		}
		writeStatus(w, "ready")
	})
}

func writeStatus(w http.ResponseWriter, status string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintf(w, "{\"status\":%q}\n", status)
}

// operation is a call as huma has it.
func (s *Server) operation(c call) huma.Operation {
	op := huma.Operation{
		Method: c.method, Path: c.path, OperationID: c.id, Summary: c.summary, Tags: []string{c.tag},
		DefaultStatus:   c.status,
		MaxBodyBytes:    smallBody,
		BodyReadTimeout: -1, // see timeBody
	}
	if c.status == 0 {
		op.DefaultStatus = http.StatusOK
	}
	if c.large {
		op.MaxBodyBytes = largeBody
	}
	op.SkipValidateBody = c.hot
	if !slices.Contains(open, c.method+" "+c.path) {
		op.Security = []map[string][]string{{tokenScheme: {}}}
	}
	return op
}

// describeProblems puts our shape of errors in the place of huma's.
func describeProblems(api huma.API, op *huma.Operation) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "A problem; its code says what a client can do about it",
		Content: map[string]*huma.MediaType{problemType: {
			Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[clientapi.Problem](), true, "Problem"),
		}},
	}
}

// describeEvents describes the stream, which huma does not serve.
func (s *Server) describeEvents(api huma.API) {
	op := s.operation(call{method: "GET", path: "/v1/events", id: "events", summary: "The device's event stream", tag: "events"})
	op.Description = "Server-sent events. The id of an event is a cursor; without one the cursor stays where it is. " +
		"The stream begins with a hello; a ping comes when nothing else does."
	for _, p := range []struct{ name, in, doc string }{
		{"cursor", "query", "Begin behind this event; without it, with what is in store"},
		{"Last-Event-ID", "header", "The same, as browsers send it"},
	} {
		most := MaxCursor
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.name, In: p.in, Description: p.doc,
			Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &most}})
	}
	least, most := float64(minSteady.Milliseconds()), float64(maxSteady.Milliseconds())
	op.Parameters = append(op.Parameters, &huma.Param{Name: "steady", In: "query",
		Description: "Write pieces of one size, this many milliseconds apart, whether there is something to say or not: who watches does not see which. Comments fill them up.",
		Schema:      &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most}})
	registry := api.OpenAPI().Components.Schemas
	text := "Events and the schemas of their data:"
	for _, e := range []struct {
		name string
		data reflect.Type
	}{
		{clientapi.EventHello, reflect.TypeFor[clientapi.Hello]()},
		{clientapi.EventEntries, reflect.TypeFor[clientapi.Entries]()},
		{clientapi.EventWelcome, reflect.TypeFor[clientapi.Welcome]()},
		{clientapi.EventModes, reflect.TypeFor[clientapi.ModesEvent]()},
		{clientapi.EventConsent, reflect.TypeFor[clientapi.ConsentEvent]()},
		{clientapi.EventStock, reflect.TypeFor[clientapi.Stock]()},
		{clientapi.EventRivals, reflect.TypeFor[clientapi.RivalsEvent]()},
		{clientapi.EventHub, reflect.TypeFor[clientapi.HubState]()},
		{clientapi.EventEphemeral, reflect.TypeFor[clientapi.Ephemeral]()},
	} {
		registry.Schema(e.data, true, e.data.Name())
		text += " " + e.name + " (" + e.data.Name() + "),"
	}
	op.Responses = map[string]*huma.Response{"200": {
		Description: text + " " + clientapi.EventPing + " ({}).",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	api.OpenAPI().AddOperation(&op)
}
