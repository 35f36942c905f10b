package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// receive takes a piece from the room's topic. On gossip's goroutine: it checks
// what is cheap and says what it tells of the neighbour.
func (r *Rooms) receive(h *handle, data []byte) overlay.Verdict {
	p, err := room.ParsePiece(data, overlay.MaxMessage)
	if err != nil {
		return overlay.Reject
	}
	head := h.stand()
	switch {
	case head == nil, h.stopped() != nil:
		return overlay.Ignore
	case p.Head.Room != h.id:
		return overlay.Reject
	case !r.signedBy(h, p, head) && !r.signedByHeir(p, head) && !slices.ContainsFunc(p.Entries, func(e *room.Entry) bool { return e.Kind == room.KindHubChange }):
		// A hub that has changed signs with a key that this provider learns of
		// when it catches up; so a stranger's head is no offence, only no news.
		return overlay.Ignore
	case p.Head.Seq+1 == head.At.Next && p.Head.Hash != head.At.Last && head.Hub != r.cfg.Domain:
		// Another one at the end of what is here: its hub has signed two histories.
	case rival(p, head):
		// Somebody has voted for both.
	case p.Head.Seq < head.At.Next && (len(head.Set) == 0 || p.Head.Term.Compare(head.At.Term) >= 0):
		return overlay.Ignore // of an ended term: its hub is told so
	case head.Hub == r.cfg.Domain && len(head.Set) == 0 && r.signedBy(h, p, head):
		return overlay.Reject // nobody else speaks for this hub
	}
	if err := r.send(h, task{piece: p}); err != nil {
		h.behind.Store(true)
	}
	return overlay.Accept
}

// signedBy says whether a piece is signed by the hub, or by a replica that may have
// become it.
func (r *Rooms) signedBy(h *handle, p *room.Piece, head *logstore.Head) bool {
	hub := func() bool { return r.verify(h, &p.Head, head.HubKey[:]) == nil }
	// In a later term it is more likely another one's, and a key that does not fit costs as
	// much as one that does.
	later := p.Head.Term.Compare(head.At.Term) > 0
	if !later && hub() {
		return true
	}
	for _, m := range head.Set {
		if m.Key != head.HubKey && m.Domain != r.cfg.Domain && r.verify(h, &p.Head, m.Key[:]) == nil {
			return true
		}
	}
	return later && hub()
}

// signedByHeir says whether a piece of a later term is signed by a provider that takes
// part, and so may have become hub by an entry that is not written here yet.
func (r *Rooms) signedByHeir(p *room.Piece, head *logstore.Head) bool {
	if p.Head.Term.Compare(head.At.Term) <= 0 {
		return false
	}
	for _, d := range head.Providers {
		for _, k := range r.cfg.Rules.Anchors(d) {
			if pub, ok := k.(ed25519.PublicKey); ok && p.Head.Verify(pub) == nil {
				return true
			}
		}
	}
	return false
}

// errGap: a piece that does not connect to what is here.
var errGap = errors.New("rooms: entries are missing before these")

// ingest verifies a piece of the log and writes what is new in it.
func (l *live) ingest(ctx context.Context, p *room.Piece, from string) error {
	err := l.adopt(ctx, p, from)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errGap):
		l.h.behind.Store(true)
		return err
	case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFailed), errors.Is(err, store.ErrDiskFull), ctx.Err() != nil:
		return err
	case from == "":
		// Gossip passes through others; the hub's own answer will tell.
		l.h.behind.Store(true)
		return err
	}
	return err
}

func (l *live) adopt(ctx context.Context, p *room.Piece, from string) error {
	if err := l.h.stopped(); err != nil {
		return err
	}
	l.compareVotes(ctx, p)
	if len(p.Entries) > 0 && l.parted(ctx, p) {
		return l.h.stopped()
	}
	if l.rep != nil {
		return l.adoptReplicated(ctx, p, from)
	}
	at := room.Position{}
	if l.state != nil {
		at = l.state.At()
		if err := l.twoHeads(ctx, p, from); err != nil {
			return err
		}
	}
	entries := p.Entries
	for len(entries) > 0 && entries[0].Seq < at.Next {
		entries = entries[1:]
	}
	switch {
	case len(entries) == 0 && p.Head.Seq < at.Next:
		return nil // known
	case len(entries) == 0 || entries[0].Seq > at.Next:
		return errGap
	case entries[len(entries)-1].AcceptedAt > uint64(l.r.cfg.Now().Add(maxSkew).UnixMilli()):
		return fmt.Errorf("hub dates entry %d more than %s into the future", entries[len(entries)-1].Seq, maxSkew)
	}
	if err := l.backdated(entries[0]); err != nil {
		return err
	}
	var before []room.Participant
	rest := entries
	if l.state == nil {
		s, err := l.beginWith(ctx, entries[0])
		if err != nil {
			return err
		}
		l.state, rest = s, entries[1:]
	} else {
		before = l.state.Participants()
	}
	// From here the state moves ahead of the store: an error drops it.
	err := l.follow(ctx, at, entries, rest, &p.Head, before)
	if err == nil {
		return nil
	}
	l.drop()
	if !errors.Is(err, errReplicated) {
		return err
	}
	// From some entry on more than the hub decides.
	if err := l.load(ctx); err != nil {
		return err
	}
	if l.state == nil {
		return errGap
	}
	if err := l.replicate(ctx); err != nil {
		return err
	}
	return l.adoptReplicated(ctx, p, from)
}

// errReplicated: an entry from which on more than the hub decides about the room.
var errReplicated = errors.New("rooms: the room is replicated from here on")

// maxSkew is how far the clock of a hub may be ahead.
const maxSkew = 5 * time.Minute

func (l *live) beginWith(ctx context.Context, e *room.Entry) (*room.State, error) {
	s, err := room.Begin(e, l.r.cfg.Rules)
	if keyless(err) || errors.Is(err, room.ErrHosting) {
		c, perr := room.ParseCreate(e.Body)
		if perr != nil {
			return nil, err
		}
		// Afresh: the room may be the first thing that is by a new key.
		domain := c.URI.Provider().Domain()
		lerr := l.r.learnBy(ctx, domain, l.r.cfg.Peers.Refresh)
		if lerr != nil {
			lerr = l.toldOf(ctx, domain, lerr)
		}
		if lerr != nil {
			return nil, fmt.Errorf("%w (%w)", err, lerr)
		}
		s, err = room.Begin(e, l.r.cfg.Rules)
	}
	return s, err
}

func (l *live) follow(ctx context.Context, at room.Position, entries, rest []*room.Entry, head *room.SignedHead, before []room.Participant) error {
	b, err := room.Verify(l.h.id, at, entries, head, l.state.HubKey())
	if err != nil && slices.ContainsFunc(rest, func(e *room.Entry) bool { return e.Kind == room.KindHubChange }) {
		return errReplicated
	}
	if err != nil {
		return err
	}
	for _, e := range rest {
		if e.Kind == room.KindHubChange || e.Kind == room.KindSettled {
			return errReplicated
		}
		st, err := l.check(ctx, e)
		if err == nil && changesSet(l.state, st) {
			return errReplicated
		}
		if err != nil {
			// The hub has signed it, and it cannot be.
			l.condemn(ctx, err, e, entries, head)
			return err
		}
		adopted := l.entering(st)
		if err := l.state.Advance(st); err != nil {
			return err
		}
		adopted()
		if c := st.Commit(); c != nil {
			l.adds.note(l.state.GroupInfo().Context.TreeHash, room.AddedClients(c), l.state.At())
		}
	}
	if err := l.write(ctx, b, before, nil); err != nil {
		return err
	}
	l.r.counts.followed.Add(uint64(len(entries)))
	return nil
}

// check checks an entry; if a provider in it is not known yet, it is looked up. One that
// recruits this provider unasked is not followed.
func (l *live) check(ctx context.Context, e *room.Entry) (*room.Step, error) {
	st, err := l.checkKnown(ctx, e)
	if err == nil {
		err = l.unasked(st)
	}
	return st, err
}

func (l *live) checkKnown(ctx context.Context, e *room.Entry) (*room.Step, error) {
	st, err := l.state.Check(e)
	if !keyless(err) || e.Kind != room.KindHandshake {
		return st, err
	}
	h, perr := room.ParseHandshake(e.Body)
	if perr != nil || h.Info() == nil {
		return st, err
	}
	// As many new ones as the hub has looked up; it has signed the entry. That it makes
	// us look up again those that are known has a bound.
	limit, afresh := math.MaxInt, errors.Is(err, x509auth.ErrUntrusted)
	if afresh {
		limit = maxLookups
	}
	if lerr := l.r.learnParticipants(ctx, &h.Info().Context, limit, afresh, l.toldOf); lerr != nil {
		return nil, fmt.Errorf("%w (%w)", err, lerr)
	}
	return l.state.Check(e)
}

// maxLookups is how many providers are looked up for one submission at most. Who
// adds users of more in one commit is told that they are unknown.
const maxLookups = 64

// keyless says whether an error may be of this provider's not knowing another's key,
// or its newest one. Nobody but that provider can be blamed for it.
func keyless(err error) bool {
	return errors.Is(err, x509auth.ErrUnknownProvider) || errors.Is(err, x509auth.ErrUntrusted)
}

// learnParticipants looks up the providers of a context's participants and replicas that
// have no key here yet, no more than limit; with afresh, those that have one, too,
// because somebody's certificate is not by it. Of what cannot be found told may bring word;
// nil: nobody is asked.
func (r *Rooms) learnParticipants(ctx context.Context, c *mls.GroupContext, limit int, afresh bool, told func(ctx context.Context, domain string, lost error) error) error {
	list, err := room.ParticipantsOf(c)
	if err != nil {
		return err
	}
	seen := map[string]bool{r.cfg.Domain: true}
	var all []string
	for _, p := range list {
		u, err := uri.ParseParticipant(string(p.User))
		if err != nil {
			return err
		}
		all = append(all, u.Provider().Domain())
	}
	if h, err := room.HostingOf(c); err == nil {
		all = append(all, domainsOf(h.Replicas)...)
	}
	for _, d := range all {
		if seen[d] {
			continue
		}
		known := len(r.cfg.Rules.Anchors(d)) > 0
		if seen[d] = true; known && !afresh {
			continue
		}
		if limit--; limit < 0 {
			return nil
		}
		find := r.cfg.Peers.Resolve
		if known {
			find = r.cfg.Peers.Refresh
		}
		err := r.learnBy(ctx, d, find)
		if err != nil && !known && told != nil {
			err = told(ctx, d, err)
		}
		if err != nil && !known {
			return fmt.Errorf("looking up %s: %w", d, err)
		}
	}
	return nil
}

// condemn stops following a room whose hub signed what cannot be. That another
// provider or its newest key cannot be found is no such thing, nor is a full disk: then
// the log waits before the entry, and the operator sees why. What the hub has signed is
// kept, as the proof and so that a restart does not try again. Of a room that has not
// come to be here nothing is kept, or anybody could fill the disk with rooms that begin
// wrong.
func (l *live) condemn(ctx context.Context, err error, bad *room.Entry, entries []*room.Entry, head *room.SignedHead) {
	if keyless(err) || errors.Is(err, errUnasked) {
		l.h.mu.Lock()
		l.h.held = fmt.Sprintf("entry %d cannot be verified yet: %v", bad.Seq, err)
		l.h.mu.Unlock()
		return
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	c := &logstore.Condemned{Room: l.h.id, Why: err.Error(), Head: *head}
	for _, e := range entries {
		if e.Seq >= bad.Seq {
			c.Entries = append(c.Entries, e)
		}
	}
	l.halt(ctx, c)
}

// halt stops following a room, and keeps the proof why.
func (l *live) halt(ctx context.Context, c *logstore.Condemned) {
	l.r.log.Error("the hub has signed what cannot be; this provider stops following the room", "room", l.h.id, "why", c.Why)
	l.r.counts.broken.Add(1)
	l.h.mu.Lock()
	stored := l.h.head != nil
	l.h.mu.Unlock()
	if stored {
		l.putCondemned(ctx, c) // before anybody can see that it stands still
	}
	l.h.mu.Lock()
	l.h.broken = c.Why
	if l.h.head != nil {
		l.h.brokeIn = l.h.head.At.Term.Era
	}
	l.h.mu.Unlock()
	if !stored {
		return
	}
	l.tellStopped()
	if err := l.r.refreshTopic(l.h); err != nil {
		l.r.log.Error("leaving topic", "room", l.h.id, "err", err)
	}
}

// tellStopped tells the local users that their room stands still here.
func (l *live) tellStopped() {
	if l.state == nil {
		return
	}
	ev := clientapi.HubState{Room: l.h.id.String(), Hub: l.state.Hub().Domain, Stopped: true}
	l.h.mu.Lock()
	ev.Parting, ev.Conflict = l.h.parting, l.h.conflict
	l.h.mu.Unlock()
	if err := l.r.cfg.Feed.Tell(l.r.cfg.Feed.Hearing(l.h.id, l.r.localUsers(l.state.URI(), l.state.Participants())), clientapi.EventHub, ev); err != nil {
		l.r.log.Error("telling users of a room's hub", "room", l.h.id, "err", err)
	}
}

// catchUp asks a provider for what is missing, until nothing is. While one piece
// is verified and written, the next one is on its way.
func (l *live) catchUp(ctx context.Context, from string) error {
	l.h.behind.Store(false)
	l.reading = from
	defer func() { l.reading = "" }()
	// A piece that failed has dropped the state; without it the log would begin anew.
	if err := l.load(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.h.stuck() && l.state != nil {
		return l.chosen(ctx, from)
	}
	next := l.next()
	ask := l.r.ask(ctx, from, l.h, next)
	for {
		if err := l.h.stopped(); err != nil {
			return err
		}
		got := <-ask
		if got.err != nil {
			l.r.log.Warn("catching up", "room", l.h.id, "from", from, "seq", next, "err", got.err)
			return got.err
		}
		if got.piece == nil {
			return nil
		}
		ask = l.r.ask(ctx, from, l.h, got.piece.Head.Seq+1)
		if err := l.ingest(ctx, got.piece, from); err != nil {
			l.r.log.Warn("catching up", "room", l.h.id, "from", from, "seq", next, "err", err)
			l.h.behind.Store(false) // the next piece, nudge or exchange tries again
			return err
		}
		l.settleUp(ctx)
		if err := l.load(ctx); err != nil {
			return err
		}
		end := l.next()
		if l.rep != nil {
			end = l.rep.end() // what is not final counts, too
		}
		was := next
		if next = got.piece.Head.Seq + 1; next <= was || next > end || l.rep == nil && next != end {
			return fmt.Errorf("%s sends a piece that leads nowhere", from)
		}
	}
}

// next returns the sequence number of the next entry.
func (l *live) next() uint64 {
	switch {
	case l.state == nil:
		return 0
	case l.rep != nil:
		return l.rep.final.Next // what is beyond may be replaced
	}
	return l.state.At().Next
}

type answer struct {
	piece *room.Piece // nil: there is nothing new
	err   error
}

// ask fetches a piece on the side. The channel has room for the answer, so nobody
// has to take it.
func (r *Rooms) ask(ctx context.Context, from string, h *handle, next uint64) <-chan answer {
	ch := make(chan answer, 1)
	if !r.spawn(func(context.Context) {
		p, err := r.fetch(ctx, from, h, next)
		ch <- answer{p, err}
	}) {
		ch <- answer{err: ErrStopped}
	}
	return ch
}

// fetch asks for one piece; nil if there is nothing new.
func (r *Rooms) fetch(ctx context.Context, from string, h *handle, next uint64) (*room.Piece, error) {
	stand := room.Stand{Room: h.id, Next: next}
	if head := h.stand(); head != nil && head.At.Next == next {
		stand.Term = head.At.Term
	}
	return r.fetchAt(ctx, from, h, stand)
}

// fetchAt is fetch from a place on that need not be the end of the log here. With a term it
// is what goes beyond that term, if that is earlier.
func (r *Rooms) fetchAt(ctx context.Context, from string, h *handle, stand room.Stand) (*room.Piece, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ctx, end := r.calls.begin(ctx, from)
	defer end()
	body, err := r.cfg.Peers.Call(ctx, Call{Target: from, Endpoint: EndpointLog, Subject: h.id.String(),
		Body: room.AppendStands(nil, []room.Stand{stand}), Max: pieceLimit})
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, nil
	}
	r.counts.ranges.Add(1)
	return room.ParsePiece(body, pieceLimit)
}

// meshEnough is how many providers must have got a batch directly for the hub to
// rely on gossip for the others. A mesh aims at six.
const meshEnough = 5

// publish sends a batch to the room's topic, and nudges the providers that are
// not there.
func (l *live) publish(ctx context.Context, b *room.Batch) {
	l.publishPiece(ctx, &room.Piece{Head: b.Head(), Entries: b.Entries()})
}

// publishPiece publishes a piece, or announces it if it is too large.
func (l *live) publishPiece(ctx context.Context, p *room.Piece) {
	t, head := l.h.topic.Load(), l.h.stand()
	if t == nil || p.Head == (room.SignedHead{}) {
		return
	}
	topic := *t
	data := p.Append(nil)
	if len(data) > overlay.MaxMessage {
		p.Entries = nil // announced, and asked for
		data = p.Append(nil)
	}
	if err := topic.Publish(ctx, data); err != nil && ctx.Err() == nil {
		l.r.log.Warn("publishing to room", "room", l.h.id, "err", err)
	}
	there := map[string]bool{l.r.cfg.Domain: true}
	mesh := topic.Mesh() // without r.mu, which gossip may need to answer
	l.r.mu.RLock()
	for _, n := range mesh {
		there[l.r.nodes[n]] = true
	}
	l.r.mu.RUnlock()
	enough := len(there) > meshEnough // for those with nodes: they hear it from these
	tell := head.Providers
	if l.state != nil {
		// One that is being recruited cannot hear of it otherwise before it is final.
		tell = append(slices.Clone(tell), without(l.state.Outside(), tell)...)
	}
	for _, d := range tell {
		if !there[d] && !l.r.dead(d) && !(enough && l.r.knows(d)) { // who comes back asks
			l.r.nudge(d, p.Head)
		}
	}
}

// settlingIn is how long after a room has begun here it is asked for once more.
const settlingIn = 2 * time.Second

// lookAgain asks the hub of a room that has just begun here once more for what is missing.
// Until its subscription has got around, this provider is in nobody's mesh, and where that
// holds enough others, nobody tells it of a batch either: it would hear of it with the next
// one only, or with the next exchange.
func (r *Rooms) lookAgain(h *handle) {
	r.spawn(func(ctx context.Context) {
		select {
		case <-time.After(r.settleIn):
		case <-ctx.Done():
			return
		}
		head := h.stand()
		if head == nil || head.Hub == r.cfg.Domain || !h.asked.CompareAndSwap(false, true) {
			return
		}
		if r.send(h, task{catch: head.Hub}) != nil {
			h.asked.Store(false)
		}
	})
}

// exchangeAll asks every hub where its rooms stand, and one of those that only follow them.
func (r *Rooms) exchangeAll(ctx context.Context) {
	hubs := map[string]bool{}
	for _, h := range r.all() {
		if head := h.stand(); head != nil {
			if head.Hub != r.cfg.Domain && slices.Contains(head.Providers, r.cfg.Domain) {
				hubs[head.Hub] = true
			}
			for _, m := range head.Set {
				if m.Domain != r.cfg.Domain {
					hubs[m.Domain] = true
				}
			}
			for _, p := range head.Providers {
				if p != r.cfg.Domain && !r.knows(p) {
					hubs[p] = true // to learn its nodes
				}
			}
		}
	}
	if d := r.fellow(hubs); d != "" {
		hubs[d] = true
	}
	for d := range hubs {
		r.spawn(func(ctx context.Context) { r.Exchange(ctx, d) })
	}
}

// Exchange asks a provider where the rooms stand that both keep, catches up, and sees
// whether what both have is the same. Call it whenever a connection to one of its nodes is made.
func (r *Rooms) Exchange(ctx context.Context, domain string) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := r.learn(ctx, domain); err != nil {
		r.log.Debug("looking up provider", "domain", domain, "err", err)
		return
	}
	r.repeatVoted(domain)
	r.repeatLies(domain)
	var stands []room.Stand
	for _, h := range r.all() {
		if head := h.stand(); head != nil && (h.stopped() == nil && (r.comparable(head, domain) || r.fellows(head, domain)) || h.stuck() && domain != head.Hub && slices.Contains(head.Providers, domain)) {
			stands = append(stands, standOf(h.id, head))
		}
	}
	for page := range slices.Chunk(stands, room.MaxStands) {
		begin := r.cfg.Now()
		body, err := r.cfg.Peers.Call(ctx, Call{Target: domain, Endpoint: EndpointHeads, Subject: domain,
			Body: room.AppendStands(nil, page), Max: pieceLimit})
		if err == nil {
			err = r.compare(domain, body)
		}
		if err == nil {
			r.confirm(domain, page, body, begin)
		}
		if err != nil {
			r.log.Debug("asking where rooms stand", "hub", domain, "err", err)
			return
		}
	}
}

// comparable says whether a provider may know more of a room than this one: its hub,
// another replica, and if this one is the hub everybody, who may have moved the room
// away meanwhile.
func (r *Rooms) comparable(head *logstore.Head, domain string) bool {
	return head.Hub == domain && slices.Contains(head.Providers, r.cfg.Domain) ||
		head.Member(domain) && head.Member(r.cfg.Domain) ||
		head.Hub == r.cfg.Domain && slices.Contains(head.Providers, domain)
}

// ahead says whether another provider's log goes beyond this one: in a higher term, or
// in this one, or it does not say in which.
func ahead(s room.Stand, at room.Position) bool {
	c := s.Term.Compare(at.Term)
	return c > 0 || s.Next > at.Next && (c == 0 || s.Term == room.Term{})
}

// compare reads where a hub's rooms stand and has those caught up that are behind.
func (r *Rooms) compare(domain string, body []byte) error {
	stands, err := room.ParseStands(body)
	if err != nil {
		return err
	}
	for _, s := range stands {
		h, err := r.lookup(s.Room)
		if err != nil {
			r.beginning(s.Room)
			r.fetchPromised(s.Room, domain)
			continue
		}
		head, stopped := h.stand(), h.stopped() != nil
		t := task{catch: domain}
		switch {
		case !slices.Contains(head.Providers, domain) && !head.Member(domain) || stopped && !h.stuck():
			continue
		case ahead(s, head.At):
		case forked(s, head.At) && !stopped:
			t = task{other: domain}
		default:
			continue
		}
		// Once, however often we are told before it is done.
		if h.asked.CompareAndSwap(false, true) && r.send(h, t) != nil {
			h.asked.Store(false)
			h.behind.Store(true)
		}
	}
	return nil
}

// beginning notes that somebody tells of a room that is just being read here for the first
// time: what it is told of may be after what was read.
func (r *Rooms) beginning(id room.ID) {
	r.mu.RLock()
	h := r.rooms[id]
	r.mu.RUnlock()
	if h != nil {
		h.behind.Store(true)
	}
}

// confirm notes of the rooms that a hub was asked about, and has said nothing of, that
// their logs ended there then.
func (r *Rooms) confirm(domain string, asked []room.Stand, answer []byte, at time.Time) {
	more := map[room.ID]bool{}
	stands, err := room.ParseStands(answer)
	if err != nil {
		return
	}
	for _, s := range stands {
		more[s.Room] = true
	}
	for _, s := range asked {
		h, err := r.lookup(s.Room)
		if err != nil || more[s.Room] {
			continue
		}
		if head := h.stand(); head != nil && head.Hub == domain {
			h.mu.Lock()
			h.ended = ended{s.Next, at}
			h.mu.Unlock()
		}
	}
}

// backdated: a hub that decides alone dates an entry to a time at which it had said, by
// this provider's clock, that the entry is not there. That would let it pretend that
// somebody was silent who had no time to speak (see room.Succession).
func (l *live) backdated(e *room.Entry) error {
	if l.state == nil {
		return nil
	}
	if now, next := l.state.Set(); len(now) != 1 || len(next) > 0 {
		return nil // it may have waited for others
	}
	l.h.mu.Lock()
	told := l.h.ended
	l.h.mu.Unlock()
	if told.next != e.Seq || e.AcceptedAt >= uint64(max(0, told.at.Add(-maxSkew).UnixMilli())) {
		return nil
	}
	return fmt.Errorf("hub dates entry %d %s, and said at %s that it is not there: its clock is wrong, or it lies", e.Seq,
		time.UnixMilli(int64(e.AcceptedAt)).UTC().Format(time.RFC3339), told.at.UTC().Format(time.RFC3339))
}

// recentAdds remembers whom the last commits added, by the tree that they made:
// the Welcome names KeyPackages, whose owners only the commit tells.
type recentAdds struct {
	list []recentAdd
}

type recentAdd struct {
	tree  string
	added []room.Added
	at    room.Position
}

func (a *recentAdds) note(tree []byte, added []room.Added, at room.Position) {
	if len(added) == 0 {
		return
	}
	if a.list = append(a.list, recentAdd{string(tree), added, at}); len(a.list) > 64 {
		a.list = slices.Delete(a.list, 0, 32)
	}
}

func (a *recentAdds) find(tree []byte) (recentAdd, bool) {
	for _, x := range slices.Backward(a.list) {
		if x.tree == string(tree) {
			return x, true
		}
	}
	return recentAdd{}, false
}
