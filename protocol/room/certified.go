package room

import "github.com/mimid/mimid/protocol/presentation"

// Certified is a certificate with its head as the hub signed it:
//
//	struct { SignedHead head; Certificate certificate; } Certified;
type Certified struct {
	Head        SignedHead
	Certificate Certificate
}

// Read reads it from the front of a reader.
func (c *Certified) Read(r *presentation.Reader) {
	c.Head.Read(r)
	c.Certificate.Read(r)
	if r.Err() == nil && c.Head.Head != c.Certificate.Head {
		r.Fail(ErrCertificate, "certificate of head %d, with head %d", c.Certificate.Head.Seq, c.Head.Seq)
	}
}

// Append appends its encoding.
func (c *Certified) Append(b []byte) []byte { return c.Certificate.Append(c.Head.Append(b)) }
