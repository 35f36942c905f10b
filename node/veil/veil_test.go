package veil_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/veil"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
)

// echo answers with the body thrice, and remembers who asked.
func echo(seen *atomic.Pointer[peering.Incoming], calls *atomic.Int64) peering.Route {
	return peering.Route{Endpoint: "echo", Idempotent: true, Unnamed: true, MaxBody: 20_000, Handler: func(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
		calls.Add(1)
		seen.Store(in)
		return &peering.Response{Body: bytes.Repeat(in.Body, 3)}, nil
	}}
}

// TestAskedWithoutName: a request and its answer, of several packets each, go over relays alone: no packet is
// from one end to the other, and the handler is told nobody's name.
func TestAskedWithoutName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		var seen atomic.Pointer[peering.Incoming]
		var calls atomic.Int64
		w.answerer().veil.Serve([]peering.Route{echo(&seen, &calls)})
		body := bytes.Repeat([]byte("0123456789"), 1000)
		resp, err := w.asker().veil.Call(context.Background(), ask("echo", body))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(resp.Body, bytes.Repeat(body, 3)) {
			t.Errorf("an answer of %d octets", len(resp.Body))
		}
		in := seen.Load()
		if calls.Load() != 1 || in.Source != "" || in.Peer != "" || in.Endpoint != "echo" || in.Subject != "subject" || !bytes.Equal(in.Body, body) {
			t.Errorf("%d calls; source %q, peer %q, endpoint %q, subject %q", calls.Load(), in.Source, in.Peer, in.Endpoint, in.Subject)
		}
		time.Sleep(time.Minute) // all acknowledgements are back
		if a, b := w.packets(w.asker(), w.answerer()), w.packets(w.answerer(), w.asker()); a+b != 0 || w.packets(w.asker(), nil) == 0 || w.packets(w.answerer(), nil) == 0 {
			t.Errorf("%d packets from one end to the other, %d back", a, b)
		}
		if a, s := w.asker().veil.Counts(), w.answerer().veil.Counts(); a != (veil.Counts{Asked: 1, Answered: 1}) || s != (veil.Counts{Served: 1}) {
			t.Errorf("counted %+v and %+v", a, s)
		}
	})
}

// TestAskedAgain: where answers are lost, the request goes again, with other reply blocks; where all are, that is
// said, and in time.
func TestAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		var seen atomic.Pointer[peering.Incoming]
		var calls atomic.Int64
		w.answerer().veil.Serve([]peering.Route{echo(&seen, &calls)})
		from := w.answerer().peer
		lost := 0
		w.losing(func(a, _ overlay.PeerID, n int) bool {
			if a == from && lost < 2 { // the answer and the acknowledgement, whichever comes first
				lost++
				return true
			}
			return false
		})
		resp, err := w.asker().veil.Call(context.Background(), ask("echo", []byte("x")))
		if err != nil || string(resp.Body) != "xxx" || calls.Load() != 2 {
			t.Errorf("%v, after %d calls", err, calls.Load())
		}
		w.losing(func(a, _ overlay.PeerID, _ int) bool { return a == from })
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		before := time.Now()
		_, err = w.asker().veil.Call(ctx, ask("echo", []byte("x")))
		if !errors.Is(err, peering.ErrUnreachable) || errors.Is(err, peering.ErrNotSent) {
			t.Errorf("nothing comes back: %v", err)
		}
		t.Logf("given up after %v", time.Since(before))
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		before = time.Now()
		if _, err = w.asker().veil.Call(short, ask("echo", []byte("x"))); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != time.Second {
			t.Errorf("%v after %v", err, time.Since(before))
		}
	})
}

// TestNeverAnotherWay: what cannot be asked over relays is not asked at all.
func TestNeverAnotherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		private := func(what string, err error) {
			t.Helper()
			if p, ok := errors.AsType[*clientapi.Problem](err); !ok || p.Code != clientapi.CodePrivacy {
				t.Errorf("%s: %v", what, err)
			}
		}
		q := ask("echo", nil)
		q.Target = "elsewhere.example"
		_, err := w.asker().veil.Call(w.ctx, q)
		private("a provider that takes no part", err)
		if err := w.asker().sender.Use(w.ctx, nil); err != nil {
			t.Fatal(err)
		}
		_, err = w.asker().veil.Call(w.ctx, ask("echo", nil))
		private("no list", err)
		if n := w.packets(nil, nil); n != 0 {
			t.Errorf("%d packets were sent", n)
		}
		off := must[*veil.Service](t)(veil.New(veil.Config{}))
		if r := off.PrivacyTo("p4.example"); r.Onion || r.Why == "" {
			t.Errorf("off: %+v", r)
		}
		if r := w.asker().veil.PrivacyTo("p4.example"); !r.Onion || r.Why != "" {
			t.Errorf("to one that takes part: %+v", r)
		}
		if r := w.asker().veil.PrivacyTo("elsewhere.example"); r.Onion || r.AnonymitySet != 0 || r.Why == "" {
			t.Errorf("to one that does not: %+v", r)
		}
		_, err = off.Call(w.ctx, ask("echo", nil))
		private("off", err)
		private("off", off.Check(&clientapi.Privacy{Over: veil.Over}))

		s := w.asker().veil
		if err := s.Check(&clientapi.Privacy{Over: veil.Over, Floor: 5}); err != nil {
			t.Error(err)
		}
		private("a floor", s.Check(&clientapi.Privacy{Over: veil.Over, Floor: 5.5}))
		if p, ok := errors.AsType[*clientapi.Problem](s.Check(&clientapi.Privacy{Over: "pigeon"})); !ok || p.Code != clientapi.CodeInvalid {
			t.Error("a way that there is not")
		}
	})
}

// TestOnlyUnnamed: only what takes requests of nobody in particular can be asked, and is refused as by name.
func TestOnlyUnnamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		var calls atomic.Int64
		named := func(context.Context, *peering.Incoming) (*peering.Response, error) {
			calls.Add(1)
			return &peering.Response{}, nil
		}
		w.answerer().veil.Serve([]peering.Route{
			{Endpoint: "named", Idempotent: true, Handler: named},
			{Endpoint: "once", Unnamed: true, Handler: named},
			{Endpoint: "refuses", Idempotent: true, Unnamed: true, MaxBody: 10, Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
				return nil, &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Detail: strings.Repeat("wait ", 500), Retry: 7}
			}},
			{Endpoint: "fails", Idempotent: true, Unnamed: true, Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
				return nil, errors.New("a secret")
			}},
			{Endpoint: "long", Idempotent: true, Unnamed: true, Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
				return &peering.Response{Body: make([]byte, 100_000)}, nil
			}},
		})
		for _, c := range []struct {
			endpoint string
			body     int
			status   int
			code     clientapi.Code
		}{
			{"named", 0, 404, peering.CodeEndpoint}, {"once", 0, 404, peering.CodeEndpoint}, {"none", 0, 404, peering.CodeEndpoint},
			{"refuses", 0, 429, clientapi.CodeTooMany}, {"refuses", 11, 413, clientapi.CodeTooLarge},
			{"fails", 0, 500, clientapi.CodeInternal}, {"long", 0, 413, clientapi.CodeTooLarge},
		} {
			_, err := w.asker().veil.Call(context.Background(), ask(c.endpoint, make([]byte, c.body)))
			r, ok := errors.AsType[*peering.Refused](err)
			if !ok || r.Problem.Status != c.status || r.Problem.Code != c.code || strings.Contains(err.Error(), "secret") || c.code == clientapi.CodeTooMany && r.Problem.Retry != 7 {
				t.Errorf("%s with %d octets: %v", c.endpoint, c.body, err)
			}
		}
		if calls.Load() != 0 {
			t.Errorf("%d calls of handlers for who is named", calls.Load())
		}
	})
}

// TestShed: above what may wait, a request is refused, and that is all that happens; those that wait are
// answered.
func TestShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		open := make(chan struct{})
		w.answerer().veil.Serve([]peering.Route{{Endpoint: "slow", Idempotent: true, Unnamed: true, Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
			<-open
			return &peering.Response{Body: []byte("at last")}, nil
		}}})
		const all, fit = 80, 8 + 64 // workers, and what waits
		results := make(chan error, all)
		for range all {
			go func() {
				_, err := w.asker().veil.Call(context.Background(), ask("slow", nil))
				results <- err
			}()
		}
		for range all - fit {
			if r, ok := errors.AsType[*peering.Refused](<-results); !ok || r.Problem.Status != 429 {
				t.Errorf("not refused as too many: %v", r)
			}
		}
		close(open)
		for range fit {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestMalformedRequests: what is no request is dropped, whatever it is.
func TestMalformedRequests(t *testing.T) {
	s := must[*veil.Service](t)(veil.New(veil.Config{Net: &node{}, Format: format, Margin: margin}))
	for _, b := range [][]byte{nil, {1}, {2, 1, 'a', 1, 'b', 0, 1}, {1, 1, 'a', 1, 'b', 0, 0}, {1, 1, 'a', 1, 'b', 0, 17}, append([]byte{1, 1, 'a', 1, 'b', 0, 1}, make([]byte, format.SURBSize())...)} {
		if _, err := s.Consume(context.Background(), mix.Message{To: onion.Mailbox{}, Data: b}); err != nil {
			t.Errorf("%x: it would come again: %v", b[:min(len(b), 8)], err)
		}
	}
	if c := s.Counts(); c != (veil.Counts{}) {
		t.Errorf("%+v", c)
	}
}
