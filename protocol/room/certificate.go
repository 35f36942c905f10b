package room

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
)

// MaxSigners bounds the signers of a certificate and the votes of a hub_change:
// all replicas of two sets of five.
const MaxSigners = 10

// Signer is a replica in a certificate.
type Signer struct {
	Domain string
	CoSignature
}

// Certificate shows who has stored the log up to a head. Whether they are enough
// is a question to the set in force at that head, which the caller asks.
//
//	struct {
//	    opaque domain<V>;         /* 1 to 253 bytes */
//	    CoSignature co_signature;
//	} Signer;
//	struct {
//	    Head head;
//	    Signer signers<V>;        /* 1 to 10, ascending domains */
//	} Certificate;
//
// A signer may have co-signed a later head of the term: the log links the two,
// so it has stored the earlier as well. That the log holds all these heads
// (Cites) only who has the log can see.
type Certificate struct {
	Head    Head
	Signers []Signer
}

// Read reads a certificate from the front of a reader.
func (c *Certificate) Read(r *presentation.Reader) {
	c.Head.read(r)
	r.List(MaxSigners, func() {
		var s Signer
		s.Domain = readDomain(r)
		s.CoSignature.Read(r)
		c.Signers = append(c.Signers, s)
	})
}

// readDomain reads {opaque domain<V>} of 1 to 253 bytes.
func readDomain(r *presentation.Reader) string {
	d := r.Opaque()
	if n := len(d); r.Err() == nil && (n == 0 || n > maxDomain) {
		r.Fail(presentation.ErrMalformed, "domain of %d bytes", n)
		return ""
	}
	return string(d)
}

const maxDomain = 253

// Append appends the certificate's encoding.
func (c *Certificate) Append(b []byte) []byte {
	return presentation.AppendList(c.Head.append(b), func(b []byte) []byte {
		for i := range c.Signers {
			b = c.Signers[i].Append(presentation.AppendOpaque(b, []byte(c.Signers[i].Domain)))
		}
		return b
	})
}

// ParseCertificate reads a certificate and checks its form.
func ParseCertificate(b []byte) (*Certificate, error) {
	c := new(Certificate)
	r := presentation.NewReader(b)
	c.Read(r)
	err := r.Done()
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	return c, nil
}

// check checks what the certificate shows of its form by itself.
func (c *Certificate) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrCertificate)
	}
	if n := len(c.Signers); n == 0 || n > MaxSigners {
		return bad("%d signers, 1 to %d expected", n, MaxSigners)
	}
	for i := range c.Signers {
		s := &c.Signers[i]
		h := &s.CoSignature.Head
		switch {
		case i > 0 && s.Domain <= c.Signers[i-1].Domain:
			return bad("signer %q after %q", s.Domain, c.Signers[i-1].Domain)
		case h.Room != c.Head.Room || h.Term != c.Head.Term:
			return bad("%q co-signed in another room or term, %s", s.Domain, h.Term)
		case h.Seq < c.Head.Seq:
			return bad("%q co-signed up to %d, not %d", s.Domain, h.Seq, c.Head.Seq)
		case h.Seq == c.Head.Seq && h.Hash != c.Head.Hash:
			return bad("%q co-signed another entry %d", s.Domain, h.Seq)
		}
	}
	return nil
}

// Verify checks the form and every signature. keys returns a domain's provider
// key as the log names it, false for whom the log does not know.
//
// Errors: ErrWrongRoom, ErrCertificate, ErrSignature.
func (c *Certificate) Verify(id ID, keys func(domain string) (ed25519.PublicKey, bool)) error {
	return c.verify(id, func(domain string) []ed25519.PublicKey {
		if k, ok := keys(domain); ok {
			return []ed25519.PublicKey{k}
		}
		return nil
	})
}

// verify is Verify for domains that may have two keys: one of the old and one of
// the new set.
func (c *Certificate) verify(id ID, keys func(domain string) []ed25519.PublicKey) error {
	if c.Head.Room != id {
		return fmt.Errorf("certificate of room %.8s, this is %.8s: %w", c.Head.Room, id, ErrWrongRoom)
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("verifying certificate of head %d: %w", c.Head.Seq, err)
	}
	for i := range c.Signers {
		s := &c.Signers[i]
		of := keys(s.Domain)
		if len(of) == 0 {
			return fmt.Errorf("verifying certificate of head %d: signer %q is no replica: %w", c.Head.Seq, s.Domain, ErrCertificate)
		}
		if !slices.ContainsFunc(of, func(k ed25519.PublicKey) bool { return s.Verify(k) == nil }) {
			return fmt.Errorf("verifying certificate of head %d: signer %q: %w", c.Head.Seq, s.Domain, ErrSignature)
		}
	}
	return nil
}

// Domains returns the signers' domains, ascending.
func (c *Certificate) Domains() []string {
	var out []string
	for i := range c.Signers {
		out = append(out, c.Signers[i].Domain)
	}
	return out
}

// Cites returns the heads that the log must hold for the certificate to be true:
// its own and those that its signers co-signed, each once.
func (c *Certificate) Cites() []Head {
	out := []Head{c.Head}
	for i := range c.Signers {
		if h := c.Signers[i].CoSignature.Head; !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}
