package roster

import (
	"fmt"
	"math"
	"time"

	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// A view is what a hub has: octets, and when they came. It knows nothing of users but what it reads here.
type view struct {
	rooms map[string]*seen
	order []*seen
}

// seen is one room, as the hub sees it.
type seen struct {
	uri  string
	list []uri.URI
	at   map[string]*[24]float64 // hours in which a participant writes, if requests name it
}

// roster is given when the room is made.
func (v *view) roster(room string, list []byte) error {
	d, err := wire.ParseParticipantListData(list, wire.Limits{})
	if err != nil {
		return err
	}
	s := &seen{uri: room, at: map[string]*[24]float64{}}
	for _, p := range d.Participants {
		u, err := uri.Parse(string(p.User))
		if err != nil {
			return err
		}
		s.list = append(s.list, u)
	}
	v.rooms[room] = s
	v.order = append(v.order, s)
	return nil
}

// A guess is what the hub says of a message: the sender's provider and the sender on the list, empty where it cannot
// tell.
type guess struct{ provider, sender string }

// message is given for each request. envelope may be nil: it comes by a relay.
func (v *view) message(room string, envelope, request []byte, at time.Duration) (g guess, err error) {
	m, err := wire.ParseSubmitMessageRequest(request, wire.Limits{})
	if err != nil {
		return g, err
	}
	s := v.rooms[room]
	if s == nil {
		return g, fmt.Errorf("a message for %q, of which there is no list", room)
	}
	if envelope != nil {
		e, err := wire.ParseEnvelope(envelope, wire.Limits{})
		if err != nil {
			return g, err
		}
		g.provider = e.Source
	}
	for _, u := range s.list {
		if u.String() == string(m.SendingURI) {
			g.sender, g.provider = u.String(), u.Provider().Domain()
			if s.at[g.sender] == nil {
				s.at[g.sender] = new([24]float64)
			}
			s.at[g.sender][int(at.Hours())%24]++
		}
	}
	return g, nil
}

// names is the participant's name, if its URI is a user's.
func names(u uri.URI) (string, bool) {
	if u.Kind() != uri.KindUser {
		return "", false
	}
	return u.String(), true
}

// again says who of another room a participant is: the same URI, or else whoever of its provider writes at the most similar
// hours; nobody if there is nothing to go by.
func (s *seen) again(u uri.URI, other *seen) (string, bool) {
	for _, o := range other.list {
		if o == u {
			return o.String(), true
		}
	}
	if _, ok := names(u); ok {
		return "", false // it has a name, and is not there
	}
	best, found := math.Inf(-1), ""
	for _, o := range other.list {
		if o.Provider() != u.Provider() {
			continue
		}
		if x, ok := similar(s.at[u.String()], other.at[o.String()]); ok && x > best {
			best, found = x, o.String()
		}
	}
	return found, found != ""
}

// similar is the cosine of the angle between two histograms, each hour smoothed with its neighbours.
func similar(a, b *[24]float64) (float64, bool) {
	if a == nil || b == nil {
		return 0, false
	}
	smooth := func(h *[24]float64, i int) float64 { return h[(i+23)%24]/2 + h[i] + h[(i+1)%24]/2 }
	ab, aa, bb := 0.0, 0.0, 0.0
	for i := range a {
		x, y := smooth(a, i), smooth(b, i)
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb), aa > 0 && bb > 0
}
