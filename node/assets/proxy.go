package assets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// Rooms knows who has to do with which room; *rooms.Rooms does.
type Rooms interface {
	PartiesFor(ctx context.Context, who account.Identity, id store.RoomID) (*rooms.Parties, error)
	PartiesOf(ctx context.Context, uri string) (*rooms.Parties, error)
	Together(a, b string) bool
}

// ProxyConfig configures a Proxy. All but Log, Now, Size and Budget is required.
type ProxyConfig struct {
	// Domain is the own provider's.
	Domain string
	Store  *Store
	Rooms  Rooms
	// Ask asks a hub, as peering.Caller.Open does.
	Ask func(ctx context.Context, q peering.Request, header http.Header) (*http.Response, error)
	// Client fetches http://DOMAIN/PATH from a provider's node and follows no redirect,
	// as overlay.Overlay.Client does.
	Client *http.Client
	// Size is the largest asset that is passed on. Default 1 GiB.
	Size int64
	// Budget is shared with Store.Handler, so that it is one peer's whole share.
	Budget *Budget
	Now    func() time.Time
	Log    *slog.Logger
}

// Proxy brings assets of other providers: to the own users, and as a hub to the providers
// in its rooms. Safe for concurrent use.
type Proxy struct{ cfg ProxyConfig }

// NewProxy returns a Proxy. Error: ErrConfig.
func NewProxy(c ProxyConfig) (*Proxy, error) {
	if c.Domain == "" || c.Store == nil || c.Rooms == nil || c.Ask == nil || c.Client == nil {
		return nil, fmt.Errorf("%w: Domain, Store, Rooms, Ask and Client are required", ErrConfig)
	}
	if c.Budget == nil {
		c.Budget = NewBudget(BudgetConfig{})
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Size, 1<<30)
	return &Proxy{c}, nil
}

// Download answers an own user's request for an asset of somebody in a room. An error
// came before anything was written.
func (p *Proxy) Download(w http.ResponseWriter, req *http.Request, who account.Identity, id store.RoomID, url string) error {
	r, err := p.cfg.Rooms.PartiesFor(req.Context(), who, id)
	if err != nil {
		return err
	}
	l, err := asset.ParseURL(url)
	if err != nil || r == nil {
		return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "%.100q is no asset's URL: https://DOMAIN%sHASH", url, asset.Path)
	}
	if !r.Has(l.Domain) {
		return notTaken(l.Domain, "that room")
	}
	way := policy.DownloadProxy
	if l.Domain == p.cfg.Domain {
		way = anyWay
	}
	most, err := p.obey(r, l.Domain, way)
	if err != nil {
		return err
	}
	switch p.cfg.Domain {
	case l.Domain:
		return p.cfg.Store.Serve(w, req, l.Hash, most)
	case r.Hub:
		return p.fetch(w, req, l, most)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	begin := time.AfterFunc(stall, func() { cancel(errStall) })
	defer begin.Stop()
	res, err := p.cfg.Ask(ctx, peering.Request{Target: r.Hub, Endpoint: wire.EndpointProxyDownload.String(), Subject: url,
		Room: wire.IdentifierURI(r.URI)}, rangeOf(req.Header))
	if err != nil {
		if q := peering.Problem(err); q != nil {
			return q
		}
		return fmt.Errorf("downloading by the hub: %w", err)
	}
	begin.Stop()
	return p.relay(w, req, res, l, most, cancel)
}

// obey says whether a room's asset_policy lets an asset be at a host and, if it is to be
// passed on to who does not keep it, be downloaded in this way; and how many octets of
// ciphertext are let through. What it is, and who has sent it, only devices know.
func (p *Proxy) obey(r *rooms.Parties, host string, way policy.Download) (most int64, err error) {
	a := r.Assets
	if a == nil {
		return math.MaxInt64, nil
	}
	err = a.Passes(r.Providers, r.Hub, host)
	if err == nil && way != anyWay {
		err = a.Downloads(way)
	}
	if err != nil {
		return 0, problem(http.StatusForbidden, clientapi.CodeForbidden, "the room's policy: %v", err)
	}
	return int64(min(a.Largest(), math.MaxInt64-asset.TagSize)) + asset.TagSize, nil
}

// anyWay is that of an asset which the own provider keeps: nobody passes it on.
const anyWay = policy.Download(255)

func notTaken(domain, where string) error {
	return problem(http.StatusForbidden, clientapi.CodeForbidden, "%s does not take part in %s, so that nothing is fetched from there", domain, where)
}

// Route is MIMI's proxyDownload (protocol-06 section 5.10), for peering.
func (p *Proxy) Route() peering.Route {
	return peering.Route{Endpoint: wire.EndpointProxyDownload.String(), Idempotent: true, Stream: p.serve}
}

// serve answers another provider as the hub of a room.
func (p *Proxy) serve(ctx context.Context, in *peering.Incoming, w http.ResponseWriter, req *http.Request) error {
	return p.bring(w, req.WithContext(ctx), in.Source, string(in.Room), in.Subject, policy.DownloadProxy)
}

// Oblivious answers a device that is not known, behind a relay (package oblivious), as the
// hub of the room; the relay is the source. room may be "". An error came before anything
// was written.
func (p *Proxy) Oblivious(w http.ResponseWriter, req *http.Request, relay, room, url string) error {
	return p.bring(w, req, relay, room, url, policy.DownloadOHTTP)
}

// bring answers a provider, in a way that the room's policy may allow or not.
func (p *Proxy) bring(w http.ResponseWriter, req *http.Request, source, room, url string, way policy.Download) error {
	l, err := asset.ParseURL(url)
	if err != nil {
		return problem(http.StatusForbidden, clientapi.CodeForbidden, "%.100q is not fetched: assets are at https://DOMAIN%sHASH, of a provider in the room", url, asset.Path)
	}
	most, err := p.allow(req.Context(), source, room, l.Domain, way)
	if err != nil {
		return err
	}
	leave, q := p.cfg.Budget.enter("source "+source, p.cfg.Now())
	if q != nil {
		return q
	}
	defer leave()
	if l.Domain == p.cfg.Domain {
		return p.cfg.Store.Serve(w, req, l.Hash, most)
	}
	return p.fetch(w, req, l, most)
}

// allow is the check against being an open proxy, and for a room that is named the room's
// policy. It returns how many octets are let through.
func (p *Proxy) allow(ctx context.Context, source, room, domain string, way policy.Download) (most int64, err error) {
	if room == "" {
		if !p.cfg.Rooms.Together(source, domain) {
			return 0, notTaken(domain, "any room of which this is the hub and in which "+source+" takes part")
		}
		return math.MaxInt64, nil
	}
	r, err := p.cfg.Rooms.PartiesOf(ctx, room)
	switch {
	case err != nil:
		return 0, err
	case r == nil || !r.Has(source):
		// Whether there is such a room is nobody else's business.
		return 0, problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no room %.255q here in which %s takes part", room, source)
	case r.Hub != p.cfg.Domain:
		return 0, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "the hub of the room is %s: ask there", r.Hub)
	case !r.Has(domain):
		return 0, notTaken(domain, "the room")
	}
	return p.obey(r, domain, way)
}

func rangeOf(h http.Header) http.Header {
	out := http.Header{}
	if v := h.Get("Range"); v != "" && len(v) <= 100 {
		out.Set("Range", v)
	}
	return out
}

// fetch fetches an asset of another provider, of at most so many octets.
func (p *Proxy) fetch(w http.ResponseWriter, req *http.Request, l asset.Location, most int64) error {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	begin := time.AfterFunc(stall, func() { cancel(errStall) })
	defer begin.Stop()
	out, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Domain+asset.Path+l.Hash.String(), nil)
	if err != nil {
		return fmt.Errorf("fetching an asset: %w", err)
	}
	out.Header = rangeOf(req.Header)
	res, err := p.cfg.Client.Do(out)
	if err != nil {
		return problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s, which keeps the asset, does not answer: %.200s", l.Domain, err)
	}
	begin.Stop()
	return p.relay(w, req, res, l, most, cancel)
}

var errStall = errors.New("the provider that keeps the asset stands still")

// relay passes an answer on: the octets and where in the asset they belong, and nothing
// else of it. cancel ends the request whose answer it is.
func (p *Proxy) relay(w http.ResponseWriter, req *http.Request, res *http.Response, l asset.Location, most int64, cancel context.CancelCauseFunc) error {
	defer res.Body.Close()
	most = min(most, p.cfg.Size)
	h := http.Header{}
	setHeaders(h)
	h.Set("ETag", `"`+l.Hash.String()+`"`)
	h.Set("Accept-Ranges", "bytes")
	strange := func(what string, args ...any) error {
		return problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s, which keeps the asset, answers with %s", l.Domain, fmt.Sprintf(what, args...))
	}
	switch res.StatusCode {
	case http.StatusOK:
		if res.ContentLength < 0 || res.ContentLength > most {
			return strange("%d octets; at most %d are passed on, by the room's policy or this provider's", res.ContentLength, most)
		}
	case http.StatusPartialContent:
		from, to, size, ok := parseContentRange(res.Header.Get("Content-Range"))
		if !ok || size > most || res.ContentLength != to-from+1 {
			return strange("a part of it that fits nowhere: %.60q, %d octets", res.Header.Get("Content-Range"), res.ContentLength)
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
	case http.StatusRequestedRangeNotSatisfiable:
		return problem(http.StatusRequestedRangeNotSatisfiable, clientapi.CodeRange, "the range begins behind the end of the asset")
	case http.StatusNotFound, http.StatusGone:
		return problem(http.StatusNotFound, clientapi.CodeNotFound, "%s has no such asset, or none any more", l.Domain)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		q := problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "%s, which keeps the asset, is busy: try again soon", l.Domain)
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
			q.Retry = int64(min(max(s, 1), 3600)) * 1000
		}
		return q
	default:
		return strange("status %d", res.StatusCode)
	}
	if res.Header.Get("Content-Encoding") != "" {
		return strange("another encoding")
	}
	h.Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	for k, v := range h {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	if req.Method == http.MethodHead {
		return nil
	}
	// Neither side may stand still: the reader for stall, the writer for as long. What is
	// broken off here is seen as broken off there, since fewer octets come than announced.
	quiet := time.AfterFunc(stall, func() { cancel(errStall) })
	defer quiet.Stop()
	out := &steady{ResponseWriter: w}
	n, err := out.ReadFrom(&lively{res.Body, quiet})
	if err != nil {
		p.cfg.Log.Debug("a download broke off", "from", l.Domain, "octets", n, "error", err)
	}
	return nil
}

// lively is a reader for each read of which there is stall.
type lively struct {
	r     io.Reader
	quiet *time.Timer
}

func (l *lively) Read(b []byte) (int, error) {
	l.quiet.Reset(stall)
	n, err := l.r.Read(b)
	l.quiet.Stop() // the time for writing is another's
	return n, err
}

// parseContentRange reads "bytes FROM-TO/SIZE".
func parseContentRange(s string) (from, to, size int64, ok bool) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, cut := strings.Cut(rest, "/")
	first, last, dash := strings.Cut(span, "-")
	if !ok || !cut || !dash {
		return 0, 0, 0, false
	}
	var n [3]int64
	for i, t := range []string{first, last, total} {
		u, err := strconv.ParseUint(t, 10, 62)
		if err != nil {
			return 0, 0, 0, false
		}
		n[i] = int64(u)
	}
	return n[0], n[1], n[2], n[0] <= n[1] && n[1] < n[2]
}
