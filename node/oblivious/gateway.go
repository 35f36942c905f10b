package oblivious

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ohttp"
)

const (
	// EndpointKeys and Endpoint are those between providers.
	EndpointKeys, Endpoint = "obliviousKeys", "oblivious"
	// WellKnown is where gateways are by RFC 9540.
	WellKnown = "/.well-known/ohttp-gateway"

	typeKeys     = "application/ohttp-keys"
	typeRequest  = "message/ohttp-req"
	typeResponse = "message/ohttp-res"
	// ClaimPath is what a request for KeyPackages under a pseudonym is POSTed to, at the
	// authority of the gateway's domain. Requests have no content here: the KeyMaterialRequest
	// is in FieldClaim, in base64url without padding.
	ClaimPath, FieldClaim = "/v1/pseudonyms/claim", "mimid-claim"
	// FieldRoom is the field of an inner request that names the room.
	FieldRoom = "mimi-room"

	maxSealed = ohttp.MaxRequest + ohttp.Overhead
	maxAnswer = ohttp.MaxAnswer + ohttp.AnswerStep + ohttp.AnswerOverhead

	keyTime = 24 * time.Hour
)

// ErrConfig: something is missing.
var ErrConfig = errors.New("oblivious: incomplete configuration")

// Assets brings attachments; *assets.Proxy does.
type Assets interface {
	// Oblivious answers as HTTP does, with ranges, a request that came through a relay.
	// An error came before anything was written.
	Oblivious(w http.ResponseWriter, req *http.Request, relay, room, url string) error
}

// Claims gives out KeyPackages under pseudonyms; *pseudonyms.Service does.
type Claims interface {
	// Claim answers a request that came through a relay.
	Claim(ctx context.Context, raw []byte, relay string) ([]byte, error)
}

// GatewayConfig configures a Gateway. All but Claims, Now and Log is required.
type GatewayConfig struct {
	// Domain is the own provider's.
	Domain string
	// Keys are the provider's, at least one. Each signs what the gateway publishes.
	Keys   []ed25519.PrivateKey
	Assets Assets
	// Claims may be nil: then there are no KeyPackages under pseudonyms here.
	Claims Claims
	Now    func() time.Time
	Log    *slog.Logger
}

// Gateway brings attachments to devices that it does not know. Safe for concurrent use.
type Gateway struct {
	cfg GatewayConfig

	mu        sync.Mutex
	now, last ohttp.PrivateKey // guarded by mu; the one before may be none
	made      time.Time        // guarded by mu
}

// NewGateway returns a Gateway. Error: ErrConfig.
func NewGateway(c GatewayConfig) (*Gateway, error) {
	if c.Domain == "" || len(c.Keys) == 0 || c.Assets == nil {
		return nil, fmt.Errorf("%w: Domain, Keys and Assets are required", ErrConfig)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Gateway{cfg: c}, nil
}

// keys are those that are taken, the present one first, and when that one was made.
func (g *Gateway) keys() (now, last ohttp.PrivateKey, made time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.cfg.Now(); g.made.IsZero() || t.Sub(g.made) >= keyTime {
		id := g.now.ID + 1
		if g.made.IsZero() {
			// Another number than before a restart, most likely, so that who has the old
			// key is told that it is another one.
			var b [1]byte
			rand.Read(b[:])
			id = b[0]
		}
		k, err := ohttp.GenerateKey(id)
		if err != nil {
			return now, last, made, err
		}
		if t.Sub(g.made) < 2*keyTime {
			g.last = g.now
		} else {
			g.last = ohttp.PrivateKey{}
		}
		g.now, g.made = k, t
	}
	return g.now, g.last, g.made, nil
}

// Signed are the gateway's keys, with the provider's signatures.
func (g *Gateway) Signed() (*ohttp.Signed, error) {
	now, _, made, err := g.keys()
	if err != nil {
		return nil, err
	}
	return ohttp.Sign(g.cfg.Keys, g.cfg.Domain, made.Add(2*keyTime), now.Public()), nil
}

// Routes are the endpoints, for peering.
func (g *Gateway) Routes() []peering.Route {
	return []peering.Route{
		{Endpoint: EndpointKeys, MaxBody: 1, Idempotent: true, Handler: func(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
			s, err := g.Signed()
			if err != nil {
				return nil, err
			}
			return &peering.Response{Body: s.Append(nil)}, nil
		}},
		{Endpoint: Endpoint, MaxBody: maxSealed, Idempotent: true, Plain: true, Handler: func(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
			b, err := g.Answer(ctx, in.Source, in.Body)
			if err != nil {
				return nil, err
			}
			return &peering.Response{Type: typeResponse, Body: b}, nil
		}},
	}
}

// Handler serves WellKnown and hands everything else, and what the peering server is to
// judge, to next.
func (g *Gateway) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != WellKnown {
			next.ServeHTTP(w, r)
			return
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			now, _, _, err := g.keys()
			if err != nil {
				g.cfg.Log.Error("making a gateway's key", "err", err)
				http.Error(w, "internal error", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", typeKeys)
			w.Header().Set("Cache-Control", "max-age=3600")
			w.Write(ohttp.AppendKeys(nil, now.Public()))
		case http.MethodPost:
			q := r.Clone(r.Context())
			q.URL.Path = "/v1/" + Endpoint + "/" + g.cfg.Domain
			q.URL.RawPath = ""
			next.ServeHTTP(w, q)
		default:
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "keys are read with GET, and requests come with POST", http.StatusMethodNotAllowed)
		}
	})
}

// Answer answers an encrypted request that has come from a relay. Errors are Problems, which
// the relay sees; what becomes of the request inside, only who asked does.
func (g *Gateway) Answer(ctx context.Context, relay string, sealed []byte) ([]byte, error) {
	now, last, _, err := g.keys()
	if err != nil {
		return nil, err
	}
	raw, heard, err := ohttp.Open(sealed, now, last)
	switch {
	case errors.Is(err, ohttp.ErrKey), errors.Is(err, ohttp.ErrDecrypt):
		// RFC 9458 section 5.3. A key of the same number that it had before a restart is
		// the other case of it.
		return nil, problem(http.StatusConflict, clientapi.CodeKeySet, "the request is for a key that this gateway has not, or has no more: fetch its keys anew")
	case err != nil:
		return nil, problem(http.StatusBadRequest, clientapi.CodeInvalid, "no encrypted request: %v", err)
	}
	b, err := heard.Seal(g.inner(ctx, relay, raw).Bytes())
	if err != nil {
		return nil, fmt.Errorf("answering a request through %s: %w", relay, err)
	}
	return b, nil
}

// inner answers what was encrypted. It always answers.
func (g *Gateway) inner(ctx context.Context, relay string, raw []byte) *ohttp.Answer {
	q, err := ohttp.ParseRequest(raw)
	if err != nil {
		return refusal(problem(http.StatusBadRequest, clientapi.CodeInvalid, "%v", err))
	}
	if q.Method == http.MethodPost && q.Authority == g.cfg.Domain && q.Path == ClaimPath {
		return g.claim(ctx, relay, q)
	}
	if q.Method != http.MethodGet || q.Scheme != "https" {
		return refusal(problem(http.StatusForbidden, clientapi.CodeForbidden, "%.20q of %.20q: only assets are fetched here, with GET by https", q.Method, q.Scheme))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return refusal(problem(http.StatusInternalServerError, clientapi.CodeInternal, "an internal error"))
	}
	if v := q.Get("range"); v != "" {
		req.Header.Set("Range", v)
	}
	w := &answerer{}
	err = g.cfg.Assets.Oblivious(w, req, relay, q.Get(FieldRoom), "https://"+q.Authority+q.Path)
	var p *clientapi.Problem
	switch {
	case err != nil && !errors.As(err, &p):
		g.cfg.Log.Error("answering an oblivious request", "relay", relay, "err", err)
		return refusal(problem(http.StatusInternalServerError, clientapi.CodeInternal, "an internal error of %s", g.cfg.Domain))
	case err != nil:
		return refusal(p)
	case w.over:
		return refusal(problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "the answer has more than %d octets: ask for a range", ohttp.MaxContent))
	}
	return w.answer()
}

// claim answers a request for KeyPackages under a pseudonym.
func (g *Gateway) claim(ctx context.Context, relay string, q *ohttp.Request) *ohttp.Answer {
	raw, err := base64.RawURLEncoding.DecodeString(q.Get(FieldClaim))
	if err != nil || g.cfg.Claims == nil {
		return refusal(problem(http.StatusNotFound, clientapi.CodeNotFound, "%s gives out no KeyPackages under pseudonyms, or the request for them is none", g.cfg.Domain))
	}
	b, err := g.cfg.Claims.Claim(ctx, raw, relay)
	var p *clientapi.Problem
	switch {
	case errors.As(err, &p):
		return refusal(p)
	case err != nil:
		g.cfg.Log.Error("answering a claim under a pseudonym", "relay", relay, "err", err)
		return refusal(problem(http.StatusInternalServerError, clientapi.CodeInternal, "an internal error of %s", g.cfg.Domain))
	}
	return &ohttp.Answer{Status: http.StatusOK, Content: b, Fields: []ohttp.Field{{Name: "content-type", Value: "application/json"}}}
}

// answerer is a http.ResponseWriter in memory, of bounded size.
type answerer struct {
	header http.Header
	status int
	body   bytes.Buffer
	over   bool
}

func (a *answerer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *answerer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	n, err := strconv.ParseInt(a.Header().Get("Content-Length"), 10, 64)
	a.over = a.over || err == nil && n > ohttp.MaxContent
}

var errOver = errors.New("oblivious: the answer is too large for one")

func (a *answerer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.over = a.over || a.body.Len()+len(b) > ohttp.MaxContent; a.over {
		return 0, errOver
	}
	return a.body.Write(b)
}

// passed are the fields of an answer that a device has a use for.
var passed = []string{"Content-Type", "Content-Range", "ETag", "Accept-Ranges"}

// answer is what was written. Fewer octets than were announced are an answer without a
// length that fits, which the device sees.
func (a *answerer) answer() *ohttp.Answer {
	out := &ohttp.Answer{Status: a.status, Content: a.body.Bytes()}
	for _, k := range passed {
		if v := a.Header().Get(k); v != "" {
			out.Fields = append(out.Fields, ohttp.Field{Name: strings.ToLower(k), Value: v})
		}
	}
	return out
}

func refusal(p *clientapi.Problem) *ohttp.Answer {
	b, err := json.Marshal(p)
	if err != nil { // texts and numbers cannot fail
		panic("oblivious: encoding a problem: " + err.Error())
	}
	return &ohttp.Answer{Status: p.Status, Content: b, Fields: []ohttp.Field{{Name: "content-type", Value: "application/problem+json"}}}
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}
