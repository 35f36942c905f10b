package peering

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

// envelope reads a request's envelope and judges what does not need the body.
func (s *Server) envelope(r *http.Request, route *Route, subject string, now time.Time) (*wire.Envelope, *clientapi.Problem) {
	header := r.Header.Values(envelopeHeader)
	if len(header) != 1 || len(header[0]) > maxEnvelope {
		return nil, problem(http.StatusBadRequest, CodeEnvelope, "%d headers %s: exactly one, of at most %d octets", len(header), envelopeHeader, maxEnvelope)
	}
	b, err := envelopeEncoding.DecodeString(header[0])
	if err != nil {
		return nil, problem(http.StatusBadRequest, CodeEnvelope, "header %s is not base64url without padding", envelopeHeader)
	}
	e, err := wire.ParseEnvelope(b, wire.Limits{})
	switch {
	case err != nil:
		return nil, problem(http.StatusBadRequest, CodeEnvelope, "header %s: %v", envelopeHeader, err)
	case e.Target != s.cfg.Domain && !slices.Contains(s.cfg.Aliases, e.Target):
		return nil, problem(http.StatusMisdirectedRequest, CodeTarget, "the request is for provider %.100q, this is %s", e.Target, s.cfg.Domain)
	case e.Endpoint != route.Endpoint:
		return nil, problem(http.StatusBadRequest, CodeEnvelope, "the envelope is for endpoint %.64q, the request went to %s", e.Endpoint, route.Endpoint)
	case route.InRoom && e.Room != wire.IdentifierURI(subject):
		return nil, problem(http.StatusBadRequest, CodeEnvelope, "the envelope is for room %.100q, the request went to %.100q", e.Room, subject)
	case e.RequestID == ID{}:
		return nil, problem(http.StatusBadRequest, CodeEnvelope, "the request id is zero: draw it at random")
	}
	const latest = 253402300800000 // year 10,000
	if made := time.UnixMilli(int64(min(e.Time, latest))); made.Before(now.Add(-s.cfg.Limits.Past)) || made.After(now.Add(s.cfg.Limits.Future)) {
		const layout = "2006-01-02T15:04:05.000Z"
		return nil, problem(http.StatusUnauthorized, CodeClock,
			"the request was made at %s, and here it is %s: more than %v behind or %v ahead; set the clock that is wrong",
			made.UTC().Format(layout), now.UTC().Format(layout), s.cfg.Limits.Past, s.cfg.Limits.Future)
	}
	if !route.Idempotent && int64(min(e.Time, latest)) < s.started.UnixMilli() {
		p := problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable,
			"this provider has started after the request was made, and does not remember earlier ones: make it anew, with the same id")
		p.Retry = s.started.UnixMilli() - int64(e.Time)
		return nil, p
	}
	return e, nil
}

// verify finds the source and judges the envelope. certified: a certificate names its
// source, so that it needs no signature at MIMI's endpoints, which who holds the certificate
// may call without any envelope. Ours take the provider key, whoever issues certificates.
func (s *Server) verify(ctx context.Context, e *wire.Envelope, in *Incoming, certified bool, now time.Time) *clientapi.Problem {
	_, mimi := wire.EndpointNamed(in.Endpoint)
	source, err := s.cfg.Directory.Resolve(ctx, e.Source)
	if err != nil {
		p := problem(http.StatusServiceUnavailable, CodeUnresolved, "provider %.100q, which the request names as its source, could not be verified: %v", e.Source, err)
		p.Retry = 5000
		if errors.Is(err, overlay.ErrNoPeers) {
			p.Retry = 1000 // a node that is starting, and will have peers in a moment
		}
		return p
	}
	judge := func() error {
		_, err := e.Verify(wire.Expected{
			Source: e.Source, Key: source.Key, ChannelProves: certified && mimi || in.Peer != "" && slices.Contains(source.Nodes, in.Peer),
			Target: e.Target, Endpoint: in.Endpoint, Room: in.Room, Body: in.Body,
			Now: now, Past: s.cfg.Limits.Past, Future: s.cfg.Limits.Future,
		})
		return err
	}
	err = judge()
	if r, ok := s.cfg.Directory.(Refresher); ok && errors.Is(err, wire.ErrBadSignature) {
		// The source may have changed its key since it was looked up.
		if fresh, ferr := r.Refresh(ctx, e.Source); ferr == nil && !fresh.Key.Equal(source.Key) {
			source = fresh
			err = judge()
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wire.ErrUnsigned):
		return problem(http.StatusUnauthorized, CodeSource, "the request is not signed, and came from no node in the record of %s: sign it", e.Source)
	case errors.Is(err, wire.ErrBadSignature):
		return problem(http.StatusUnauthorized, CodeSource, "the request is not signed by the provider key of %s that is known here; if the key was changed, publish its record", e.Source)
	}
	return problem(http.StatusBadRequest, CodeEnvelope, "%v", err)
}
