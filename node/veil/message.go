package veil

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/presentation"
)

// ErrMalformed says that a message is no request, or what came back no answer.
var ErrMalformed = errors.New("veil: malformed")

const (
	version = 1

	maxEndpoint = 64
	maxBody     = 96 << 10 // an encrypted message of the longest kind, and what goes with it

	kindBody    = 0
	kindRefused = 1

	partFixed = 3
	maxDetail = 512 // of a refusal, so that it fits into one part
)

// A request is
//
//	struct {
//	  uint8  version = 1;
//	  opaque endpoint<1..64>, subject<1..2048>, body<0..98304>;
//	  opaque block[SURB size] blocks<1..16>;       its length in blocks as uint8
//	} Request;
type request struct {
	endpoint, subject string
	body              []byte
	blocks            []onion.SURB
}

func (r *request) bytes() []byte {
	b := []byte{version}
	b = presentation.AppendOpaque(b, []byte(r.endpoint))
	b = presentation.AppendOpaque(b, []byte(r.subject))
	b = presentation.AppendOpaque(b, r.body)
	b = append(b, byte(len(r.blocks)))
	for _, s := range r.blocks {
		b = append(b, s.Bytes()...)
	}
	return b
}

func parseRequest(f onion.Format, b []byte) (*request, error) {
	in := presentation.NewReader(b)
	v := in.U8()
	r := &request{endpoint: string(in.Bounded(maxEndpoint, "endpoint")), subject: string(in.Bounded(peering.MaxSubject, "subject")), body: in.Bounded(maxBody, "body")}
	n := int(in.U8())
	if in.Err() == nil && (v != version || r.endpoint == "" || r.subject == "" || n < 1 || n > onion.MaxParts) {
		return nil, fmt.Errorf("%w: version %d, %d reply blocks", ErrMalformed, v, n)
	}
	for range n {
		s, err := f.ParseSURB(in.Fixed(f.SURBSize()))
		if in.Err() != nil {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		r.blocks = append(r.blocks, s)
	}
	if err := in.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, nil
}

// An answer is an octet and the body (0), or a refusal in JSON (1), cut into parts:
//
//	struct { uint8 version = 1; uint8 index; uint8 count; opaque data[rest of the packet] } Part;
//
// Refusals are
//
//	{"status": , "code": , "detail": , "retry": }
type refusal struct {
	Status int            `json:"status"`
	Code   clientapi.Code `json:"code"`
	Detail string         `json:"detail"`
	Retry  int64          `json:"retry,omitempty"`
}

// parts cuts an answer into as many parts as there are reply blocks at most. Error: ErrMalformed.
func parts(f onion.Format, answer []byte, blocks int) ([][]byte, error) {
	room := f.MaxPayload() - partFixed
	n := (len(answer) + room - 1) / room
	if n > blocks {
		return nil, fmt.Errorf("%w: an answer of %d octets, and %d reply blocks of %d", ErrMalformed, len(answer), blocks, room)
	}
	out := make([][]byte, n)
	for i := range out {
		out[i] = append([]byte{version, byte(i), byte(n)}, answer[i*room:min(len(answer), (i+1)*room)]...)
	}
	return out, nil
}

// blocksFor is how many reply blocks an answer of some octets needs.
func blocksFor(f onion.Format, octets int) int {
	room := f.MaxPayload() - partFixed
	return (1 + octets + room - 1) / room
}

// A gathering puts an answer together. The zero value has no parts.
type gathering struct {
	parts [][]byte
	left  int
}

// add takes a part; whole is the answer, when it was the last. Error: ErrMalformed.
func (g *gathering) add(part []byte, max int) (whole []byte, err error) {
	if len(part) <= partFixed || part[0] != version || part[1] >= part[2] || int(part[2]) > max || g.parts != nil && int(part[2]) != len(g.parts) {
		return nil, fmt.Errorf("%w: a part of %d octets", ErrMalformed, len(part))
	}
	if g.parts == nil {
		g.parts, g.left = make([][]byte, part[2]), int(part[2])
	}
	if g.parts[part[1]] != nil {
		return nil, fmt.Errorf("%w: part %d came twice", ErrMalformed, part[1])
	}
	g.parts[part[1]] = part[partFixed:]
	if g.left--; g.left > 0 {
		return nil, nil
	}
	for _, p := range g.parts {
		whole = append(whole, p...)
	}
	return whole, nil
}

// encode is the answer of a handler.
func encode(body []byte, bad *clientapi.Problem) []byte {
	if bad == nil {
		return append([]byte{kindBody}, body...)
	}
	r := refusal{Status: bad.Status, Code: bad.Code, Detail: fmt.Sprintf("%.*s", maxDetail, bad.Detail), Retry: bad.Retry}
	b, err := json.Marshal(r)
	if err != nil { // strings and numbers
		b = []byte(`{"status":500,"code":"internal"}`)
	}
	return append([]byte{kindRefused}, b...)
}

// decode reads what encode wrote. Error: *peering.Refused, ErrMalformed.
func decode(answer []byte, q *peering.Request) (*peering.Response, error) {
	switch {
	case len(answer) > 0 && answer[0] == kindBody:
		if len(answer)-1 > q.MaxResponse {
			return nil, fmt.Errorf("%s answers with %d octets, above %d: %w", q.Target, len(answer)-1, q.MaxResponse, peering.ErrTooLarge)
		}
		return &peering.Response{Status: http.StatusOK, Body: answer[1:]}, nil
	case len(answer) > 0 && answer[0] == kindRefused:
		var r refusal
		if err := json.Unmarshal(answer[1:], &r); err != nil || r.Status < 400 || r.Status > 599 {
			return nil, fmt.Errorf("%w: a refusal by %s that is none", ErrMalformed, q.Target)
		}
		return nil, &peering.Refused{Target: q.Target, Endpoint: q.Endpoint, Problem: clientapi.Problem{Status: r.Status, Code: r.Code, Detail: r.Detail, Retry: max(r.Retry, 0)}}
	}
	return nil, fmt.Errorf("%w: an answer of %d octets by %s", ErrMalformed, len(answer), q.Target)
}
