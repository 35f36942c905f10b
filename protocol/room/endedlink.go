package room

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// What is told to who comes with a join link that lets nobody in. The component has only the
// links that count; those that were used up or revoked are remembered beside it, by everybody
// who follows the log, so that a later hub can say the same. Nothing is judged by that.

// LinkFault says why a link lets nobody in.
type LinkFault uint8

const (
	// LinkUnknown: the room has never had such a link, or it is long since.
	LinkUnknown LinkFault = iota + 1
	// LinkExpired: its time is over.
	LinkExpired
	// LinkUsedUp: it was used as often as it could be.
	LinkUsedUp
	// LinkRevoked: a member has taken it back.
	LinkRevoked
)

// String says it in words.
func (f LinkFault) String() string {
	switch f {
	case LinkUnknown:
		return "the room knows no such link"
	case LinkExpired:
		return "the link has expired"
	case LinkUsedUp:
		return "the link was used as often as it could be"
	case LinkRevoked:
		return "the link was revoked"
	}
	return fmt.Sprintf("LinkFault(%d)", uint8(f))
}

// LinkError is a link that lets nobody in. It is an ErrJoinLink.
type LinkError struct{ Fault LinkFault }

func (e *LinkError) Error() string { return e.Fault.String() }

// Unwrap implements errors.
func (e *LinkError) Unwrap() error { return ErrJoinLink }

// maxEnded is how many ended links are remembered, those that ended last.
const maxEnded = 256

// endedLink is a link that counts no longer. Only a part of the key's hash is kept: it is
// compared, and nothing else.
//
//	struct { opaque key_hash[8]; uint8 fault; } EndedLink;
type endedLink struct {
	key   [8]byte
	fault LinkFault
}

func endedKey(key [ed25519.PublicKeySize]byte) (k [8]byte) {
	h := sha256.Sum256(key[:])
	copy(k[:], h[:])
	return k
}

func appendEnded(b []byte, list []endedLink) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, e := range list {
			b = append(append(b, e.key[:]...), byte(e.fault))
		}
		return b
	})
}

func parseEnded(b []byte) (out []endedLink, err error) {
	r := presentation.NewReader(b)
	r.List(maxEnded, func() {
		var e endedLink
		copy(e.key[:], r.Fixed(len(e.key)))
		if e.fault = LinkFault(r.U8()); (e.fault < LinkExpired || e.fault > LinkRevoked) && r.Err() == nil {
			r.Fail(ErrJoinLink, "a link that ended as %d", e.fault)
		}
		out = append(out, e)
	})
	return out, r.Done()
}

// noteEnded remembers the links that a commit has ended; was are the components before it.
func (s *State) noteEnded(was mls.Dictionary, c *mls.Change, at uint64) error {
	if !slices.ContainsFunc(c.Proposals, func(p *mls.UsedProposal) bool {
		return p.Proposal.Type == mls.ProposalAppDataUpdate && p.Proposal.AppData.Component == JoinLinksComponent
	}) {
		return nil
	}
	before, err := JoinLinksIn(was)
	if err != nil {
		return err
	}
	after, err := JoinLinksIn(s.view.components)
	if err != nil {
		return err
	}
	for _, l := range before.Links {
		if after.find(l.Key) >= 0 {
			continue
		}
		fault := LinkRevoked
		switch {
		case l.expired(at):
			fault = LinkExpired
		case c.Sender.Type == mls.SenderNewMemberCommit:
			fault = LinkUsedUp // who joins can do nothing else to it
		}
		s.ended, s.unsavedEnded = append(s.ended, endedLink{endedKey(l.Key), fault}), true
	}
	if n := len(s.ended) - maxEnded; n > 0 {
		s.ended = slices.Delete(s.ended, 0, n)
	}
	return nil
}

// linkFault says why a link lets nobody in, nil if it does, at a time in ms since 1970.
func (s *State) linkFault(links *JoinLinks, key [ed25519.PublicKeySize]byte, at uint64) error {
	_, err := links.Usable(key, at)
	var fault *LinkError
	if !errors.As(err, &fault) || fault.Fault != LinkUnknown {
		return err
	}
	k := endedKey(key)
	// A key may be made a link's anew: what happened last counts.
	for i := len(s.ended) - 1; i >= 0; i-- {
		if s.ended[i].key == k {
			return &LinkError{s.ended[i].fault}
		}
	}
	return err
}

// LinkStands says of a joiningCode, whoever sends it, whether it was made for the keys of the
// request by who holds a link that counts, at a time in ms since 1970. Error: ErrJoinLink; a
// *LinkError where a link is held that does not count.
func (s *State) LinkStands(code, signatureKey, groupInfoKey []byte, at uint64) error {
	var key [ed25519.PublicKeySize]byte
	if len(code) != len(key)+ed25519.SignatureSize {
		return fmt.Errorf("a joining code of %d octets: %w", len(code), ErrJoinLink)
	}
	copy(key[:], code)
	if !ed25519.Verify(key[:], askTBS(s.room, signatureKey, groupInfoKey), code[len(key):]) {
		return fmt.Errorf("a joining code that was not made for this request: %w", ErrJoinLink)
	}
	links, err := JoinLinksIn(s.view.components)
	if err != nil {
		return err
	}
	return s.linkFault(links, key, at)
}

// MayAsk says whether a joiningCode lets somebody who is not on the list have the GroupInfo, at
// a time in ms since 1970. Error: ErrJoinLink, *policy.Refusal, or ErrEnded.
func (s *State) MayAsk(user uri.User, code, signatureKey, groupInfoKey []byte, at uint64) error {
	if s.Ended() != nil {
		return ErrEnded
	}
	v := s.view
	switch {
	case v.Role(user.String()) == policy.Banned:
		return fmt.Errorf("%s is banned: %w", user, ErrJoinLink)
	case v.Role(user.String()) != policy.None:
		return fmt.Errorf("%s is on the list, and needs no link: %w", user, ErrJoinLink)
	case v.Operational != nil && !v.Operational.ExternalCommits:
		return &policy.Refusal{Why: "nobody joins this room by itself"}
	case v.Base.Fixed:
		return errFixed
	}
	if err := s.roster.naming.enters(user); err != nil {
		return err
	}
	if err := v.Rules.Need(policy.None, policy.UseJoinCode); err != nil {
		return err
	}
	return s.LinkStands(code, signatureKey, groupInfoKey, at)
}

// HasLinks says whether the room has a link that counts, at a time in ms since 1970.
func (s *State) HasLinks(at uint64) bool {
	links, err := JoinLinksIn(s.view.components)
	return err == nil && slices.ContainsFunc(links.Links, func(l JoinLink) bool { return !l.expired(at) })
}
