package exhaustion

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/simulations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func result(t *testing.T, s simulations.Simulation, runs int, set string) *simulations.Result {
	t.Helper()
	sc, err := simulations.Parse(fmt.Appendf(nil, "simulation = \"exhaustion\"\nruns = %d\n[parameters]\n%s", runs, set), "x", []simulations.Simulation{s})
	if err != nil {
		t.Fatal(err)
	}
	r := sc.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

// What contacts get who come while fifty accounts, all with consent, claim what they can: with shares one
// provider's accounts leave nearly everybody one that is used once, and fifty providers' do not; without shares one
// account is enough. And everybody gets at least the last resort.
func TestFresh(t *testing.T) {
	for _, c := range []struct {
		providers, accounts int
		rate                float64
		shares              bool
		least, most         float64
	}{
		{0, 50, 0.4, true, 1, 1},
		{1, 50, 0.4, true, 1, 1},
		{50, 50, 0.4, true, 0, .5},
		{1, 1, 10, false, 0, .5},
	} {
		if testing.Short() && c.providers != 1 {
			continue
		}
		r := result(t, Simulation(), 2, fmt.Sprintf("providers = %d\naccounts = %d\nrate = %g\nshares = %t\nlasts = \"1h\"\nwants = 20.0\n", c.providers, c.accounts, c.rate, c.shares))
		for _, v := range r.Violations() {
			t.Errorf("%+v: %s", c, v)
		}
		seen := 0
		for _, g := range r.Groups() {
			switch g.Metric {
			case "fresh":
				seen++
				if g.Min < c.least || g.Max > c.most {
					t.Errorf("%+v: %.2f to %.2f of the contacts got one that is used once", c, g.Min, g.Max)
				}
			case "served":
				seen++
				if g.Min != 1 {
					t.Errorf("%+v: %.2f of the contacts got anything", c, g.Min)
				}
			}
		}
		if seen != 2 {
			t.Errorf("%+v: %d of two metrics were observed", c, seen)
		}
	}
}

// broken is a pool with a mistake.
type broken struct {
	*account.Registry
	how   string
	calls int
	kept  *account.Claimed
}

func (b *broken) Claim(ctx context.Context, q account.Claim) (*account.Claimed, error) {
	b.calls++
	switch b.how {
	case "twice": // somebody gets what somebody else has got
		if b.kept != nil && b.calls%20 == 0 {
			return b.kept, nil
		}
	case "repeat": // a claim does not know itself again
		q.Room = fmt.Sprint(q.Room, b.calls)
	case "nobody's account": // no share for accounts
		q.Requester = fmt.Sprintf("mimi://%s/u/x%d", q.Provider, b.calls)
	case "nobody's provider":
		q.Provider = fmt.Sprintf("x%d.example", b.calls)
	case "nothing":
		if b.calls%20 == 0 {
			return &account.Claimed{}, nil
		}
	}
	got, err := b.Registry.Claim(ctx, q)
	if err == nil && b.kept == nil {
		b.kept = got
	}
	return got, err
}

// Each mistake of a pool is found by the checks that every run carries.
func TestPlanted(t *testing.T) {
	for _, c := range []struct{ how, want string }{
		{"twice", "were handed out to two claims"},
		{"repeat", "repeated claims got another"},
		{"nobody's account", "one account got more"},
		{"nobody's provider", "one provider got more"},
		{"nothing", "with consent got nothing"},
	} {
		if testing.Short() && c.how != "twice" {
			continue
		}
		// The parameters in which it shows: shares of accounts do where their providers' do not.
		set := "providers = 1\nlasts = \"1h\"\nrate = 0.5\n"
		if c.how == "nobody's account" {
			set = "providers = 2\naccounts = 2\nlasts = \"1h\"\nrate = 2.0\nusers = 1\n"
		}
		r := result(t, simulations.New(Simulation().About, Parameters{Users: 2, Accounts: 50, Providers: 1, Rate: 1, Honest: 10, Wants: 2, Shares: true, Low: 20, Full: 50,
			Look: simulations.Duration(time.Hour), Lasts: simulations.Duration(2 * time.Hour)}, func(r *simulations.Run, p Parameters) error {
			return runWith(r, p, func(real *account.Registry) pool { return &broken{Registry: real, how: c.how} })
		}), 1, set)
		if v := r.Violations(); !strings.Contains(strings.Join(v, "\n"), c.want) {
			t.Errorf("%s: found %q, want %q", c.how, v, c.want)
		}
	}
}

// exceeds by hand.
func TestExceeds(t *testing.T) {
	s := account.Share{Burst: 3, Every: time.Hour}
	at := func(minutes ...int) (out []time.Duration) {
		for _, m := range minutes {
			out = append(out, time.Duration(m)*time.Minute)
		}
		return out
	}
	for _, c := range []struct {
		times []time.Duration
		want  bool
	}{
		{at(0, 0, 0), false},
		{at(0, 0, 0, 59), true},
		{at(0, 0, 0, 60), false},
		{at(0, 0, 0, 60, 100), true},
		{at(500, 0, 0, 500, 0, 500, 501), true}, // later than at the beginning
		{nil, false},
	} {
		if got := exceeds(c.times, s); got != c.want {
			t.Errorf("%v: %t", c.times, got)
		}
	}
}
