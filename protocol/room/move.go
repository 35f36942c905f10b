package room

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/wire"
)

// This file is the admin's move: a room goes to another hub without the old one's
// consent, because its provider is gone for good or hostile. A commit by an
// administrator names the new hub, and a majority of the participating providers, the
// replaced one not counted, has acknowledged it. The commit is in the hub_change entry
// itself: it is as final as that.

// MaxAcks bounds the acknowledgements of a move.
const MaxAcks = 4096

// Ack says that a provider follows its room to another hub: it stores nothing more of
// lower terms. It gives one per era and makes that durable first.
//
//	struct {
//	    uint8 version = 1;
//	    opaque room_id[32];
//	    uint32 era; uint64 number;  /* the term that begins */
//	    opaque hub<V>;              /* 1 to 253 bytes: the new one's domain */
//	    opaque commit[32];          /* CommitHash of the Handshake */
//	    Head head;                  /* where the log ends that the provider holds */
//	} Ack;
type Ack struct {
	Room   ID
	Term   Term
	Hub    string
	Commit Hash
	Head   Head
}

func (a *Ack) read(r *presentation.Reader) {
	readVersion(r, "ack")
	copy(a.Room[:], r.Fixed(hashSize))
	a.Term.read(r)
	a.Hub = readDomain(r)
	copy(a.Commit[:], r.Fixed(hashSize))
	a.Head.read(r)
}

func (a *Ack) append(b []byte) []byte {
	b = a.Term.append(append(append(b, Version), a.Room[:]...))
	b = append(presentation.AppendOpaque(b, []byte(a.Hub)), a.Commit[:]...)
	return a.Head.append(b)
}

// SignedAck is an Ack with whose it is:
//
//	struct {
//	    Ack ack;
//	    opaque provider<V>;       /* 1 to 253 bytes */
//	    opaque signature[64];     /* over {opaque label<V>; Ack; provider} */
//	} SignedAck;
//
// The label is "mimid room ack v1", or "mimid room ack in absence v1": then the provider
// also says that it has heard nothing for the room's patience of those who hold power in
// the room, nor of the hub (see State.Absent). It is a claim until Verify has seen it.
type SignedAck struct {
	Ack
	Provider  string
	Signature [ed25519.SignatureSize]byte
}

func (s *SignedAck) tbs(absence bool) []byte {
	label := "mimid room ack v1"
	if absence {
		label = "mimid room ack in absence v1"
	}
	b := s.Ack.append(presentation.AppendOpaque(nil, []byte(label)))
	return presentation.AppendOpaque(b, []byte(s.Provider))
}

// SignAck signs an acknowledgement with the provider's key, in the absence of those who
// hold power or not. The caller has made it durable before.
func SignAck(a Ack, absence bool, provider string, key ed25519.PrivateKey) SignedAck {
	s := SignedAck{Ack: a, Provider: provider}
	copy(s.Signature[:], ed25519.Sign(key, s.tbs(absence)))
	return s
}

// Verify checks the signature, of an acknowledgement in absence or not, against the
// provider's key, and nothing else. Error: ErrSignature.
func (s *SignedAck) Verify(key ed25519.PublicKey, absence bool) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.tbs(absence), s.Signature[:]) {
		return fmt.Errorf("acknowledgement of %q for term %s: %w", s.Provider, s.Term, ErrSignature)
	}
	return nil
}

// Read reads a signed acknowledgement from the front of a reader.
func (s *SignedAck) Read(r *presentation.Reader) {
	s.Ack.read(r)
	s.Provider = readDomain(r)
	copy(s.Signature[:], r.Fixed(ed25519.SignatureSize))
}

// Append appends its encoding.
func (s *SignedAck) Append(b []byte) []byte {
	return append(presentation.AppendOpaque(s.Ack.append(b), []byte(s.Provider)), s.Signature[:]...)
}

// CommitHash names the commit of a move:
//
//	SHA-256 of struct {
//	    opaque label<V> = "mimid room move v1";
//	    opaque handshake<V>;      /* a Handshake body */
//	}
func CommitHash(handshake []byte) Hash {
	b := presentation.AppendOpaque(nil, []byte("mimid room move v1"))
	return sha256.Sum256(presentation.AppendOpaque(b, handshake))
}

// Moving returns who leads as a commit that moves the room must say it: hub in term t,
// and with Judge, that it is such a commit.
func (l Lead) Moving(hub Replica, t Term) *Lead {
	l.from = l.Hub.Domain
	l.Hub, l.Term, l.move = hub, t, true
	return &l
}

// inherits says whether a member who may not change the hosting may move the room
// nevertheless: all who could do it are absent with the hub, and it is one of those who
// may succeed them. It gains no role by that.
func (j *judgement) inherits(user string) bool { return j.r.Inherits(j.g, user, j.lead.from) }

// Inherits says whether a user could move the room away from hub if that and all who hold
// power were silent.
func (r *Roster) Inherits(g *mls.PublicGroup, user, hub string) bool {
	s, err := SuccessionOf(g.Context())
	if err != nil || s.Patience == 0 {
		return false
	}
	list, err := ParticipantsOf(g.Context())
	if err != nil {
		return false
	}
	roles, err := RolesOf(g.Context())
	return err == nil && slices.Contains(Successors(roles, list, r.Clients, absent(roles, list, hub)), user)
}

// absent returns the domains of all who hold power, and the hub's: sorted.
func absent(roles *policy.Roles, list []wire.UserRolePair, hub string) []string {
	out := append(DomainsOf(Holders(roles, list)), hub)
	slices.Sort(out)
	return slices.Compact(out)
}

// Absent returns, of a commit that moves the room away from hub and that Judge has
// allowed on g, which providers have to be silent because its committer holds no power:
// none if it does.
func (r *Roster) Absent(g *mls.PublicGroup, c *mls.Change, hub string) ([]string, error) {
	v, err := r.View(g)
	if err != nil {
		return nil, err
	}
	u, ok := r.users[c.Sender.Leaf]
	if !ok || c.Sender.Type != mls.SenderMember {
		return nil, fmt.Errorf("a move by %v: %w", c.Sender.Type, ErrPolicy)
	}
	if v.Rules.May(v.Role(u.String()), policy.ChangeHosting) {
		return nil, nil
	}
	return absent(v.Rules, v.list, hub), nil
}

// Absent is Roster.Absent of a commit that CheckMove of this state has returned.
func (s *State) Absent(c *mls.Change) ([]string, error) {
	return s.roster.Absent(s.group, c, s.lead.Hub.Domain)
}

// Patience is for how long those who hold power have to be silent, 0 for ever.
func (s *State) Patience() (time.Duration, error) {
	x, err := SuccessionOf(s.group.Context())
	if err != nil {
		return 0, err
	}
	return x.Patience, nil
}

// judgeMove: a move's commit is a member's, who may change the hosting, and adds nobody.
func (j *judgement) judgeMove() error {
	if j.c.Kind != mls.ContentCommit || j.c.Sender.Type != mls.SenderMember || len(j.c.Added) > 0 {
		return fmt.Errorf("a move by %v, or one that adds %d clients: %w", j.c.Sender.Type, len(j.c.Added), ErrPolicy)
	}
	if !updatesHosting(j.c) {
		return fmt.Errorf("a move that leaves room_hosting alone: %w", ErrPolicy)
	}
	return nil
}

// CheckMove verifies a commit that moves the room to hub in term t, on the room as it
// stands, without the acknowledgements. It changes nothing. lied: the move proves lies, or is
// to, and may name the hub that it replaces.
//
// Errors: ErrBody, ErrPolicy, ErrPending, ErrHosting, ErrVote, and those of mls;
// x509auth.ErrUnknownProvider may pass.
func (s *State) CheckMove(h *Handshake, hub Replica, t Term, acceptedAt uint64, lied bool) (*mls.Change, error) {
	switch {
	case h.Info() == nil || len(h.Messages()) != 1:
		return nil, fmt.Errorf("a move that is no commit: %w", ErrBody)
	case t.Era <= s.at.Term.Era || t.Number != 1:
		return nil, fmt.Errorf("a move from term %s to %s, which begins no era: %w", s.at.Term, t, ErrVote)
	case hub.Domain == s.lead.Hub.Domain && !lied:
		return nil, fmt.Errorf("a move from %q to itself: %w", hub.Domain, ErrVote)
	}
	out, err := s.checkHandshake(h, s.lead.Moving(hub, t), acceptedAt)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// checkMove checks a hub_change entry by move.
func (s *State) checkMove(st *Step, c *HubChange) error {
	h, err := c.Handshake()
	if err != nil {
		return err
	}
	ch, err := s.CheckMove(h, c.Hub, st.Entry.Term, st.Entry.AcceptedAt, len(c.Lies) > 0)
	if err != nil {
		return err
	}
	away, err := s.Absent(ch)
	if err != nil {
		return err
	}
	lead, err := s.lead.FollowMove(st.Entry, s.at, c, ch.Context, s.Participating(), away, s.rules.Anchors)
	if err != nil {
		return err
	}
	st.Changes, st.info, st.lead = []*mls.Change{ch}, h.Info(), &lead
	return nil
}

// FollowMove checks the acknowledgements of a move, an entry that continues the log at
// at, and returns who leads after it: next is the GroupContext that its commit, which
// the caller has judged (Moving), makes. providers take part before it, and away have to
// be silent (Absent); a recruit is none of them, or it alone could keep a room from being
// moved. A member that cannot read the commit takes the context of its
// GroupInfo.
//
// Errors: ErrVote, ErrQuorum, ErrSignature, ErrHosting, and
// x509auth.ErrUnknownProvider, which may pass.
func (l Lead) FollowMove(e *Entry, at Position, c *HubChange, next *mls.GroupContext, providers, away []string, anchors func(domain string) []crypto.PublicKey) (Lead, error) {
	h, err := HostingOf(next)
	if err != nil {
		return l, err
	}
	if c.Via != ByMove || h.Term != e.Term || !h.Hub.equal(&c.Hub) || e.Term.Era <= at.Term.Era {
		return l, fmt.Errorf("hub_change %s to %s in term %s, its commit says %s in %s: %w", c.Via, c.Hub.Domain, e.Term, h.Hub.Domain, h.Term, ErrVote)
	}
	if err := l.Acknowledged(e, at, c, providers, away, anchors); err != nil {
		return l, err
	}
	return Lead{Hub: c.Hub, Term: e.Term, Now: h.Replicas}, nil
}

// Acknowledged says whether enough providers have acknowledged a move, an entry that
// continues the log at at: the majority of providers but the present hub, or where it proves
// that some have lied, all the others and the present hub. None of them
// may hold a newer log, or a commit that was in it would be undone. Where providers have to
// be away, none of them acknowledges, and the others say that they are silent; then nobody is
// left out. Errors as FollowMove, and ErrNoProof.
func (l *Lead) Acknowledged(e *Entry, at Position, c *HubChange, providers, away []string, anchors func(domain string) []crypto.PublicKey) error {
	want := Ack{Room: e.Room, Term: e.Term, Hub: c.Hub.Domain, Commit: CommitHash(c.Commit)}
	liars, err := l.liars(e.Room, c, providers, anchors)
	if err != nil {
		return err
	}
	if len(liars) > 0 && len(away) > 0 {
		return fmt.Errorf("a move without liars, in the absence of others: %w", ErrVote)
	}
	others := 0
	for _, d := range providers {
		if d != l.Hub.Domain {
			others++
		}
	}
	if len(liars) > 0 && !slices.Contains(providers, l.Hub.Domain) {
		providers = append(slices.Clone(providers), l.Hub.Domain) // a recruit
	}
	for i := range c.Acks {
		a := &c.Acks[i]
		if slices.Contains(liars, a.Provider) {
			return fmt.Errorf("acknowledgement of %q, which has lied: %w", a.Provider, ErrVote)
		}
		if err := l.checkAck(a, want, at, providers, away, len(liars) > 0, anchors); err != nil {
			return err
		}
	}
	switch {
	case len(liars) > 0 && len(c.Acks) < len(providers)-len(liars):
		return fmt.Errorf("%d of %d providers that have not lied acknowledge a move: %w", len(c.Acks), len(providers)-len(liars), ErrQuorum)
	case len(liars) == 0 && 2*len(c.Acks) <= others:
		return fmt.Errorf("%d of %d providers acknowledge a move: %w", len(c.Acks), others, ErrQuorum)
	}
	return nil
}

func (l *Lead) checkAck(a *SignedAck, want Ack, at Position, providers, away []string, all bool, anchors func(domain string) []crypto.PublicKey) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("acknowledgement of %q: %s: %w", a.Provider, fmt.Sprintf(format, args...), ErrVote)
	}
	head := a.Head
	want.Head = head
	switch {
	case a.Ack != want:
		return bad("of another move")
	case head.Room != want.Room:
		return bad("with a log of room %.8s", head.Room)
	case head.Term.Compare(at.Term) > 0 || head.Term == at.Term && head.Seq >= at.Next:
		return bad("with a log up to %d of term %s, the move continues %d of %s", head.Seq, head.Term, at.Next-1, at.Term)
	case a.Provider == l.Hub.Domain && !all:
		return bad("it is the hub that is replaced")
	case slices.Contains(away, a.Provider):
		return bad("it has to be away")
	case !slices.Contains(providers, a.Provider):
		return bad("it takes no part")
	}
	return l.CheckAck(a, len(away) > 0, anchors)
}

// CheckAck checks whose an acknowledgement is, in absence or not: by a key that the log names for the
// provider, or that its domain is known by. Errors: ErrSignature, and
// x509auth.ErrUnknownProvider, which may pass.
func (l *Lead) CheckAck(a *SignedAck, absence bool, anchors func(domain string) []crypto.PublicKey) error {
	keys := l.Keys(a.Provider, anchors)
	if len(keys) == 0 {
		return unknownProvider(a.Provider)
	}
	if !slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return a.Verify(k, absence) == nil }) {
		return fmt.Errorf("acknowledgement of %q: %w", a.Provider, ErrSignature)
	}
	return nil
}
