package rooms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is about providers that vote twice in one term. Votes are heard by candidates,
// and stand in the hub_change entries that they have elected a hub with. Whoever knows two of
// one voter has the proof, keeps it, tells operator and users, and gives it to all who keep
// the room; each of them verifies it, and gives it on once. The voter counts as failed from
// then on (hub.Convict): nothing that it says is heard, and if it orders the room, another
// hub is looked for.

const (
	// maxVoters is of how many voters of one room a proof is kept: more than two replica
	// sets have, so that nobody fills the disk by having sets changed.
	maxVoters = 16
	// maxCompared is how many hub_change entries of one piece are compared with votes that
	// are known.
	maxCompared = 16
	// maxRepeated bounds the proofs that one exchange repeats to a provider.
	maxRepeated = 256
)

// votedIn is who has voted twice, and in which term.
type votedIn struct {
	voter string
	term  room.Term
}

func (v votedIn) String() string {
	return fmt.Sprintf("%s has voted twice in term %s, and counts as failed in this room", v.voter, v.term)
}

// twoVotes says whether the proof against a voter is here.
func (h *handle) twoVotes(voter string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.twice, func(v votedIn) bool { return v.voter == voter })
}

// noteVote remembers a vote that was said to this provider, if it is for a term that has
// come: nobody else's would elect it. A second one in a term convicts its voter.
func (l *live) noteVote(ctx context.Context, v *room.SignedVote) {
	if v.Room != l.h.id || l.rep == nil || v.Term.Compare(l.rep.m.State().Seen) > 0 && !v.Release {
		return
	}
	l.recallVotes(v.Term)
	l.recallHeard(v.Voter)
	if p, key := l.ballots.Contradicts(v); p != nil {
		l.votedTwice(ctx, p, key, "")
		return
	}
	lead := l.state.Lead()
	if !l.ballots.Has(v) && l.ballots.Note(v, lead.VoterKeys(v.Voter)...) {
		l.heard(v)
	}
}

// compareVotes looks for second votes in the hub_change entries of a piece, whatever else
// becomes of it.
func (l *live) compareVotes(ctx context.Context, p *room.Piece) {
	if l.state == nil {
		return
	}
	n := 0
	for _, e := range p.Entries {
		if e.Kind != room.KindHubChange {
			continue
		}
		if n++; n > maxCompared {
			return
		}
		c, err := room.ParseHubChange(e.Body)
		if err != nil || len(c.Votes) == 0 {
			continue
		}
		l.recallVotes(c.Votes[0].Term)
		for i := range c.Votes {
			if c.Votes[i].Room != l.h.id {
				continue
			}
			l.recallHeard(c.Votes[i].Voter)
			if p, key := l.ballots.Contradicts(&c.Votes[i]); p != nil {
				l.votedTwice(ctx, p, key, "")
			}
		}
	}
}

// rival says whether a piece is of another hub in the present term than the one that is known
// here: both have been elected.
func rival(p *room.Piece, head *logstore.Head) bool {
	if len(head.Set) == 0 || p.Head.Term != head.At.Term || len(p.Entries) == 0 || p.Entries[0].Kind != room.KindHubChange {
		return false
	}
	c, err := room.ParseHubChange(p.Entries[0].Body)
	return err == nil && p.Entries[0].Term == head.At.Term && c.Hub.Domain != head.Hub
}

// noteChange remembers the votes of a hub_change that is in the log or the tail, where it was
// verified. lead is as before it.
func (l *live) noteChange(c *room.HubChange, lead *room.Lead) {
	for i := range c.Votes {
		v := &c.Votes[i]
		keys := lead.VoterKeys(v.Voter)
		for _, k := range l.r.cfg.Rules.Anchors(v.Voter) { // of a set that is long gone
			if pub, ok := k.(ed25519.PublicKey); ok {
				keys = append(keys, pub)
			}
		}
		l.ballots.Note(v, keys...)
	}
}

// recallVotes brings to mind what the log says of who voted in a term. What is in the tail is
// in mind.
func (l *live) recallVotes(t room.Term) {
	at := l.state.At()
	if l.rep != nil {
		at = l.rep.final
	}
	if t.Compare(at.Term) > 0 {
		return
	}
	var first *room.Entry
	err := l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		// Terms rise along the log.
		seq := sort.Search(int(at.Next), func(i int) bool {
			var e *room.Entry
			if err == nil {
				e, err = logstore.ReadEntry(tx, l.h.id, uint64(i))
			}
			return err != nil || e.Term.Compare(t) >= 0
		})
		if err == nil && uint64(seq) < at.Next {
			first, err = logstore.ReadEntry(tx, l.h.id, uint64(seq))
		}
		return err
	})
	if err != nil {
		l.r.log.Error("looking up who voted", "room", l.h.id, "term", t, "err", err)
		return
	}
	if first == nil || first.Term != t || first.Kind != room.KindHubChange {
		return
	}
	if c, err := room.ParseHubChange(first.Body); err == nil {
		lead := l.state.Lead()
		l.noteChange(c, &lead)
	}
}

// hearVoted takes a proof from another provider.
func (l *live) hearVoted(ctx context.Context, p *room.DoubleVote, from string) error {
	voter := p.A.Voter
	if l.h.twoVotes(voter) {
		return nil
	}
	l.recallVotes(p.A.Term)
	l.recallHeard(voter)
	lead := l.state.Lead()
	keys := append(lead.VoterKeys(voter), l.ballots.Keys(voter)...)
	if len(keys) == 0 {
		return fmt.Errorf("two votes of %s, which has no vote in the room: %w", voter, room.ErrVote)
	}
	key, err := p.Signer(keys)
	if err != nil {
		return err
	}
	l.votedTwice(ctx, p, key, from)
	return nil
}

// votedTwice keeps a verified proof, and draws the consequences, once.
func (l *live) votedTwice(ctx context.Context, p *room.DoubleVote, key ed25519.PublicKey, from string) {
	voter, self := p.A.Voter, l.r.cfg.Domain
	l.h.mu.Lock()
	full := len(l.h.twice) >= maxVoters
	l.h.mu.Unlock()
	if full || l.h.twoVotes(voter) {
		return
	}
	kept := &logstore.Voted{Key: [ed25519.PublicKeySize]byte(key), Proof: *p}
	if err := l.r.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return logstore.PutVoted(tx, kept) }); err != nil {
		// It comes again, with an exchange at the latest.
		l.r.log.Error("keeping the proof of two votes", "room", l.h.id, "provider", voter, "err", err)
		return
	}
	v := votedIn{voter, p.A.Term}
	l.h.mu.Lock()
	l.h.twice = append(slices.Clone(l.h.twice), v)
	l.h.mu.Unlock()
	l.r.counts.convicted.Add(1)
	l.r.log.Error("a provider has voted twice in one term of a room; it counts as failed there, and the proof is kept", "room", l.h.id, "provider", voter,
		"term", p.A.Term, "one", p.A.Candidate, "other", p.B.Candidate, "told by", from)
	if voter == self {
		l.r.log.Error("that is this provider: its key is in use elsewhere, or its store was brought back without `mimid restore`", "room", l.h.id)
	}
	l.convictVoter(p)
	members := domainsOf(l.members())
	for _, d := range append(members, without(l.state.Providers(), members)...) {
		if d != self && d != voter && d != from {
			l.r.say(d, &replica.Message{Room: l.h.id, Kind: replica.Voted, Twice: p})
		}
	}
	ev := clientapi.HubState{Room: l.h.id.String(), Hub: voter, Lied: true, Votes: true, Moves: l.state.Hub().Domain == voter}
	if err := l.r.cfg.Feed.Tell(l.r.cfg.Feed.Hearing(l.h.id, l.r.localUsers(l.state.URI(), l.state.Participants())), clientapi.EventHub, ev); err != nil {
		l.r.log.Error("telling users of a room's hub", "room", l.h.id, "err", err)
	}
}

// convictVoter has the machine take a voter for failed.
func (l *live) convictVoter(p *room.DoubleVote) {
	voter := p.A.Voter
	if l.rep == nil || voter == l.r.cfg.Domain {
		return
	}
	proof := hub.Proof{Liar: l.rep.names.Number(voter), Term: p.A.Term, Votes: true, A: placeOf(p.A.Head), B: placeOf(p.B.Head)}
	l.step(hub.Event{Kind: hub.Deliver, Message: &hub.Message{Kind: hub.Convict, To: l.rep.cfg.Self, Proof: proof}})
	l.alarm(shortWait)
}

// failed says whether the machine takes a provider for a proven liar.
func (l *live) failed(domain string) bool {
	if l.rep == nil {
		return false
	}
	i := slices.Index(l.rep.names.list, domain)
	st := l.rep.m.State()
	return i >= 0 && st.Liars.Has(hub.Provider(i+1))
}

// convictAgain has a machine that has just been made know of the proofs that are kept: it may
// be the first of the room, or a crash came before it had written what it made of them.
func (l *live) convictAgain() error {
	l.h.mu.Lock()
	none := len(l.h.twice) == 0
	l.h.mu.Unlock()
	if none {
		return nil
	}
	lead := l.state.Lead()
	return l.r.cfg.Store.View(func(tx *store.Tx) error {
		for v, err := range logstore.VotedTwice(tx, l.h.id) {
			if err != nil {
				return err
			}
			// Who was let in again under another key starts anew.
			keys := lead.VoterKeys(v.Proof.A.Voter)
			if slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(ed25519.PublicKey(v.Key[:])) }) {
				l.convictVoter(&v.Proof)
			}
		}
		return nil
	})
}

// repeatVoted says to a provider again what proofs there are in the rooms that both keep: it
// may have been away.
func (r *Rooms) repeatVoted(domain string) {
	var list []*replica.Message
	for _, h := range r.all() {
		h.mu.Lock()
		told := h.head != nil && len(h.twice) > 0 && (slices.Contains(h.head.Providers, domain) || h.head.Member(domain))
		h.mu.Unlock()
		if !told {
			continue
		}
		err := r.cfg.Store.View(func(tx *store.Tx) error {
			for v, err := range logstore.VotedTwice(tx, h.id) {
				if err != nil {
					return err
				}
				if v.Proof.A.Voter != domain && len(list) < maxRepeated {
					list = append(list, &replica.Message{Room: h.id, Kind: replica.Voted, Twice: &v.Proof})
				}
			}
			return nil
		})
		if err != nil {
			r.log.Error("reading proofs of two votes", "room", h.id, "err", err)
		}
	}
	for _, m := range list {
		r.say(domain, m)
	}
}

// readVoted reads, when the service starts, who has voted twice.
func (r *Rooms) readVoted(tx *store.Tx) error {
	for v, err := range logstore.AllVotedTwice(tx) {
		if err != nil {
			return err
		}
		if h := r.rooms[v.Proof.A.Room]; h != nil {
			h.twice = append(h.twice, votedIn{v.Proof.A.Voter, v.Proof.A.Term})
		}
	}
	return nil
}

// proofText is what is kept against providers of a room; empty if nothing is.
func proofText(tx *store.Tx, id room.ID) (string, error) {
	text := ""
	c, err := logstore.ReadCondemned(tx, id)
	if err == nil {
		text = c.Why
	} else if !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	for v, err := range logstore.VotedTwice(tx, id) {
		if err != nil {
			return "", err
		}
		if text != "" {
			text += "; "
		}
		a, b := &v.Proof.A, &v.Proof.B
		text += fmt.Sprintf("%s: for %s on entry %d and for %s on entry %d", votedIn{a.Voter, a.Term}, a.Candidate, a.Head.Seq, b.Candidate, b.Head.Seq)
	}
	return text, nil
}

// votedSize is about how many bytes a proof is, rather more.
func votedSize(p *room.DoubleVote) int {
	if p == nil {
		return 0
	}
	return 2 << 10
}
