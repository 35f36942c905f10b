package room_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
)

// TestUsurpers: whatever members try, in whatever order, one of them becomes an
// administrator only by a claim that stood for the room's patience without a sign of life
// of anybody whom it was against, with the word of most of those who could have made it.
// What was said and when is kept here beside the room, and counted in another way.
func TestUsurpers(t *testing.T) {
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		w, alice, bob, carol := three(t)
		anna, bella := w.device("anna@atlanta.example", "phone"), w.device("bella@biloxi.example", "phone")
		if err := alice.add(anna, bella); err != nil {
			rt.Fatal(err)
		}
		all := []*device{alice, bob, carol, anna, bella}
		busy := append([]*device{bob, bob, bob, carol, carol, bella, bella}, all...)
		domain := func(d *device) string { return d.user.Provider().Domain() }
		type claim struct {
			by    *device
			at    time.Time
			gone  []string
			words map[*device]bool
		}
		var c *claim
		for range rapid.IntRange(10, 25).Draw(rt, "steps") {
			d := busy[rapid.IntRange(0, len(busy)-1).Draw(rt, "who")]
			power := w.hub.Role(d.user) == policy.Admin
			against := c != nil && (power || slices.Contains(c.gone, domain(d)))
			switch rapid.SampledFrom([]string{"claim", "claim", "endorse", "endorse", "endorse", "end", "take", "take", "take", "commit", "promote", "wait", "wait"}).Draw(rt, "what") {
			case "wait":
				if w.now.Sub(start) > 3*patience {
					break // certificates end
				}
				w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Hour, patience / 2, patience, patience}).Draw(rt, "for"))
			case "claim":
				gone := rapid.SampledFrom([][]string{{atlanta}, {atlanta}, {atlanta}, {atlanta, chicago}, {biloxi}, nil}).Draw(rt, "gone")
				if d.claims(gone...) == nil {
					c = &claim{d, w.now, gone, map[*device]bool{d: true}}
				}
			case "endorse":
				if c != nil && d.endorses() == nil {
					c.words[d] = true
				}
			case "end":
				if d.ends() == nil {
					c = nil
				}
			case "commit":
				if d.commit(mls.CommitOptions{}) == nil && against {
					rt.Fatalf("%s is against the claim of %s, and it outlived a commit", d.user, c.by.user)
				}
			case "promote": // by who may; with a claim against it, it has to end that
				x := all[rapid.IntRange(1, len(all)-1).Draw(rt, "whom")]
				role := rapid.SampledFrom([]policy.Role{policy.Member, policy.Moderator}).Draw(rt, "role")
				if power && w.hub.Role(x.user) != role && d.setRole(x, role) == nil && against {
					rt.Fatal("an administrator acts, and the claim stands")
				}
			case "take":
				var rivals, words int
				best := policy.None
				for _, x := range all {
					if r := w.hub.Role(x.user); r != policy.Admin && c != nil && !slices.Contains(c.gone, domain(x)) {
						best = max(best, r)
					}
				}
				for _, x := range all {
					if c != nil && w.hub.Role(x.user) == best && !slices.Contains(c.gone, domain(x)) {
						rivals++
						if c.words[x] {
							words++
						}
					}
				}
				holder := false // one who is not said to be gone
				for _, x := range all {
					holder = holder || w.hub.Role(x.user) == policy.Admin && (c == nil || !slices.Contains(c.gone, domain(x)))
				}
				may := c != nil && c.by == d && w.hub.Role(d.user) == best && 2*words > rivals && (len(c.gone) == 0 || w.now.Sub(c.at) >= patience) && !holder
				if power {
					break // it has it
				}
				err := d.takes()
				if (err == nil) != may {
					rt.Fatalf("%s takes the room: %v, and may: %v", d.user, err, may)
				}
				if err == nil {
					taken++
					return
				}
			}
			if got := w.succession().Claim; (got != nil) != (c != nil) {
				rt.Fatalf("claim %v, expected %v", got, c)
			}
		}
	})
	if taken == 0 {
		t.Error("nobody ever succeeded: the test has tried nothing")
	}
	t.Logf("%d succeeded", taken)
}
