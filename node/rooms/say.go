package rooms

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
)

// EndpointReplica is where replicas talk: the body are replica.Messages, the subject
// is the asked provider's domain, the response is empty.
const EndpointReplica = "mimid-replica"

// say sends what the machine wants to say, with the signatures that it stands for.
// What cannot be said is as lost on the way.
func (l *live) say(m *hub.Message) {
	rep := l.rep
	to := rep.names.Name(m.To)
	out := &replica.Message{Room: l.h.id, Term: m.Term, Seen: m.Seen, Head: m.Head, Grant: m.Grant, Excuse: m.Excuse}
	var err error
	switch m.Kind {
	case hub.CoSign:
		if m.Head == rep.signed && m.Head.Seq < rep.final.Next {
			return // it was said, and is final: the certificate of it has brought it here again
		}
		rep.signed = m.Head
		out.Kind = replica.CoSign
		key, kerr := l.key()
		if err = kerr; err == nil {
			c := room.CoSign(l.placed(m.Head), key)
			out.Sign = &c
		}
	case hub.Refuse:
		out.Kind, out.Hub = replica.Refuse, rep.names.Name(m.Hub)
	case hub.Need:
		// A follower pulls: nothing has to be said. From whom, if not from the hub: who asks
		// for votes in an era that is not known here has the log that goes on in it.
		if l.state != nil && to != l.state.Hub().Domain {
			l.newer = to
		}
		l.h.behind.Store(true)
		return
	case hub.AskVote:
		out.Kind = replica.AskVote
	case hub.Would:
		out.Kind = replica.Would
	case hub.Stand:
		out.Kind, out.Set = replica.Stand, l.setHash()
		if v, ok := rep.votes[rep.names.Number(l.state.Hub().Domain)]; ok && v.Release {
			out.Vote = &v
		}
		if m.Excuse == hub.Asked {
			out.Commit = rep.request
		}
	case hub.Grant:
		if out.Kind = replica.Grant; m.Grant {
			out.Vote, err = l.vote(m, to, rep.voted.Set, false)
		}
	case hub.Release:
		out.Kind = replica.Release
		out.Vote, err = l.vote(m, to, l.setHash(), true)
	case hub.Ask:
		out.Kind, out.Head = replica.Ask, m.Final.Head
	case hub.Answer:
		out.Kind = replica.Answer
	case hub.Move:
		if rep.moving == nil {
			return
		}
		out.Kind, out.Final, out.Commit = replica.Move, m.Final.Head, rep.moving.commit
	case hub.Ack:
		if out.Kind = replica.Ack; m.Grant {
			out.Ack, err = l.acknowledge(m.Term, to, rep.voted.Set, rep.absence, m.Head)
		}
	default:
		return // proofs travel as pieces (proof.go), or as they are (voted.go)
	}
	if err != nil {
		l.r.log.Error("signing for a room", "room", l.h.id, "what", out.Kind, "err", err)
		return
	}
	l.r.say(to, out)
}

// placed is a place of this room's log as it is signed.
func (l *live) placed(h hub.Head) room.Head {
	return room.Head{Room: l.h.id, Term: h.Term, Seq: h.Seq, Hash: h.Hash}
}

func placeOf(h room.Head) hub.Head { return hub.Head{Term: h.Term, Seq: h.Seq, Hash: h.Hash} }

// setHash names the set in force at the end of our log.
func (l *live) setHash() room.Hash { return room.SetHash(l.state.Set()) }

func (l *live) vote(m *hub.Message, candidate string, set room.Hash, release bool) (*room.SignedVote, error) {
	key, err := l.key()
	if err != nil {
		return nil, err
	}
	v := room.SignVote(room.Vote{Room: l.h.id, Set: set, Term: m.Term, Candidate: candidate, Head: l.placed(m.Head), Release: release}, l.r.cfg.Domain, key)
	return &v, nil
}

// changeBody is the proof of this provider's term: the votes that it was given, and
// its own.
func (l *live) changeBody(e *hub.Entry) []byte {
	rep := l.rep
	if e.Via == hub.ByMove {
		return l.moveBody(e)
	}
	self, _ := l.state.Replica(l.r.cfg.Domain)
	c := &room.HubChange{Via: room.Via(e.Via)}
	if self != nil {
		c.Hub = *self
	} else {
		c.Hub = l.r.cfg.Replica()
	}
	members := domainsOf(l.members())
	for _, p := range e.Voters {
		if p != rep.cfg.Self && !slices.Contains(members, rep.names.Name(p)) {
			continue // a hub that is in no set any more has released the room: that counts for nothing
		}
		if p == rep.cfg.Self {
			at := l.state.At()
			m := &hub.Message{Term: e.Term, Head: hub.Head{Term: at.Term, Seq: at.Next - 1, Hash: at.Last}}
			if v, err := l.vote(m, l.r.cfg.Domain, l.setHash(), false); err == nil {
				c.Votes = append(c.Votes, *v)
			}
		} else if v, ok := rep.votes[p]; ok {
			c.Votes = append(c.Votes, v)
		}
	}
	slices.SortFunc(c.Votes, func(a, b room.SignedVote) int { return strings.Compare(a.Voter, b.Voter) })
	return c.Bytes()
}

// settledBody is the certificate of the commit that changed the set: of the lowest
// head that one of its signers has signed.
func (l *live) settledBody(e *hub.Entry) []byte {
	var at hub.Head
	for _, p := range e.Voters {
		if p == l.rep.cfg.Self {
			continue
		}
		if list := l.rep.signs[p]; len(list) > 0 {
			if h := placeOf(list[len(list)-1].Head); at.Seq == 0 || h.Seq < at.Seq {
				at = h
			}
		}
	}
	if at.Seq == 0 {
		p := l.state.At()
		at = hub.Head{Term: p.Term, Seq: p.Next - 1, Hash: p.Last}
	}
	c := l.signedBy(at, e.Voters)
	return (&room.Settled{Certificate: *c}).Bytes()
}

// signedBy makes the certificate of a head.
func (l *live) signedBy(at hub.Head, signers hub.Set) *room.Certificate {
	c := &room.Certificate{Head: l.placed(at)}
	for _, p := range signers {
		if p == l.rep.cfg.Self {
			if key, err := l.key(); err == nil {
				c.Signers = append(c.Signers, room.Signer{Domain: l.r.cfg.Domain, CoSignature: room.CoSign(c.Head, key)})
			}
			continue
		}
		// The one of this very head, or else the next later one.
		for _, s := range l.rep.signs[p] {
			if s.Head.Seq >= at.Seq && s.Head.Term == at.Term {
				c.Signers = append(c.Signers, room.Signer{Domain: l.rep.names.Name(p), CoSignature: s})
				break
			}
		}
	}
	slices.SortFunc(c.Signers, func(a, b room.Signer) int { return strings.Compare(a.Domain, b.Domain) })
	return c
}

// certificate is the one that the machine goes by, with its signatures; nil if they
// are not here.
func (l *live) certificate(c hub.Certificate) *room.Certified {
	rep := l.rep
	if o := rep.offer; o != nil && placeOf(o.Certificate.Head) == c.Head {
		return o
	}
	if l.state.Hub().Domain != l.r.cfg.Domain {
		return nil
	}
	cert := l.signedBy(c.Head, c.Signers)
	if len(cert.Signers) < len(c.Signers) {
		return nil
	}
	return &room.Certified{Certificate: *cert}
}

// pullBeforeVote is for how long a voter asks a candidate for what it lacks. What has come
// by then stays, and the candidate asks again.
const pullBeforeVote = 2 * time.Second

// hear takes another replica's message. The transport has authenticated from.
func (l *live) hear(ctx context.Context, m *replica.Message, from string) error {
	rep := l.rep
	if !l.concerns(from) {
		return fmt.Errorf("%s from %s, which has no part in the room", m.Kind, from)
	}
	switch m.Kind {
	case replica.Move:
		return l.hearMove(ctx, m, from)
	case replica.Ack:
		return l.hearAck(ctx, m, from)
	}
	if m.Kind == replica.Show {
		p, err := room.ParsePiece(m.Piece, pieceLimit)
		if err != nil {
			return err
		}
		if rep == nil { // its hub decides alone, and has perhaps signed two histories
			if l.state.Hub().Domain == l.r.cfg.Domain {
				return nil
			}
			if err := l.r.verify(l.h, &p.Head, l.state.HubKey()); err != nil {
				return err
			}
			return l.ingest(ctx, p, from)
		}
		// Only what one of those has signed who may have ordered the room proves anything.
		// Anything else would have the room read anew, at any participant's wish.
		if !slices.ContainsFunc(l.members(), func(x room.Replica) bool { return p.Head.Verify(x.ProviderKey[:]) == nil }) {
			return fmt.Errorf("%s shows what no replica of the room has signed: %w", from, room.ErrSignature)
		}
		if len(p.Entries) == 0 {
			l.shownHead(ctx, p)
			return nil
		}
		return l.ingest(ctx, p, from)
	}
	if m.Kind == replica.Relayed {
		return l.hearRelay(m.Relay, from)
	}
	if m.Kind == replica.Voted {
		return l.hearVoted(ctx, m.Twice, from)
	}
	if rep == nil {
		if m.Kind != replica.Release && m.Kind != replica.Ask && !replicated(l.state) {
			l.unheard(m, from)
			return nil // late
		}
		if err := l.replicate(ctx); err != nil {
			return err
		}
		rep = l.rep
	}
	if err := l.mayRefuse(m.Kind, from); err != nil {
		l.unheard(m, from)
		return err
	}
	in := &hub.Message{From: rep.names.Number(from), To: rep.cfg.Self, Term: m.Term, Seen: m.Seen, Head: m.Head, Grant: m.Grant, Excuse: m.Excuse}
	switch m.Kind {
	case replica.CoSign:
		x, ok := l.state.Replica(from)
		if !ok {
			return fmt.Errorf("co-signature of %s, which is no replica", from)
		}
		if err := m.Sign.Verify(x.ProviderKey[:]); err != nil {
			return err
		}
		if l.inTail(m.Sign.Head) { // or a certificate would cite what nobody holds
			l.noteSign(in.From, *m.Sign)
		}
		in.Kind = hub.CoSign
	case replica.Refuse:
		in.Kind = hub.Refuse
		if m.Hub != "" {
			in.Hub = rep.names.Number(m.Hub)
		}
	case replica.AskVote:
		in.Kind = hub.AskVote
		if m.Head.Seq >= rep.end() && l.lost(l.state.Hub().Domain) {
			// Once we have voted, what it has of the old term comes under no head that we
			// take any more.
			pull, cancel := context.WithTimeout(ctx, pullBeforeVote)
			err := l.catchUp(pull, from)
			cancel()
			if rep = l.rep; rep == nil {
				return err
			}
			in.From, in.To = rep.names.Number(from), rep.cfg.Self
		}
	case replica.Would:
		in.Kind = hub.Would
	case replica.Stand:
		if !l.excused(m, from) {
			in.Excuse = hub.NoExcuse
		}
		in.Kind = hub.Stand
		if m.Vote != nil {
			l.noteVote(ctx, m.Vote) // a release
		}
		rep.asked[in.From] = m.Set
	case replica.Grant:
		in.Kind = hub.Grant
		if m.Grant {
			x, ok := l.state.Replica(from)
			v := m.Vote
			if ok && v.Voter == from {
				l.noteVote(ctx, v)
			}
			if !ok || v.Candidate != l.r.cfg.Domain || v.Voter != from || v.Set != l.setHash() {
				return fmt.Errorf("vote of %s for something else", from)
			}
			if err := v.Verify(x.ProviderKey[:]); err != nil {
				return err
			}
			rep.votes[in.From] = *v
		}
	case replica.Release:
		return l.hearRelease(ctx, in, m.Vote, from)
	case replica.Ask:
		in.Kind, in.Final.Head = hub.Ask, m.Head
		in.Head = hub.Head{}
	case replica.Answer:
		in.Kind = hub.Answer
		if m.Head.Seq >= rep.end() {
			if err := l.catchUp(ctx, from); err != nil {
				return err
			}
			if rep = l.rep; rep == nil {
				return nil
			}
			in.From, in.To = rep.names.Number(from), rep.cfg.Self
		}
	default:
		return nil
	}
	if m.Kind == replica.AskVote || m.Kind == replica.Stand {
		l.doubt() // this provider may have learned of it before the room's turn came
	}
	before := rep.m
	m2, effects := rep.m.Step(hub.Event{Kind: hub.Deliver, Message: in})
	if m.Kind == replica.Stand && !l.votes(effects, in.From) {
		rep.m = before
		return fmt.Errorf("%s asks for a second vote in another replica set", from)
	}
	l.adoptStep(m2, effects)
	l.ownOrFail()
	return nil
}

// votes notes in which set a vote is given, to be written with it. A vote that is
// asked for again must be the same, or it would prove that its voter voted twice.
func (l *live) votes(effects []hub.Effect, candidate hub.Provider) bool {
	rep := l.rep
	for _, e := range effects {
		if e.Kind != hub.Send || e.Message.Kind != hub.Grant || !e.Message.Grant {
			continue
		}
		set := rep.asked[candidate]
		if rep.voted.Term == e.Message.Term && rep.voted.Set != set {
			return false
		}
		rep.voted = logstore.VotedSet{Term: e.Message.Term, Set: set}
	}
	return true
}

// excused says whether what a candidate gives as its reason is one: the hub has
// released the room to it, it is the hub itself, refused for a higher term, or an
// administrator wants it.
func (l *live) excused(m *replica.Message, from string) bool {
	h := l.state.Hub()
	switch m.Excuse {
	case hub.Released:
		v := m.Vote
		return v != nil && v.Release && v.Voter == h.Domain && v.Candidate == from && v.Verify(h.ProviderKey[:]) == nil
	case hub.Refused:
		return h.Domain == from
	case hub.Asked:
		return l.requested(m.Commit, from)
	}
	return false
}

// mayRefuse keeps those out of elections that do not decide about the room. Who says that it
// has seen a later term of the era is believed without a proof, and ends the present one by
// that: any participant could have elections go on for ever. Whom a hub releases the only
// place to may refuse that.
func (l *live) mayRefuse(kind replica.Kind, from string) error {
	switch kind {
	case replica.Refuse, replica.AskVote, replica.Would, replica.Stand, replica.Grant:
	default:
		return nil
	}
	if _, ok := l.state.Replica(from); ok {
		return nil
	}
	if st := l.rep.m.State(); kind == replica.Refuse && l.rep.m.Role() == hub.Releasing && l.rep.names.Name(st.Vote.For) == from {
		return nil
	}
	return fmt.Errorf("%s by %s, which does not decide about the room", kind, from)
}

// unheard has the log read that a candidate stands on, who by the log that is here decides
// nothing: if it is of an era that is not known here, the room was moved to others, and this
// provider may be one of those whose votes are needed. The log proves it, or nothing comes of it.
func (l *live) unheard(m *replica.Message, from string) {
	if (m.Kind == replica.AskVote || m.Kind == replica.Stand) && m.Head.Term.Era > l.state.At().Term.Era {
		l.newer = from
		l.h.behind.Store(true)
	}
}

// concerns says whether a provider has a say in the room or keeps it.
func (l *live) concerns(domain string) bool {
	if _, ok := l.state.Replica(domain); ok {
		return true
	}
	return slices.Contains(l.state.Providers(), domain)
}

// maxSigns bounds how many co-signatures of one replica are remembered: those since
// the last certificate.
const maxSigns = 64

// inTail says whether a head is one of what is not final yet.
func (l *live) inTail(h room.Head) bool {
	rep := l.rep
	if h.Seq < rep.final.Next || h.Seq >= rep.end() {
		return false
	}
	e := rep.tail[h.Seq-rep.final.Next]
	return e.Term == h.Term && e.Hash() == h.Hash
}

func (l *live) noteSign(p hub.Provider, c room.CoSignature) {
	list := l.rep.signs[p]
	keep := list[:0]
	for _, s := range list {
		if s.Head.Term == c.Head.Term && s.Head.Seq >= l.rep.final.Next && s.Head.Seq != c.Head.Seq {
			keep = append(keep, s)
		}
	}
	if len(keep) >= maxSigns {
		keep = slices.Delete(keep, 0, len(keep)/2)
	}
	keep = append(keep, c)
	slices.SortFunc(keep, func(a, b room.CoSignature) int { return int(int64(a.Head.Seq - b.Head.Seq)) })
	l.rep.signs[p] = keep
}

// hearRelease takes the room over from a hub that gives it away.
func (l *live) hearRelease(ctx context.Context, in *hub.Message, v *room.SignedVote, from string) error {
	if h := l.state.Hub(); h.Domain != from || v.Candidate != l.r.cfg.Domain || v.Voter != from {
		return fmt.Errorf("release by %s, the hub is %s", from, h.Domain)
	} else if err := v.Verify(h.ProviderKey[:]); err != nil {
		return err
	}
	if in.Head.Seq >= l.rep.end() {
		if err := l.catchUp(ctx, from); err != nil {
			return err
		}
		if l.rep == nil {
			if err := l.replicate(ctx); err != nil {
				return err
			}
		}
		in.From, in.To = l.rep.names.Number(from), l.rep.cfg.Self
	}
	l.noteVote(ctx, v)
	l.rep.votes[in.From] = *v
	in.Kind = hub.Release
	l.step(hub.Event{Kind: hub.Deliver, Message: in})
	l.ownOrFail()
	return nil
}

// say puts a message for another provider into line. To one that gives no sign of life
// nothing is said: it would be lost, and trying costs a connection each time. What is
// unanswered is said again.
func (r *Rooms) say(domain string, m *replica.Message) {
	if r.dead(domain) {
		return
	}
	r.talk.mu.Lock()
	defer r.talk.mu.Unlock()
	list, running := r.talk.waiting[domain]
	if len(list) >= replica.MaxMessages {
		list = list[1:] // as lost
	}
	r.talk.waiting[domain] = append(list, m)
	if !running && !r.spawn(func(ctx context.Context) { r.runTalk(ctx, domain) }) {
		delete(r.talk.waiting, domain)
	}
}

// sayTimeout bounds one request: what is late is said again, in another form.
const sayTimeout = 3 * time.Second

// fit is how many messages one request holds: at least one.
func fit(list []*replica.Message) int {
	size := 8
	for i, m := range list {
		if size += 1<<10 + len(m.Commit) + len(m.Piece) + relaySize(m.Relay) + votedSize(m.Twice); size > replica.MaxBytes && i > 0 {
			return i
		}
	}
	return len(list)
}

func (r *Rooms) runTalk(ctx context.Context, domain string) {
	for {
		r.talk.mu.Lock()
		list := r.talk.waiting[domain]
		if len(list) == 0 || ctx.Err() != nil {
			delete(r.talk.waiting, domain)
			r.talk.mu.Unlock()
			return
		}
		n := fit(list)
		list, r.talk.waiting[domain] = list[:n], list[n:]
		r.talk.mu.Unlock()
		call, cancel := context.WithTimeout(ctx, sayTimeout)
		_, err := r.cfg.Peers.Call(call, Call{Target: domain, Endpoint: EndpointReplica, Subject: domain, Body: replica.Append(nil, list)})
		cancel()
		r.counts.said.Add(uint64(len(list)))
		if err != nil {
			r.log.Debug("talking to a replica", "domain", domain, "messages", len(list), "err", err)
		}
	}
}

// serveReplica takes messages of another replica.
func (r *Rooms) serveReplica(_ context.Context, q *Request) (*Response, error) {
	list, err := replica.Parse(q.Body)
	if err != nil {
		return nil, problem(422, "invalid", "%s", err)
	}
	for _, m := range list {
		h, err := r.lookup(m.Room)
		if err != nil {
			continue
		}
		if err := r.send(h, task{say: m, from: q.Source}); err != nil {
			r.log.Debug("message of a replica is lost", "room", m.Room, "from", q.Source, "err", err)
		}
	}
	return ok(nil, nil)
}
