package room

import (
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// Components of the GroupContext that hold policy (draft-ietf-mimi-room-policy section
// 12.1, the suggested values), and room_metadata (MIMI protocol section 10). An update
// replaces the whole; none is ever removed.
const (
	MetadataComponent    mls.ComponentID = 0x0023
	OperationalComponent mls.ComponentID = 0x0024
	PreauthComponent     mls.ComponentID = 0x0026
	BaseComponent        mls.ComponentID = 0x0027
	StatusComponent      mls.ComponentID = 0x0028
	AssetsComponent      mls.ComponentID = 0x002c
	ExpirationComponent  mls.ComponentID = 0x0030

	// TombstoneComponent ends the room; ours, from the private range. Its data is a
	// Tombstone.
	TombstoneComponent mls.ComponentID = 0x8004
)

// Policies are a room's components that are policy and not about who takes part; nil is
// absent.
type Policies struct {
	Base        *policy.Base // as it holds: never nil
	Preauth     *policy.Preauth
	Operational *policy.Operational
	Status      *policy.Status
	Assets      *policy.Assets
	Expiration  *policy.Expiration
}

// PoliciesOf returns what a context says. Error: policy.ErrComponent.
func PoliciesOf(ctx *mls.GroupContext) (*Policies, error) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	p := new(Policies)
	var errs []error
	if p.Base, err = baseIn(d); err != nil {
		errs = append(errs, err)
	}
	p.Preauth = read(d, PreauthComponent, policy.ParsePreauth, &errs)
	p.Operational = read(d, OperationalComponent, policy.ParseOperational, &errs)
	p.Status = read(d, StatusComponent, policy.ParseStatus, &errs)
	p.Assets = read(d, AssetsComponent, policy.ParseAssets, &errs)
	p.Expiration = read(d, ExpirationComponent, policy.ParseExpiration, &errs)
	return p, errors.Join(errs...)
}

func read[T any](d mls.Dictionary, id mls.ComponentID, parse func([]byte) (*T, error), errs *[]error) *T {
	b, ok := d[id]
	if !ok {
		return nil
	}
	v, err := parse(b)
	if err != nil {
		*errs = append(*errs, err)
	}
	return v
}

func baseIn(d mls.Dictionary) (*policy.Base, error) {
	b, ok := d[BaseComponent]
	if !ok {
		return policy.DefaultBase(), nil
	}
	return policy.ParseBase(b)
}

// MetadataOf returns a context's room_metadata, nil if there is none. Error:
// policy.ErrComponent.
func MetadataOf(ctx *mls.GroupContext) (*policy.Metadata, error) {
	b, err := component(ctx, MetadataComponent)
	if err != nil || b == nil {
		return nil, err
	}
	return policy.ParseMetadata(b)
}

// Component is a policy component, or room_metadata, to write.
type Component interface {
	Check() error
	Append([]byte) []byte
}

// idOf returns where a component is.
func idOf(c Component) (mls.ComponentID, bool) {
	switch c.(type) {
	case *policy.Metadata:
		return MetadataComponent, true
	case *policy.Operational:
		return OperationalComponent, true
	case *policy.Preauth:
		return PreauthComponent, true
	case *policy.Base:
		return BaseComponent, true
	case *policy.Status:
		return StatusComponent, true
	case *policy.Assets:
		return AssetsComponent, true
	case *policy.Expiration:
		return ExpirationComponent, true
	}
	return 0, false
}

// ParseComponent reads a component by its id. Error: policy.ErrComponent.
func ParseComponent(id mls.ComponentID, b []byte) (Component, error) {
	switch id {
	case MetadataComponent:
		return policy.ParseMetadata(b)
	case OperationalComponent:
		return policy.ParseOperational(b)
	case PreauthComponent:
		return policy.ParsePreauth(b)
	case BaseComponent:
		return policy.ParseBase(b)
	case StatusComponent:
		return policy.ParseStatus(b)
	case AssetsComponent:
		return policy.ParseAssets(b)
	case ExpirationComponent:
		return policy.ParseExpiration(b)
	}
	return nil, fmt.Errorf("component %#04x: %w", uint16(id), policy.ErrComponent)
}

// Update makes the proposal that puts a component in place of what is there. Error:
// policy.ErrComponent.
func Update(c Component) (*mls.Proposal, error) {
	id, ok := idOf(c)
	if !ok {
		panic(fmt.Sprintf("room: %T is no component", c))
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return updateOf(id, c.Append(nil)), nil
}

// WithPolicy returns the GroupContext extensions of a new room with a policy component; ext
// are those of Extensions. Error: policy.ErrComponent.
func WithPolicy(ext mls.Extensions, c Component) (mls.Extensions, error) {
	p, err := Update(c)
	if err != nil {
		return nil, err
	}
	return withComponents(ext, mls.Dictionary{p.AppData.Component: p.AppData.Update})
}

// Ends makes the proposal that ends a room, whose members go on in another if successor is
// not zero.
func Ends(successor uri.Room) *mls.Proposal {
	return updateOf(TombstoneComponent, (&Tombstone{Successor: successor}).Bytes())
}

// TombstoneOf returns how a room has ended, nil while it has not.
func TombstoneOf(ctx *mls.GroupContext) (*Tombstone, error) {
	b, err := component(ctx, TombstoneComponent)
	if err != nil || b == nil {
		return nil, err
	}
	return ParseTombstone(b)
}

// policyUpdate judges an update of a component that is policy or metadata: who may make it,
// and that the room can be so.
func (j *judgement) policyUpdate(p *mls.UsedProposal, user string, role policy.Role) error {
	a := p.Proposal.AppData
	deny := func(err error) error {
		return fmt.Errorf("%s changes the room's policy (component %#04x): %w: %w", user, uint16(a.Component), err, ErrPolicy)
	}
	c, err := ParseComponent(a.Component, a.Update)
	if err != nil {
		return deny(err)
	}
	need := policy.ChangeOtherPolicyAttribute
	switch x := c.(type) {
	case *policy.Metadata:
		if name, err := roomOf(j.g.GroupID()); err != nil || x.URI != name {
			return deny(fmt.Errorf("it is about %.255q", x.URI))
		}
		before, err := MetadataOf(j.g.Context())
		if err != nil {
			before = nil // of an older version: everything is new
		}
		if err := j.was.Rules.ChangeMetadata(role, before, x); err != nil {
			return deny(err)
		}
		return nil
	case *policy.Operational:
		need = policy.ChangeMlsOperationalPolicies
	case *policy.Preauth:
		need = policy.ChangePreauthorizedUserList
		if err := j.preauthorizes(x); err != nil {
			return deny(err)
		}
	case *policy.Base:
		need = policy.ChangeRoomMembershipStyle
		if err := errors.Join(x.Follows(j.was.Base), j.r.naming.follows(x)); err != nil {
			return deny(err)
		}
	}
	if err := j.was.Rules.Need(role, need); err != nil {
		return deny(err)
	}
	return nil
}

// preauthorizes: all roles are there, and the list of participants does not grow or change
// in the same commit; removals may be in it (room-policy section 6).
func (j *judgement) preauthorizes(x *policy.Preauth) error {
	for _, e := range x.Entries {
		if !j.was.Rules.Known(e.Role) {
			return fmt.Errorf("role %d, which there is not, is preauthorized", e.Role)
		}
	}
	if j.c.Kind == mls.ContentProposal {
		return nil // what else is in its commit is judged then
	}
	for who, role := range j.changed {
		if role != policy.None {
			return fmt.Errorf("the same commit makes %s %s", who, j.was.Rules.Name(role))
		}
	}
	return nil
}

// ends judges the end of a room.
func (j *judgement) ends(p *mls.UsedProposal, user string, role policy.Role) error {
	deny := func(err error) error { return fmt.Errorf("%s ends the room: %w: %w", user, err, ErrPolicy) }
	if j.c.Kind != mls.ContentCommit || j.c.Sender.Type != mls.SenderMember || p.Sender != j.c.Sender {
		return deny(errors.New("who ends it commits that, and by no proposal of another"))
	}
	if err := j.was.Rules.Need(role, policy.DestroyRoom); err != nil {
		return deny(err)
	}
	t, err := ParseTombstone(p.Proposal.AppData.Update)
	if err == nil {
		err = j.succeeds(t)
	}
	if err != nil {
		return deny(err)
	}
	return nil
}

// OIDs of names in certificates, as preauthorizations write them: with the tag and length
// of DER.
var (
	// ClaimName is subjectAltName, 2.5.29.17: the user's URI and the client's.
	ClaimName = []byte{0x06, 0x03, 0x55, 0x1d, 0x11}
	// ClaimIssuer is issuerAltName, 2.5.29.18: the URI of the user's provider, which
	// issues its certificate.
	ClaimIssuer = []byte{0x06, 0x03, 0x55, 0x1d, 0x12}
)

// ClaimsOf returns what a member's credential says, for preauthorizations. The certificates
// of this system have names and no other claims. The credential must have been verified.
func ClaimsOf(c mls.Credential) []policy.Claim {
	user, err := x509auth.UserURI(c)
	if err != nil {
		return nil
	}
	client, err := x509auth.ClientURI(c)
	if err != nil {
		return nil
	}
	u, err := uri.ParseUser(user)
	if err != nil {
		return nil
	}
	claim := func(id []byte, value string) policy.Claim {
		return policy.Claim{Credential: policy.CredentialX509, ID: id, Value: []byte(value)}
	}
	return []policy.Claim{claim(ClaimName, user), claim(ClaimName, client), claim(ClaimIssuer, u.Provider().String())}
}
