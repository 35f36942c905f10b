package intersection

import "math"

// all is how likely all contacts are named after t rounds.
//
// In rounds in which the device sends, a contact gets q/k more than in others: q is the share of these in which the user writes, k the
// number of contacts; without cover that is 1, with cover active/(active + (1-active)*cover). The difference of the two means is taken to be normal, with the
// variance of what others send. All contacts are named if the least of k differences with that signal is above the greatest of
// all others, of which the distribution is known.
func all(p Parameters, t float64) float64 {
	sends := p.Online * (p.Active + (1-p.Active)*p.Cover)
	if sends >= 1 {
		return 0
	}
	signal := p.Online * p.Active / sends / float64(p.Contacts)
	background := float64(p.Others) / float64(p.Mailboxes)
	noise := math.Sqrt(background/(t*sends) + background/(t*(1-sends)))
	contact := math.Sqrt((background+signal*(1-signal))/(t*sends) + background/(t*(1-sends)))
	below := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	n, sum := float64(p.Mailboxes-p.Contacts), 0.0
	const dx = .01
	for x := -8 + dx/2; x < 12; x += dx {
		greatest := n * math.Pow(below(x), n-1) * math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
		sum += greatest * math.Pow(below((signal-x*noise)/contact), float64(p.Contacts)) * dx
	}
	return sum
}

// half is the number of rounds after which all contacts are named in half of all cases, or infinite.
func half(p Parameters) float64 {
	low, high := 1.0, 1e12
	if all(p, high) < .5 {
		return math.Inf(1)
	}
	for high/low > 1.001 {
		if mid := math.Sqrt(low * high); all(p, mid) < .5 {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}
