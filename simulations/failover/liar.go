package failover

import (
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
)

// Lying are the parameters of a hub that lies.
type Lying struct {
	Replicas int                  `toml:"replicas" doc:"providers that decide about each room: 1, 3 or 5"`
	Suspect  simulations.Duration `toml:"suspect" doc:"silence after which a provider is taken for dead"`
	Say      simulations.Duration `toml:"say" doc:"time between two messages of a user, on average; each room has two"`
	Disk     simulations.Duration `toml:"disk" doc:"least time of a durable write; the most is twice that"`
	Links    links.Spec           `toml:"links"`
}

// Check says what is wrong with values.
func (p *Lying) Check() error {
	if p.Replicas != 1 && p.Replicas != 3 && p.Replicas != 5 {
		return fmt.Errorf("parameters.replicas = %d must be 1, 3 or 5", p.Replicas)
	}
	if err := checkTimes(p.Suspect, p.Say, p.Disk); err != nil {
		return err
	}
	return prefixed(p.Links.Check())
}

// Liar asks what comes of a hub that tells some of a room's providers another log than the others.
func Liar() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "liar",
		Engine:   simulations.Event,
		Question: "How soon is it known that a hub tells providers two different logs, and how long until the room goes on without it?",
		Doc: "Five providers keep twenty rooms, as in failover, and the one that orders most begins to order two logs in each of its rooms, one for " +
			"some of the other providers and one for the rest. noticed is the time from then until one of the honest can prove it, or has seen two final " +
			"histories; known until all can; service from there until a message that was sent since is final. two is the share of rooms that came to have two " +
			"final histories, where people talk for four seconds and choose one; said_again how many messages in a room, of which a user had been told that they are final in the other one, were sent again. " +
			"At the end all that are honest must have one history, with all that users have said. Providers compare what they have once a second.",
		Plots: []simulations.Plot{
			{Name: "noticed", Title: "Time until one of the honest knows", Metric: "noticed", Kind: simulations.Distribution, By: "replicas"},
			{Name: "service", Title: "Time from when all know until a message is final", Metric: "service", Kind: simulations.Distribution, By: "replicas",
				Caption: "Rooms with one history elect another hub; in those with two, people have to choose."},
			{Name: "two", Title: "Share of rooms with two final histories", Metric: "two", Kind: simulations.Means, X: "replicas"},
		},
	}, Lying{Replicas: 3, Suspect: simulations.Duration(deadAfter), Say: simulations.Duration(300 * time.Millisecond), Disk: simulations.Duration(2 * time.Millisecond),
		Links: links.Spec{Model: "cities", Jitter: .1}}, runLiar)
}

// lookEvery is how often it is seen who knows of the lie.
const lookEvery = 10 * time.Millisecond

func runLiar(r *simulations.Run, p Lying) error {
	w := calmWorld(r, p.Replicas, p.Suspect, p.Say, p.Disk, p.Links, 0) // a liar's two faces need all of the log
	end := settled + after + rest
	if err := w.goOn(r, settled, end); err != nil {
		return err
	}
	liar := w.busiest()
	w.plan.liar = liar.index
	var all []*forked
	for _, pl := range w.rooms {
		if s := w.hubOf(pl); s != nil && s.at == liar && w.survives(pl, liar) {
			l := &forked{place: pl}
			all = append(all, l)
			l.begin(w, s)
		}
	}
	var look func()
	look = func() {
		for _, l := range all {
			l.look(w)
		}
		w.e.After(lookEvery, look)
	}
	look()
	if err := w.goOn(r, end-rest, end); err != nil {
		return err
	}
	w.heal()
	if err := w.goOn(r, end, end); err != nil {
		return err
	}
	if w.broken == "" {
		w.end()
	}
	for _, l := range all {
		l.observe(r)
	}
	w.watching.close(w)
	return nil
}

// A forked room is one that has two logs, and since when who knows it.
type forked struct {
	place              *place
	at, noticed, known time.Duration // 0: not yet
}

// begin has the hub lie as soon as it has written what it holds.
func (l *forked) begin(w *world, s *seat) {
	if s.flushing {
		w.e.After(time.Millisecond, func() { l.begin(w, s) })
		return
	}
	others := l.place.peers.Without(s.at.self)
	s.lie(pickSet(w.chance, others, 1+w.chance.IntN(len(others)-1)))
	l.at = w.e.Now()
}

func (l *forked) look(w *world) {
	if l.at == 0 || l.known != 0 {
		return
	}
	var know, honest hub.Set
	for _, p := range w.honest(l.place) {
		honest = honest.With(p)
		if w.providers[p-1].seats[l.place.index].knows() {
			know = know.With(p)
		}
	}
	if len(know) > 0 && l.noticed == 0 {
		l.noticed = w.e.Now()
	}
	if len(know) == len(honest) {
		l.known = w.e.Now()
		w.watching.struck(l.place, l.known)
	}
}

func (l *forked) observe(r *simulations.Run) {
	two := 0.0
	if l.place.stopped {
		two = 1
	}
	r.Observe("two", "1", two)
	r.Observe("said_again", "1", float64(l.place.again))
	if l.noticed == 0 {
		r.Violate("nobody has noticed the lie in room %d", l.place.index)
		return
	}
	r.ObserveTime("noticed", l.noticed-l.at)
	if l.known == 0 {
		r.Violate("not all of the honest know of the lie in room %d", l.place.index)
		return
	}
	r.ObserveTime("known", l.known-l.at)
}
