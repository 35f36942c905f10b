package clienthttp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// Uploads and downloads go past huma, which holds bodies in memory.

type ofHash struct {
	Hash string `path:"hash" doc:"SHA-256 of the asset, hexadecimal" pattern:"^[0-9a-f]{64}$"`
}

func (s *Server) registerAssets(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "POST", path: "/v1/assets", id: "begin-asset", summary: "Begin an upload, or go on with it", tag: "assets"},
		func(ctx context.Context, in *withBody[clientapi.NewAsset]) (*clientapi.Asset, error) {
			return v.Assets.Begin(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/assets", id: "list-assets", summary: "What the user keeps here", tag: "assets"},
		func(ctx context.Context, _ *none) (*clientapi.Assets, error) { return v.Assets.Assets(ctx, who(ctx)) })
	add(s, api, call{method: "GET", path: "/v1/assets/{hash}", id: "get-asset", summary: "How far an upload is", tag: "assets"},
		func(ctx context.Context, in *ofHash) (*clientapi.Asset, error) {
			return v.Assets.Asset(ctx, who(ctx), in.Hash)
		})
	add(s, api, call{method: "DELETE", path: "/v1/assets/{hash}", id: "delete-asset", summary: "Delete an asset, or give an upload up", tag: "assets", status: http.StatusNoContent},
		func(ctx context.Context, in *ofHash) (*none, error) {
			return nil, v.Assets.Remove(ctx, who(ctx), in.Hash)
		})
}

// appendAsset serves PATCH /v1/assets/{hash}, behind guarded.
func (s *Server) appendAsset(w http.ResponseWriter, req *http.Request) {
	offset, err := uploadOffset(req)
	if err != nil {
		s.refuse(w, req, err)
		return
	}
	body := &steadyBody{req.Body, http.NewResponseController(underlying(w)), s.cfg.BodyTimeout}
	out, err := s.cfg.Services.Assets.Append(req.Context(), who(req.Context()), req.PathValue("hash"), offset, body)
	if err != nil {
		s.refuse(w, req, fmt.Errorf("taking a part of an upload: %w", err))
		return
	}
	_ = body.control.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(clientapi.HeaderUploadOffset, strconv.FormatInt(out.Offset, 10))
	_ = json.NewEncoder(w).Encode(out) // the client may have gone
}

func uploadOffset(req *http.Request) (int64, error) {
	if t := req.Header.Get("Content-Type"); t != clientapi.TypeUpload {
		return 0, problem(http.StatusUnsupportedMediaType, clientapi.CodeInvalid, "a part of an upload has the type %s, not %.80q", clientapi.TypeUpload, t)
	}
	if t := req.Header.Get("Content-Encoding"); t != "" && t != "identity" {
		return 0, problem(http.StatusUnsupportedMediaType, clientapi.CodeInvalid, "a part of an upload comes as it is, not encoded as %.40q", t)
	}
	values := req.Header.Values(clientapi.HeaderUploadOffset)
	if len(values) == 1 {
		if n, err := strconv.ParseUint(values[0], 10, 62); err == nil {
			return int64(n), nil
		}
	}
	return 0, problem(http.StatusBadRequest, clientapi.CodeInvalid, "a part of an upload needs one header %s: where in the asset it begins", clientapi.HeaderUploadOffset)
}

// steadyBody is a body of any length that must not stand still.
type steadyBody struct {
	io.Reader
	control *http.ResponseController
	stall   time.Duration
}

func (b *steadyBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.stall)) // without deadlines: a test
	return b.Reader.Read(p)
}

// download serves GET /v1/download, behind guarded.
func (s *Server) download(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	in := InRoom{Room: q.Get("room")}
	id, err := in.id()
	if url := q.Get("url"); err == nil && (url == "" || len(url) > asset.MaxURL) {
		err = problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "an asset's URL of %d octets: 1 to %d", len(url), asset.MaxURL)
	}
	if err == nil {
		err = s.downloadFrom(w, req, id, q.Get("url"))
	}
	if err != nil {
		s.refuse(w, req, fmt.Errorf("downloading: %w", err))
	}
}

func (s *Server) downloadFrom(w http.ResponseWriter, req *http.Request, id store.RoomID, url string) error {
	rc := http.NewResponseController(underlying(w))
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Now().Add(s.cfg.RequestTimeout + s.cfg.WriteTimeout)) // the service sets it anew with each piece
	return s.cfg.Services.Downloads.Download(&controlled{w, underlying(w)}, req, who(req.Context()), id, url)
}

// controlled is a response whose service may set deadlines.
type controlled struct {
	http.ResponseWriter
	server http.ResponseWriter
}

func (c *controlled) Unwrap() http.ResponseWriter { return c.server }

// describeAssets describes what huma does not serve.
func (s *Server) describeAssets(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	octets := func(t string) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{t: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	}
	text := func(name, in, doc string) *huma.Param {
		return &huma.Param{Name: name, In: in, Description: doc, Required: in != "header", Schema: &huma.Schema{Type: huma.TypeString}}
	}
	op := s.operation(call{method: "PATCH", path: "/v1/assets/{hash}", id: "append-asset", summary: "The next part of an upload", tag: "assets"})
	op.Description = "A body may be broken off: what came is kept, and the upload goes on from the offset that GET tells."
	op.RequestBody = &huma.RequestBody{Required: true, Content: octets(clientapi.TypeUpload)}
	offset := text(clientapi.HeaderUploadOffset, "header", "Where in the asset the body begins")
	offset.Required = true
	op.Parameters = append(op.Parameters, text("hash", "path", "SHA-256 of the asset, hexadecimal"), offset)
	op.Responses = map[string]*huma.Response{"200": {Description: "How far the upload is",
		Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[clientapi.Asset](), true, "Asset")}}}}
	api.OpenAPI().AddOperation(&op)

	down := s.operation(call{method: "GET", path: "/v1/download", id: "download", summary: "An asset of somebody in a room", tag: "assets"})
	down.Description = "Goes by the room's hub, unless this provider keeps the asset. Takes a Range."
	down.Parameters = append(down.Parameters, text("room", "query", "Room id, hexadecimal"), text("url", "query", "URL of the asset"), text("Range", "header", "Which octets"))
	down.Responses = map[string]*huma.Response{"200": {Description: "The asset", Content: octets("application/octet-stream")},
		"206": {Description: "A part of it", Content: octets("application/octet-stream")}}
	api.OpenAPI().AddOperation(&down)
}
