package privacypass

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Type is the only token type that there is here: blind RSA with keys of 2048 bits.
const Type = 0x0002

// Bounds of the names in a challenge, in octets.
const (
	MaxName   = 255  // of the issuer, a domain
	MaxOrigin = 1024 // of origins, domains with commas between them
	// ContextSize is the length of a redemption context that is not empty.
	ContextSize = 32
)

// Challenge is what a token is for: it is good for this issuer, origin and context only.
type Challenge struct {
	Issuer string
	// Context is empty or ContextSize octets. A token cannot be got before the context is known.
	Context []byte
	// Origin names who takes the token; empty: anybody.
	Origin string
}

// Bytes is the challenge as it is written. Error: ErrMalformed.
func (c *Challenge) Bytes() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint16(nil, Type)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(c.Issuer))), c.Issuer...)
	b = append(append(b, byte(len(c.Context))), c.Context...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(c.Origin))), c.Origin...), nil
}

func (c *Challenge) check() error {
	switch {
	case c.Issuer == "" || len(c.Issuer) > MaxName:
		return fmt.Errorf("an issuer's name of %d octets, 1 to %d: %w", len(c.Issuer), MaxName, ErrMalformed)
	case len(c.Context) != 0 && len(c.Context) != ContextSize:
		return fmt.Errorf("a context of %d octets, none or %d: %w", len(c.Context), ContextSize, ErrMalformed)
	case len(c.Origin) > MaxOrigin:
		return fmt.Errorf("origins of %d octets, at most %d: %w", len(c.Origin), MaxOrigin, ErrMalformed)
	}
	return nil
}

// Digest is what a token says of its challenge. Error: ErrMalformed.
func (c *Challenge) Digest() (d [32]byte, err error) {
	b, err := c.Bytes()
	if err != nil {
		return d, err
	}
	return sha256.Sum256(b), nil
}

// ParseChallenge reads a challenge. The octets are copied. Error: ErrMalformed.
func ParseChallenge(b []byte) (*Challenge, error) {
	bad := func(what string) (*Challenge, error) { return nil, fmt.Errorf("challenge, %s: %w", what, ErrMalformed) }
	kind, b, ok := cut(b, 2)
	if !ok || binary.BigEndian.Uint16(kind) != Type {
		return bad("token type")
	}
	c := new(Challenge)
	name, b, ok := prefixed(b, 2)
	if !ok {
		return bad("issuer")
	}
	context, b, ok := prefixed(b, 1)
	if !ok {
		return bad("context")
	}
	origin, b, ok := prefixed(b, 2)
	if !ok || len(b) > 0 {
		return bad("origin")
	}
	c.Issuer, c.Origin = string(name), string(origin)
	if len(context) > 0 {
		c.Context = append(c.Context, context...)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// cut divides octets after n.
func cut(b []byte, n int) (head, rest []byte, ok bool) {
	if len(b) < n {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// prefixed cuts off what a length of n octets stands before.
func prefixed(b []byte, n int) (v, rest []byte, ok bool) {
	head, b, ok := cut(b, n)
	if !ok {
		return nil, nil, false
	}
	length := 0
	for _, x := range head {
		length = length<<8 | int(x)
	}
	return cut(b, length)
}
