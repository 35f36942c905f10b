package contact_test

import (
	"bytes"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/wire"
)

// stopwatch times what a provider takes to answer.
type stopwatch struct {
	http.RoundTripper
	took time.Duration
}

func (s *stopwatch) RoundTrip(r *http.Request) (*http.Response, error) {
	begin := time.Now()
	defer func() { s.took = time.Since(begin) }()
	return s.RoundTripper.RoundTrip(r)
}

// TestRefusalsTakeTheSameTime: a stranger who asks for KeyPackages 10,000 times cannot tell by the
// answers' octets, and not by how long they take, whether the user is unknown, deleted, has none
// left, has not been asked, was asked, has refused, lets nobody ask, or makes exceptions. The calls for the different users take turns, so that
// whatever else this machine does falls on all of them alike; compared is the first
// quartile, which is quiet when the machine is not. Three percent are some 5 us.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	if testing.Short() {
		t.Skip("60,000 calls take half a minute, and the race detector makes their times meaningless")
	}
	w := newWorld(t, atlanta, biloxi)
	alice := w.user("alice@atlanta.example")
	never, asked, revoked := w.user("never@biloxi.example"), w.user("asked@biloxi.example"), w.user("revok@biloxi.example")
	empty, gone := w.user("empty@biloxi.example"), w.user("goner@biloxi.example")
	closed, except := w.user("closd@biloxi.example"), w.user("excpt@biloxi.example")
	closed.set("closed")
	except.set("open", atlanta, "quarantine", string(alice.uri()), "ask")
	alice.mustSay(wire.ConsentRequest, asked.uri(), "")
	revoked.mustSay(wire.ConsentGrant, alice.uri(), "")
	revoked.mustSay(wire.ConsentRevoke, alice.uri(), "")
	w.ps[biloxi].mu.Lock()
	w.ps[biloxi].users[empty.who.User.String()] = nil
	delete(w.ps[biloxi].users, gone.who.User.String())
	w.ps[biloxi].mu.Unlock()
	classes := []struct {
		name string
		user wire.IdentifierURI
	}{{"unknown", "mimi://biloxi.example/u/nobdy"}, {"never asked", never.uri()}, {"asked", asked.uri()}, {"revoked", revoked.uri()},
		{"closed", closed.uri()}, {"exceptions", except.uri()},
		{"exhausted", empty.uri()}, {"deleted", gone.uri()}}
	bodies := make([][]byte, len(classes))
	for i, c := range classes {
		bodies[i] = alice.request(c.user, "", nil)
	}
	watch := &stopwatch{RoundTripper: w}
	caller := &peering.Caller{Domain: atlanta, Key: w.ps[atlanta].caller.Key, Client: &http.Client{Transport: watch}, Now: w.clock}
	measure := func(calls int) [][]time.Duration {
		took := make([][]time.Duration, len(classes))
		var shape []byte
		for n := range calls {
			w.pass(time.Second / 4) // for the rations
			for k := range classes {
				i := (k + n) % len(classes) // who comes after whom changes
				resp, err := caller.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "keyMaterial", Subject: string(classes[i].user), Body: bodies[i]})
				if err != nil {
					t.Fatal(err)
				}
				took[i] = append(took[i], watch.took)
				got := bytes.Replace(resp.Body, []byte(classes[i].user), []byte("x"), 1)
				if shape == nil {
					shape = got
				}
				if !bytes.Equal(got, shape) {
					t.Fatalf("%s is answered %x, and others %x", classes[i].name, got, shape)
				}
			}
		}
		for _, v := range took {
			slices.Sort(v)
		}
		return took
	}
	const calls = 10_000
	// What differs by chance once does not differ three times.
	for try := 1; ; try++ {
		took := measure(calls)
		worst, of := 0.0, ""
		for i := range classes {
			a, b := float64(took[0][calls/4]), float64(took[i][calls/4])
			if d := math.Abs(a-b) / a; d > worst {
				worst, of = d, classes[i].name
			}
		}
		t.Logf("at most %.1f %% apart (%s; the first quartile of unknown: %s)", 100*worst, of, took[0][calls/4])
		if worst < 0.03 {
			return
		}
		if try == 3 {
			t.Fatalf("three times: %s takes %.1f %% longer or shorter than unknown", of, 100*worst)
		}
	}
}
