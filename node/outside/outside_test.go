package outside_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/outside"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

func key(domain string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("outside test " + domain))
	return ed25519.NewKeyFromSeed(seed[:])
}

// world is providers that look at each other. What goes between them is handed over as octets.
type world struct {
	t   *testing.T
	mu  sync.Mutex
	now time.Time
	ps  map[string]*provider
}

type provider struct {
	*outside.Watch
	w      *world
	domain string
	log    bytes.Buffer
	told   []string // states, with "!" where everybody is told

	// Guarded by world.mu:
	peers  []string
	asked  []string // who asked this one
	closed int      // strangers that came from here, and have left
	made   int
	keyAs  map[string]ed25519.PrivateKey                                             // which keys it believes to be others'; nil: the right ones
	shut   bool                                                                      // strangers cannot come in
	lies   func(q peering.Request, source string) (*peering.Response, error)         // answers in place of the handler
	claims func(c account.Claim, out *account.Claimed) (*account.Claimed, error)     // in place of the claim's result
	copies func(source string, q peering.Request, resp *peering.Response, err error) // sees claims of strangers
}

func newWorld(t *testing.T, domains ...string) *world {
	w := &world{t: t, now: time.Unix(1_800_000_000, 0), ps: map[string]*provider{}}
	for _, d := range domains {
		p := &provider{w: w, domain: d}
		for _, x := range domains {
			if x != d {
				p.peers = append(p.peers, x)
			}
		}
		slices.Sort(p.peers)
		auth, err := x509auth.New(x509auth.Options{Anchors: func(domain string) []crypto.PublicKey {
			if k := p.keyAs[domain]; k != nil {
				return []crypto.PublicKey{k.Public()}
			}
			return []crypto.PublicKey{key(domain).Public()}
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.Watch, err = outside.New(outside.Config{Domain: d, ProviderKey: func() crypto.Signer { return key(d) }, Authenticator: auth,
			Peers:    func() []string { return p.peers },
			Caller:   caller{w, d},
			Stranger: func(domain string) (outside.Stranger, error) { p.made++; return &strange{p, domain, auth}, nil },
			Tell: func(s outside.State, all bool) error {
				text := s.String()
				if all {
					text += "!"
				}
				p.told = append(p.told, text)
				return nil
			},
			Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(&p.log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		w.ps[d] = p
	}
	return w
}

type caller struct {
	w    *world
	from string
}

func (c caller) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	p := c.w.ps[q.Target]
	c.w.mu.Lock()
	p.asked = append(p.asked, c.from)
	lies := p.lies
	c.w.mu.Unlock()
	if lies != nil {
		return lies(q, c.from)
	}
	route := p.Routes()[0]
	if route.Endpoint != q.Endpoint || len(q.Body) > route.MaxBody {
		c.w.t.Errorf("%s asks %s for %q with %d octets", c.from, q.Target, q.Endpoint, len(q.Body))
	}
	resp, err := route.Handler(ctx, &peering.Incoming{Source: c.from, Endpoint: q.Endpoint, Subject: q.Subject, Body: slices.Clone(q.Body)})
	return resp, refusal(q, err)
}

// refusal is how a problem comes to a caller.
func refusal(q peering.Request, err error) error {
	var p *clientapi.Problem
	if errors.As(err, &p) {
		return &peering.Refused{Target: q.Target, Endpoint: q.Endpoint, Problem: *p}
	}
	return err
}

// strange brings a claim from one provider to another, which judges as package contact does.
type strange struct {
	from *provider
	to   string
	auth mls.Authenticator
}

func (s *strange) Close() error {
	s.from.w.mu.Lock()
	defer s.from.w.mu.Unlock()
	s.from.closed++
	return nil
}

func (s *strange) Call(_ context.Context, q peering.Request) (resp *peering.Response, err error) {
	p := s.from.w.ps[s.to]
	if p.copies != nil {
		defer func() { p.copies(s.from.domain, q, resp, err) }()
	}
	if p.shut {
		return nil, peering.ErrUnreachable
	}
	m, err := wire.ParseKeyMaterialRequest(q.Body, wire.Limits{})
	if err != nil {
		return nil, err
	}
	if q.Target != s.to || q.Endpoint != wire.EndpointKeyMaterial.String() || q.Subject != string(m.TargetUser) || q.Room != m.Room {
		s.from.w.t.Errorf("a stranger from %s asks %+v", s.from.domain, q)
	}
	// As the target's provider: the requester signs, and is a user of its own.
	if _, err := m.Verify(s.auth, p.w.now); err != nil && s.from.keyAs[s.to] == nil {
		s.from.w.t.Errorf("the request of %s does not verify: %v", s.to, err)
	}
	target, err := uri.ParseUser(string(m.TargetUser))
	if err != nil {
		return nil, err
	}
	c := account.Claim{Target: target, Requester: string(m.RequestingUser), Room: string(m.Room), Provider: s.to, Suites: m.Suites}
	out, is := p.Claim(c)
	if !is {
		return nil, refusal(q, &clientapi.Problem{Status: http.StatusNotFound, Code: clientapi.CodeNotFound})
	}
	if p.claims != nil {
		if out, err = p.claims(c, out); err != nil {
			return nil, refusal(q, err)
		}
	}
	r := wire.KeyMaterialResponse{Status: out.Status, User: m.TargetUser, Clients: out.Clients}
	b, err := r.Bytes()
	return &peering.Response{Body: b}, err
}

func (p *provider) look() outside.Report {
	p.w.t.Helper()
	if err := p.Look(p.w.t.Context()); err != nil {
		p.w.t.Fatal(err)
	}
	p.w.now = p.w.now.Add(20 * time.Second)
	return p.Report()
}

var four = []string{"atlanta.example", "biloxi.example", "chicago.example", "denver.example"}

// TestSeen: each look is another provider's, and costs one question while all is well.
func TestSeen(t *testing.T) {
	w := newWorld(t, four...)
	a := w.ps["atlanta.example"]
	for i := range 6 {
		if r := a.look(); r.State != outside.Seen || r.By != a.peers[(i+1)%3] || r.Why != "" {
			t.Errorf("look %d: %+v", i, r)
		}
	}
	for _, d := range a.peers {
		if p := w.ps[d]; len(p.asked) != 2 || p.made != 2 || p.closed != 2 {
			t.Errorf("%s was asked by %q, made %d strangers and closed %d", d, p.asked, p.made, p.closed)
		}
	}
	if len(a.told) != 0 || a.log.Len() != 0 {
		t.Errorf("told %q, log %s", a.told, &a.log)
	}
}

// TestUnseen: whom nobody can reach learns it by the first look, at most 44 s after it became so; log
// and devices hear it once, and later comers too; and again when it is over.
func TestUnseen(t *testing.T) {
	w := newWorld(t, four...)
	a := w.ps["atlanta.example"]
	a.look()
	a.shut = true
	r := a.look()
	if r.State != outside.Unseen || strings.Count(r.Why, "unreachable") != 3 {
		t.Fatalf("after the first look: %+v", r)
	}
	since := r.Since
	for range 3 {
		if r = a.look(); r.State != outside.Unseen || r.Since != since {
			t.Errorf("later: %+v", r)
		}
	}
	if n := strings.Count(a.log.String(), "other providers cannot claim KeyPackages here"); n != 1 {
		t.Errorf("the log was told %d times: %s", n, &a.log)
	}
	w.now = w.now.Add(time.Hour)
	a.look()
	if n := strings.Count(a.log.String(), "other providers cannot claim KeyPackages here"); n != 2 {
		t.Errorf("after an hour the log was told %d times", n)
	}
	a.shut = false
	if r = a.look(); r.State != outside.Seen || r.Why != "" {
		t.Errorf("at the end: %+v", r)
	}
	if want := []string{"unseen!", "unseen", "unseen", "unseen", "unseen", "seen!"}; !slices.Equal(a.told, want) {
		t.Errorf("told %q, not %q", a.told, want)
	}
	if !strings.Contains(a.log.String(), "can claim KeyPackages here again") {
		t.Error("the log does not say that it is over")
	}
}

// TestOneLooker: where there is one other provider, it is asked twice, and its word counts.
func TestOneLooker(t *testing.T) {
	w := newWorld(t, four[:2]...)
	a := w.ps["atlanta.example"]
	a.shut = true
	if r := a.look(); r.State != outside.Unseen {
		t.Errorf("%+v", r)
	}
	if n := len(w.ps["biloxi.example"].asked); n != 2 {
		t.Errorf("asked %d times", n)
	}
	a.peers = nil
	if r := a.look(); r.State != outside.Unknown || r.Why != "" {
		t.Errorf("without anybody to ask: %+v", r)
	}
}

// TestNotSeen: every way in which a claim can come to nothing.
func TestNotSeen(t *testing.T) {
	for name, tc := range map[string]struct {
		break_ func(w *world, a *provider)
		why    string
	}{
		"refused": {func(_ *world, a *provider) {
			a.claims = func(account.Claim, *account.Claimed) (*account.Claimed, error) {
				return nil, &clientapi.Problem{Status: http.StatusForbidden, Code: clientapi.CodeForbidden}
			}
		}, "refused"},
		"nothing to hand out": {func(_ *world, a *provider) {
			a.claims = func(_ account.Claim, out *account.Claimed) (*account.Claimed, error) {
				return &account.Claimed{Status: wire.KeyMaterialNoConsent}, nil
			}
		}, "refused"},
		"another key is believed to be ours": {func(w *world, a *provider) {
			for _, d := range a.peers {
				w.ps[d].keyAs = map[string]ed25519.PrivateKey{a.domain: key("an impostor")}
			}
		}, "distrusted"},
		"our clock is a day behind": {func(w *world, a *provider) {
			a.claims = func(c account.Claim, out *account.Claimed) (*account.Claimed, error) {
				w.now = w.now.Add(24 * time.Hour)
				return out, nil
			}
		}, "distrusted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, four[:2]...)
			a := w.ps["atlanta.example"]
			tc.break_(w, a)
			if r := a.look(); r.State != outside.Unseen || !strings.Contains(r.Why, tc.why) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestLiars: nobody makes us believe that it was here who was not, one that says that it could not
// come raises no alarm, and who says nothing of use does not count.
func TestLiars(t *testing.T) {
	say := func(v outside.Verdict) func(peering.Request, string) (*peering.Response, error) {
		return func(peering.Request, string) (*peering.Response, error) {
			return &peering.Response{Body: v.Bytes()}, nil
		}
	}
	t.Run("made-up answers", func(t *testing.T) {
		w := newWorld(t, four...)
		a := w.ps["atlanta.example"]
		a.look() // by chicago
		var old []byte
		a.copies = func(_ string, _ peering.Request, resp *peering.Response, _ error) { old = resp.Body }
		a.look() // by denver, which keeps its answer
		if old == nil {
			t.Fatal("no answer to keep")
		}
		a.copies, a.shut = nil, true
		w.ps["biloxi.example"].lies = say(outside.Verdict{Outcome: outside.Claimed, Answer: old})
		w.ps["chicago.example"].lies = say(outside.Verdict{Outcome: outside.Claimed, Answer: []byte("so there")})
		w.ps["denver.example"].lies = func(peering.Request, string) (*peering.Response, error) {
			return &peering.Response{Body: []byte{9}}, nil
		}
		if r := a.look(); r.State != outside.Unknown || strings.Count(r.Why, "claims to have claimed") != 2 || !strings.Contains(r.Why, "version 9") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("the KeyPackage of an earlier look", func(t *testing.T) {
		w := newWorld(t, four[:2]...)
		a, b := w.ps["atlanta.example"], w.ps["biloxi.example"]
		var old *wire.KeyMaterialResponse
		a.copies = func(_ string, _ peering.Request, resp *peering.Response, _ error) {
			var err error
			if old, err = wire.ParseKeyMaterialResponse(resp.Body, wire.Limits{}); err != nil {
				t.Fatal(err)
			}
		}
		if r := a.look(); r.State != outside.Seen {
			t.Fatalf("%+v", r)
		}
		b.lies = func(q peering.Request, _ string) (*peering.Response, error) {
			m, err := wire.ParseKeyMaterialRequest(q.Body, wire.Limits{})
			if err != nil {
				return nil, err
			}
			again := *old
			again.User = m.TargetUser
			body, err := again.Bytes()
			return &peering.Response{Body: (&outside.Verdict{Answer: body}).Bytes()}, err
		}
		if r := a.look(); r.State != outside.Unknown || !strings.Contains(r.Why, "not the answer that was given") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("what is not given twice", func(t *testing.T) {
		// Nobody but the user that was made up gets its KeyPackage, and it once.
		w := newWorld(t, four[:2]...)
		a, b := w.ps["atlanta.example"], w.ps["biloxi.example"]
		b.lies = func(q peering.Request, source string) (*peering.Response, error) {
			m, err := wire.ParseKeyMaterialRequest(q.Body, wire.Limits{})
			if err != nil {
				return nil, err
			}
			target, _ := uri.ParseUser(string(m.TargetUser))
			// Another than the made-up user does not get it, and leaves it there.
			if out, is := a.Claim(account.Claim{Target: target, Requester: "mimi://biloxi.example/u/bob", Suites: m.Suites}); !is || out.Clients[0].KeyPackage != nil {
				t.Errorf("bob gets %+v, %v", out, is)
			}
			first, _ := a.Claim(account.Claim{Target: target, Requester: string(m.RequestingUser), Suites: m.Suites})
			second, is := a.Claim(account.Claim{Target: target, Requester: string(m.RequestingUser), Suites: m.Suites})
			if first.Clients[0].KeyPackage == nil || !is || second.Status != wire.KeyMaterialNoCompatible || second.Clients[0].KeyPackage != nil {
				t.Errorf("it is handed out more than once: %+v", second)
			}
			r := wire.KeyMaterialResponse{Status: first.Status, User: m.TargetUser, Clients: second.Clients}
			body, err := r.Bytes()
			return &peering.Response{Body: (&outside.Verdict{Answer: body}).Bytes()}, err
		}
		if r := a.look(); r.State != outside.Unknown {
			t.Errorf("%+v", r)
		}
	})
	t.Run("one that says that it cannot come", func(t *testing.T) {
		w := newWorld(t, four...)
		a := w.ps["atlanta.example"]
		w.ps["chicago.example"].lies = say(outside.Verdict{Outcome: outside.Unreachable})
		for i := range 4 {
			if r := a.look(); r.State != outside.Seen {
				t.Errorf("look %d: %+v", i, r)
			}
		}
	})
	t.Run("one, and nobody else answers", func(t *testing.T) {
		w := newWorld(t, four...)
		a := w.ps["atlanta.example"]
		for _, d := range a.peers {
			w.ps[d].lies = func(q peering.Request, _ string) (*peering.Response, error) { return nil, peering.ErrUnreachable }
		}
		w.ps["chicago.example"].lies = say(outside.Verdict{Outcome: outside.Unreachable})
		if r := a.look(); r.State != outside.Unknown || !strings.Contains(r.Why, "chicago.example: unreachable") {
			t.Errorf("%+v", r)
		}
	})
}

// TestAnswering: what is asked of a provider that looks for others.
func TestAnswering(t *testing.T) {
	w := newWorld(t, four...)
	a, b := w.ps["atlanta.example"], w.ps["biloxi.example"]
	var body []byte
	b.lies = func(q peering.Request, _ string) (*peering.Response, error) {
		body = q.Body
		return nil, peering.ErrUnreachable
	}
	for range 3 {
		a.look()
	}
	handler := b.Routes()[0].Handler
	made := b.made
	for name, in := range map[string]peering.Incoming{
		"a third party":              {Source: "chicago.example", Subject: "atlanta.example", Body: body},
		"a user of a third party":    {Source: "chicago.example", Subject: "chicago.example", Body: body},
		"nonsense":                   {Source: "denver.example", Subject: "denver.example", Body: []byte("x")},
		"nothing":                    {Source: "denver.example", Subject: "denver.example"},
		"for another user":           {Source: "denver.example", Subject: "denver.example", Body: request(t, "mimi://denver.example/u/dan", "mimi://denver.example/u/dora", "mimi://denver.example/r/x")},
		"for no room":                {Source: "denver.example", Subject: "denver.example", Body: request(t, "mimi://denver.example/u/dan", "mimi://denver.example/u/dan", "")},
		"a user of a provider below": {Source: "denver.example", Subject: "denver.example", Body: request(t, "mimi://a.denver.example/u/dan", "mimi://a.denver.example/u/dan", "mimi://denver.example/r/x")},
	} {
		var p *clientapi.Problem
		if _, err := handler(t.Context(), &in); !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.made != made {
		t.Errorf("%d strangers were made for them", b.made-made)
	}
	// Six at once, and one in ten seconds; others are not kept from it.
	in := peering.Incoming{Source: "atlanta.example", Subject: "atlanta.example", Body: body}
	ok := 0
	for range 20 {
		if _, err := handler(t.Context(), &in); err == nil {
			ok++
		}
	}
	if ok != 6 {
		t.Errorf("%d of 20 at once were made", ok)
	}
	w.now = w.now.Add(10 * time.Second)
	if _, err := handler(t.Context(), &in); err != nil {
		t.Errorf("ten seconds later: %v", err)
	}
	if r := w.ps["chicago.example"].look(); r.State != outside.Seen {
		t.Errorf("another provider's: %+v", r)
	}
}

func request(t *testing.T, requester, target, room string) []byte {
	t.Helper()
	signer, err := mls.GenerateSignatureKey(mls.X25519AES128Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	m := wire.KeyMaterialRequest{RequestingUser: wire.IdentifierURI(requester), TargetUser: wire.IdentifierURI(target), Room: wire.IdentifierURI(room),
		Suites: []mls.CipherSuite{mls.X25519AES128Ed25519}, Credential: mls.X509Credential([]byte("a"), []byte("b"))}
	if err := m.Sign(signer); err != nil {
		t.Fatal(err)
	}
	b, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestProbesAreApart: no two looks have anything in common by which they could be told to be of one
// provider, but its name; and nothing of a look is left behind.
func TestProbesAreApart(t *testing.T) {
	w := newWorld(t, four[:2]...)
	a := w.ps["atlanta.example"]
	seen := map[string]bool{}
	var last uri.User
	a.copies = func(_ string, q peering.Request, _ *peering.Response, _ error) {
		m, err := wire.ParseKeyMaterialRequest(q.Body, wire.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []string{string(m.TargetUser), string(m.Room), string(m.SignatureKey), fmt.Sprint(m.Credential)} {
			if seen[x] {
				t.Errorf("%.80q was there before", x)
			}
			seen[x] = true
		}
		last, _ = uri.ParseUser(string(m.TargetUser))
	}
	for range 3 {
		a.look()
	}
	if len(seen) != 12 {
		t.Errorf("%d things of three looks", len(seen))
	}
	if _, is := a.Claim(account.Claim{Target: last, Requester: last.String(), Suites: []mls.CipherSuite{mls.X25519AES128Ed25519}}); is {
		t.Error("a look that is over still has its user")
	}
}

func TestNewRequires(t *testing.T) {
	if _, err := outside.New(outside.Config{Domain: "atlanta.example"}); !errors.Is(err, outside.ErrConfig) {
		t.Error(err)
	}
}

func FuzzParseVerdict(f *testing.F) {
	for _, v := range []outside.Verdict{{Outcome: outside.Claimed, Answer: []byte("answer")}, {Outcome: outside.Unreachable}, {Outcome: outside.Distrusted}} {
		f.Add(v.Bytes())
	}
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := outside.ParseVerdict(b)
		if err != nil {
			if !errors.Is(err, outside.ErrVerdict) {
				t.Errorf("another error: %v", err)
			}
			return
		}
		if len(v.Answer) > outside.MaxAnswer || (v.Outcome == outside.Claimed) != (len(v.Answer) > 0) || !bytes.Equal(v.Bytes(), b) {
			t.Errorf("%x is %+v", b, v)
		}
	})
}
