package policy

import (
	"bytes"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
)

// CredentialX509 is MLS's credential type of certificates, which claims are read from.
const CredentialX509 uint16 = 2

// Claim is something that a credential says, and must say.
//
//	struct { CredentialType credential_type; opaque id<V>; } ClaimId;
//	struct { ClaimId claim_id; opaque claim_value<V>; } Claim;
//
// The id is, of certificates, an OID with its DER tag and length. What a credential says
// under an id may be several values, of which one must be equal.
type Claim struct {
	Credential uint16
	ID, Value  []byte
}

// Preauthorized is one rule: who satisfies all claims may have the role.
type Preauthorized struct {
	Claims []Claim // at least one
	Role   Role
}

// Preauth is the component preauth_list (draft-ietf-mimi-room-policy section 6):
//
//	struct { Claim claimset<V>; uint32 target_role_index; } PreAuthRoleEntry;
//	struct { PreAuthRoleEntry preauthorized_entries<V>; } PreAuthData;
//
// The draft has a whole Role as target_role. A definition there could contradict the one in
// roles_list, so we take its index to be meant, like everywhere else.
//
// The list is asked for who joins from outside and is not on the participant list, and for
// who changes its own role; for nobody else, so nobody who is banned comes back by it.
type Preauth struct {
	Entries []Preauthorized
}

// ParsePreauth reads preauth_list. Error: ErrComponent.
func ParsePreauth(b []byte) (*Preauth, error) {
	p := new(Preauth)
	err := parse("preauthorization", b, func(r reader) {
		p.Entries = readList(r, func() Preauthorized {
			return Preauthorized{readList(r, func() Claim {
				return Claim{r.U16(), bytes.Clone(r.Opaque()), bytes.Clone(r.Opaque())}
			}), Role(r.U32())}
		})
	}, p.check)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Preauth) check() error {
	if len(p.Entries) > maxList {
		return invalid("%d preauthorized, at most %d", len(p.Entries), maxList)
	}
	for _, e := range p.Entries {
		switch {
		case len(e.Claims) == 0:
			return invalid("a preauthorization of everybody; roles can let anybody join (%s)", OpenJoin)
		case len(e.Claims) > maxList:
			return invalid("%d claims, at most %d", len(e.Claims), maxList)
		case e.Role == None || e.Role == Banned:
			return invalid("preauthorized for role %d", e.Role)
		case slices.ContainsFunc(e.Claims, func(c Claim) bool { return len(c.ID) == 0 || len(c.Value) == 0 }):
			return invalid("a claim of nothing")
		}
	}
	return nil
}

// Check says whether a list can be written. Error: ErrComponent.
func (p *Preauth) Check() error {
	if err := p.check(); err != nil {
		return err
	}
	return within(p.Append(nil))
}

// Append appends the encoding.
func (p *Preauth) Append(b []byte) []byte {
	return appendEach(b, p.Entries, func(b []byte, e Preauthorized) []byte {
		b = appendEach(b, e.Claims, func(b []byte, c Claim) []byte {
			return presentation.AppendOpaque(presentation.AppendOpaque(presentation.AppendU16(b, c.Credential), c.ID), c.Value)
		})
		return presentation.AppendU32(b, uint32(e.Role))
	})
}

// Match returns the role of the first rule that is satisfied by what a credential says,
// None if none is.
func (p *Preauth) Match(says []Claim) Role {
	has := func(c Claim) bool {
		return slices.ContainsFunc(says, func(s Claim) bool {
			return s.Credential == c.Credential && bytes.Equal(s.ID, c.ID) && bytes.Equal(s.Value, c.Value)
		})
	}
	for _, e := range p.Entries {
		if !slices.ContainsFunc(e.Claims, func(c Claim) bool { return !has(c) }) {
			return e.Role
		}
	}
	return None
}

// Join says whether somebody who is not on the list may join by itself in a role:
// preauthorized is what Match found of its credential. Error: *Refusal.
func (r *Roles) Join(to, preauthorized Role) error {
	switch {
	case !r.Active(to):
		return r.refuse(None, OpenJoin, "nobody who is %s may have a device in this room", r.Name(to))
	case to == preauthorized && r.May(to, JoinIfPreauthorized), r.May(None, OpenJoin) && r.changes(None, None, to):
		return nil
	case r.May(None, OpenJoin):
		return r.refuse(None, OpenJoin, "nobody may join this room as %s without being added", r.Name(to))
	}
	return r.refuse(None, OpenJoin, "nobody joins this room without being added")
}

// Entrant returns the role in which somebody who is not on the list may join by itself,
// if it wants no other: the one that it is preauthorized for, else the lowest that is open
// to all. Error: *Refusal, as Join.
func (r *Roles) Entrant(preauthorized Role) (Role, error) {
	if preauthorized != None && r.Join(preauthorized, preauthorized) == nil {
		return preauthorized, nil
	}
	for i := range r.defs {
		if to := r.defs[i].Index; r.Join(to, None) == nil {
			return to, nil
		}
	}
	return None, r.refuse(None, OpenJoin, "nobody joins this room without being added")
}
