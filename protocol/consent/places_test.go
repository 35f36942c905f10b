package consent_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/uri"
)

// TestPlaces: the rows of the table at Take.
func TestPlaces(t *testing.T) {
	p := consent.Places{User: 10, Provider: 4}
	type w = []consent.Waiting
	for _, c := range []struct {
		why     string
		from    string
		waiting w
		ok      bool
		yields  string
	}{
		{"nobody waits", "a", nil, true, ""},
		{"the last place", "a", w{{"b", 4}, {"c", 4}, {"d", 1}}, true, ""},
		{"its provider's last place", "a", w{{"a", 3}}, true, ""},
		{"its provider has all that one may have", "a", w{{"a", 4}}, false, ""},
		{"the same, and all are taken", "a", w{{"a", 4}, {"b", 4}, {"c", 2}}, false, ""},
		{"all are taken, a newcomer", "a", w{{"b", 2}, {"c", 4}, {"d", 4}}, true, "c"},
		{"the same in another order", "a", w{{"d", 4}, {"c", 4}, {"b", 2}}, true, "c"},
		{"more than there are, from before a limit was lowered", "a", w{{"b", 9}, {"c", 9}}, true, "b"},
		{"one more than it has: it would only change places", "a", w{{"a", 3}, {"b", 4}, {"c", 3}}, false, ""},
		{"two more than it has", "a", w{{"a", 2}, {"b", 4}, {"c", 4}}, true, "b"},
		{"as many as everybody", "a", w{{"a", 2}, {"b", 2}, {"c", 2}, {"d", 2}, {"e", 2}}, false, ""},
		{"ten providers with one each", "a", w{{"b", 1}, {"c", 1}, {"d", 1}, {"e", 1}, {"f", 1}, {"g", 1}, {"h", 1}, {"i", 1}, {"j", 1}, {"k", 1}}, false, ""},
	} {
		ok, yields := p.Take(c.from, c.waiting)
		if ok != c.ok || yields != c.yields {
			t.Errorf("%s: %v, %q yields; want %v, %q", c.why, ok, yields, c.ok, c.yields)
		}
	}
	if ok, yields := (consent.Places{}).Take("a", nil); ok || yields != "" {
		t.Errorf("of no places one is given: %v, %q", ok, yields)
	}
}

// TestFewProvidersShareWithOthers: four providers fill a user's 200 places, 50 each, as fast as they
// like. Then others come, with one request and with many; each of them gets a place, and up to as
// many as anybody, whatever the four send in between.
func TestFewProvidersShareWithOthers(t *testing.T) {
	places := consent.Places{User: 200, Provider: 50}
	have := map[string]int{}
	ask := func(from string) bool {
		var list []consent.Waiting
		for d, n := range have {
			list = append(list, consent.Waiting{Provider: d, Requests: n})
		}
		ok, yields := places.Take(from, list)
		if ok {
			have[from]++
			if yields != "" {
				have[yields]--
			}
		}
		return ok
	}
	wave := func() {
		for i := range 400 {
			ask(fmt.Sprintf("spam%d.example", i%4))
		}
	}
	wave()
	for i := range 36 {
		if d := fmt.Sprintf("p%d.example", i); !ask(d) {
			t.Fatalf("the first request of %s, of 36 providers, gets no place: %v", d, have)
		}
		wave()
	}
	for range 50 {
		ask("p0.example")
		wave()
	}
	// 35 others want one place only: 165 are for five.
	if n := have["p0.example"]; n != 33 {
		t.Errorf("a provider whose users ask as often as they can has %d places of 200, when four others do and 35 have one each; want 33", n)
	}
	for i := range 36 {
		if d := fmt.Sprintf("p%d.example", i); have[d] < 1 {
			t.Errorf("%s has lost its only place", d)
		}
	}
}

// naivePlaces keeps the very requests in a list, in the order in which they came, and decides by
// counting them.
type naivePlaces struct {
	user, provider int
	list           []asked
}

type asked struct {
	from string
	consent.Asked
}

func (n *naivePlaces) count(from string) (c int) {
	for _, x := range n.list {
		if x.from == from {
			c++
		}
	}
	return c
}

// ask puts a request in, and one out if it must.
func (n *naivePlaces) ask(a asked) (in bool, out *asked) {
	if n.count(a.from) >= n.provider {
		return false, nil
	}
	if len(n.list) < n.user {
		n.list = append(n.list, a)
		return true, nil
	}
	greedy := ""
	for _, d := range []string{"a", "b", "c", "d"} { // in the order of names
		if greedy == "" || n.count(d) > n.count(greedy) {
			greedy = d
		}
	}
	if n.count(greedy) < n.count(a.from)+2 {
		return false, nil
	}
	last := -1
	for i, x := range n.list {
		if x.from == greedy && (last < 0 || x.At.After(n.list[last].At) || x.At.Equal(n.list[last].At) && x.Requester.String() > n.list[last].Requester.String()) {
			last = i
		}
	}
	gone := n.list[last]
	n.list = append(slices.Delete(n.list, last, last+1), a)
	return true, &gone
}

// TestPlacesAgainstTheList: Take and Yield, by counts, do what the list does; there are never more
// than the bounds, and nobody goes from a provider that has no more than the newcomer's.
func TestPlacesAgainstTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := consent.Places{User: rapid.IntRange(1, 8).Draw(t, "places"), Provider: rapid.IntRange(1, 5).Draw(t, "of a provider")}
		n := &naivePlaces{user: p.User, provider: p.Provider}
		have := map[string][]consent.Asked{}
		at := time.Unix(1_800_000_000, 0)
		for i := range rapid.IntRange(1, 60).Draw(t, "length") {
			from := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "from")
			if len(have[from]) > 0 && rapid.IntRange(0, 4).Draw(t, "answers") == 0 { // the user answers the first one
				gone := have[from][0]
				have[from] = have[from][1:]
				n.list = slices.DeleteFunc(n.list, func(x asked) bool { return x.Requester == gone.Requester })
				continue
			}
			at = at.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "passes")) * time.Second)
			u, err := uri.ParseUser(fmt.Sprintf("mimi://%s.example/u/n%d", from, (i*7)%60))
			if err != nil {
				t.Fatal(err)
			}
			a := consent.Asked{Requester: u, At: at}
			var list []consent.Waiting
			for _, d := range slices.Collect(maps.Keys(have)) {
				list = append(list, consent.Waiting{Provider: d, Requests: len(have[d])})
			}
			before := len(have[from])
			ok, yields := p.Take(from, list)
			in, out := n.ask(asked{from, a})
			if ok != in || (yields != "") != (out != nil) || out != nil && yields != out.from {
				t.Fatalf("%s asks with %v: %v, %q; the list says %v, %v", from, list, ok, yields, in, out)
			}
			if yields != "" {
				if yields == from || len(have[yields]) < before+2 {
					t.Fatalf("%s, with %d, yields to %s, with %d", yields, len(have[yields]), from, before)
				}
				first := slices.MinFunc(have[yields], consent.Yield)
				if first != out.Asked {
					t.Fatalf("of %v goes %v, the list says %v", have[yields], first, out.Asked)
				}
				have[yields] = slices.DeleteFunc(have[yields], func(x consent.Asked) bool { return x == first })
			}
			if ok {
				have[from] = append(have[from], a)
			}
			total := 0
			for d, l := range have {
				total += len(l)
				if len(l) > p.Provider {
					t.Fatalf("%s has %d of %d", d, len(l), p.Provider)
				}
			}
			if total > p.User || total != len(n.list) {
				t.Fatalf("%d wait of %d, in the list %d", total, p.User, len(n.list))
			}
		}
	})
}
