package client

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/ohttp"
	"github.com/mimid/mimid/protocol/policy"
)

// Oblivious downloads (package ohttp): the room's hub fetches an attachment for a device that
// it does not know, through the device's own provider, which does not know what is fetched.

// passage is how an attachment may be fetched.
type passage struct {
	most int64 // octets of content
	// gateway is the room's hub where the attachment is fetched obliviously, else "".
	gateway string
	hubKey  []byte // as the room's log says
}

// way finds how a room's policy lets an attachment be fetched. Errors: *policy.Refusal,
// ErrRefused.
func (r *roomState) way(p *policy.Assets, own string, part content.Part, oblivious bool) (*passage, error) {
	out := &passage{most: asset.MaxSize}
	if p != nil {
		out.most = int64(min(uint64(out.most), p.Largest()))
	}
	hub := r.Lead.Hub.Domain
	through := func() *passage {
		out.gateway, out.hubKey = hub, r.Lead.Hub.ProviderKey[:]
		return out
	}
	host, err := asset.Host(part.Content.(content.ExternalPart).URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrNoAttachment)
	}
	var byHub, byGateway error // why not
	if p != nil {
		byHub, byGateway = p.Downloads(policy.DownloadProxy), p.Downloads(policy.DownloadOHTTP)
	}
	if host == own {
		byHub = nil // the own provider has it, and need not ask anybody
	}
	apart := hub != "" && hub != own
	switch {
	case oblivious && byGateway != nil:
		return nil, byGateway
	case oblivious && !apart:
		return nil, fmt.Errorf("%s is your provider and orders the room: it would see both who fetches and what: %w", own, ErrRefused)
	case oblivious, byGateway == nil && apart && p != nil && p.Default == policy.DownloadOHTTP:
		return through(), nil
	case byHub == nil:
		return out, nil
	case byGateway == nil && hub != "":
		return through(), nil
	}
	return nil, byHub
}

// bringOblivious makes requests for what is missing, a piece at a time.
func (c *Client) bringOblivious(ctx context.Context, in *incoming, here *int64) error {
	key, err := c.gatewayKey(ctx, in, false)
	if err != nil {
		return err
	}
	for in.total == 0 || *here < in.total {
		a, err := c.askGateway(ctx, in, key, *here)
		var p *clientapi.Problem
		if errors.As(err, &p) && p.Code == clientapi.CodeKeySet {
			if key, err = c.gatewayKey(ctx, in, true); err != nil {
				return err
			}
			a, err = c.askGateway(ctx, in, key, *here)
		}
		if err != nil {
			return err
		}
		if a.Status == http.StatusRequestedRangeNotSatisfiable && *here > 0 {
			if in.fits(*here) && in.whole() {
				return nil
			}
			*here = 0
			return errAnew
		}
		if err := in.piece(a, *here); err != nil {
			return err
		}
		if _, err := in.f.WriteAt(a.Content, *here); err != nil {
			return fmt.Errorf("keeping what comes: %w: %w", ErrStorage, err)
		}
		in.check.Write(a.Content)
		*here += int64(len(a.Content))
		in.tell(*here, in.total)
	}
	return nil
}

// gatewayKey returns the key to encrypt to, which the hub that the room's log names has
// signed: the own provider, which brings it, must not be able to bring its own.
func (c *Client) gatewayKey(ctx context.Context, in *incoming, anew bool) (ohttp.Key, error) {
	fail := func(err error) (ohttp.Key, error) {
		return ohttp.Key{}, fmt.Errorf("the keys of %s for oblivious downloads: %w", in.way.gateway, err)
	}
	var got clientapi.GatewayKeys
	if err := in.api.call(ctx, http.MethodPost, "/v1/oblivious/keys", &clientapi.ObliviousKeys{Gateway: in.way.gateway, Anew: anew}, &got); err != nil {
		return fail(err)
	}
	s, err := ohttp.ParseSigned(got.Signed)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	k, err := s.Verify(in.way.gateway, c.cfg.Now(), ed25519.PublicKey(in.way.hubKey))
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	return k, nil
}

// askGateway asks for the octets from one on. A refusal by the gateway is a
// *clientapi.Problem, as one by the own provider is.
func (c *Client) askGateway(ctx context.Context, in *incoming, key ohttp.Key, from int64) (*ohttp.Answer, error) {
	host, path, ok := strings.Cut(strings.TrimPrefix(in.url, "https://"), "/")
	if !ok {
		return nil, fmt.Errorf("%.100q: %w", in.url, ErrNoAttachment)
	}
	q := &ohttp.Request{Method: http.MethodGet, Scheme: "https", Authority: host, Path: "/" + path, Fields: []ohttp.Field{
		{Name: "range", Value: fmt.Sprintf("bytes=%d-%d", from, from+ohttp.MaxContent-1)}, {Name: "mimi-room", Value: in.uri}}}
	sealed, asked, err := ohttp.Seal(key, q.Bytes())
	if err != nil {
		return nil, err
	}
	var got clientapi.ObliviousAnswer
	if err := in.api.call(ctx, http.MethodPost, "/v1/oblivious", &clientapi.ObliviousRequest{Gateway: in.way.gateway, Sealed: sealed}, &got); err != nil {
		return nil, err
	}
	raw, err := asked.Open(got.Sealed)
	if err != nil {
		return nil, fmt.Errorf("the answer of %s: %w: %w", in.way.gateway, ErrProtocol, err)
	}
	a, err := ohttp.ParseAnswer(raw)
	if err != nil {
		return nil, fmt.Errorf("the answer of %s: %w: %w", in.way.gateway, ErrProtocol, err)
	}
	if a.Status/100 == 2 || a.Status == http.StatusRequestedRangeNotSatisfiable {
		return a, nil
	}
	p := new(clientapi.Problem)
	if err := json.Unmarshal(a.Content, p); err != nil || p.Code == "" {
		p = &clientapi.Problem{Code: clientapi.CodeUnreachable, Detail: fmt.Sprintf("%s answered with status %d", in.way.gateway, a.Status)}
	}
	p.Status = a.Status
	return nil, p
}

// piece judges where the octets of an answer belong.
func (in *incoming) piece(a *ohttp.Answer, here int64) error {
	strange := fmt.Errorf("asked for octets from %d, the answer is %d %.60q with %d octets: %w", here, a.Status, a.Get("content-range"), len(a.Content), ErrProtocol)
	total := int64(len(a.Content))
	switch {
	case a.Status == http.StatusOK && here == 0: // the whole, it is small
	case a.Status == http.StatusPartialContent:
		span, size, cut := strings.Cut(a.Get("content-range"), "/")
		n, err := strconv.ParseInt(size, 10, 64)
		if !cut || err != nil || span != fmt.Sprintf("bytes %d-%d", here, here+int64(len(a.Content))-1) || n < here+int64(len(a.Content)) {
			return strange
		}
		total = n
	default:
		return strange
	}
	if len(a.Content) == 0 {
		return strange
	}
	in.total = total
	return in.fitting()
}
