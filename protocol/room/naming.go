package room

import (
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
)

// Who is named how. In an open room leaves have the certificates of users, and the
// participant list has users. In a pseudonymous room (package pseudonym; MIMI protocol
// section 6) all leaves have pseudonymous credentials, and the list has pseudonyms, which
// uri.User holds as participants. Which of the two a room is says PseudonymousComponent,
// from its first entry on and for good: no update of it is ever allowed (readUpdate). Hub,
// followers and members judge by the same functions here, so a leaf of the other kind is
// refused by all of them.

// PseudonymousComponent, in the GroupContext, says that a room is pseudonymous; ours, from
// the private range. Its data is one octet, its version.
const PseudonymousComponent mls.ComponentID = 0x8005

// naming says whether a room is pseudonymous.
type naming bool

const (
	open         naming = false
	pseudonymous naming = true
)

func namingIn(d mls.Dictionary) (naming, error) {
	data, ok := d[PseudonymousComponent]
	if !ok {
		return open, nil
	}
	if len(data) != 1 || data[0] != Version {
		return open, fmt.Errorf("a pseudonymous room of an unknown kind %.8x: %w", data, ErrPolicy)
	}
	return pseudonymous, nil
}

// Pseudonymous says whether a context is of a pseudonymous room. Error: ErrPolicy.
func Pseudonymous(ctx *mls.GroupContext) (bool, error) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return false, err
	}
	n, err := namingIn(d)
	return bool(n), err
}

// AsPseudonymous returns the GroupContext extensions of a new pseudonymous room; ext are
// those of an open one that is otherwise the same, with the creator's pseudonym as its
// creator. Error: policy.ErrComponent.
func AsPseudonymous(ext mls.Extensions) (mls.Extensions, error) {
	d, err := ext.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	base, err := baseIn(d)
	if err != nil {
		return nil, err
	}
	b := *base
	b.Pseudonyms = true
	ext, err = withComponents(ext, mls.Dictionary{BaseComponent: b.Append(nil), PseudonymousComponent: {Version}})
	if err != nil {
		return nil, err
	}
	return ext.With(mls.ExtRequiredCapabilities, required(pseudonymous).Extension().Data), nil
}

// user returns who a leaf is of. Error: ErrPolicy, for a leaf that the room does not have.
func (n naming) user(l *mls.LeafNode) (uri.User, error) {
	if n == pseudonymous {
		c, err := pseudonym.Of(l.Credential, l.SignatureKey)
		if err != nil {
			return uri.User{}, fmt.Errorf("member of a pseudonymous room: %w: %w", err, ErrPolicy)
		}
		return c.User.Participant(), nil
	}
	s, err := x509auth.UserURI(l.Credential)
	if err != nil {
		return uri.User{}, fmt.Errorf("member without a user: %w: %w", err, ErrPolicy)
	}
	u, err := uri.ParseUser(s)
	if err != nil {
		return uri.User{}, fmt.Errorf("member of user %q: %w: %w", s, err, ErrPolicy)
	}
	return u, nil
}

// parse reads who stands on the list. Error: ErrPolicy.
func (n naming) parse(s string) (uri.User, error) {
	u, err := uri.ParseUser(s)
	if n == pseudonymous {
		var p uri.Pseudonym
		if p, err = uri.ParsePseudonym(s); err == nil {
			err = pseudonym.Check(p)
		}
		u = p.Participant()
	}
	if err != nil {
		return uri.User{}, fmt.Errorf("participant %.255q: %w: %w", s, err, ErrPolicy)
	}
	return u, nil
}

// UserOf returns who a leaf is of, in a room of either kind that has judged it: a user or a
// pseudonym. Error: ErrPolicy.
func UserOf(l *mls.LeafNode) (uri.User, error) { return userOf(l) }

// userOf returns who a leaf is of that has been judged, in a room of either kind.
func userOf(l *mls.LeafNode) (uri.User, error) {
	return naming(l.Credential.Type == pseudonym.CredentialType).user(l)
}

// checkFirst: what makes no sense where nobody but members knows who is who is refused
// from the beginning, rather than half of it. Fixed membership is that of direct rooms, which
// a pair finds by its names, and the participants of a parent have other pseudonyms there.
func (n naming) checkFirst(v *View) error {
	switch {
	case n == open:
		return nil
	case !v.Base.Pseudonyms:
		return fmt.Errorf("a pseudonymous room whose policy does not allow pseudonyms: %w", ErrPolicy)
	case v.Base.Fixed:
		return fmt.Errorf("a pseudonymous room with fixed membership, which there is not: %w", ErrPolicy)
	case v.Base.Parent != "":
		return fmt.Errorf("a pseudonymous room with a parent, which there is not: %w", ErrPolicy)
	}
	return nil
}

// follows says whether a room of this kind may have another base policy. Error: *policy.Refusal.
func (n naming) follows(b *policy.Base) error {
	if n == pseudonymous && !b.Pseudonyms {
		return &policy.Refusal{Why: "that a room is pseudonymous is settled when it is made"}
	}
	return nil
}

// authenticator judges leaves of both kinds; which of them a room has, naming says.
type authenticator struct{ open mls.Authenticator }

// enters refuses who asks to come in as what the room does not have. Error: *policy.Refusal.
func (n naming) enters(u uri.User) error {
	_, masked := u.Pseudonym()
	switch {
	case masked == bool(n):
		return nil
	case masked:
		return &policy.Refusal{Why: "nobody is in this room under a pseudonym"}
	}
	return &policy.Refusal{Why: "the room is pseudonymous: who comes in by itself asks under a pseudonym"}
}

// AttestedAAD is the authenticated data of the commit by which somebody comes into a pseudonymous room
// by itself: the word of its provider (pseudonym.Attest), in the SafeAAD.
func AttestedAAD(word []byte) []byte {
	return mls.Dictionary{PseudonymousComponent: word}.Append(nil)
}

// attested says whether the provider of who comes into a pseudonymous room by itself vouches for it.
// Errors: x509auth.ErrUnknownProvider, which may pass, and ErrPolicy, which may pass with
// x509auth.ErrUntrusted.
func (j *judgement) attested(l *mls.LeafNode) error {
	if j.r.naming == open {
		return nil
	}
	c, err := pseudonym.Of(l.Credential, l.SignatureKey)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrPolicy)
	}
	var d mls.Dictionary
	r := presentation.NewReader(j.c.AAD)
	if len(j.c.AAD) > 0 {
		d.Read(r, BodyLimits().Limits)
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("%s joins by itself: %w: %w", c.User, err, ErrPolicy)
	}
	known := j.anchors(c.User.Provider().Domain())
	if len(known) == 0 {
		return unknownProvider(c.User.Provider().Domain())
	}
	err = c.Attested(d[PseudonymousComponent], j.g.GroupID(), known)
	if errors.Is(err, pseudonym.ErrNotAttested) { // or by a key of its provider that is not known here
		err = fmt.Errorf("%w: %w", err, x509auth.ErrUntrusted)
	}
	if err != nil {
		return fmt.Errorf("%s joins by itself: %w: %w", c.User, err, ErrPolicy)
	}
	return nil
}

var errKinds = errors.New("room: a name in place of a pseudonym, or the other way round")

// Authenticate implements mls.Authenticator.
func (a authenticator) Authenticate(c mls.Credential, signatureKey []byte, now time.Time) error {
	if c.Type == pseudonym.CredentialType {
		return pseudonym.Authenticator{Senders: a.open}.Authenticate(c, signatureKey, now)
	}
	return a.open.Authenticate(c, signatureKey, now)
}

// AuthenticateSender implements mls.Authenticator: servers have names in both.
func (a authenticator) AuthenticateSender(c mls.Credential, signatureKey []byte, now time.Time) error {
	return a.open.AuthenticateSender(c, signatureKey, now)
}

// Succeeds implements mls.Authenticator.
func (a authenticator) Succeeds(old, new mls.Credential) error {
	was, is := old.Type == pseudonym.CredentialType, new.Type == pseudonym.CredentialType
	switch {
	case was != is:
		return errKinds
	case is:
		return pseudonym.Authenticator{}.Succeeds(old, new)
	}
	return a.open.Succeeds(old, new)
}
