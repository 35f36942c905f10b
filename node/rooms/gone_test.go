package rooms_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/room"
)

// TestToldOfTheGone: a provider comes to a room in which somebody takes part whose
// provider nobody finds any more. It is told of that one's key by who it reads the log
// from, and follows. What cannot be found for another reason, or is told wrongly, it waits
// for; who takes no part is told nothing.
func TestToldOfTheGone(t *testing.T) {
	for why, c := range map[string]struct {
		find    error // of looking the gone provider up
		told    string
		follows bool
		asked   bool
	}{
		"nobody finds it":                   {overlay.ErrUnknownProvider, "record of dallas.example", true, true},
		"its record has expired":            {overlay.ErrExpired, "record of dallas.example", true, true},
		"another key claims it":             {overlay.ErrConflict, "record of dallas.example", false, false},
		"nobody can be asked now":           {overlay.ErrNoPeers, "record of dallas.example", false, false},
		"the other one does not know it":    {overlay.ErrUnknownProvider, "", false, true},
		"the other one shows another's":     {overlay.ErrUnknownProvider, "record of elgin.example", false, true},
		"the other one does not answer so ": {overlay.ErrUnknownProvider, "refused", false, true},
	} {
		t.Run(why, func(t *testing.T) {
			w := prepareWorld(t, false, "atlanta.example", "biloxi.example", "chicago.example", "dallas.example")
			w.lazy = true
			w.start()
			a, newcomer := w.ps["atlanta.example"], w.ps["chicago.example"]
			newcomer.set(func() { newcomer.gone = map[string]error{"dallas.example": c.find} })
			a.set(func() {
				a.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
					res, err := next(ctx, q)
					if endpoint != rooms.EndpointRecord || q.Source != "chicago.example" {
						return res, err
					}
					if err != nil {
						return nil, err // at the end this one may be closed before who asks
					}
					if string(res.Body) != "record of dallas.example" {
						t.Errorf("%q", res.Body)
					}
					if c.told == "refused" {
						return nil, errors.New("no")
					}
					return &rooms.Response{Status: 200, Body: []byte(c.told)}, nil
				}
			})
			alice, bob, dan := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("dan@dallas.example", "phone")
			id, _, err := alice.create("room")
			if err != nil {
				t.Fatal(err)
			}
			if err := alice.add(id, bob, dan); err != nil {
				t.Fatal(err)
			}
			alice.follow(id, 2)
			carol := w.device("carol@chicago.example", "phone")
			if err := alice.add(id, carol); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has tried", func() bool {
				newcomer.mu.Lock()
				defer newcomer.mu.Unlock()
				return newcomer.missed > 0 && (!c.asked || newcomer.asks[rooms.EndpointRecord] > 0)
			})
			if c.follows {
				eventually(t, "it follows", func() bool { return newcomer.stand(id).Next == 3 })
			} else if s := newcomer.rooms.List(); len(s) > 0 {
				t.Errorf("it follows: %+v", s)
			}
			newcomer.mu.Lock()
			defer newcomer.mu.Unlock()
			if got := newcomer.asks[rooms.EndpointRecord] > 0; got != c.asked {
				t.Errorf("asked for the record: %t", got)
			}
			if newcomer.told["dallas.example"] != c.follows {
				t.Errorf("told: %v", newcomer.told)
			}
		})
	}
}

// TestRecordsAreForParticipants: who takes no part in the room is not told of others'
// records, nor is anybody who asks for nonsense.
func TestRecordsAreForParticipants(t *testing.T) {
	w, _, _, id := pair(t, func(w *world) { w.lazy = true })
	p, name := w.ps["atlanta.example"], room.ID(id).String()
	for _, c := range []struct {
		why, source, subject, body, want string
	}{
		{"who takes part", "biloxi.example", name, string(id[:]) + "biloxi.example", "200 record of biloxi.example"},
		{"of a provider never met", "biloxi.example", name, string(id[:]) + "elgin.example", "200 "},
		{"a stranger", "chicago.example", name, string(id[:]) + "biloxi.example", "404 "},
		{"no such room", "biloxi.example", strings.Repeat("0", 64), strings.Repeat("\x00", 32) + "biloxi.example", "404 "},
		{"two rooms", "biloxi.example", strings.Repeat("0", 64), string(id[:]) + "biloxi.example", "422 "},
		{"no domain", "biloxi.example", name, string(id[:]), "422 "},
		{"a short body", "biloxi.example", name, "biloxi.example", "422 "},
		{"no name", "biloxi.example", name, string(id[:]) + "bil oxi", "422 "},
	} {
		res, err := p.serve(t.Context(), rooms.EndpointRecord, &rooms.Request{Source: c.source, Subject: c.subject, Body: []byte(c.body)})
		got := status(err)
		if err == nil {
			got = "200 " + string(res.Body)
		}
		if !strings.HasPrefix(got, c.want) || c.want == "200 " && got != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
}
