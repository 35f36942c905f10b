package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is this provider as a recruit: a replica of rooms in which none of its users
// takes part. It promises that to who asks, within what its operator offers, and follows
// only what it has promised. A promise that nobody takes up ends by itself; one that is
// kept ends when the room recruits it no longer.

// Offer is how many rooms of others a provider offers to be a replica of.
type Offer struct {
	Rooms       int // in total; 0: none
	PerProvider int // that one provider asks for
}

// promiseFor is for how long a promise holds that no room has taken up. A client asks,
// and commits at once; it may be offline in between.
const promiseFor = time.Hour

// errUnasked: a room that recruits this provider without its promise.
var errUnasked = errors.New("rooms: this provider has not promised to be a replica of the room")

// promise is one, in SpacePromises under the room's id:
//
//	struct {
//	    uint8 version = 1;
//	    opaque asker<V>;          /* domain */
//	    uint64 until;             /* ms since 1970 */
//	    uint8 kept;               /* 1: the room names this provider */
//	} Promise;
type promise struct {
	asker string
	until time.Time
	kept  bool
}

func (p *promise) bytes() []byte {
	b := presentation.AppendOpaque([]byte{1}, []byte(p.asker))
	b = presentation.AppendU64(b, uint64(max(0, p.until.UnixMilli())))
	return presentation.AppendOptional(b, p.kept)
}

func parsePromise(b []byte) (p promise, err error) {
	r := presentation.NewReader(b)
	v := r.U8()
	p.asker = string(r.Opaque())
	p.until = time.UnixMilli(int64(min(r.U64(), 1<<48)))
	p.kept = r.Optional()
	if err = r.Done(); err == nil && v != 1 {
		err = fmt.Errorf("promise of version %d", v)
	}
	if err != nil {
		return p, fmt.Errorf("reading a promise: %w: %w", err, store.ErrCorrupted)
	}
	return p, nil
}

// CheckPromise says whether a record of store.SpacePromises is one that this package writes.
// Error: store.ErrCorrupted.
func CheckPromise(it store.Item) error {
	name, err := store.SpacePromises.Parse(it.Key)
	if err == nil && len(name) != len(room.ID{}) {
		err = fmt.Errorf("promise of room %x: %w", name, store.ErrCorrupted)
	}
	if err == nil {
		_, err = parsePromise(it.Value)
	}
	return err
}

func (p *promise) holds(now time.Time) bool { return p.kept || p.until.After(now) }

// promises are those that are stored.
type promises struct {
	giving sync.Mutex // held while one is given: taken before mu, and by nobody who holds another lock

	mu  sync.Mutex
	all map[room.ID]promise // guarded by mu
}

func (r *Rooms) readPromises(tx *store.Tx) error {
	r.promises.all = map[room.ID]promise{}
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpacePromises.Prefix(nil)}) {
		if err != nil {
			return err
		}
		if err := CheckPromise(it); err != nil {
			return err
		}
		name, err := store.SpacePromises.Parse(it.Key)
		if err != nil {
			return err
		}
		p, err := parsePromise(it.Value)
		if err != nil {
			return err
		}
		r.promises.all[room.ID(name)] = p
	}
	return nil
}

// promised says whether this provider has promised to be a replica of a room.
func (r *Rooms) promised(id room.ID) bool {
	r.promises.mu.Lock()
	defer r.promises.mu.Unlock()
	p, ok := r.promises.all[id]
	return ok && p.holds(r.cfg.Now())
}

// Promised is how many rooms this provider has promised to be a replica of, those
// included that have not taken it up, and how many of them have.
func (r *Rooms) Promised() (all, kept int) {
	r.promises.mu.Lock()
	defer r.promises.mu.Unlock()
	for _, p := range r.promises.all {
		if p.holds(r.cfg.Now()) {
			all++
		}
		if p.kept {
			kept++
		}
	}
	return all, kept
}

// serveWilling says whose node this is, if that is one to ask.
func (r *Rooms) serveWilling(context.Context, *Request) (*Response, error) {
	if r.cfg.Offer.Rooms <= 0 {
		return nil, problem(403, clientapi.CodeForbidden, "%s offers to keep no rooms of others", r.cfg.Domain)
	}
	return ok([]byte(r.cfg.Domain), nil)
}

// serveRecruit promises to be a replica of a room, or says why not. Asked again about a
// room that it keeps, it says whether it still does.
func (r *Rooms) serveRecruit(ctx context.Context, q *Request) (*Response, error) {
	if len(q.Body) > replica.MaxRecruit {
		return nil, problem(413, clientapi.CodeTooLarge, "%d bytes of question", len(q.Body))
	}
	ask, err := replica.ParseRecruitAsk(q.Body)
	if err != nil {
		return nil, problem(422, clientapi.CodeInvalid, "%s", err)
	}
	r.promises.giving.Lock()
	defer r.promises.giving.Unlock()
	out := &replica.RecruitAnswer{}
	p, gone := r.consider(ask.Room, q.Source, out)
	if out.Willing {
		err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for _, id := range gone {
				if err := tx.Delete(store.SpacePromises.Key(id[:])); err != nil {
					return err
				}
			}
			r.promises.mu.Lock()
			p.kept = p.kept || r.promises.all[ask.Room].kept // since a moment ago
			r.promises.mu.Unlock()
			return tx.Set(store.SpacePromises.Key(ask.Room[:]), p.bytes())
		})
		if err != nil {
			return nil, asProblem(err)
		}
		r.promises.mu.Lock()
		for _, id := range gone {
			delete(r.promises.all, id)
		}
		r.promises.all[ask.Room] = p
		r.promises.mu.Unlock()
		self := r.cfg.Replica()
		out.Until, out.ProviderKey, out.FrankingKey = p.until, self.ProviderKey, self.FrankingKey
	}
	return ok(out.Append(nil), nil)
}

// consider decides about a promise, and returns it, and those that have run out.
func (r *Rooms) consider(id room.ID, asker string, out *replica.RecruitAnswer) (p promise, gone []room.ID) {
	now := r.cfg.Now()
	refuse := func(format string, args ...any) (promise, []room.ID) {
		out.Why = fmt.Sprintf(format, args...)
		return p, nil
	}
	offer := r.cfg.Offer
	if offer.Rooms <= 0 {
		return refuse("%s offers to keep no rooms of others", r.cfg.Domain)
	}
	if h, err := r.lookup(id); err == nil {
		head := h.stand()
		switch {
		case h.stopped() != nil:
			return refuse("%s cannot follow the room", r.cfg.Domain)
		case slices.Contains(head.Providers, r.cfg.Domain) && !slices.Contains(head.Outside, r.cfg.Domain):
			return refuse("%s takes part in the room", r.cfg.Domain)
		}
	}
	r.promises.mu.Lock()
	defer r.promises.mu.Unlock()
	all, his := 0, 0
	for other, x := range r.promises.all {
		switch {
		case other == id:
		case !x.holds(now):
			gone = append(gone, other)
		default:
			all++
			if x.asker == asker {
				his++
			}
		}
	}
	old, known := r.promises.all[id]
	switch {
	case known && old.holds(now):
		p = old
	case all >= offer.Rooms:
		return refuse("%s keeps as many rooms of others as it offers to", r.cfg.Domain)
	case his >= offer.PerProvider:
		return refuse("%s keeps as many rooms for %s as it offers to keep for one provider", r.cfg.Domain, asker)
	default:
		p.asker = asker
	}
	p.until = now.Add(promiseFor).Truncate(time.Millisecond)
	out.Willing = true
	return p, gone
}

// unasked: a commit that makes this provider the room's recruit, to which it has not
// promised to be one.
func (l *live) unasked(st *room.Step) error {
	c, self := st.Commit(), l.r.cfg.Domain
	if c == nil {
		return nil
	}
	now, err := room.OutsideOf(c.Context)
	if err != nil || now.Recruit != self || slices.Contains(l.state.Providers(), self) || l.r.promised(l.h.id) {
		return err
	}
	h, err := room.HostingOf(c.Context)
	if err != nil || !slices.Contains(domainsOf(h.Replicas), self) {
		return err
	}
	return fmt.Errorf("entry %d makes %s a replica: %w", st.Entry.Seq, self, errUnasked)
}

// keep notes, with what is written of the room, whether it recruits this provider.
func (l *live) keep(tx *store.Tx, outside []string) error {
	r, id := l.r, l.h.id
	r.promises.mu.Lock()
	p, ok := r.promises.all[id]
	r.promises.mu.Unlock()
	is := slices.Contains(outside, r.cfg.Domain)
	if !ok || p.kept == is {
		return nil // one that has not been taken up waits
	}
	key := store.SpacePromises.Key(id[:])
	if p.kept = is; is {
		if err := tx.Set(key, p.bytes()); err != nil {
			return err
		}
	} else if err := tx.Delete(key); err != nil {
		return err
	}
	tx.OnCommit(func() {
		r.promises.mu.Lock()
		defer r.promises.mu.Unlock()
		if is {
			r.promises.all[id] = p
		} else {
			delete(r.promises.all, id)
		}
	})
	return nil
}

// dismiss has those told, for whom the log ends with an entry of this hub that changes the
// set: recruits that the room needs no more. began is the commit that began the change.
func (l *live) dismiss(e *room.Entry, gone []string, began room.Head) error {
	if len(gone) == 0 {
		return nil
	}
	var body []byte
	if e.Kind == room.KindHubChange {
		c, err := room.ParseHubChange(e.Body)
		if err != nil {
			return err
		}
		if c.Via != room.ByMove {
			return nil // a recruit that has released the room, which looks by itself what came of that
		}
		body = c.Commit
	} else {
		commit, err := l.entryAt(began.Seq)
		if err != nil {
			return err
		}
		body = commit.Body
	}
	h, err := room.ParseHandshake(body)
	if err != nil {
		return fmt.Errorf("commit that ends a replica's part: %w", err)
	}
	for i := range l.rep.turns {
		if t := &l.rep.turns[i]; t.seq == e.Seq {
			t.welcomes = append(t.welcomes, welcome{at: l.rep.position(e.Seq + 1), gone: gone, msg: h.Bundle.Message})
		}
	}
	return nil
}

// entryAt returns an entry of the log or the tail.
func (l *live) entryAt(seq uint64) (e *room.Entry, err error) {
	if rep := l.rep; seq >= rep.final.Next {
		if seq >= rep.end() {
			return nil, fmt.Errorf("entry %d of a log of %d: %w", seq, rep.end(), ErrUnknown)
		}
		return rep.tail[seq-rep.final.Next], nil
	}
	err = l.r.cfg.Store.View(func(tx *store.Tx) error {
		e, err = logstore.ReadEntry(tx, l.h.id, seq)
		return err
	})
	return e, err
}

// fetchPromised begins to follow a room of which a provider tells, if this one has
// promised to.
func (r *Rooms) fetchPromised(id room.ID, from string) {
	if !r.promised(id) {
		return
	}
	h := r.obtain(id)
	defer r.release(h)
	if h.asked.CompareAndSwap(false, true) && r.send(h, task{catch: from}) != nil {
		h.asked.Store(false)
	}
}

// Vacancy is what a room has to say before a replica from outside is looked for.
type Vacancy struct {
	// Present is the one that it has, "" if it has none.
	Present string
	// Taken are the providers that it is not looked for among: those that take part, and
	// the replicas.
	Taken []string
}

// Vacancy says whether a room recruits a replica from outside, as a user asks for one: an
// administrator of a room that allows it and in which two providers take part. If not it
// is a Problem.
func (r *Rooms) Vacancy(ctx context.Context, who account.Identity, id store.RoomID) (*Vacancy, error) {
	h, err := r.mine(who, id)
	if err != nil {
		return nil, err
	}
	as, err := r.as(who.User, h.stand().URI)
	if err != nil {
		return nil, asProblem(err)
	}
	out := new(Vacancy)
	var refused error
	err = r.view(ctx, h, func(s *room.State) {
		part := s.Participating()
		o, err := s.Recruiting()
		switch {
		case err != nil:
			refused = err
		case !s.Roles().May(s.Role(as), policy.ChangeHosting):
			refused = problem(403, clientapi.CodeForbidden, "only an administrator of %s recruits a replica for it", s.URI())
		case !o.Allowed:
			refused = problem(409, clientapi.CodeForbidden, "%s does not allow a replica from outside; an administrator allows it first", s.URI())
		case len(part) > room.MaxForRecruit:
			refused = problem(409, clientapi.CodeForbidden, "%d providers take part in %s, which are enough without one from outside", len(part), s.URI())
		case len(part) < room.MaxForRecruit:
			refused = problem(409, clientapi.CodeForbidden, "one provider takes part in %s: a replica from outside helps where there are two", s.URI())
		}
		if x := s.Outside(); len(x) > 0 && slices.Contains(x, o.Recruit) {
			out.Present = o.Recruit
		}
		now, next := s.Set()
		out.Taken = slices.Concat(part, domainsOf(now), domainsOf(next))
	})
	if err = errors.Join(refused, err); err != nil {
		return nil, asProblem(err)
	}
	slices.Sort(out.Taken)
	out.Taken = slices.Compact(out.Taken)
	return out, nil
}

// AskRecruit asks a provider whether it would be a replica of a room, or still is.
func (r *Rooms) AskRecruit(ctx context.Context, domain string, id store.RoomID) (*replica.RecruitAnswer, error) {
	ask := &replica.RecruitAsk{Room: room.ID(id)}
	body, err := r.cfg.Peers.Call(ctx, Call{Target: domain, Endpoint: EndpointRecruit, Subject: domain, Body: ask.Append(nil), Max: replica.MaxRecruit})
	if err != nil {
		return nil, err
	}
	return replica.ParseRecruitAnswer(body)
}
