package policy

import (
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// Expiration is the component message_expiration_policy (draft-ietf-mimi-room-policy
// section 8.7): whether messages end by themselves.
//
//	struct {
//	    Optionality expiring_messages;
//	    select (expiring_messages) {
//	        case required: case optional:
//	            uint32 min_expiration_duration;    /* seconds */
//	            uint32 max_expiration_duration;
//	            optional uint32 default_expiration_duration;
//	        case forbidden:
//	            struct {};
//	    }
//	} MessageExpiration;
//
// A room without it leaves it to the users.
type Expiration struct {
	Expiring Optionality
	Min, Max uint32 // seconds; zero where forbidden
	Default  Bound  // seconds; absent where forbidden
}

// ParseExpiration reads message_expiration_policy. Error: ErrComponent.
func ParseExpiration(b []byte) (*Expiration, error) {
	p := new(Expiration)
	err := parse("expiration policy", b, func(r reader) {
		if p.Expiring = Optionality(r.enum("expiring_messages", 3)); p.Expiring != Forbidden {
			p.Min, p.Max, p.Default = r.U32(), r.U32(), readBound(r.Reader)
		}
	}, p.Check)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Check says whether a policy can be written. Error: ErrComponent.
func (p *Expiration) Check() error {
	switch {
	case p.Expiring > Forbidden:
		return invalid("expiring messages %s", p.Expiring)
	case p.Expiring == Forbidden && (p.Min > 0 || p.Max > 0 || p.Default.Set):
		return invalid("messages may not expire, and have durations")
	case p.Expiring != Forbidden && (p.Max == 0 || p.Min > p.Max):
		return invalid("messages that expire after %d to %d seconds", p.Min, p.Max)
	case p.Default.Set && (p.Default.N < p.Min || p.Default.N > p.Max):
		return invalid("messages expire after %d seconds, which is not within %d and %d", p.Default.N, p.Min, p.Max)
	}
	return nil
}

// Append appends the encoding.
func (p *Expiration) Append(b []byte) []byte {
	if b = append(b, byte(p.Expiring)); p.Expiring == Forbidden {
		return b
	}
	return appendBound(presentation.AppendU32(presentation.AppendU32(b, p.Min), p.Max), p.Default)
}

// Allows says whether a message may be sent that ends after so many seconds, or does not.
// Error: *Refusal.
func (p *Expiration) Allows(expires bool, seconds uint64) error {
	switch {
	case p.Expiring == Forbidden && expires:
		return &Refusal{Why: "messages of this room may not expire"}
	case p.Expiring == Required && !expires:
		return &Refusal{Why: fmt.Sprintf("messages of this room must expire, after %d to %d seconds", p.Min, p.Max)}
	case expires && (seconds < uint64(p.Min) || seconds > uint64(p.Max)):
		return &Refusal{Why: fmt.Sprintf("a message that expires after %d seconds; in this room it is %d to %d", seconds, p.Min, p.Max)}
	}
	return nil
}
