package room

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// What a hub does with submissions. The checks of Check, which all providers
// make of what the hub has ordered, come on top; here stand those that need what
// the log does not tell, such as who submitted.

// ErrSubmission: a submission that does not come from whom it claims, or whose
// parts do not belong together.
var ErrSubmission = errors.New("room: submission refused")

// NewEntry makes the entry that continues the log with a body, at the hub.
func (s *State) NewEntry(kind Kind, txn TxnID, body []byte, now time.Time) *Entry {
	at := max(uint64(max(now.UnixMilli(), 0)), s.at.AcceptedAt)
	return &Entry{Room: s.id, Term: s.at.Term, Seq: s.at.Next, Prev: s.at.Last, AcceptedAt: at, Kind: kind, Txn: txn, Body: body}
}

// FirstEntry makes the entry that begins a room.
func FirstEntry(c *Create, txn TxnID, now time.Time) *Entry {
	return &Entry{Room: IDOf([]byte(c.URI.String())), Term: FirstTerm, AcceptedAt: uint64(max(now.UnixMilli(), 0)),
		Kind: KindCreate, Txn: txn, Body: c.Bytes()}
}

// AdmitMessage says whether the hub takes a message that a provider submits for
// one of its users: a participant who may send and has a client in the group, and a
// message of the present epoch or one not long past, with a franking tag. Who sent it
// cannot be seen from the message; the receivers see it, and whether the tag is right.
//
// Errors: ErrSubmission, ErrPolicy, ErrEpoch, ErrWrongRoom, ErrTag.
func (s *State) AdmitMessage(req *wire.SubmitMessageRequest, from string) (*Message, error) {
	u, err := s.roster.naming.parse(string(req.SendingURI))
	if err != nil {
		return nil, fmt.Errorf("message from %q: %w: %w", req.SendingURI, err, ErrSubmission)
	}
	v, err := s.Effective()
	if err != nil {
		return nil, err
	}
	role := v.Role(u.String())
	switch {
	case u.Provider().Domain() != from:
		return nil, fmt.Errorf("message from %s submitted by %s: %w", u, from, ErrSubmission)
	case !v.Rules.Posts(role):
		return nil, fmt.Errorf("%s sends: %w: %w", u, v.Rules.Need(role, policy.SendMessage), ErrPolicy)
	case s.roster.Clients(u) == 0:
		return nil, fmt.Errorf("%s has no client in the group: %w", u, ErrPolicy)
	}
	if err := s.checkMessage(req.Message.Private); err != nil {
		return nil, err
	}
	if _, err := wire.FrankAADOf(req.Message.Private.AAD(), BodyLimits()); err != nil {
		return nil, fmt.Errorf("message from %s: %w: %w", u, ErrTag, err)
	}
	return &Message{Message: req.Message}, nil
}

// MayEnter says whether a user or pseudonym, whose client has this credential, may join by itself, as far
// as that can be told before it does: a participant with a client of its own, and who is
// not on the list where the room lets it in. The credential must have been verified.
//
// Errors: ErrPolicy, ErrEnded.
func (s *State) MayEnter(u uri.User, c mls.Credential) error {
	if s.Ended() != nil {
		return ErrEnded
	}
	v, err := s.Effective()
	if err != nil {
		return err
	}
	deny := func(err error) error { return fmt.Errorf("%s joins by itself: %w: %w", u, err, ErrPolicy) }
	if err := s.roster.naming.enters(u); err != nil {
		return deny(err)
	}
	switch role := v.Role(u.String()); {
	case v.Operational != nil && !v.Operational.ExternalCommits:
		return deny(&policy.Refusal{Why: "nobody joins this room by itself"})
	case role != policy.None:
		if err := v.Rules.AddClient(role, true, role); err != nil {
			return deny(err)
		}
		return nil
	case v.Base.Fixed:
		return deny(errFixed)
	}
	if _, err := v.Entry(c); err != nil {
		return deny(err)
	}
	return nil
}

// Entry returns the role in which somebody who is not on the list joins by itself, by what
// its credential says. Error: *policy.Refusal.
func (v *View) Entry(c mls.Credential) (policy.Role, error) {
	return v.Rules.Entrant(v.Preauth.Match(ClaimsOf(c)))
}

// AdmitUpdate says whether the hub takes a handshake that a provider submits:
// one of its own users' clients made it, and a Welcome is for exactly the clients
// that the commit adds. st is what Check found of the entry made of it.
//
// Errors: ErrSubmission.
func (s *State) AdmitUpdate(b *wire.HandshakeBundle, st *Step, from string) error {
	for _, c := range st.Changes {
		u, err := s.Author(c)
		if err != nil {
			return err
		}
		if u.Provider().Domain() != from {
			return fmt.Errorf("handshake by %s submitted by %s: %w", u, from, ErrSubmission)
		}
	}
	var added [][]byte
	if c := st.Commit(); c != nil {
		for _, a := range AddedClients(c) {
			added = append(added, a.Ref)
		}
	}
	var welcomed [][]byte
	if b.Welcome != nil {
		welcomed = slices.Clone(b.Welcome.Recipients())
	}
	slices.SortFunc(added, bytes.Compare)
	slices.SortFunc(welcomed, bytes.Compare)
	if !slices.EqualFunc(added, welcomed, bytes.Equal) {
		return fmt.Errorf("commit adds %d clients, its Welcome lets %d in, or others: %w", len(added), len(welcomed), ErrSubmission)
	}
	return nil
}

// Author returns whose client made a change that Check of this state has returned. Error:
// ErrSubmission for one that no user's client made.
func (s *State) Author(c *mls.Change) (uri.User, error) {
	if c.Kind == mls.ContentCommit && c.Sender.Type == mls.SenderNewMemberCommit {
		for _, m := range c.Added {
			if m.Leaf == c.Committer {
				return s.roster.naming.user(m.Node)
			}
		}
	}
	if u, ok := s.roster.users[c.Sender.Leaf]; ok && c.Sender.Type == mls.SenderMember {
		return u, nil
	}
	return uri.User{}, fmt.Errorf("handshake by %v: %w", c.Sender.Type, ErrSubmission)
}

// Joiner returns whose client joined by itself with a commit that has been judged.
func Joiner(c *mls.Change) (uri.User, bool) {
	if c == nil || c.Kind != mls.ContentCommit || c.Sender.Type != mls.SenderNewMemberCommit {
		return uri.User{}, false
	}
	for _, m := range c.Added {
		if m.Leaf == c.Committer {
			u, err := userOf(m.Node)
			return u, err == nil
		}
	}
	return uri.User{}, false
}

// Added is a client that a commit added by its KeyPackage.
type Added struct {
	User uri.User
	Ref  []byte // KeyPackageRef, by which the Welcome names it
}

// AddedClients returns the clients that a commit which has been judged adds by
// KeyPackages; a joiner by external commit is not among them.
func AddedClients(c *mls.Change) []Added {
	var out []Added
	for _, p := range c.Proposals {
		if p.Proposal.Type != mls.ProposalAdd {
			continue
		}
		if u, err := userOf(&p.Proposal.Add.Leaf); err == nil {
			out = append(out, Added{u, p.Proposal.Add.Ref()})
		}
	}
	return out
}
