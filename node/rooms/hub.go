package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// submission is what a provider brings to the hub for one of its users. One of
// create, message and update is set.
type submission struct {
	from    string // domain of the provider
	txn     room.TxnID
	nonce   room.TxnNonce // of a message
	frank   *wire.Frank   // of a message, once it is ordered
	ban     uri.User      // what this provider proposes itself, instead of the three
	off     bool          // with ban: that the user is taken off the list
	create  *room.Create
	message *wire.SubmitMessageRequest
	hidden  *room.Hidden // with message: from is nobody, and the proof is here
	update  *wire.HandshakeBundle
	result  chan result // capacity 1
}

// result is what became of it: an entry, or why not, and the room's epoch.
type result struct {
	seq        uint64
	acceptedAt uint64
	epoch      uint64
	stored     bool        // durable already: nothing to wait for
	frank      *wire.Frank // of a message
	err        error
}

func (s *submission) fail(err error) { s.result <- result{err: err} }

// batch is what the hub has ordered and not written yet. The state in memory is
// ahead of the store by it.
type batch struct {
	from    room.Position
	before  []room.Participant
	entries []*room.Entry
	bytes   int
	txns    map[room.TxnID]result
	waiting []*submission
	results []result
	welcome []welcome
	// cut: a provider stops taking part with the last entry. It may read the log to
	// there, and heads are at the ends of batches, so the batch ends here.
	cut bool
}

// welcome is a Welcome of a commit in the batch, and what goes with it.
type welcome struct {
	w     *mls.Welcome // nil: only a notice that the room is there
	tree  *mls.RatchetTree
	added []room.Added
	at    room.Position
	gone  []string     // providers that no longer take part and are told so
	fresh []string     // providers that take part from here on
	msg   *mls.Message // the commit; nil: the room has begun
}

// full says that a further entry of the usual size would be too much.
func (b *batch) full(limit int) bool {
	return b.cut || b.bytes+4<<10 > limit || len(b.entries) >= batchEntries
}

// submit orders a submission, or answers it.
func (l *live) submit(s *submission) {
	res, err := l.order(s)
	if errors.Is(err, errLater) {
		return
	}
	if err != nil {
		if l.state != nil {
			res.epoch = l.state.Epoch()
		}
		res.err = err
		s.result <- res
		return
	}
	if res.stored { // whatever becomes of the batch
		s.result <- res
		return
	}
	if l.rep != nil {
		l.rep.orders = append(l.rep.orders, order{s, res})
		return
	}
	l.batch.waiting = append(l.batch.waiting, s)
	l.batch.results = append(l.batch.results, res)
}

func (l *live) order(s *submission) (result, error) {
	if err := l.h.stopped(); err != nil {
		// An administrator's move is what ends that.
		if l.state != nil && l.h.stuck() {
			if to, ok := moveOf(s.update, l.state.At().Term); ok {
				return l.beginMove(s, to)
			}
		}
		return result{}, err
	}
	if l.batch != nil {
		if res, ok := l.batch.txns[s.txn]; ok {
			return res, nil
		}
	}
	if res, err := l.duplicate(s.txn); err == nil {
		return res, nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return result{}, err
	}
	if s.create != nil {
		return l.orderCreate(s)
	}
	if l.state == nil {
		return result{}, ErrUnknown
	}
	if l.rep != nil {
		if res, ok := l.rep.ordered(s.txn); ok {
			return res, nil
		}
	}
	if to, ok := moveOf(s.update, l.state.At().Term); ok {
		return l.beginMove(s, to)
	}
	if l.rep != nil && l.bound() {
		return result{}, fmt.Errorf("this provider has acknowledged that the room is moved to %s, and has not heard whether it was: %w", l.rep.names.Name(l.rep.m.State().Vote.For), errMoving)
	}
	if h := l.state.Hub().Domain; h != l.r.cfg.Domain {
		return result{}, fmt.Errorf("the hub is %s: %w", h, errMoving)
	}
	switch {
	case s.message != nil:
		return l.orderMessage(s)
	case !s.ban.IsZero():
		return l.orderBan(s)
	}
	return l.orderUpdate(s)
}

// duplicate finds the entry of a submission that was made before.
func (l *live) duplicate(txn room.TxnID) (res result, err error) {
	err = l.r.cfg.Store.View(func(tx *store.Tx) error {
		seq, err := logstore.SeqOf(tx, l.h.id, txn)
		if err != nil {
			return err
		}
		e, err := logstore.ReadEntry(tx, l.h.id, seq)
		if err != nil {
			return err
		}
		res = result{seq: e.Seq, acceptedAt: e.AcceptedAt, stored: true, frank: frankOf(e)}
		return nil
	})
	if err == nil {
		l.r.counts.duplicates.Add(1)
	}
	return res, err
}

func (l *live) orderCreate(s *submission) (result, error) {
	if l.state != nil {
		return result{}, errExists
	}
	e := room.FirstEntry(s.create, s.txn, l.r.cfg.Now())
	if e.Room != l.h.id {
		return result{}, fmt.Errorf("room %s: %w", s.create.URI, room.ErrWrongRoom)
	}
	st, err := room.Begin(e, l.r.cfg.Rules)
	if err != nil {
		return result{}, err
	}
	if h := st.Hosting().Hub; h.Domain != l.r.cfg.Domain || string(h.ProviderKey[:]) != string(l.r.publicKey()) {
		return result{}, fmt.Errorf("room begins at hub %s with a key that is not this provider's present one: %w", h.Domain, room.ErrHosting)
	}
	if err := l.r.parentAllows(st); err != nil {
		return result{}, err
	}
	l.state = st
	l.begin(room.Position{}, nil)
	if fresh := without(st.Participating(), []string{l.r.cfg.Domain}); len(fresh) > 0 {
		l.batch.welcome = append(l.batch.welcome, welcome{at: st.At(), fresh: fresh})
	}
	return l.add(e, s), nil
}

var errExists = errors.New("rooms: the room exists already")

func (l *live) begin(from room.Position, before []room.Participant) {
	if l.batch == nil {
		l.batch = &batch{from: from, before: before, txns: map[room.TxnID]result{}}
	}
}

func (l *live) add(e *room.Entry, s *submission) result {
	res := result{seq: e.Seq, acceptedAt: e.AcceptedAt, epoch: l.state.Epoch(), frank: s.frank}
	b := l.batch
	b.entries = append(b.entries, e)
	b.bytes += len(e.Body) + 192
	b.txns[s.txn] = res
	return res
}

func (l *live) orderMessage(s *submission) (result, error) {
	by := l.r.cfg.Franker
	known := by != nil && by.Is(l.state.Hub().FrankingKey)
	var m *room.Message
	var err error
	switch {
	case s.hidden == nil:
		m, err = l.state.AdmitMessage(s.message, s.from)
	case known:
		m, err = l.admitHidden(s, by)
	}
	if err != nil {
		return result{}, err
	}
	if !known {
		return result{}, fmt.Errorf("the room is franked with key %x..., which is not here: %w", l.state.Hub().FrankingKey[:4], ErrNoKey)
	}
	e := l.state.NewEntry(room.KindMessage, s.txn, nil, l.r.cfg.Now())
	if err := by.Frank(m, l.state.URI(), s.message.SendingURI, e.AcceptedAt, s.nonce); err != nil {
		return result{}, err
	}
	if e.Body, err = m.Bytes(); err != nil {
		return result{}, err
	}
	s.frank = m.Frank
	return l.advance(s, e, nil)
}

// frankOf returns the frank of a message's entry, nil for any other.
func frankOf(e *room.Entry) *wire.Frank {
	if e.Kind != room.KindMessage {
		return nil
	}
	m, err := room.ParseMessage(e.Body)
	if err != nil {
		return nil
	}
	return m.Frank
}

func (l *live) orderUpdate(s *submission) (result, error) {
	body, err := room.HandshakeOf(s.update).Bytes()
	if err != nil {
		return result{}, err
	}
	return l.advance(s, l.state.NewEntry(room.KindHandshake, s.txn, body, l.r.cfg.Now()), s.update)
}

// advance orders the entry that continues the log with a submission.
func (l *live) advance(s *submission, e *room.Entry, up *wire.HandshakeBundle) (result, error) {
	if len(e.Body) > room.MaxBody {
		return result{}, fmt.Errorf("entry of %d bytes, the limit is %d: %w", len(e.Body), room.MaxBody, errLarge)
	}
	st, err := l.state.Check(e)
	if err != nil {
		return result{}, err
	}
	if up != nil && s.ban.IsZero() {
		if err := l.state.AdmitUpdate(up, st, s.from); err != nil {
			return result{}, err
		}
		if err := l.rationed(st); err != nil {
			return result{}, err
		}
		if err := l.ofParent(st); err != nil {
			return result{}, err
		}
	}
	lost := l.lostBans(st)
	if l.rep == nil && changesSet(l.state, st) {
		// From this entry on others decide, too. What is ordered before it is final.
		l.flush(l.r.background())
		if l.state == nil {
			return result{}, errMoving
		}
		if err := l.replicate(l.r.background()); err != nil {
			return result{}, err
		}
	}
	if l.rep != nil {
		res, err := l.orderReplicated(s, st, up)
		if err == nil {
			l.afterEntry(st, lost)
		}
		return res, err
	}
	from, before := l.state.At(), l.state.Participants()
	var providers []string
	if up != nil { // messages change no participant, and there are many
		providers = l.state.Providers()
	}
	adopted := l.entering(st)
	if err := l.state.Advance(st); err != nil {
		l.r.log.Error("advancing room", "room", l.h.id, "err", err)
		l.failBatch(err)
		return result{}, err
	}
	adopted()
	l.begin(from, before)
	if w := l.welcomeOf(st, up, providers); w != nil {
		if w.w != nil || len(w.gone)+len(w.fresh) > 0 {
			l.batch.welcome = append(l.batch.welcome, *w)
		}
		l.batch.cut = len(w.gone) > 0
	}
	l.afterEntry(st, lost)
	return l.add(e, s), nil
}

// rationed holds back who changes the room again and again, in whose epochs others' changes
// come too late. Proposals are bounded in their number by MLS, and end no epoch.
func (l *live) rationed(st *room.Step) error {
	c := st.Commit()
	if c == nil {
		return nil
	}
	u, err := l.state.Author(c)
	if err != nil {
		return err
	}
	if ok, wait := l.r.commits.Take(l.h.id.String()+" "+u.String(), 1, l.r.cfg.Now()); !ok {
		return &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: max(1, wait.Milliseconds()),
			Detail: fmt.Sprintf("%s changes the room faster than others could follow; try again in %v", u.Short(), wait)}
	}
	return nil
}

// afterEntry does what an ordered commit asks for: the GroupInfo of one from outside was used,
// and bans that it left behind are proposed again, those that it brings in force forgotten.
func (l *live) afterEntry(st *room.Step, lost []uri.User) {
	if u, ok := room.Joiner(st.Commit()); ok {
		l.r.entries.followed(u)
	}
	if st.Commit() != nil {
		l.afterCommit(lost)
	}
}

// welcomeOf returns what goes with a commit that the state has adopted; nil for
// anything else. providers took part before.
func (l *live) welcomeOf(st *room.Step, up *wire.HandshakeBundle, providers []string) *welcome {
	c := st.Commit()
	if c == nil {
		return nil
	}
	now := l.state.Providers()
	return &welcome{w: up.Welcome, tree: l.state.Group().Tree(), added: room.AddedClients(c), at: l.state.At(), msg: up.Message,
		gone: without(providers, now), fresh: without(now, providers)}
}

var errLarge = errors.New("rooms: too large")

// without returns what is in a and not in b. With every commit it is asked about all users
// of a provider in a room, of whom there may be thousands, so it does not compare each with
// each.
func without[T comparable](a, b []T) []T {
	if len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] {
		return nil
	}
	in := func(x T) bool { return slices.Contains(b, x) }
	if len(a) > few && len(b) > few {
		set := make(map[T]bool, len(b))
		for _, x := range b {
			set[x] = true
		}
		in = func(x T) bool { return set[x] }
	}
	var out []T
	for _, x := range a {
		if !in(x) {
			out = append(out, x)
		}
	}
	return out
}

// few are compared faster than looked up.
const few = 16

// flush writes the batch, and then lets the world know.
func (l *live) flush(ctx context.Context) {
	b := l.batch
	if b == nil {
		return
	}
	l.batch = nil
	var sealed *room.Batch
	key, err := l.r.signer(l.state.HubKey())
	if err == nil {
		sealed, err = room.Seal(l.h.id, b.from, b.entries, key)
	}
	if err == nil {
		err = l.write(ctx, sealed, b.before, b.welcome)
	}
	if err != nil {
		l.r.log.Error("writing what the room's hub has ordered", "room", l.h.id, "entries", len(b.entries), "err", err)
		l.batch = b
		l.failBatch(err)
		return
	}
	l.r.counts.ordered.Add(uint64(len(b.entries)))
	for i, s := range b.waiting {
		s.result <- b.results[i]
	}
	l.publish(ctx, sealed)
}

// signer returns the private half of the key that a room names as its hub's.
func (r *Rooms) signer(pub ed25519.PublicKey) (ed25519.PrivateKey, error) {
	if k := r.cfg.Signer(pub); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("the room is ordered with provider key %x..., which is not here: %w", pub[:4], ErrNoKey)
}

// failBatch answers everybody who waits for the batch, and forgets the state.
func (l *live) failBatch(err error) {
	if b := l.batch; b != nil {
		for _, s := range b.waiting {
			s.fail(err)
		}
	}
	l.drop()
}

// standing is what a room's state says as of one entry: what is stored and told when
// the log is durable up to there.
type standing struct {
	parts        []room.Part
	hub          room.Replica
	topic        [16]byte
	providers    []string
	participants []room.Participant
	epoch        uint64
	set          []logstore.Member // none where the hub decides alone
	auto         bool
	outside      []string // those of providers that have no participant
}

func standingOf(s *room.State) standing {
	st := standing{parts: s.Unsaved(), hub: *s.Hub(), topic: s.Hosting().Topic, providers: s.Providers(), participants: s.Participants(), epoch: s.Epoch()}
	st.auto, st.outside = s.Hosting().Failover == room.FailoverAuto, s.Outside()
	now, next := s.Set()
	if len(now) == 1 && len(next) == 0 && now[0].Domain == st.hub.Domain {
		return st
	}
	for _, list := range [][]room.Replica{now, next} {
		for _, x := range list {
			m := logstore.Member{Domain: x.Domain, Key: x.ProviderKey}
			if !slices.Contains(st.set, m) {
				st.set = append(st.set, m)
			}
		}
	}
	return st
}

// decided is a piece of the log that is final, and what goes with it.
type decided struct {
	batch    *room.Batch
	cert     *room.Certificate // nil where the hub decides alone
	now      standing
	before   []room.Participant // before the batch
	welcomes []welcome
	more     bool // what is final goes on behind it
}

// write makes a verified batch durable, with all that follows from it.
func (l *live) write(ctx context.Context, b *room.Batch, before []room.Participant, welcomes []welcome) error {
	d := &decided{batch: b, now: standingOf(l.state), before: before, welcomes: welcomes}
	return l.commit(ctx, d, func(*store.Tx) error { return nil })
}

// commit makes what is decided durable: the log, the room's state, the feed of the
// local users, notices to other providers; and what more adds, in one transaction. d
// is nil if nothing was decided.
func (l *live) commit(ctx context.Context, d *decided, more func(tx *store.Tx) error) error {
	if d == nil {
		if err := l.r.cfg.Store.Update(context.WithoutCancel(ctx), more); err != nil {
			return fmt.Errorf("writing room: %w", err)
		}
		return nil
	}
	id, now, b := l.h.id, &d.now, d.batch
	head := &logstore.Head{URI: l.state.URI(), At: b.After(), Topic: now.topic, Hub: now.hub.Domain, HubKey: now.hub.ProviderKey,
		Providers: now.providers, Epoch: now.epoch, Set: now.set, Auto: now.auto, Outside: now.outside}
	local, err := l.r.usersIn(l.state.URI(), now.participants)
	if err != nil {
		return fmt.Errorf("writing room: %w", err)
	}
	was, readers := local, local
	changed := slices.ContainsFunc(b.Entries(), func(e *room.Entry) bool { return e.Kind != room.KindMessage })
	if changed {
		if was, err = l.r.usersIn(l.state.URI(), d.before); err != nil {
			return fmt.Errorf("writing room: %w", err)
		}
		readers = union(local, was)
	}
	data := []byte(nil)
	if l.r.cfg.Feed.Listening(readers) {
		enc := make([][]byte, 0, len(b.Entries()))
		for _, e := range b.Entries() {
			enc = append(enc, e.Append(nil))
		}
		signed := b.Head()
		data = feed.EntriesData(id, enc, signed.Append(nil))
	}
	// Not the caller's context: once the writer has the batch, giving up would only
	// leave us not knowing whether it is durable.
	err = l.r.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		if err := more(tx); err != nil {
			return err
		}
		if err := l.keep(tx, now.outside); err != nil {
			return err
		}
		f := l.r.cfg.Feed
		pos, err := f.Next(tx)
		if err != nil {
			return err
		}
		head.Feed = pos
		if err := logstore.Append(tx, id, b, d.cert, pos); err != nil {
			return err
		}
		if err := logstore.PutParts(tx, id, now.parts); err != nil {
			return err
		}
		if err := logstore.PutHead(tx, head); err != nil {
			return err
		}
		if err := l.comeIn(tx, without(local, was), b.Entries()[0].Seq, pos); err != nil {
			return err
		}
		if err := l.r.goOut(tx, without(was, local), id, pos); err != nil {
			return err
		}
		if len(readers) > 0 {
			f.Entries(tx, id, readers, pos, data)
		}
		for _, w := range d.welcomes {
			if err := l.notify(tx, w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing room: %w", err)
	}
	for _, u := range without(local, was) {
		delete(l.entrants, u)
	}
	var known []string
	l.h.mu.Lock()
	if l.h.head != nil {
		known = l.h.head.Providers
		if l.h.head.Hub != head.Hub || l.h.head.At.Term != head.At.Term {
			l.h.moveLocked()
		}
	} else {
		l.r.counts.here.Add(1)
	}
	begins := l.h.head == nil
	l.h.head, l.h.held = head, ""
	l.r.turns.Add(1)
	l.h.mu.Unlock()
	if changed && l.r.cfg.Changed != nil {
		l.r.cfg.Changed(id)
	}
	if err := l.r.refreshTopic(l.h); err != nil {
		l.r.log.Error("joining topic", "room", id, "err", err)
	}
	if begins {
		l.r.lookAgain(l.h)
	}
	// Those that are new; whoever cannot be found now is looked up with the next
	// exchange, not with every batch.
	for _, p := range without(head.Providers, known) {
		if !l.r.knows(p) {
			l.r.spawn(func(ctx context.Context) {
				ctx, cancel := context.WithTimeout(ctx, callTimeout)
				defer cancel()
				if err := l.r.learn(ctx, p); err != nil {
					l.r.log.Warn("looking up provider of a room", "room", id, "domain", p, "err", err)
				}
			})
		}
	}
	return nil
}

func union(a, b []uri.User) []uri.User { return slices.Concat(a, without(b, a)) }

// notify lets the added clients' providers have the Welcome, and tells providers
// that begin or end to take part about the commit (MIMI protocol section 5.5), or
// those that take part from the beginning about that.
func (l *live) notify(tx *store.Tx, w welcome) error {
	s := l.state
	subject := s.URI().String()
	told := map[string]bool{l.r.cfg.Domain: true}
	send := func(domain string, body []byte) error {
		if told[domain] {
			return nil
		}
		told[domain] = true
		return l.r.cfg.Outbox.Put(tx, Call{Target: domain, Endpoint: wire.EndpointNotify.String(), Subject: subject,
			Room: wire.IdentifierURI(subject), Body: body})
	}
	if w.w != nil {
		var own []uri.User
		var others []string
		for _, a := range w.added {
			if d := a.User.Provider().Domain(); d == l.r.cfg.Domain {
				own = append(own, a.User)
			} else {
				others = append(others, d)
			}
		}
		if len(others) > 0 {
			body, err := l.noticeOf(w)
			if err != nil {
				return err
			}
			for _, d := range others {
				if err := send(d, body); err != nil {
					return err
				}
			}
		}
		if err := l.r.tellWelcome(tx, s.URI(), own, w.w, w.tree, w.at); err != nil {
			return err
		}
	}
	var commit []byte
	if w.msg != nil && len(w.fresh)+len(w.gone) > 0 {
		var err error
		if commit, err = (wire.Fanout{{Timestamp: w.at.AcceptedAt, Message: w.msg}}).Bytes(); err != nil {
			return err
		}
	}
	for _, d := range slices.Concat(w.fresh, w.gone) {
		if w.msg == nil {
			err := l.r.cfg.Outbox.Put(tx, Call{Target: d, Endpoint: EndpointBegun, Subject: subject, Room: wire.IdentifierURI(subject)})
			if err != nil {
				return err
			}
			continue
		}
		if err := send(d, commit); err != nil {
			return err
		}
	}
	return nil
}

// noticeOf is what other providers get of a commit that adds users of theirs: one text for
// all of them, so that the outbox keeps it once. Where the tree is too large for a notice
// they hear of the commit only, and the devices come in by themselves.
func (l *live) noticeOf(w welcome) ([]byte, error) {
	body, err := (wire.Fanout{{Timestamp: w.at.AcceptedAt, Message: w.w.Message(),
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: w.tree}}}).Bytes()
	if err != nil || len(body) <= l.r.maxNotice {
		return body, err
	}
	l.r.log.Warn("room is too large for Welcomes to other providers", "room", l.h.id, "octets", len(body), "most", l.r.maxNotice)
	return (wire.Fanout{{Timestamp: w.at.AcceptedAt, Message: w.msg}}).Bytes()
}

// tellWelcome puts a Welcome into local users' feeds. In a pseudonymous room users may be
// pseudonyms.
func (r *Rooms) tellWelcome(tx *store.Tx, name uri.Room, users []uri.User, w *mls.Welcome, tree *mls.RatchetTree, at room.Position) error {
	if len(users) == 0 {
		return nil
	}
	if r.cfg.Joined != nil {
		if err := r.cfg.Joined(tx, w.Recipients()...); err != nil {
			return err
		}
	}
	id := room.IDOf([]byte(name.String()))
	ev := clientapi.Welcome{Room: id.String(), URI: name.String(), Welcome: w.Append(nil), Tree: tree.Bytes(),
		At: clientapi.Position{Era: at.Term.Era, Number: at.Term.Number, Next: at.Next, Last: at.Last[:], AcceptedAt: at.AcceptedAt}}
	var each []uri.User // a user may come in with several devices
	seen := make(map[uri.User]bool, len(users))
	for _, u := range users {
		u, own, err := r.real(tx, u, name)
		if err != nil {
			return err
		}
		if own && !seen[u] {
			seen[u], each = true, append(each, u)
		}
	}
	each, err := r.unheld(tx, each, &ev)
	if err != nil {
		return err
	}
	// In base64; what else is to be written, the users' places in it among them, is little.
	size, left := (len(ev.Welcome)+len(ev.Tree)+3)/3*4+200*len(each), tx.Left()
	if size+1<<10 > left-left/8 {
		r.log.Warn("room is too large for Welcomes to this provider's own users, whose devices come in by themselves", "room", id, "octets", size, "left", left)
		return nil
	}
	return r.cfg.Feed.PutAll(tx, each, clientapi.EventWelcome, ev)
}
