package client_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ohttp"
)

// fakeGateway is that of every provider, and every provider is a relay to it.
type fakeGateway struct {
	key ohttp.PrivateKey
	// sign signs what a relay gives out; nil for what the domain's provider signs now.
	sign func(domain string) *ohttp.Signed
	// spoil changes an answer.
	spoil   func(a *ohttp.Answer)
	through []string // the gateways asked, in order
	anew    int
}

func (f *fake) oblivious(mux *http.ServeMux) {
	k, err := ohttp.GenerateKey(1)
	if err != nil {
		f.t.Fatal(err)
	}
	f.gateway = &fakeGateway{key: k}
	mux.HandleFunc("POST /v1/oblivious/keys", f.wrap("POST /v1/oblivious/keys", func(r *http.Request, _ *fakeUser) (any, error) {
		q, err := body[clientapi.ObliviousKeys](r)
		if err != nil {
			return nil, err
		}
		if q.Anew {
			f.gateway.anew++
		}
		s := ohttp.Sign([]ed25519.PrivateKey{f.keys[q.Gateway]}, q.Gateway, time.Now().Add(time.Hour), f.gateway.key.Public())
		if f.gateway.sign != nil {
			s = f.gateway.sign(q.Gateway)
		}
		return &clientapi.GatewayKeys{Signed: s.Append(nil)}, nil
	}))
	mux.HandleFunc("POST /v1/oblivious", f.wrap("POST /v1/oblivious", func(r *http.Request, _ *fakeUser) (any, error) {
		q, err := body[clientapi.ObliviousRequest](r)
		if err != nil {
			return nil, err
		}
		f.gateway.through = append(f.gateway.through, q.Gateway)
		raw, heard, err := ohttp.Open(q.Sealed, f.gateway.key)
		if err != nil {
			return nil, refused(409, clientapi.CodeKeySet, "%v", err)
		}
		in, err := ohttp.ParseRequest(raw)
		if err != nil {
			return nil, refused(400, clientapi.CodeInvalid, "%v", err)
		}
		a := f.gateway.answer(f, in)
		if f.gateway.spoil != nil {
			f.gateway.spoil(a)
		}
		back, err := heard.Seal(a.Bytes())
		return &clientapi.ObliviousAnswer{Sealed: back}, err
	}))
}

func (g *fakeGateway) answer(f *fake, q *ohttp.Request) *ohttp.Answer {
	l, err := asset.ParseURL("https://" + q.Authority + q.Path)
	a := f.assets.all[l.Hash.String()]
	if err != nil || a == nil || a.domain != l.Domain || !strings.HasPrefix(q.Get("mimi-room"), "mimi://") {
		return &ohttp.Answer{Status: 404, Content: []byte(`{"status":404,"code":"not_found","detail":"no such asset"}`)}
	}
	rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	// It may give less than is asked for.
	var from, to int64
	if _, err := fmt.Sscanf(q.Get("range"), "bytes=%d-%d", &from, &to); err != nil || to-from+1 != ohttp.MaxContent {
		f.t.Errorf("asked for the range %q", q.Get("range"))
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+400_000-1))
	http.ServeContent(rec, req, "", time.Time{}, bytes.NewReader(a.data))
	return &ohttp.Answer{Status: rec.Code, Content: rec.Body.Bytes(), Fields: []ohttp.Field{{Name: "content-range", Value: rec.Header().Get("Content-Range")}}}
}

// TestFetchObliviously_5_10: only what the room's hub has signed is encrypted to, so that the
// own provider cannot put itself in its place; and whatever the gateway answers, only the file
// that the sender encrypted is written.
func TestFetchObliviously_5_10(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	for _, p := range []*person{alice, bob} {
		p.spool = newSpool(t)
		p.restart()
	}
	u := alice.create("clubhouse")
	alice.add(u, bob)
	text := strings.Repeat("0123456789", 100_000) // three pieces
	if _, err := alice.attach(u, "text/plain", text); err != nil {
		t.Fatal(err)
	}
	if got, err := bob.fetchLast(u, 1); err != nil || got != text {
		t.Fatalf("openly: %d octets, %v", len(got), err)
	}
	g := f.gateway
	fetch := func(p *person) (string, error) {
		var b bytes.Buffer
		_, err := p.c.FetchAttachment(ctx10(t), client.Fetch{Room: u, Index: 0, Oblivious: true}, &b)
		return b.String(), err
	}
	set := func(change func()) {
		f.mu.Lock()
		defer f.mu.Unlock()
		g.sign, g.spoil, g.through = nil, nil, nil
		change()
	}
	if got, err := fetch(bob); err != nil || got != text {
		t.Fatalf("%d octets, %v", len(got), err)
	}
	if f.mu.Lock(); fmt.Sprint(g.through) != "[atlanta.example atlanta.example atlanta.example]" {
		t.Errorf("asked through %q", g.through)
	}
	f.mu.Unlock()

	mine, _ := ohttp.GenerateKey(1)
	_, stranger, _ := ed25519.GenerateKey(nil)
	by := func(k ed25519.PrivateKey, domain string, until time.Duration) func(string) *ohttp.Signed {
		return func(string) *ohttp.Signed {
			return ohttp.Sign([]ed25519.PrivateKey{k}, domain, time.Now().Add(until), mine.Public())
		}
	}
	for name, sign := range map[string]func(string) *ohttp.Signed{
		"the own provider's": by(f.keys["biloxi.example"], "atlanta.example", time.Hour),
		"a stranger's":       by(stranger, "atlanta.example", time.Hour),
		"another domain's":   by(f.keys["atlanta.example"], "chicago.example", time.Hour),
		"old ones":           by(f.keys["atlanta.example"], "atlanta.example", -time.Second),
	} {
		set(func() { g.sign = sign })
		if got, err := fetch(bob); !errors.Is(err, ohttp.ErrSignature) || got != "" {
			t.Errorf("keys, %s: %q, %v", name, got, err)
		}
		if f.mu.Lock(); len(g.through) > 0 {
			t.Errorf("keys, %s: something was asked", name)
		}
		f.mu.Unlock()
	}

	for _, c := range []struct {
		name  string
		spoil func(a *ohttp.Answer)
		err   error
	}{
		{"another range", func(a *ohttp.Answer) { a.Fields[0].Value = "bytes 1-10/20" }, client.ErrProtocol},
		{"no range", func(a *ohttp.Answer) { a.Fields = nil }, client.ErrProtocol},
		{"fewer octets", func(a *ohttp.Answer) { a.Content = a.Content[1:] }, client.ErrProtocol},
		{"nothing", func(a *ohttp.Answer) { a.Content = nil }, client.ErrProtocol},
		{"an end before what is there", func(a *ohttp.Answer) {
			a.Fields[0].Value = fmt.Sprintf("bytes 0-%d/%d", len(a.Content)-1, len(a.Content)-1)
		}, client.ErrProtocol},
		{"another size", func(a *ohttp.Answer) {
			a.Fields[0].Value = fmt.Sprintf("bytes 0-%d/%d", len(a.Content)-1, 1<<30)
		}, asset.ErrDamaged},
		{"other octets", func(a *ohttp.Answer) { a.Content[7] ^= 1 }, asset.ErrDamaged},
		{"a status of no use", func(a *ohttp.Answer) { a.Status = 204 }, client.ErrProtocol},
	} {
		set(func() { g.spoil = c.spoil })
		ctx := ctx10(t)
		var b bytes.Buffer
		_, err := bob.c.FetchAttachment(ctx, client.Fetch{Room: u, Index: 0, Oblivious: true}, &b)
		if !errors.Is(err, c.err) || b.Len() > 0 {
			t.Errorf("%s: %d octets, %v, want %v", c.name, b.Len(), err, c.err)
		}
	}
	set(func() {
		g.spoil = func(a *ohttp.Answer) {
			a.Status, a.Content = 403, []byte(`{"code":"forbidden","detail":"not from there"}`)
		}
	})
	if _, err := fetch(bob); !isProblem(err, clientapi.CodeForbidden) {
		t.Errorf("a refusal: %v", err)
	}

	// Other keys meanwhile: they are asked for anew, once.
	set(func() {
		was := g.key.Public()
		g.key, _ = ohttp.GenerateKey(2)
		g.anew = 0
		g.sign = func(domain string) *ohttp.Signed {
			k := was
			if g.anew > 0 {
				k = g.key.Public()
			}
			return ohttp.Sign([]ed25519.PrivateKey{f.keys[domain]}, domain, time.Now().Add(time.Hour), k)
		}
	})
	if got, err := fetch(bob); err != nil || got != text || g.anew != 1 {
		t.Errorf("other keys: %d octets, %v, asked anew %d times", len(got), err, g.anew)
	}
	set(func() {})
	if _, err := fetch(alice); !errors.Is(err, client.ErrRefused) || !strings.Contains(fmt.Sprint(err), "atlanta.example is your provider and orders the room") {
		t.Errorf("by the hub's own user: %v", err)
	}
}

func isProblem(err error, code clientapi.Code) bool {
	p, ok := errors.AsType[*clientapi.Problem](err)
	return ok && p.Code == code
}
