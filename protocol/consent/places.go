package consent

import (
	"cmp"
	"time"

	"github.com/mimid/mimid/protocol/uri"
)

// Places are how many requests may wait for one user's answer at one time: in all, and of users
// of one provider. When all are taken, the providers that ask share them: see Take.
type Places struct {
	User, Provider int
}

// Waiting is how many requests of a provider's users wait for one user's answer.
type Waiting struct {
	Provider string
	Requests int
}

// Take says whether a further request of a provider's user gets a place, and whether one of
// another provider has to go for it (Yield): then of which; else it is empty. Each provider comes once
// in the list, in any order.
//
//	                                                            gets a place    has to go
//	its provider has as many as one may have                    no
//	not all places are taken                                    yes             nobody's
//	all are; some provider has two more than its own, or more   yes             of the one that has most
//	all are; none has                                           no
//
// So whoever fills a user's places, alone or with others, loses them one by one to providers
// with fewer, until all who ask have about as many; and two with as many take none from each other. Of several that
// have most it is the one whose name comes first.
func (p Places) Take(from string, waiting []Waiting) (ok bool, yields string) {
	total, own, most := 0, 0, Waiting{}
	for _, w := range waiting {
		total += w.Requests
		if w.Provider == from {
			own = w.Requests
		}
		if w.Requests > most.Requests || w.Requests == most.Requests && w.Provider < most.Provider {
			most = w
		}
	}
	switch {
	case own >= p.Provider:
		return false, ""
	case total < p.User:
		return true, ""
	case own+1 < most.Requests:
		return true, most.Provider
	}
	return false, ""
}

// Asked is a request that waits.
type Asked struct {
	Requester uri.User
	Room      uri.Room // zero: any
	At        time.Time
}

// Yield compares two waiting requests of one provider: which of them, the lesser, goes first if one
// has to. The newest does, since a wave comes after those who asked before it; of one time the one that comes last by
// requester and room.
func Yield(a, b Asked) int {
	return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Requester.String(), a.Requester.String()), cmp.Compare(b.Room.String(), a.Room.String()))
}
