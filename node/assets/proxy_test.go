package assets_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

const (
	atlanta = "atlanta.example" // this provider
	biloxi  = "biloxi.example"
	chicago = "chicago.example"
	denver  = "denver.example"

	club  = "mimi://atlanta.example/r/club"  // atlanta is the hub, biloxi and chicago take part
	away  = "mimi://biloxi.example/r/away"   // biloxi is the hub, atlanta and chicago take part
	other = "mimi://atlanta.example/r/other" // atlanta is the hub, denver takes part
	small = "mimi://atlanta.example/r/small" // as club, with a policy that lets little be attached
	shut  = "mimi://atlanta.example/r/shut"  // as club, and nothing is passed on
	homes = "mimi://atlanta.example/r/homes" // as club, and what is attached is at the hub or at chicago
)

// fakeRooms are three rooms, in which alice is.
type fakeRooms struct{ t testing.TB }

func (f fakeRooms) all() []*rooms.Parties {
	return []*rooms.Parties{
		{URI: club, Hub: atlanta, Providers: []string{atlanta, biloxi, chicago}},
		{URI: away, Hub: biloxi, Providers: []string{atlanta, biloxi, chicago}},
		{URI: other, Hub: atlanta, Providers: []string{atlanta, denver}},
		{URI: small, Hub: atlanta, Providers: []string{atlanta, biloxi, chicago}, Assets: &policy.Assets{MaxImage: 3, MaxAttached: uint64(len(theirs)) - asset.TagSize - 1}},
		{URI: shut, Hub: atlanta, Providers: []string{atlanta, biloxi, chicago}, Assets: &policy.Assets{Refused: []policy.Download{policy.DownloadProxy}, MaxAttached: 1 << 62}},
		{URI: homes, Hub: atlanta, Providers: []string{atlanta, biloxi, chicago}, Assets: &policy.Assets{Upload: policy.UploadLocal, MaxVideo: math.MaxUint64,
			Domains: []policy.UploadDomains{{Provider: biloxi, Hosts: []string{atlanta}}}}},
	}
}

func (f fakeRooms) PartiesOf(_ context.Context, uri string) (*rooms.Parties, error) {
	for _, p := range f.all() {
		if p.URI == uri {
			return p, nil
		}
	}
	return nil, nil
}

func (f fakeRooms) PartiesFor(_ context.Context, id account.Identity, room store.RoomID) (*rooms.Parties, error) {
	if id != who(f.t, "alice") || int(room[0]) >= len(f.all()) {
		return nil, &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "no such room"}
	}
	return f.all()[room[0]], nil
}

func (f fakeRooms) Together(a, b string) bool {
	return slices.ContainsFunc(f.all(), func(p *rooms.Parties) bool {
		return p.Hub == atlanta && slices.Contains(p.Providers, a) && slices.Contains(p.Providers, b)
	})
}

// net is the other providers: what they are asked, and what they answer.
type network struct {
	t     testing.TB
	asked []string
	// answer is what they answer; nil: the asset, with ranges.
	answer func(req *http.Request) *http.Response
	fails  error
}

var theirs = []byte("an asset of another provider")

// RoundTrip is strict: it takes nothing but a GET of an asset from a provider that is in a
// room with atlanta, without any header but the range.
func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	n.asked = append(n.asked, req.URL.String())
	name, ok := strings.CutPrefix(req.URL.String(), "http://"+req.URL.Host+asset.Path)
	if _, err := asset.ParseHash(name); !ok || err != nil || req.Method != "GET" || !slices.Contains([]string{biloxi, chicago, denver}, req.URL.Host) {
		n.t.Errorf("%s %s goes out", req.Method, req.URL)
	}
	for k := range req.Header {
		if k != "Range" {
			n.t.Errorf("header %s goes out", k)
		}
	}
	if n.fails != nil {
		return nil, n.fails
	}
	if n.answer != nil {
		return n.answer(req), nil
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Set-Cookie", "spy=1")
	rec.Header().Set("Content-Type", "text/html")
	http.ServeContent(rec, req, "", w0, bytes.NewReader(theirs))
	return rec.Result(), nil
}

// proxied is a Proxy of a world, and the network around it.
func (w *world) proxied() (*assets.Proxy, *network) {
	n := &network{t: w.t}
	c := &http.Client{Transport: n, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p, err := assets.NewProxy(assets.ProxyConfig{Domain: atlanta, Store: w.Store, Rooms: fakeRooms{w.t}, Client: c, Size: 1000,
		Ask: func(_ context.Context, q peering.Request, h http.Header) (*http.Response, error) {
			n.asked = append(n.asked, "hub "+q.Target+" "+q.Endpoint+" "+string(q.Room)+" "+q.Subject+" "+h.Get("Range"))
			if n.fails != nil {
				return nil, n.fails
			}
			rec := httptest.NewRecorder()
			req := httptest.NewRequest("GET", "/", nil)
			req.Header = h
			http.ServeContent(rec, req, "", w0, bytes.NewReader(theirs))
			return rec.Result(), nil
		}})
	must(w.t, err)
	return p, n
}

func at(domain string) string { return asset.Location{Domain: domain, Hash: hashOf(theirs)}.URL() }

// MIMI protocol-06 section 5.10: the hub MUST check that the URL's host is an asset domain
// of one of its peer providers.
func TestNoOpenProxy(t *testing.T) {
	w := newWorld(t)
	_, err := w.bring("alice", theirs, 100)
	must(t, err)
	p, n := w.proxied()
	route := p.Route()
	if route.Endpoint != "proxyDownload" || !route.Idempotent {
		t.Fatalf("route %+v", route)
	}
	hash := hashOf(theirs).String()
	for _, c := range []struct {
		name, source, room, url string
		status                  int
	}{
		{"a provider in the room", biloxi, club, at(chicago), 200},
		{"the one that asks", biloxi, club, at(biloxi), 200},
		{"the hub itself", biloxi, club, at(atlanta), 200},
		{"no room, but one together", biloxi, "", at(chicago), 200},
		{"no room, and the hub itself", denver, "", at(atlanta), 200},

		{"a provider of another room", biloxi, club, at(denver), 403},
		{"no room, and none together", biloxi, "", at(denver), 403},
		{"no room, of a stranger", "evil.example", "", at(atlanta), 403},
		{"a stranger as the host", biloxi, club, at("evil.example"), 403},
		{"a stranger as the source", "evil.example", club, at(chicago), 404},
		{"a provider that is not in the room as the source", denver, club, at(chicago), 404},
		{"no such room", biloxi, "mimi://atlanta.example/r/none", at(chicago), 404},
		{"a room of another hub", chicago, away, at(biloxi), 503},
		{"a part of a name", biloxi, club, "https://example/v1/asset/" + hash, 403},
		{"below a name", biloxi, club, at("x." + chicago), 403},
		{"above a name", biloxi, club, at(chicago + ".evil.example"), 403},
		{"a user that looks like a host", biloxi, club, "https://" + chicago + "@evil.example/v1/asset/" + hash, 403},
		{"another path", biloxi, club, "https://" + chicago + "/v1/update/" + hash, 403},
		{"a parent", biloxi, club, "https://" + chicago + "/v1/asset/../asset/" + hash, 403},
		{"a query", biloxi, club, at(chicago) + "?q", 403},
		{"a port", biloxi, club, "https://" + chicago + ":8080/v1/asset/" + hash, 403},
		{"no TLS", biloxi, club, "http://" + chicago + "/v1/asset/" + hash, 403},
		{"a file", biloxi, club, "file:///etc/passwd", 403},
		{"this machine", biloxi, club, "https://127.0.0.1/v1/asset/" + hash, 403},
		{"this machine by name", biloxi, club, "https://localhost/v1/asset/" + hash, 403},
		{"this machine in IPv6", biloxi, club, "https://[::1]/v1/asset/" + hash, 403},
		{"a cloud's metadata", biloxi, club, "https://169.254.169.254/latest/meta-data", 403},
		{"a private network", biloxi, club, "https://10.0.0.1/v1/asset/" + hash, 403},
		{"a hash that is none", biloxi, club, "https://" + chicago + "/v1/asset/" + hash[1:] + "g", 403},
		{"nothing", biloxi, club, "x", 403},
	} {
		n.asked = nil
		rec := httptest.NewRecorder()
		err := route.Stream(ctx, &peering.Incoming{Source: c.source, Room: wire.IdentifierURI(c.room), Subject: c.url, Endpoint: "proxyDownload"}, rec, httptest.NewRequest("GET", "/", nil))
		if c.status == 200 {
			if err != nil || rec.Code != 200 || !bytes.Equal(rec.Body.Bytes(), theirs) {
				t.Errorf("%s: %v, %d %q", c.name, err, rec.Code, rec.Body)
			}
			if rec.Header().Get("Set-Cookie") != "" || rec.Header().Get("Content-Type") != "application/octet-stream" {
				t.Errorf("%s: headers of the other side pass: %v", c.name, rec.Header())
			}
			continue
		}
		if p := problemOf(err); p == nil || p.Status != c.status {
			t.Errorf("%s: %v, want %d", c.name, err, c.status)
		}
		if len(n.asked) > 0 {
			t.Errorf("%s: %v was asked", c.name, n.asked)
		}
	}
}

// asset_policy (room-policy section 8.4) as a provider can judge it that passes an asset on:
// by its host and its size, and whether assets are downloaded by the hub at all.
func TestProxyObeysPolicy_8_4(t *testing.T) {
	w := newWorld(t)
	_, err := w.bring("alice", theirs, 100)
	must(t, err)
	p, n := w.proxied()
	for i, c := range []struct {
		name, room, url string
		asHub, asOwn    int // what another provider is answered, and an own user
		asked           bool
	}{
		{"no policy", club, at(chicago), 200, 200, true},
		{"too large, elsewhere", small, at(chicago), 502, 502, true},
		{"too large, here", small, at(atlanta), 403, 403, false},
		{"nothing is passed on", shut, at(chicago), 403, 403, false},
		{"nor what is kept here, to others", shut, at(atlanta), 403, 200, false},
		{"at its provider, which is not named", homes, at(chicago), 200, 200, true},
		{"at the host that is named", homes, at(atlanta), 200, 200, false},
		{"at a provider that has another host", homes, at(biloxi), 403, 403, false},
	} {
		for _, own := range []bool{false, true} {
			n.asked = nil
			rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
			want, err := c.asHub, error(nil)
			if own {
				id := slices.IndexFunc(fakeRooms{t}.all(), func(p *rooms.Parties) bool { return p.URI == c.room })
				want, err = c.asOwn, p.Download(rec, req, who(t, "alice"), store.RoomID{byte(id)}, c.url)
			} else {
				err = p.Route().Stream(ctx, &peering.Incoming{Source: biloxi, Room: wire.IdentifierURI(c.room), Subject: c.url, Endpoint: "proxyDownload"}, rec, req)
			}
			got := rec.Code
			if q := problemOf(err); q != nil {
				got = q.Status
			} else if !bytes.Equal(rec.Body.Bytes(), theirs) {
				t.Errorf("%s: %v, %q", c.name, err, rec.Body)
			}
			if got != want || (len(n.asked) > 0) != c.asked {
				t.Errorf("%d %s, own user %v: %v, %d and not %d; asked %q", i, c.name, own, err, got, want, n.asked)
			}
		}
	}
}

func problemOf(err error) *clientapi.Problem {
	p, _ := err.(*clientapi.Problem)
	return p
}

// What a provider that keeps an asset, or says so, can answer.
func TestRelay(t *testing.T) {
	w := newWorld(t)
	p, n := w.proxied()
	answer := func(status int, body string, length int64, header ...string) func(*http.Request) *http.Response {
		return func(req *http.Request) *http.Response {
			h := http.Header{}
			for i := 0; i < len(header); i += 2 {
				h.Set(header[i], header[i+1])
			}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: length, Request: req}
		}
	}
	get := func(header ...string) (*httptest.ResponseRecorder, error) {
		rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return rec, p.Route().Stream(ctx, &peering.Incoming{Source: biloxi, Room: club, Subject: at(chicago), Endpoint: "proxyDownload"}, rec, req)
	}
	rec, err := get("Range", "bytes=3-7", "Cookie", "x", "Authorization", "secret", "If-None-Match", "*")
	if err != nil || rec.Code != 206 || rec.Body.String() != string(theirs[3:8]) || rec.Header().Get("Content-Range") != "bytes 3-7/28" {
		t.Errorf("a range: %v, %d %q %v", err, rec.Code, rec.Body, rec.Header())
	}
	_, err = get("Range", "bytes=99-")
	wantProblem(t, err, 416, clientapi.CodeRange)
	for _, c := range []struct {
		name   string
		answer func(*http.Request) *http.Response
		status int
	}{
		{"a redirect is not followed", answer(302, "", 0, "Location", "http://127.0.0.1/"), 502},
		{"nor is a permanent one", answer(308, "", 0, "Location", "https://evil.example/"), 502},
		{"too large", answer(200, "x", 1001), 502},
		{"of unknown size", answer(200, "x", -1), 502},
		{"a part of something too large", answer(206, "x", 1, "Content-Range", "bytes 0-0/1001"), 502},
		{"a part without its place", answer(206, "x", 1), 502},
		{"a part of another length", answer(206, "xy", 2, "Content-Range", "bytes 0-0/10"), 502},
		{"a part of nothing", answer(206, "x", 1, "Content-Range", "bytes 1-0/10"), 502},
		{"a part with more than one", answer(206, "x", 1, "Content-Type", "multipart/byteranges"), 502},
		{"a negative part", answer(206, "x", 1, "Content-Range", "bytes -1--1/10"), 502},
		{"compressed", answer(200, "x", 1, "Content-Encoding", "gzip"), 502},
		{"gone", answer(410, "", 0), 404},
		{"missing", answer(404, "", 0), 404},
		{"busy", answer(429, "", 0, "Retry-After", "7"), 503},
		{"broken", answer(500, "secret", 6), 502},
		{"asks for a password", answer(401, "", 0, "Www-Authenticate", "Basic"), 502},
		{"switches protocols", answer(101, "", 0), 502},
	} {
		n.answer = c.answer
		rec, err := get()
		q := problemOf(err)
		if q == nil || q.Status != c.status || strings.Contains(q.Detail, "secret") {
			t.Errorf("%s: %v, want %d", c.name, err, c.status)
		}
		if rec.Body.Len() > 0 {
			t.Errorf("%s: %q was passed on", c.name, rec.Body)
		}
		if c.name == "busy" && q != nil && q.Retry != 7000 {
			t.Errorf("busy for %d ms", q.Retry)
		}
	}
	n.answer, n.fails = nil, errPlanted
	_, err = get()
	wantProblem(t, err, 502, clientapi.CodeUnreachable)
}

// An own user's download: from here, as the hub, or through it.
func TestDownload(t *testing.T) {
	w := newWorld(t)
	_, err := w.bring("alice", theirs, 100)
	must(t, err)
	p, n := w.proxied()
	for _, c := range []struct {
		name  string
		user  string
		room  byte
		url   string
		asked string // who is, empty: nobody
		err   int
	}{
		{"kept here", "alice", 1, at(atlanta), "", 0},
		{"we are the hub", "alice", 0, at(chicago), "http://chicago.example" + asset.Path + hashOf(theirs).String(), 0},
		{"another is the hub", "alice", 1, at(chicago), "hub biloxi.example proxyDownload " + away + " " + at(chicago) + " bytes=3-7", 0},
		{"the hub keeps it", "alice", 1, at(biloxi), "hub biloxi.example proxyDownload " + away + " " + at(biloxi) + " bytes=3-7", 0},
		{"another's room", "bob", 0, at(chicago), "", 404},
		{"no such room", "alice", 9, at(chicago), "", 404},
		{"a provider of another room", "alice", 0, at(denver), "", 403},
		{"a stranger", "alice", 1, at("evil.example"), "", 403},
		{"no asset", "alice", 0, "https://chicago.example/", "", 422},
	} {
		n.asked = nil
		rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/download", nil)
		req.Header.Set("Authorization", "Bearer secret")
		req.Header.Set("Range", "bytes=3-7")
		err := p.Download(rec, req, who(t, c.user), store.RoomID{c.room}, c.url)
		if c.err != 0 {
			if q := problemOf(err); q == nil || q.Status != c.err {
				t.Errorf("%s: %v, want %d", c.name, err, c.err)
			}
		} else if err != nil || rec.Code != 206 || rec.Body.String() != string(theirs[3:8]) {
			t.Errorf("%s: %v, %d %q", c.name, err, rec.Code, rec.Body)
		}
		if got := strings.Join(n.asked, ", "); got != c.asked {
			t.Errorf("%s: asked %q, want %q", c.name, got, c.asked)
		}
	}
	n.fails = &peering.Refused{Target: biloxi, Problem: clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "no such asset"}}
	err = p.Download(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), who(t, "alice"), store.RoomID{1}, at(chicago))
	wantProblem(t, err, 404, clientapi.CodeNotFound)
}
