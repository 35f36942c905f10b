package evaluate_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/evaluate"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/uri"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("evaluate test " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// world is five evaluators and a provider that is none. What goes between them goes
// through the real caller and server.
type world struct {
	t      testing.TB
	set    *oprf.KeySet
	shares []*oprf.Share
	ps     map[string]*provider
	now    time.Time
}

type provider struct {
	*evaluate.Service
	w      *world
	domain string
	server *peering.Server
	caller *peering.Caller
	// behave, if not nil, answers instead.
	behave http.HandlerFunc

	mu    sync.Mutex
	calls int
}

const outsider = "outsider.example"

func domains() (out []string) {
	for i := range 5 {
		out = append(out, fmt.Sprintf("p%d.example", i+1))
	}
	return out
}

func newWorld(t testing.TB, limits evaluate.Limits) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 29, 4, 0, 0, 0, time.UTC), ps: map[string]*provider{}}
	plan := oprf.Plan{Threshold: 3}
	for _, d := range domains() {
		plan.Evaluators = append(plan.Evaluators, must(uri.ParseDomain(d))(t))
	}
	var err error
	if w.set, w.shares, err = oprf.Deal(plan); err != nil {
		t.Fatal(err)
	}
	for i, d := range append(domains(), outsider) {
		p := &provider{w: w, domain: d}
		p.caller = &peering.Caller{Domain: d, Key: func() ed25519.PrivateKey { return key(d) }, Client: &http.Client{Transport: w}, Now: w.clock}
		cfg := evaluate.Config{Domain: d, Set: w.set, Caller: p.caller, Limits: limits, Now: w.clock}
		if i < 5 {
			cfg.Share = w.shares[i]
		}
		p.Service = must(evaluate.New(cfg))(t)
		p.server = must(peering.NewServer(peering.Config{Domain: d, Routes: p.Routes(), Directory: w, Now: w.clock}))(t)
		w.ps[d] = p
	}
	return w
}

func (w *world) clock() time.Time { return w.now }

// Resolve implements peering.Directory.
func (w *world) Resolve(_ context.Context, domain string) (*peering.Provider, error) {
	if w.ps[domain] == nil {
		return nil, overlay.ErrUnknownProvider
	}
	return &peering.Provider{Key: key(domain).Public().(ed25519.PublicKey)}, nil
}

// RoundTrip carries a request to the provider that its host names.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	p := w.ps[r.URL.Host]
	if p == nil {
		return nil, overlay.ErrUnknownProvider
	}
	p.mu.Lock()
	p.calls++
	behave := p.behave
	p.mu.Unlock()
	rec := httptest.NewRecorder()
	if behave != nil {
		behave(rec, r)
	} else {
		p.server.ServeHTTP(rec, r)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

// served is how many calls all have got since the last time.
func (w *world) served() (n int) {
	for _, p := range w.ps {
		p.mu.Lock()
		n += p.calls
		p.calls = 0
		p.mu.Unlock()
	}
	return n
}

func alice(t testing.TB) account.Identity {
	return account.Identity{User: must(uri.ParseUser("mimi://outsider.example/u/alice"))(t)}
}

// TestOutput: an outsider has things evaluated by exactly three, an evaluator by itself and two,
// with one result, which is the function's.
func TestOutput(t *testing.T) {
	w := newWorld(t, evaluate.Limits{})
	want := must(w.ps[outsider].Output(t.Context(), []byte("handle:alice")))(t).Bytes()
	if n := w.served(); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
	for _, d := range domains() {
		if got := must(w.ps[d].Output(t.Context(), []byte("handle:alice")))(t).Bytes(); !slices.Equal(got, want) {
			t.Errorf("%s computes another output", d)
		}
		if n := w.served(); n != 2 {
			t.Errorf("%s made %d calls, want 2", d, n)
		}
	}
	if got := must(w.ps[outsider].Output(t.Context(), []byte("handle:bob")))(t).Bytes(); slices.Equal(got, want) {
		t.Error("two inputs with one output")
	}
}

// TestBadEvaluators: two of five that are down, answer with garbage, with another one's
// evaluation, or not at all are named, and make no difference; three do.
func TestBadEvaluators(t *testing.T) {
	garbage := func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("garbage")) }
	gone := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for what, x := range map[string]struct {
		behave http.HandlerFunc
		lied   bool
	}{"garbage": {garbage, true}, "gone": {gone, false}, "another one's": {nil, true}} {
		w := newWorld(t, evaluate.Limits{})
		want := must(w.ps["p5.example"].Output(t.Context(), []byte("x")))(t).Bytes()
		for _, bad := range []string{"p1.example", "p2.example"} {
			if w.ps[bad].behave = x.behave; x.behave == nil {
				// It evaluates with a share of another key.
				_, others, err := oprf.Deal(oprf.Plan{Threshold: 3, Evaluators: w.set.Evaluators()})
				if err != nil {
					t.Fatal(err)
				}
				w.ps[bad].behave = forging(t, w, others[0])
			}
		}
		for range 8 { // whoever is asked first
			got, err := w.ps[outsider].Output(t.Context(), []byte("x"))
			if err != nil || !slices.Equal(got.Bytes(), want) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		// They are asked last from now on: no evaluation costs more than three calls.
		w.served()
		faults := w.ps[outsider].Faults()
		must(w.ps[outsider].Output(t.Context(), []byte("x")))(t)
		if n := w.served(); n > 5-len(faults) {
			t.Errorf("%s: %d calls with %d known to be bad", what, n, len(faults))
		}
		for n, f := range faults {
			if n > 2 || f.Lied != x.lied || f.Provider != domains()[n-1] || f.Why == "" {
				t.Errorf("%s: evaluator %d: %+v", what, n, f)
			}
		}
		w.ps["p3.example"].behave = gone
		w.ps["p4.example"].behave = gone
		if _, err := w.ps[outsider].Output(t.Context(), []byte("x")); !errors.Is(err, evaluate.ErrTooFew) {
			t.Errorf("%s, and two more are gone: %v", what, err)
		}
		_, err := w.ps[outsider].Evaluate(t.Context(), alice(t), request(t, w, "x"))
		wantProblem(t, err, clientapi.CodeUnreachable, what)
		// They come back.
		for _, p := range w.ps {
			p.behave = nil
		}
		if got := must(w.ps[outsider].Output(t.Context(), []byte("x")))(t); !slices.Equal(got.Bytes(), want) {
			t.Errorf("%s: another output after all are well", what)
		}
		w.now = w.now.Add(11 * time.Minute)
		for range 20 { // three of five are drawn each time
			must(w.ps[outsider].Output(t.Context(), []byte("x")))(t)
		}
		if f := w.ps[outsider].Faults(); len(f) != 0 {
			t.Errorf("%s: still at fault: %v", what, f)
		}
	}
	w := newWorld(t, evaluate.Limits{})
	w.ps["p1.example"].behave, w.ps["p2.example"].behave = silent, silent
	for range 3 {
		must(w.ps[outsider].Output(t.Context(), []byte("x")))(t)
	}
}

// forging answers like the evaluator, but with the elements of another share: the answer
// itself is signed by nobody, the connection is the evaluator's.
func forging(t testing.TB, w *world, share *oprf.Share) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		b := must(share.Set().Blind([]byte("y")))(t)
		e := must(share.Evaluate(b.Request()))(t).Bytes()
		id := w.set.ID()
		copy(e[1:], id[:])
		rw.Write(e)
	}
}

func request(t testing.TB, w *world, inputs ...string) *clientapi.Evaluate {
	t.Helper()
	var in [][]byte
	for _, s := range inputs {
		in = append(in, []byte(s))
	}
	return &clientapi.Evaluate{Request: must(w.set.Blind(in...))(t).Request().Bytes()}
}

func wantProblem(t testing.TB, err error, code clientapi.Code, what string) {
	t.Helper()
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("%s: %v, want a problem %q", what, err, code)
	}
}

// TestDevice: a device finishes what its provider passes on.
func TestDevice(t *testing.T) {
	w := newWorld(t, evaluate.Limits{})
	b := must(w.set.Blind([]byte("handle:alice"), []byte("handle:bob")))(t)
	out := must(w.ps[outsider].Evaluate(t.Context(), alice(t), &clientapi.Evaluate{Request: b.Request().Bytes()}))(t)
	var vs []*oprf.Verified
	for _, x := range out.Evaluations {
		e := must(oprf.ParseEvaluation(x.Evaluation))(t)
		vs = append(vs, must(w.set.Verify(b.Request(), x.Number, e))(t))
	}
	got := must(b.Finish(vs...))(t)
	for i, in := range []string{"handle:alice", "handle:bob"} {
		if want := must(w.ps[outsider].Output(t.Context(), []byte(in)))(t); !slices.Equal(got[i].Bytes(), want.Bytes()) {
			t.Errorf("%s: another output", in)
		}
	}
}

// TestQuotas: inputs are counted, of a user at its provider, and of a provider at each
// evaluator, which then does not compute.
func TestQuotas(t *testing.T) {
	few := ration.Config{PerSecond: 0.1, Burst: 5}
	w := newWorld(t, evaluate.Limits{Users: few})
	p := w.ps[outsider]
	must(p.Evaluate(t.Context(), alice(t), request(t, w, "1", "2", "3")))(t)
	_, err := p.Evaluate(t.Context(), alice(t), request(t, w, "4", "5", "6"))
	wantProblem(t, err, clientapi.CodeTooMany, "six of five")
	must(p.Evaluate(t.Context(), alice(t), request(t, w, "4", "5")))(t)
	bob := alice(t)
	bob.User = must(uri.ParseUser("mimi://outsider.example/u/bob"))(t)
	must(p.Evaluate(t.Context(), bob, request(t, w, "1")))(t)
	w.now = w.now.Add(10 * time.Second)
	must(p.Evaluate(t.Context(), alice(t), request(t, w, "6")))(t)
	if err := second(p.Evaluate(t.Context(), alice(t), &clientapi.Evaluate{Request: []byte("x")})); err == nil {
		t.Error("garbage is evaluated")
	}

	w = newWorld(t, evaluate.Limits{Providers: few})
	for range 5 {
		if err := w.direct(outsider, "p1.example", must(w.set.Blind([]byte("x")))(t).Request()); err != nil {
			t.Fatal(err)
		}
	}
	err = w.direct(outsider, "p1.example", must(w.set.Blind([]byte("x")))(t).Request())
	if err == nil || !strings.Contains(err.Error(), string(clientapi.CodeTooMany)) {
		t.Errorf("six of five: %v", err)
	}
	if err := w.direct("p2.example", "p1.example", must(w.set.Blind([]byte("x")))(t).Request()); err != nil {
		t.Errorf("another provider: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// direct asks one evaluator.
func (w *world) direct(from, to string, r *oprf.Request) error {
	set := r.Set()
	_, err := w.ps[from].caller.Call(w.t.Context(), peering.Request{Target: to, Endpoint: evaluate.Endpoint, Subject: hex.EncodeToString(set[:]), Body: r.Bytes(),
		MaxResponse: oprf.MaxEvaluation})
	return err
}

// TestOtherKeySet: requests for another key set are refused with a code of their own, by the
// own provider and by evaluators; a provider that is none serves nothing.
func TestOtherKeySet(t *testing.T) {
	w, other := newWorld(t, evaluate.Limits{}), newWorld(t, evaluate.Limits{})
	_, err := w.ps[outsider].Evaluate(t.Context(), alice(t), request(t, other, "x"))
	wantProblem(t, err, clientapi.CodeKeySet, "a device's")
	err = w.direct(outsider, "p1.example", must(other.set.Blind([]byte("x")))(t).Request())
	if err == nil || !strings.Contains(err.Error(), string(clientapi.CodeKeySet)) {
		t.Errorf("a provider's: %v", err)
	}
	err = w.direct("p1.example", outsider, must(w.set.Blind([]byte("x")))(t).Request())
	if err == nil || !strings.Contains(err.Error(), string(peering.CodeEndpoint)) {
		t.Errorf("of no evaluator: %v", err)
	}
}

// TestConfig: a share that is not the domain's is refused.
func TestConfig(t *testing.T) {
	w := newWorld(t, evaluate.Limits{})
	for what, cfg := range map[string]evaluate.Config{
		"no set":            {Domain: outsider, Caller: w.ps[outsider].caller},
		"no caller":         {Domain: outsider, Set: w.set},
		"no evaluator":      {Domain: outsider, Set: w.set, Caller: w.ps[outsider].caller, Share: w.shares[0]},
		"another one's":     {Domain: "p2.example", Set: w.set, Caller: w.ps[outsider].caller, Share: w.shares[0]},
		"of another set":    {Domain: "p1.example", Set: w.set, Caller: w.ps[outsider].caller, Share: newWorld(t, evaluate.Limits{}).shares[0]},
		"domain of no form": {Domain: "P1", Set: w.set, Caller: w.ps[outsider].caller, Share: w.shares[0]},
	} {
		if _, err := evaluate.New(cfg); !errors.Is(err, evaluate.ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
