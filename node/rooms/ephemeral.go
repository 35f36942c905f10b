package rooms

import (
	"context"
	"slices"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ephemeral"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// What members tell each other beside the log (protocol/ephemeral) goes through here and is
// nowhere written: from a device to its provider, from there straight to each of the room's
// other providers, and to the streams of their users that are open now. Nobody orders it,
// the hub does not see it unless a user of its own takes part, and what finds no room in a
// budget is lost.

// Budgets of ephemera. A device that types sends one every few seconds; that all of a
// large room type at once is cut off by the room's.
const (
	signalsPerDevice, signalBurst            = 0.5, 5
	signalsPerProvider, signalsProviderBurst = 20, 100
	signalsPerRoom, signalsRoomBurst         = 10, 30
	signalProviders                          = 32 // other providers in a room, at most; in larger ones they are not told
	signalCalls                              = 64 // on their way at once
	signalTimeout                            = 3 * time.Second
)

// signals are the budgets.
type signals struct {
	devices, providers, rooms *ration.Ration
	calls                     chan struct{} // a token for each call on its way
}

func newSignals() signals {
	return signals{
		devices:   ration.New(ration.Config{PerSecond: signalsPerDevice, Burst: signalBurst}),
		providers: ration.New(ration.Config{PerSecond: signalsPerProvider, Burst: signalsProviderBurst}),
		rooms:     ration.New(ration.Config{PerSecond: signalsPerRoom, Burst: signalsRoomBurst}),
		calls:     make(chan struct{}, signalCalls),
	}
}

// Signal passes on what a device tells the others in a room, to those that listen now.
func (r *Rooms) Signal(ctx context.Context, who account.Identity, id store.RoomID, x *clientapi.NewEphemeral) error {
	if n := len(x.Data); n == 0 || n > ephemeral.MaxSize {
		return problem(413, clientapi.CodeTooLarge, "an ephemeral message of %d octets: 1 to %d", n, ephemeral.MaxSize)
	}
	if ok, wait := r.signals.devices.Take(who.Client.String(), 1, r.cfg.Now()); !ok {
		return &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: wait.Milliseconds(), Detail: "too many ephemeral messages; this one is lost"}
	}
	h, err := r.mine(who, id)
	if err != nil {
		return err
	}
	as, err := r.as(who.User, h.stand().URI)
	if err != nil {
		return asProblem(err)
	}
	var users []uri.User
	var others []string
	may := false
	err = r.view(ctx, h, func(s *room.State) {
		may = s.Roles().Posts(s.Role(as)) && s.Roster().Clients(as) > 0
		users, others = r.localUsers(s.URI(), s.Participants()), s.Participating()
	})
	switch {
	case err != nil:
		return asProblem(err)
	case !may:
		return problem(403, clientapi.CodeForbidden, "%s has no device in the room, or may send nothing", as)
	}
	if ok, _ := r.signals.rooms.Take(string(id[:]), 1, r.cfg.Now()); !ok {
		return problem(429, clientapi.CodeTooMany, "too many ephemeral messages in this room; this one is lost")
	}
	if err := r.tellSignal(h, users, x.Data); err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(d string) bool { return d == r.cfg.Domain || r.dead(d) })
	if len(others) > signalProviders {
		return nil
	}
	name := h.stand().URI.String()
	for _, d := range others {
		r.signal(Call{Target: d, Endpoint: EndpointEphemeral, Subject: name, Room: wire.IdentifierURI(name), Body: x.Data})
	}
	return nil
}

// signal makes one call, if not too many are on their way.
func (r *Rooms) signal(c Call) {
	select {
	case r.signals.calls <- struct{}{}:
	default:
		r.counts.signalsLost.Add(1)
		return
	}
	if !r.spawn(func(ctx context.Context) {
		defer func() { <-r.signals.calls }()
		ctx, cancel := context.WithTimeout(ctx, signalTimeout)
		defer cancel()
		if _, err := r.cfg.Peers.Call(ctx, c); err != nil {
			r.counts.signalsLost.Add(1)
			r.log.Debug("ephemeral message", "domain", c.Target, "err", err)
			return
		}
		r.counts.signals.Add(1)
	}) {
		<-r.signals.calls
	}
}

func (r *Rooms) tellSignal(h *handle, users []uri.User, data []byte) error {
	return r.cfg.Feed.Tell(r.cfg.Feed.Hearing(h.id, users), clientapi.EventEphemeral, clientapi.Ephemeral{Room: h.id.String(), Data: data})
}

// serveEphemeral takes an ephemeral message from a provider whose users take part in the
// room. Who of them it is by, and whether it is anything, its receivers see.
func (r *Rooms) serveEphemeral(ctx context.Context, q *Request) (*Response, error) {
	if n := len(q.Body); n == 0 || n > ephemeral.MaxSize {
		return nil, problem(413, clientapi.CodeTooLarge, "an ephemeral message of %d octets: 1 to %d", n, ephemeral.MaxSize)
	}
	if ok, wait := r.signals.providers.Take(q.Source, 1, r.cfg.Now()); !ok {
		return nil, &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: wait.Milliseconds(), Detail: "too many ephemeral messages"}
	}
	h, err := r.lookup(room.IDOf([]byte(q.Subject)))
	if err != nil {
		return nil, asProblem(err)
	}
	var users []uri.User
	takesPart := false
	err = r.view(ctx, h, func(s *room.State) {
		users, takesPart = r.localUsers(s.URI(), s.Participants()), slices.Contains(s.Participating(), q.Source)
	})
	switch {
	case err != nil:
		return nil, asProblem(err)
	case !takesPart:
		return nil, asProblem(ErrUnknown)
	}
	if ok, _ := r.signals.rooms.Take(string(h.id[:]), 1, r.cfg.Now()); !ok {
		return nil, problem(429, clientapi.CodeTooMany, "too many ephemeral messages in this room")
	}
	if err := r.tellSignal(h, users, q.Body); err != nil {
		return nil, err
	}
	return ok(nil, nil)
}
