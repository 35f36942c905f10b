package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// askedRooms is a recruiting whose providers answer as they are told to.
type askedRooms struct {
	vacancy rooms.Vacancy
	answers map[string]*replica.RecruitAnswer // nil: no answer
	asked   []string
}

func (a *askedRooms) Vacancy(context.Context, account.Identity, store.RoomID) (*rooms.Vacancy, error) {
	v := a.vacancy
	return &v, nil
}

func (a *askedRooms) AskRecruit(_ context.Context, domain string, _ store.RoomID) (*replica.RecruitAnswer, error) {
	a.asked = append(a.asked, domain)
	if x := a.answers[domain]; x != nil {
		return x, nil
	}
	return nil, errors.New("no answer")
}

func recordOf(domain string) *overlay.Record {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, domain)
	return &overlay.Record{Domain: domain, ProviderKey: ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey), ReplicaWilling: true}
}

func promiseOf(domain string) *replica.RecruitAnswer {
	return &replica.RecruitAnswer{Willing: true, Until: time.UnixMilli(1_900_000_000_000), FrankingKey: make([]byte, 32), ProviderKey: [32]byte(recordOf(domain).ProviderKey)}
}

// recruiter is a recruits over fakes, and a clock.
func recruiter(domains ...string) (r *recruits, a *askedRooms, silent map[string]time.Duration, searches *int) {
	a = &askedRooms{vacancy: rooms.Vacancy{Taken: []string{"atlanta.example", "biloxi.example"}}, answers: map[string]*replica.RecruitAnswer{}}
	var list []*overlay.Record
	for _, d := range domains {
		list = append(list, recordOf(d))
		a.answers[d] = promiseOf(d)
	}
	silent, searches = map[string]time.Duration{}, new(int)
	now := time.UnixMilli(1_800_000_000_000)
	r = &recruits{domain: "atlanta.example", rooms: a, patience: time.Hour, silence: func(d string) time.Duration { return silent[d] },
		find: func(context.Context) []*overlay.Record { *searches++; return slices.Clone(list) },
		rate: ration.New(ration.Config{PerSecond: 0.1, Burst: 1000}), now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler)}
	return r, a, silent, searches
}

var anAdmin = account.Identity{User: func() uri.User { u, _ := uri.ParseShort("alice@atlanta.example"); return u }()}

func many(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("p%02d.example", i))
	}
	return out
}

// TestRecruitsSpread: each room asks them in its own order, the same each time, and many
// rooms spread over all.
func TestRecruitsSpread(t *testing.T) {
	r, _, _, searches := recruiter(many(10)...)
	count := map[string]int{}
	for i := range 500 {
		id := store.RoomID{byte(i), byte(i >> 8)}
		var first string
		for range 2 {
			got, err := r.Recruit(context.Background(), anAdmin, id)
			if err != nil || first != "" && got.Provider != first {
				t.Fatalf("%+v after %s, %v", got, first, err)
			}
			first = got.Provider
			r.rate.Return(anAdmin.User.String(), 1)
		}
		count[first]++
	}
	for _, d := range many(10) {
		if n := count[d]; n < 25 || n > 90 {
			t.Errorf("%s has %d of 500 rooms", d, n)
		}
	}
	if *searches != 1 {
		t.Errorf("%d searches within a minute", *searches)
	}
}

// TestRecruitsLookAnew: when none of those who are known takes a room, who has offered it since is found
// in seconds, and not only when what is known is a minute old.
func TestRecruitsLookAnew(t *testing.T) {
	r, a, _, searches := recruiter("chicago.example")
	now := r.now()
	r.now = func() time.Time { return now }
	a.answers = map[string]*replica.RecruitAnswer{} // it is dead
	recruit := func() error {
		_, err := r.Recruit(context.Background(), anAdmin, store.RoomID{1})
		return err
	}
	if err := recruit(); err == nil {
		t.Fatal("the dead one keeps the room")
	}
	now = now.Add(recruitAnew - time.Second)
	if err := recruit(); err == nil || *searches != 1 {
		t.Errorf("%d searches, %v", *searches, err)
	}
	r.find = func(context.Context) []*overlay.Record {
		*searches++
		return []*overlay.Record{recordOf("dover.example")}
	}
	a.answers["dover.example"] = promiseOf("dover.example")
	now = now.Add(recruitAnew)
	if err := recruit(); err != nil || *searches != 2 {
		t.Errorf("%d searches, %v", *searches, err)
	}
}

// TestRecruitsAsk: who is asked, and what comes of it.
func TestRecruitsAsk(t *testing.T) {
	no := func(why string) *replica.RecruitAnswer { return &replica.RecruitAnswer{Why: why} }
	for name, c := range map[string]struct {
		domains []string
		set     func(a *askedRooms, silent map[string]time.Duration)
		want    string // the provider; with "error:" before it, what the error says
		present bool
		asked   int
	}{
		"nobody is willing":        {nil, nil, "error:nobody in the network offers", false, 0},
		"one is":                   {many(1), nil, "p00.example", false, 1},
		"only those who take part": {[]string{"biloxi.example", "atlanta.example"}, nil, "error:nobody", false, 0},
		"one refuses":              {many(2), func(a *askedRooms, _ map[string]time.Duration) { a.answers["p00.example"] = no("full") }, "p01.example", false, -1},
		"all refuse or are away": {many(2), func(a *askedRooms, _ map[string]time.Duration) {
			a.answers["p00.example"], a.answers["p01.example"] = no("it is full"), nil
		}, "error:it is full", false, 2},
		"no more than eight are asked": {many(20), func(a *askedRooms, _ map[string]time.Duration) { clear(a.answers) }, "error:20 offer", false, 8},
		"another key than is known": {many(1), func(a *askedRooms, _ map[string]time.Duration) { a.answers["p00.example"] = promiseOf("p01.example") },
			"error:another key", false, 1},
		"another suite's franking key": {many(1), func(a *askedRooms, _ map[string]time.Duration) {
			a.answers["p00.example"].FrankingKey = make([]byte, 65)
		},
			"error:does not answer", false, 1},
		"the present one stays": {many(3), func(a *askedRooms, _ map[string]time.Duration) {
			a.vacancy.Present, a.vacancy.Taken = "p02.example", append(a.vacancy.Taken, "p02.example")
		}, "p02.example", true, 1},
		"the present one is silent for a while": {many(3), func(a *askedRooms, silent map[string]time.Duration) {
			a.vacancy.Present, a.answers["p02.example"], silent["p02.example"] = "p02.example", nil, 59*time.Minute
		}, "p02.example", true, 1},
		"the present one is silent for long": {many(1), func(a *askedRooms, silent map[string]time.Duration) {
			a.vacancy.Present, silent["gone.example"] = "gone.example", time.Hour
		}, "p00.example", false, 2},
		"the present one is silent, and there is no other": {nil, func(a *askedRooms, silent map[string]time.Duration) {
			a.vacancy.Present, silent["gone.example"] = "gone.example", time.Hour
		}, "gone.example", true, 1},
		"the present one keeps it no longer": {many(1), func(a *askedRooms, _ map[string]time.Duration) {
			a.vacancy.Present, a.answers["gone.example"] = "gone.example", no("enough")
		}, "p00.example", false, 2},
		"the present one keeps it no longer, and there is no other": {nil, func(a *askedRooms, _ map[string]time.Duration) {
			a.vacancy.Present, a.answers["gone.example"] = "gone.example", no("enough")
		}, "", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, a, silent, _ := recruiter(c.domains...)
			if c.set != nil {
				c.set(a, silent)
			}
			got, err := r.Recruit(context.Background(), anAdmin, store.RoomID{1})
			if says, bad := strings.CutPrefix(c.want, "error:"); bad {
				var p *clientapi.Problem
				if !errors.As(err, &p) || p.Code != clientapi.CodeNotFound || !strings.Contains(p.Detail, says) {
					t.Errorf("%+v, %v", got, err)
				}
			} else if err != nil || got.Provider != c.want || got.Present != c.present {
				t.Errorf("%+v, %v", got, err)
			}
			if c.asked >= 0 && len(a.asked) != c.asked {
				t.Errorf("%v were asked", a.asked)
			}
		})
	}
}

// TestRecruitsRate: a search costs others something, so a user has a budget of them.
func TestRecruitsRate(t *testing.T) {
	r, _, _, _ := recruiter(many(1)...)
	r.rate = ration.New(ration.Config{PerSecond: 0.1, Burst: 2})
	var last error
	for range 3 {
		_, last = r.Recruit(context.Background(), anAdmin, store.RoomID{1})
	}
	var p *clientapi.Problem
	if !errors.As(last, &p) || p.Code != clientapi.CodeTooMany || p.Retry < 1000 {
		t.Error(last)
	}
}
