package room

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
)

// Lead is who orders a room and who decides, a function of its log alone: the
// checkpoint in room_hosting may be behind. Values are not changed in place;
// what follows an entry is another Lead.
type Lead struct {
	Hub  Replica
	Term Term
	// Now is the set in force; while a change of the set is in progress Next has
	// to agree too.
	Now, Next []Replica
	// Before is the set that the newest settled entry has ended. Its replicas may
	// still become hub: one of them may be the only one who has stored that entry.
	Before []Replica
	// Began is the entry whose commit began the change in progress.
	Began Head

	move bool   // see Moving; never stored
	from string // with move: the hub that is replaced
}

// LeadOf returns what room_hosting says. It is the truth at the room's beginning,
// and later a checkpoint.
func LeadOf(h *Hosting) Lead { return Lead{Hub: h.Hub, Term: h.Term, Now: h.Replicas} }

// Changing reports whether a change of the set is in progress.
func (l *Lead) Changing() bool { return len(l.Next) > 0 }

// Replica returns a replica of the next set, the set in force, or the set before,
// in this order: a rotated key counts from the commit that names it on.
func (l *Lead) Replica(domain string) (*Replica, bool) {
	for _, set := range [][]Replica{l.Next, l.Now, l.Before} {
		for i := range set {
			if set[i].Domain == domain {
				return &set[i], true
			}
		}
	}
	return nil, false
}

// keys returns all keys that a domain has in the sets given.
func keysIn(domain string, sets ...[]Replica) (out []ed25519.PublicKey) {
	for _, set := range sets {
		for i := range set {
			if set[i].Domain == domain {
				out = append(out, set[i].ProviderKey[:])
			}
		}
	}
	return out
}

// Quorum reports whether these domains decide: a majority of the set in force,
// and of the next one too while a change is in progress.
func (l *Lead) Quorum(domains []string) bool {
	return majority(l.Now, domains) && (!l.Changing() || majority(l.Next, domains))
}

func majority(set []Replica, domains []string) bool {
	n := 0
	for i := range set {
		if slices.Contains(domains, set[i].Domain) {
			n++
		}
	}
	return 2*n > len(set)
}

func sameSet(a, b []Replica) bool {
	return slices.EqualFunc(a, b, func(x, y Replica) bool { return x.equal(&y) })
}

// FollowCommit returns who leads after an entry with a commit that Judge allowed.
// A commit that leaves room_hosting alone changes nothing, however far behind the
// log that is. Error: ErrHosting.
func (l Lead) FollowCommit(e *Entry, c *mls.Change) (Lead, error) {
	if !updatesHosting(c) {
		return l, nil
	}
	h, err := HostingOf(c.Context)
	if err != nil {
		return l, err
	}
	if !sameSet(h.Replicas, l.Now) {
		l.Next, l.Began = h.Replicas, HeadOf(e)
	}
	return l, nil
}

// Follow checks the proof in a hub_change or settled entry that continues the log
// at at, and returns who leads after it and the heads that the log before it must
// hold (Step.Cites). It is for whoever follows a log without a State, as members
// do. active says whether a provider has a participant, anchors are as in Rules.
//
// Errors: ErrKind for other kinds and for moves (FollowMove); ErrVote, ErrCertificate,
// ErrQuorum, ErrSignature, ErrPolicy, ErrHosting, ErrWrongRoom, those of
// presentation, and x509auth.ErrUnknownProvider, which may pass.
func (l Lead) Follow(e *Entry, at Position, active func(domain string) bool, anchors func(domain string) []crypto.PublicKey) (Lead, []Head, error) {
	switch e.Kind {
	case KindHubChange:
		next, err := l.hubChange(e, at, active, anchors)
		return next, nil, err
	case KindSettled:
		next, body, err := l.settled(e, at)
		if err != nil {
			return l, nil, err
		}
		return next, body.Certificate.Cites(), nil
	}
	return l, nil, ErrKind
}

// hubChange checks the proof that a hub_change entry carries, and follows it. The
// entry continues the log at at.
func (l Lead) hubChange(e *Entry, at Position, active func(domain string) bool, anchors func(string) []crypto.PublicKey) (Lead, error) {
	c, err := ParseHubChange(e.Body)
	if err != nil {
		return l, err
	}
	if c.Via == ByMove {
		return l, fmt.Errorf("hub_change %s, whose commit comes first: %w", c.Via, ErrKind)
	}
	if e.Term.Era != at.Term.Era {
		return l, fmt.Errorf("hub_change %s from term %s to %s, into another era: %w", c.Via, at.Term, e.Term, ErrVote)
	}
	want := Vote{Room: e.Room, Set: SetHash(l.Now, l.Next), Term: e.Term, Candidate: c.Hub.Domain,
		Head: Head{Room: e.Room, Term: at.Term, Seq: at.Next - 1, Hash: at.Last}}
	var voters []string
	for i := range c.Votes {
		v := &c.Votes[i]
		counts, err := l.checkVote(v, want)
		if err != nil {
			return l, err
		}
		if counts {
			voters = append(voters, v.Voter)
		}
	}
	single := len(l.Now) == 1 && !l.Changing()
	isHub := func(r Replica) bool { return r.equal(&c.Hub) }
	switch {
	case c.Via == ByRelease:
		v := &c.Votes[0]
		switch {
		case !single:
			return l, fmt.Errorf("release of a set of %d, whose majority has to vote: %w", len(l.Now), ErrVote)
		case v.Voter != l.Now[0].Domain || !v.Release:
			return l, fmt.Errorf("release by %q (%t) of the place of %q: %w", v.Voter, v.Release, l.Now[0].Domain, ErrVote)
		case c.Hub.Domain == v.Voter:
			return l, fmt.Errorf("%q releases its place to itself: %w", v.Voter, ErrVote)
		case !active(c.Hub.Domain):
			return l, fmt.Errorf("release to %q, which has no participant: %w", c.Hub.Domain, ErrPolicy)
		}
		if err := anchoredBy(anchors, &c.Hub); err != nil {
			return l, err
		}
		l.Now, l.Next, l.Before, l.Began = []Replica{c.Hub}, nil, nil, Head{}
	case single && c.Votes[0].Release:
		// The same vote would make two different entries.
		return l, fmt.Errorf("release of a set of one among votes: %w", ErrVote)
	case !slices.ContainsFunc(l.Now, isHub) && !slices.ContainsFunc(l.Next, isHub) && !slices.ContainsFunc(l.Before, isHub):
		return l, fmt.Errorf("%q is no replica, or none with this key: %w", c.Hub.Domain, ErrVote)
	case !l.Quorum(voters):
		return l, fmt.Errorf("votes of %v in sets %v and %v: %w", voters, domainsOf(l.Now), domainsOf(l.Next), ErrQuorum)
	}
	l.Hub, l.Term = c.Hub, e.Term
	return l, nil
}

// checkVote says whether a vote is for what is wanted, and whether it counts: by a
// key that the sets in force name. A candidate of the set before may show its own
// vote, which does not.
func (l *Lead) checkVote(v *SignedVote, want Vote) (counts bool, err error) {
	bad := func(format string, args ...any) (bool, error) {
		return false, fmt.Errorf("vote of %q: %s: %w", v.Voter, fmt.Sprintf(format, args...), ErrVote)
	}
	switch {
	case v.Room != want.Room:
		return bad("in room %.8s", v.Room)
	case v.Term != want.Term:
		return bad("in term %s, %s expected", v.Term, want.Term)
	case v.Candidate != want.Candidate:
		return bad("for %q, %q expected", v.Candidate, want.Candidate)
	case v.Head != want.Head:
		return bad("for head %d of term %s, %d of term %s expected, or another hash", v.Head.Seq, v.Head.Term, want.Head.Seq, want.Head.Term)
	case v.Set != want.Set:
		return bad("for set %.8s, %.8s expected", v.Set, want.Set)
	}
	signed := func(k ed25519.PublicKey) bool { return v.Verify(k) == nil }
	keys := keysIn(v.Voter, l.Next, l.Now)
	if slices.ContainsFunc(keys, signed) {
		return true, nil
	}
	if v.Voter == want.Candidate {
		old := keysIn(v.Voter, l.Before)
		if slices.ContainsFunc(old, signed) {
			return false, nil
		}
		keys = append(keys, old...)
	}
	if len(keys) == 0 {
		return bad("no replica")
	}
	return false, fmt.Errorf("vote of %q: %w", v.Voter, ErrSignature)
}

// settled checks the certificate of a settled entry that continues the log at at,
// and follows it. That the log holds what the certificate cites is for the caller.
func (l Lead) settled(e *Entry, at Position) (Lead, *Settled, error) {
	s, err := ParseSettled(e.Body)
	if err != nil {
		return l, nil, err
	}
	bad := func(format string, args ...any) (Lead, *Settled, error) {
		return l, nil, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrCertificate)
	}
	c := &s.Certificate
	if !l.Changing() {
		return bad("no change of the replica set is in progress")
	}
	if err := c.verify(e.Room, func(domain string) []ed25519.PublicKey { return keysIn(domain, l.Next, l.Now) }); err != nil {
		return l, nil, err
	}
	for _, h := range c.Cites() {
		switch {
		case h.Term != at.Term:
			// What an older term left is final only under a head of this one.
			return bad("certificate of term %s, the log is in %s", h.Term, at.Term)
		case h.Seq < l.Began.Seq || h.Seq == l.Began.Seq && h.Hash != l.Began.Hash:
			return bad("certificate of head %d, the commit is %d, or another", h.Seq, l.Began.Seq)
		case h.Seq >= at.Next || h.Seq == at.Next-1 && h.Hash != at.Last:
			return bad("certificate of head %d, the log ends with %d, or another", h.Seq, at.Next-1)
		}
	}
	if !l.Quorum(c.Domains()) {
		return l, nil, fmt.Errorf("co-signatures of %v in sets %v and %v: %w", c.Domains(), domainsOf(l.Now), domainsOf(l.Next), ErrQuorum)
	}
	l.Before, l.Now, l.Next, l.Began = l.Now, l.Next, nil, Head{}
	return l, s, nil
}

func domainsOf(set []Replica) (out []string) {
	for i := range set {
		out = append(out, set[i].Domain)
	}
	return out
}

// anchoredBy says whether a replica's key is one that its domain is known by.
// Errors: x509auth.ErrUnknownProvider, which may pass, and ErrHosting.
func anchoredBy(anchors func(string) []crypto.PublicKey, x *Replica) error {
	known := anchors(x.Domain)
	if len(known) == 0 {
		return unknownProvider(x.Domain)
	}
	if !slices.ContainsFunc(known, func(k crypto.PublicKey) bool {
		e, ok := k.(ed25519.PublicKey)
		return ok && bytes.Equal(e, x.ProviderKey[:])
	}) {
		return fmt.Errorf("key %x is none that %s is known by: %w", x.ProviderKey[:8], x.Domain, ErrHosting)
	}
	return nil
}

func unknownProvider(domain string) error {
	return fmt.Errorf("provider %s: %w", domain, x509auth.ErrUnknownProvider)
}

// Append appends the encoding in which a Lead is stored:
//
//	struct {
//	    uint8 version = 1;
//	    Replica hub;
//	    uint32 era; uint64 number;
//	    Replica now<V>;           /* 1, 3 or 5 */
//	    Replica next<V>;          /* as now, or none: no change in progress */
//	    Replica before<V>;        /* as now, or none */
//	    optional<Head> began;     /* present with next */
//	} Lead;
func (l *Lead) Append(b []byte) []byte {
	b = l.Term.append(l.Hub.append(append(b, Version)))
	b = appendReplicas(appendReplicas(appendReplicas(b, l.Now), l.Next), l.Before)
	b = presentation.AppendOptional(b, l.Changing())
	if l.Changing() {
		b = l.Began.append(b)
	}
	return b
}

// ParseLead reads a stored Lead.
func ParseLead(b []byte) (Lead, error) {
	var l Lead
	r := presentation.NewReader(b)
	readVersion(r, "lead")
	l.Hub.read(r)
	l.Term.read(r)
	l.Now, l.Next, l.Before = readReplicas(r), readReplicas(r), readReplicas(r)
	began := r.Optional()
	if began {
		l.Began.read(r)
	}
	if err := r.Done(); err != nil {
		return l, fmt.Errorf("reading lead: %w", err)
	}
	if err := l.Hub.check(); err != nil {
		return l, err
	}
	for _, set := range [][]Replica{l.Now, l.Next, l.Before} {
		for i := range set {
			if err := set[i].check(); err != nil {
				return l, err
			}
		}
	}
	if len(l.Now) == 0 || began != l.Changing() {
		return l, fmt.Errorf("stored lead with %d replicas, changing %t: %w", len(l.Now), began, ErrHosting)
	}
	return l, nil
}
