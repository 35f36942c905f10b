package peering

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

const (
	envelopeHeader = "Mimi-Envelope"
	repeatHeader   = "Idempotency-Key"
	pathPrefix     = "/v1/"

	// MaxSubject is the longest subject, in octets before encoding.
	MaxSubject = 2048
	// maxEnvelope bounds the header: domains, endpoint, a URI and 150 octets.
	maxEnvelope = 8 << 10
	// maxProblem bounds what is read of a refusal.
	maxProblem = 8 << 10
)

var envelopeEncoding = base64.RawURLEncoding.Strict()

// ID names a request. The same one again is the same request.
type ID = [16]byte

// Request is what a provider asks another.
type Request struct {
	// Target is the domain of the provider that is asked.
	Target string
	// Endpoint is its name as in MIMI's directory, or one of ours.
	Endpoint string
	// Subject is what the variable of the endpoint's URL template holds, not
	// empty.
	Subject string
	// Room is the room that the request is about, or empty.
	Room wire.IdentifierURI
	// ID of the request; zero draws one.
	ID ID
	// Body is sent as it is and not kept.
	Body []byte
	// MaxResponse is the longest answer, in octets. Default 1 MiB.
	MaxResponse int
}

// Response is an answer. Handlers may leave Status zero, which means the
// endpoint's: 201 where MIMI has no body in the answer, else 200.
type Response struct {
	Status int
	// Type is the body's content type. Default application/octet-stream.
	Type string
	Body []byte
	// Date is the answering provider's clock, in seconds, when it answered a Caller; zero if it
	// does not say.
	Date time.Time

	retry int64 // Retry-After in ms
}

// Incoming is a request as its target sees it.
type Incoming struct {
	// Source is the domain of the provider that asks, proven; empty if it is not named, see
	// Route.Unnamed.
	Source string
	// Peer is the node at the other end of the channel as Config.Peer told it,
	// or "".
	Peer     string
	Endpoint string
	// Subject is what stood in the URL. The signature covers it only as far as
	// Room does: compare it with the body.
	Subject string
	Room    wire.IdentifierURI
	ID      ID
	// Plain says that there was no envelope, but MIMI alone: then Room is empty where
	// the subject is no room, whatever the request is about.
	Plain bool
	// Body is the handler's to keep.
	Body []byte
}

// Handler answers requests to an endpoint. An error that is a *clientapi.Problem
// is the answer, any other an internal one: it is logged, and the source gets
// 500 without the text.
type Handler func(ctx context.Context, in *Incoming) (*Response, error)

// Route says how requests to an endpoint are judged before Handler gets them.
type Route struct {
	Endpoint string
	Handler  Handler
	// Stream answers in the place of Handler, see stream.go.
	Stream StreamHandler
	// MaxBody is the longest body, in octets. Default 64 KiB.
	MaxBody int
	// InRoom says that the subject is a room's URI, which the envelope must name
	// as the room.
	InRoom bool
	// Idempotent endpoints get repeated requests again, see the package
	// documentation.
	Idempotent bool
	// Plain endpoints that are not MIMI's are called without an envelope, too.
	Plain bool
	// Unnamed endpoints, which are idempotent, can be asked over the onion overlay, too (package
	// veil): Source is empty then.
	Unnamed bool
}

// Provider is what a Directory knows of one.
type Provider struct {
	// Key is the provider key in force.
	Key ed25519.PublicKey
	// Nodes are the provider's nodes, as Config.Peer names them.
	Nodes []string
}

// Directory finds providers whose key is trusted.
type Directory interface {
	// Resolve may ask the network. Errors are those of overlay.Overlay's.
	Resolve(ctx context.Context, domain string) (*Provider, error)
}

// Refresher is a Directory that can look for a newer record first. It is asked when a
// signature is by another key than the known one, and must itself bound how often it
// asks the network.
type Refresher interface {
	Refresh(ctx context.Context, domain string) (*Provider, error)
}

// target returns the URL of a request.
func (q *Request) target() string {
	return "http://" + q.Target + pathPrefix + q.Endpoint + "/" + escape(q.Subject)
}

// escape percent-encodes all but the unreserved characters of RFC 3986 section
// 2.3, as wire.Directory does.
func escape(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return b.String()
}

// parsePath reads endpoint and subject of a path as the client wrote it, before
// anything was decoded or cleaned. A subject is one segment in its one encoding,
// so that no two paths mean the same and none means a parent.
func parsePath(path string) (endpoint, subject string, bad *clientapi.Problem) {
	rest, ok := strings.CutPrefix(path, pathPrefix)
	endpoint, encoded, found := strings.Cut(rest, "/")
	if !ok || !found || endpoint == "" {
		return "", "", problem(http.StatusNotFound, CodeEndpoint, "path %.100q: expected /v1/ENDPOINT/SUBJECT", path)
	}
	if len(encoded) > 3*MaxSubject {
		return "", "", problem(http.StatusRequestURITooLong, clientapi.CodeTooLarge, "a subject of %d octets: at most %d", len(encoded)/3, MaxSubject)
	}
	subject, err := url.PathUnescape(encoded)
	if err != nil || subject == "" || subject == "." || subject == ".." || escape(subject) != encoded {
		return "", "", problem(http.StatusBadRequest, clientapi.CodeInvalid,
			"subject %.100q: one path segment, with all but letters, digits and -._~ percent-encoded", encoded)
	}
	if len(subject) > MaxSubject {
		return "", "", problem(http.StatusRequestURITooLong, clientapi.CodeTooLarge, "a subject of %d octets: at most %d", len(subject), MaxSubject)
	}
	return endpoint, subject, nil
}

// defaultStatus is that of a successful answer: MIMI sections 5.5, 5.7 and 5.9
// have no body in it.
func defaultStatus(endpoint string) int {
	switch endpoint {
	case wire.EndpointNotify.String(), wire.EndpointRequestConsent.String(), wire.EndpointUpdateConsent.String(),
		wire.EndpointReportAbuse.String():
		return http.StatusCreated
	}
	return http.StatusOK
}

func idText(id ID) string { return hex.EncodeToString(id[:]) }
