package intersection

import (
	"math"

	"github.com/mimid/mimid/simulations"
)

// check looks at what who looks has counted, when all is over: that each message is counted once, that the user wrote and its device sent as often as
// is said, and that contacts became known neither so early nor so late that the closed form gives it no chance. What chance does not give in
// one run of a hundred million is a violation.
func (w *watching) check(r *simulations.Run, p Parameters, known bool, since int) {
	n := p.Rounds
	if got := w.rounds[idle] + w.rounds[sent]; got != n {
		r.Violate("%d rounds were counted of %d", got, n)
	}
	for i, written := range []int{idle: 0, sent: w.written} {
		sum := 0
		for _, x := range w.got[i] {
			sum += x
		}
		if want := w.rounds[i]*p.Others + written; sum != want {
			r.Violate("mailboxes got %d messages in %d rounds, and %d were sent", sum, w.rounds[i], want)
		}
	}
	// Six deviations.
	binomial := func(what string, got, tries int, chance float64) {
		mean := float64(tries) * chance
		if math.Abs(float64(got)-mean) > 6*math.Sqrt(mean*(1-chance)) {
			r.Violate("%s %d times of %d, and %.1f are expected, with a deviation of %.1f", what, got, tries, mean, math.Sqrt(mean*(1-chance)))
		}
	}
	binomial("the user wrote", w.written, n, p.Online*p.Active)
	binomial("its device sent", w.rounds[sent], n, p.Online*(p.Active+(1-p.Active)*p.Cover))
	contacts := 0
	for i := range w.got {
		for _, x := range w.got[i][:p.Contacts] {
			contacts += x
		}
	}
	binomial("others wrote to the contacts", contacts-w.written, n*p.Others, float64(p.Contacts)/float64(p.Mailboxes))
	const none = 1e-6
	switch chance := all(p, float64(since)); {
	case known && chance < none:
		r.Violate("all contacts are known after %d rounds, of which the closed form says %.3g", since, chance)
	case !known && 1-chance < none:
		r.Violate("after %d rounds not all contacts are known, of which the closed form says %.3g", n, 1-chance)
	}
}
