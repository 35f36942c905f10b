package privacypass

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cloudflare/circl/blindsign/blindrsa"
)

// RequestSize and ResponseSize are the lengths of a TokenRequest and a TokenResponse, in octets.
const (
	RequestSize  = 2 + 1 + sigSize
	ResponseSize = sigSize
)

// Pending is a token that has been asked for. It holds what takes the blinding off again, and is
// good for one answer.
type Pending struct {
	key    *Key
	token  Token
	client blindrsa.Client
	state  blindrsa.State
}

// Format implements fmt.Formatter; it prints no secret.
func (p Pending) Format(s fmt.State, _ rune) { fmt.Fprint(s, "privacypass.Pending") }

// Ask makes a TokenRequest for the key's issuer, who does not learn for which challenge. Errors:
// ErrMalformed.
func Ask(k *Key, c *Challenge) (request []byte, p *Pending, err error) {
	var nonce [32]byte
	rand.Read(nonce[:]) // never fails
	return ask(k, c, nonce, rand.Reader)
}

func ask(k *Key, c *Challenge, nonce [32]byte, random io.Reader) (request []byte, p *Pending, err error) {
	p = &Pending{key: k, token: Token{Nonce: nonce, KeyID: k.id}}
	if p.token.Challenge, err = c.Digest(); err != nil {
		return nil, nil, err
	}
	if p.client, err = blindrsa.NewClient(blindrsa.SHA384PSSDeterministic, k.public); err != nil {
		return nil, nil, fmt.Errorf("asking for a token: %w", err)
	}
	blinded, state, err := p.client.Blind(random, p.token.input())
	if err != nil {
		return nil, nil, fmt.Errorf("asking for a token: %w", err)
	}
	p.state = state
	request = binary.BigEndian.AppendUint16(make([]byte, 0, RequestSize), Type)
	return append(append(request, k.id[31]), blinded...), p, nil
}

// Finish makes the token of the issuer's TokenResponse. Error: ErrResponse, also for an issuer who
// has signed something else.
func (p *Pending) Finish(response []byte) (*Token, error) {
	if len(response) != ResponseSize {
		return nil, fmt.Errorf("%d octets, %d expected: %w", len(response), ResponseSize, ErrResponse)
	}
	sig, err := p.client.Finalize(p.state, response)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	t := p.token
	copy(t.Signature[:], sig)
	return &t, nil
}

// Issuer gives tokens. To whom, and how many, is the caller's to decide: it cannot be seen
// in the request. Immutable, and safe for concurrent use.
type Issuer struct {
	key    *Key
	signer blindrsa.Signer
}

// NewIssuer takes an RSA key. Error: ErrKey.
func NewIssuer(sk *rsa.PrivateKey) (*Issuer, error) {
	if sk == nil {
		return nil, ErrKey
	}
	k, err := NewKey(&sk.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := sk.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return &Issuer{k, blindrsa.NewSigner(sk)}, nil
}

// Format implements fmt.Formatter; it prints no secret.
func (i Issuer) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "privacypass.Issuer(%x)", i.key.id[:4]) }

// Key is the issuer's public key.
func (i *Issuer) Key() *Key { return i.key }

// Issue answers a TokenRequest with a TokenResponse. Errors: ErrMalformed, ErrKey (for another
// key).
func (i *Issuer) Issue(request []byte) ([]byte, error) {
	if len(request) != RequestSize || binary.BigEndian.Uint16(request) != Type {
		return nil, fmt.Errorf("a request of %d octets, one of type 2 has %d: %w", len(request), RequestSize, ErrMalformed)
	}
	if request[2] != i.key.id[31] {
		return nil, fmt.Errorf("a request for a token of key ..%02x, this one is ..%02x: %w", request[2], i.key.id[31], ErrKey)
	}
	response, err := i.signer.BlindSign(request[3:])
	if err != nil {
		return nil, fmt.Errorf("signing: %w: %w", ErrMalformed, err)
	}
	return response, nil
}
