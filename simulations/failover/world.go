package failover

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/simulations/engine"
)

// A world is one run: providers, rooms, clients, and what was ever true. One
// goroutine owns it.
type world struct {
	seed  uint64
	plan  plan
	e     *engine.Engine
	net   *engine.Network
	disks *rand.Rand

	providers []*provider
	rooms     []*place
	clients   []*client

	chance   *rand.Rand // of providers: waits
	users    *rand.Rand // of clients
	healed   bool
	healedAt time.Duration
	stats    Stats
	broken   string // the first sentence that proved wrong
	trace    func(string)
	txns     uint64
	watching *watching // of an experiment, else nil
}

// A place is a room as the world sees it: who keeps it, and what was ever true.
type place struct {
	index  int
	id     [32]byte
	peers  hub.Set
	manual bool
	single bool // began with a set of one
	create *hub.Entry

	finals  []final
	leads   map[room.Term]hub.Provider
	where   map[room.TxnID]uint64 // places of final submissions
	probes  []*client             // that ask after healing
	live    time.Duration         // when all of them were answered
	lied    bool                  // its hub has forked it
	lossy   bool                  // moved away from a set of one, and what only that knew is lost
	moved   time.Duration         // by an administrator; people talk before they do it again
	stopped bool
	parted  bool     // two histories of it were final
	chosen  hub.Head // the end of the history that administrators have chosen
	tried   hub.Set  // providers with that history that were named
	again   int      // messages that were final for their users in a history that was given up
	trial   uint32   // the era of a move that has to come about; 0: none
	named   int      // of its providers, by administrators that moved it
}

// final is an entry and the lowest term that has certified it.
type final struct {
	hash room.Hash
	by   room.Term
}

// newWorld makes the world of a seed, in which everybody is up and nothing has happened.
func newWorld(seed uint64, trace func(string)) *world {
	e := engine.New(seed)
	return makeWorld(e, seed, draw(e.Rand("plan")), trace)
}

func makeWorld(e *engine.Engine, seed uint64, pl plan, trace func(string)) *world {
	w := &world{seed: seed, e: e, plan: pl, chance: e.Rand("chance"), users: e.Rand("users"), disks: e.Rand("disks"), trace: trace}
	w.net = engine.NewNetwork(e, providers, w.plan.link)
	r := e.Rand("rooms")
	clocks := e.Rand("clocks")
	for i := range providers {
		w.providers = append(w.providers, newProvider(w, i, engine.Clock{
			Skew:  time.Duration(clocks.Int64N(int64(10*time.Minute))) - 5*time.Minute,
			Drift: (2*clocks.Float64() - 1) * w.plan.drift,
		}))
	}
	for i := range rooms {
		w.newPlace(i, r)
	}
	for _, p := range w.providers {
		p.process.Start(p.boot)
	}
	return w
}

func (w *world) newPlace(i int, r *rand.Rand) {
	all := hub.Set{1, 2, 3, 4, 5}
	size := []int{1, 3, 3, 3, 5, 5}[r.IntN(6)]
	if w.plan.restore && size == 1 {
		size = 3 // what a sole hub has forgotten, nobody knows
	}
	if w.plan.size != 0 {
		size = w.plan.size
	}
	pl := &place{index: i, peers: pickSet(r, all, max(3, size, 3+r.IntN(3))), leads: map[room.Term]hub.Provider{}, where: map[room.TxnID]uint64{}}
	pl.manual, pl.single = r.IntN(6) == 0, size == 1
	if w.plan.size != 0 {
		pl.manual = false
	}
	set := pickSet(r, pl.peers, size)
	pl.id[0], pl.id[1] = byte(i), 1
	pl.create = &hub.Entry{Term: room.Term{Number: 1}, Kind: hub.Create, Set: set, Hub: set[r.IntN(len(set))]}
	pl.create.Hash = pl.seal(pl.create)
	pl.finals = []final{{pl.create.Hash, pl.create.Term}}
	pl.leads[pl.create.Term] = pl.create.Hub
	w.rooms = append(w.rooms, pl)
	for _, p := range pl.peers {
		at := w.providers[p-1]
		at.seats[i] = newSeat(at, pl, set)
	}
	for range 2 {
		w.newClient(pl, w.providers[pl.peers[r.IntN(len(pl.peers))]-1])
	}
}

// seal hashes what a machine knows of an entry, and the room.
func (pl *place) seal(e *hub.Entry) room.Hash {
	b := make([]byte, 0, 192)
	b = append(b, pl.id[:2]...)
	for _, x := range [...]uint64{uint64(e.Term.Era), e.Term.Number, e.Seq, uint64(e.Kind), uint64(e.Hub), uint64(e.Via), uint64(len(e.Set))} {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	b = append(append(b, e.Prev[:]...), e.Txn[:8]...)
	for _, s := range [...]hub.Set{e.Set, e.Voters} {
		for _, p := range s {
			b = append(b, byte(p))
		}
		b = append(b, 0)
	}
	return sha256.Sum256(b)
}

// txn is a submission's name, never used before.
func (w *world) txn() room.TxnID {
	w.txns++
	var t room.TxnID
	binary.BigEndian.PutUint64(t[:], w.txns)
	return t
}

// fail notes the first sentence that proves wrong, and ends the run.
func (w *world) fail(format string, args ...any) {
	if w.broken != "" {
		return
	}
	w.broken = fmt.Sprintf("at %s: ", w.e.Now().Round(time.Millisecond)) + fmt.Sprintf(format, args...)
	w.say("BROKEN: %s", w.broken)
	w.e.Halt()
}

func (w *world) say(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf("%9.3f ", w.e.Now().Seconds()) + fmt.Sprintf(format, args...))
	}
}
