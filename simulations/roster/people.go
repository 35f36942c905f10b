package roster

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/mixnet"
)

// A user is somebody, and the hour at which it writes.
type user struct {
	name     string // URI
	provider string // domain
	hour     float64
}

// A room, with what each participant is called in it.
type room struct {
	uri     string
	group   [32]byte
	members []*user
	called  map[*user]string
	who     map[string]*user
}

// world is the users, and the hub that sees them.
type world struct {
	e     *engine.Engine
	p     Parameters
	rand  *rand.Rand
	rooms []*room
	hub   view

	messages, providers, senders int // messages in all, and those of which the hub was right
	late                         []time.Duration
	octets                       []int
	err                          error

	check *check
	plant planted
}

const hubDomain = "hub.example"

func newWorld(e *engine.Engine, p Parameters, c *check, plant planted) (*world, error) {
	w := &world{check: c, plant: plant, e: e, p: p, rand: e.Rand("people"), hub: view{rooms: map[string]*seen{}}}
	var users []*user
	for i := range p.Providers {
		domain := fmt.Sprintf("p%d.example", i)
		if i == 0 {
			domain = hubDomain
		}
		for k := range p.Users {
			users = append(users, &user{name: fmt.Sprintf("mimi://%s/u/user%d", domain, k), provider: domain, hour: w.rand.Float64() * 24})
		}
	}
	for _, u := range users {
		c.user(u)
	}
	for i := range p.Rooms {
		x := &room{uri: fmt.Sprintf("mimi://%s/r/room%d", hubDomain, i), called: map[*user]string{}, who: map[string]*user{}}
		binary.BigEndian.PutUint64(x.group[:], w.rand.Uint64())
		var list wire.ParticipantListData
		for _, k := range w.rand.Perm(len(users))[:p.Members] {
			u := users[k]
			name := u.name
			if p.Level != open {
				name = w.pseudonym(u)
			}
			if w.plant.called != nil {
				name = w.plant.called(u, name)
			}
			x.members = append(x.members, u)
			x.called[u], x.who[name] = name, u
			list.Participants = append(list.Participants, wire.UserRolePair{User: wire.IdentifierURI(name), Role: 1})
		}
		b, err := list.Bytes()
		if err != nil {
			return nil, err
		}
		c.list(x.uri, b)
		if err := w.hub.roster(x.uri, b); err != nil {
			return nil, err
		}
		w.rooms = append(w.rooms, x)
	}
	return w, nil
}

// pseudonym draws a name that says nothing but the provider.
func (w *world) pseudonym(u *user) string {
	return fmt.Sprintf("mimi://%s/p/%016x%016x", u.provider, w.rand.Uint64(), w.rand.Uint64())
}

// begin has each participant of each room write, about its hour.
func (w *world) begin() {
	days := int(w.p.Lasts.D() / (24 * time.Hour))
	for _, x := range w.rooms {
		for _, u := range x.members {
			for day := range days + 1 {
				for n := w.poisson(w.p.Rate); n > 0; n-- {
					at := time.Duration(day)*24*time.Hour + time.Duration(u.hour*float64(time.Hour)+w.rand.NormFloat64()*float64(w.p.Habit.D()))
					if at < 0 {
						at += 24 * time.Hour
					}
					if at < w.p.Lasts.D() {
						w.e.After(at, func() { w.write(x, u) })
					}
				}
			}
		}
	}
}

// poisson draws how often something happens that happens so often on average.
func (w *world) poisson(mean float64) (n int) {
	for t := w.rand.ExpFloat64(); t < mean; t += w.rand.ExpFloat64() {
		n++
	}
	return n
}

// write is a message on its way to the hub, with what its level has it carry.
func (w *world) write(x *room, u *user) {
	sending := x.called[u]
	after := time.Duration(float64(20+30*w.rand.Float64()) * float64(time.Millisecond)) // a link
	if w.p.Level == onionLevel {
		sending = x.uri
		for range 3 {
			after += mixnet.Exponential(w.rand, w.p.Delay.D()) + time.Duration(float64(20+30*w.rand.Float64())*float64(time.Millisecond))
		}
	}
	if w.plant.sending != nil {
		sending = w.plant.sending(w.p.Level, x, u, sending)
	}
	m, err := ciphertext(x.group, w.p.Size, w.rand)
	if err != nil {
		w.err = err
		return
	}
	request, err := (&wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(sending)}).Bytes()
	if err != nil {
		w.err = err
		return
	}
	var envelope []byte
	size := onion.Format{Suite: onion.X25519, Class: onion.Class8K}.PacketSize()
	if w.p.Level != onionLevel {
		// As peering's caller writes it; the signature is left out, where the channel proves the source.
		source := u.provider
		if w.plant.source != nil {
			source = w.plant.source(source)
		}
		e := wire.Envelope{Source: source, Target: hubDomain, Endpoint: "submitMessage", Room: wire.IdentifierURI(x.uri), Time: uint64(w.e.Now() / time.Millisecond)}
		e.SetBody(request)
		if envelope, err = e.Bytes(); err != nil {
			w.err = err
			return
		}
		size = len(envelope) + len(request)
	}
	w.check.written++
	if w.e.Now()+after > w.p.Lasts.D() {
		w.check.later++
	}
	if w.plant.octets != nil {
		size = w.plant.octets(size)
	}
	come := func() { w.come(x, u, envelope, request, after, size) }
	w.e.After(after, func() {
		if w.plant.come != nil {
			w.plant.come(come)
			return
		}
		come()
	})
}

// come is a message at the hub.
func (w *world) come(x *room, u *user, envelope, request []byte, after time.Duration, size int) {
	g, err := w.hub.message(x.uri, envelope, request, w.e.Now())
	if err != nil {
		w.err = err
		return
	}
	w.check.message(x, u, envelope, request, size, g)
	w.messages++
	if g.provider == "" { // any on the list, by chance
		g.provider = x.members[w.rand.IntN(len(x.members))].provider
	}
	if g.sender == "" {
		g.sender = x.called[x.members[w.rand.IntN(len(x.members))]]
	}
	if g.provider == u.provider {
		w.providers++
	}
	if g.sender == x.called[u] {
		w.senders++
	}
	w.late, w.octets = append(w.late, after), append(w.octets, size)
	w.e.Note(uint64(w.messages))
}

// ciphertext is a PrivateMessage of a room, with noise in the place of what is encrypted.
func ciphertext(group [32]byte, size int, r *rand.Rand) (*mls.Message, error) {
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := 0; i < n; i += 8 {
			var x [8]byte
			binary.BigEndian.PutUint64(x[:], r.Uint64())
			copy(b[i:], x[:])
		}
		return b
	}
	b := []byte{0, 1, 0, 2} // mls10, PrivateMessage (RFC 9420 section 6)
	b = presentation.AppendOpaque(b, group[:])
	b = presentation.AppendU64(b, 1)
	b = append(b, 1) // application
	b = presentation.AppendOpaque(b, nil)
	b = presentation.AppendOpaque(b, noise(28))
	return mls.ParseMessage(presentation.AppendOpaque(b, noise(size)), mls.Limits{})
}

// report says what the hub was right about.
func (w *world) report(r *simulations.Run) {
	w.check.over()
	named, all := 0, 0
	for _, x := range w.hub.order {
		for _, u := range x.list {
			all++
			if _, ok := names(u); ok {
				named++
			}
		}
	}
	r.Observe("named", "1", float64(named)/float64(all))
	if w.messages > 0 {
		r.Observe("provider", "1", float64(w.providers)/float64(w.messages))
		r.Observe("sender", "1", float64(w.senders)/float64(w.messages))
	}
	// Each room against the next one.
	both, right, chance := 0, 0, 0.0
	for i := 1; i < len(w.rooms); i++ {
		a, b := w.rooms[i-1], w.rooms[i]
		of := map[string]int{}
		for _, u := range b.members {
			of[u.provider]++
		}
		for _, u := range a.members {
			if b.called[u] == "" {
				continue
			}
			both++
			chance += 1 / float64(of[u.provider])
			here, err := uri.Parse(a.called[u])
			if err != nil {
				r.Violate("a participant: %v", err)
				continue
			}
			if is, ok := w.hub.order[i-1].again(here, w.hub.order[i]); ok {
				if is == b.called[u] {
					right++
				}
			} else if w.rand.IntN(of[u.provider]) == 0 { // it guesses
				right++
			}
		}
	}
	if both > 0 {
		r.Observe("linked", "1", float64(right)/float64(both), simulations.Label{Key: "of", Value: "measured"})
		r.Observe("linked", "1", chance/float64(both), simulations.Label{Key: "of", Value: "chance"})
	}
	// Percentiles, since there are many.
	each := max(1, len(w.late)/1000)
	for i := 0; i < len(w.late); i += each {
		r.ObserveTime("late", w.late[i])
		r.Observe("octets", "bytes", float64(w.octets[i]))
	}
}
