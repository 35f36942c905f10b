package consent

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// InvitationComponent is what an invitation is called among the consent_extensions of a
// ConsentEntry; ours, from the private range.
const InvitationComponent mls.ComponentID = 0x8011

// MaxInvitation bounds an encoded Invitation, in octets.
const MaxInvitation = 1 << 10

// ErrInvitation: an invitation that does not decode, or has in it what is not one line of text.
var ErrInvitation = errors.New("consent: malformed invitation")

// Invitation goes with a request for consent that is about one room, and makes an offer of
// it: whoever grants it is added, in a role, by the requester. What it says the requester
// says, and nobody else.
//
//	struct {
//	    uint8 version = 1;
//	    opaque room_name<V>;   /* UTF-8, one line, at most 256 octets, as the others */
//	    opaque role<V>;        /* what the role is called; empty: that of newcomers */
//	    opaque note<V>;
//	} Invitation;
type Invitation struct {
	RoomName, Role, Note string
}

// Append appends the encoding.
func (v *Invitation) Append(b []byte) []byte {
	b = append(b, 1)
	for _, s := range []string{v.RoomName, v.Role, v.Note} {
		b = presentation.AppendOpaque(b, []byte(s))
	}
	return b
}

// ParseInvitation reads what Append has written. Error: ErrInvitation.
func ParseInvitation(b []byte) (*Invitation, error) {
	if len(b) > MaxInvitation {
		return nil, fmt.Errorf("%d octets (limit %d): %w", len(b), MaxInvitation, ErrInvitation)
	}
	r := presentation.NewReader(b)
	version := r.U8()
	v := &Invitation{string(r.Opaque()), string(r.Opaque()), string(r.Opaque())}
	if err := r.Done(); err != nil || version != 1 {
		return nil, fmt.Errorf("version %d, %v: %w", version, err, ErrInvitation)
	}
	return v, v.Check()
}

// Check says whether everything in an invitation may be shown. Error: ErrInvitation.
func (v *Invitation) Check() error {
	for _, s := range []string{v.RoomName, v.Role, v.Note} {
		if len(s) > 256 || !utf8.ValidString(s) {
			return fmt.Errorf("a text of %d octets, which is too long (limit 256) or no UTF-8: %w", len(s), ErrInvitation)
		}
		for _, c := range s {
			if c != ' ' && !unicode.IsGraphic(c) {
				return fmt.Errorf("a text with the character %U: %w", c, ErrInvitation)
			}
		}
	}
	return nil
}

// InvitationOf returns the invitation among a ConsentEntry's extensions; nil if there is none.
// Error: ErrInvitation.
func InvitationOf(ext mls.Dictionary) (*Invitation, error) {
	b, ok := ext[InvitationComponent]
	if !ok {
		return nil, nil
	}
	return ParseInvitation(b)
}
