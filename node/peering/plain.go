package peering

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/wire"
)

// What is there for providers that speak MIMI and no more: requests without an envelope,
// and the directory.

// plain says whether a request is MIMI without anything of ours: the channel proves its
// source, the URL names the target. Our own endpoints need the envelope,
// but for those that others reach by a path that is not ours (Route.Plain).
func (s *Server) plain(r *http.Request, endpoint string) bool {
	_, mimi := wire.EndpointNamed(endpoint)
	return (mimi || s.routes[endpoint].Plain) && s.cfg.PlainIDs != nil && len(r.Header.Values(envelopeHeader)) == 0
}

// complete fills in what an envelope would have said. Where a handler finds repetitions
// by the id, the same body of the same source has the same one; nobody else can compute
// it, since in a room's log it would tell who sent what (room.TxnID). Elsewhere the
// same body may well be meant anew, such as a second request for consent.
func (s *Server) complete(in *Incoming, route *Route, source string) {
	in.Source, in.Plain = source, true
	if route.InRoom {
		in.Room = wire.IdentifierURI(in.Subject)
	}
	if !route.Idempotent {
		rand.Read(in.ID[:])
		return
	}
	h := hmac.New(sha256.New, s.cfg.PlainIDs)
	print := fingerprint(in)
	h.Write(presentation.AppendOpaque([]byte("mimid plain request id 1\x00"), []byte(source)))
	h.Write(print[:])
	copy(in.ID[:], h.Sum(nil))
}

// directoryDocument is the directory (MIMI protocol section 5.1), with the own record as
// it is at the time. Safe for concurrent use.
type directoryDocument struct {
	base   string
	plain  *wire.Directory // nil: no endpoint of MIMI's is offered
	record func(context.Context) ([]byte, error)

	mu   sync.Mutex
	last []byte // the record in text; guarded by mu
	text []byte // guarded by mu
}

func newDirectoryDocument(cfg *Config) (*directoryDocument, error) {
	d := &directoryDocument{base: cfg.DirectoryBase, record: cfg.Record}
	var offered []wire.Endpoint
	for i := range cfg.Routes {
		if e, ok := wire.EndpointNamed(cfg.Routes[i].Endpoint); ok {
			offered = append(offered, e)
		}
	}
	all, err := wire.NewDirectory(cfg.DirectoryBase, offered...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if len(offered) == 0 {
		return d, nil
	}
	d.plain = all
	if d.text, err = all.Bytes(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return d, nil
}

func (d *directoryDocument) bytes(ctx context.Context) ([]byte, error) {
	if d.record == nil {
		return d.text, nil
	}
	record, err := d.record(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !bytes.Equal(record, d.last) {
		full, err := d.plain.WithMimid(wire.Mimid{Base: d.base, Record: record})
		if err != nil {
			return nil, err
		}
		text, err := full.Bytes()
		if err != nil {
			return nil, err
		}
		d.last, d.text = record, text
	}
	return d.text, nil
}

// serveDirectory answers anybody, who pays for it.
func (s *Server) serveDirectory(r *http.Request) *Response {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return refuse(problem(http.StatusMethodNotAllowed, CodeMethod, "the directory is read with GET, not %.20q", r.Method))
	}
	if s.directory.plain == nil {
		return refuse(problem(http.StatusNotFound, CodeEndpoint, "this provider offers no endpoint of MIMI"))
	}
	peer, _ := s.cfg.Peer(r)
	leave, bad := s.admit(payer(r, peer), 0)
	if bad != nil {
		return refuse(bad)
	}
	defer leave()
	text, err := s.directory.bytes(r.Context())
	if err != nil {
		s.cfg.Log.Warn("the directory has no provider record", "err", err)
		p := problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "this provider is starting or stopping; try again")
		p.Retry = time.Second.Milliseconds()
		return refuse(p)
	}
	return &Response{Status: http.StatusOK, Type: "application/json", Body: text}
}
