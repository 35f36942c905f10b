package mls

import "github.com/mimid/mimid/protocol/presentation"

// MIMI's structures contain those of MLS, side by side with fields of their
// own. Read takes one from the front of a reader, under the given limits;
// Append writes it. Errors stay in the reader. Byte strings alias its input.

func embedded(r *presentation.Reader, lim Limits) *reader {
	lim = lim.withDefaults()
	return &reader{r, &lim}
}

// Read reads an MLSMessage.
func (m *Message) Read(r *presentation.Reader, lim Limits) { m.read(embedded(r, lim)) }

// Append appends the MLSMessage.
func (m *Message) Append(b []byte) []byte { return m.append(b) }

// Read reads a bare KeyPackage.
func (k *KeyPackage) Read(r *presentation.Reader, lim Limits) { k.read(embedded(r, lim)) }

// Append appends the bare KeyPackage.
func (k *KeyPackage) Append(b []byte) []byte { return k.append(b) }

// Read reads a bare GroupInfo.
func (g *GroupInfo) Read(r *presentation.Reader, lim Limits) { g.read(embedded(r, lim)) }

// Append appends the bare GroupInfo.
func (g *GroupInfo) Append(b []byte) []byte { return g.append(b) }

// Read reads a bare Welcome.
func (w *Welcome) Read(r *presentation.Reader, lim Limits) { w.read(embedded(r, lim)) }

// Append appends the bare Welcome.
func (w *Welcome) Append(b []byte) []byte { return w.append(b) }

// Read reads a credential.
func (c *Credential) Read(r *presentation.Reader, lim Limits) { c.read(embedded(r, lim)) }

// Append appends the credential.
func (c *Credential) Append(b []byte) []byte { return c.append(b) }

// Read reads capabilities.
func (c *Capabilities) Read(r *presentation.Reader, lim Limits) { c.read(embedded(r, lim)) }

// Append appends the capabilities.
func (c *Capabilities) Append(b []byte) []byte { return c.append(b) }

// Read reads required capabilities.
func (c *RequiredCapabilities) Read(r *presentation.Reader, lim Limits) { c.read(embedded(r, lim)) }

// Append appends the required capabilities.
func (c *RequiredCapabilities) Append(b []byte) []byte { return c.append(b) }

// Read reads a list of extensions.
func (e *Extensions) Read(r *presentation.Reader, lim Limits) { *e = embedded(r, lim).extensions() }

// Append appends the list.
func (e Extensions) Append(b []byte) []byte { return e.append(b) }

// Read reads an ExternalSender.
func (s *ExternalSender) Read(r *presentation.Reader, lim Limits) { s.read(embedded(r, lim)) }

// Append appends the ExternalSender.
func (s *ExternalSender) Append(b []byte) []byte { return s.append(b) }

// Read reads an HPKECiphertext.
func (c *HPKECiphertext) Read(r *presentation.Reader, lim Limits) { c.read(embedded(r, lim)) }

// Append appends the HPKECiphertext.
func (c *HPKECiphertext) Append(b []byte) []byte { return c.append(b) }

// Read reads a dictionary.
func (d *Dictionary) Read(r *presentation.Reader, lim Limits) { *d = readDictionary(embedded(r, lim)) }

// Append appends the dictionary.
func (d Dictionary) Append(b []byte) []byte { return d.append(b) }

// Read reads a ratchet tree and hashes it.
func (t *RatchetTree) Read(r *presentation.Reader, lim Limits) {
	t.t = readTree(embedded(r, lim))
	if r.Err() == nil {
		t.t.seal()
	}
}

// Append appends the tree.
func (t *RatchetTree) Append(b []byte) []byte { return t.t.append(b) }

// Sign is SignWithLabel (RFC 9420 section 5.1.2), for signatures that other
// protocols define by it: over {opaque label<V> = "MLS 1.0 " + label; opaque
// content<V>}. Use labels that MLS itself does not.
func (k SignatureKey) Sign(label string, content []byte) ([]byte, error) {
	return k.sign(label, content)
}

// Verify is VerifyWithLabel. Error: ErrBadSignature.
func (c CipherSuite) Verify(publicKey []byte, label string, content, signature []byte) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.verify(publicKey, label, content, signature)
}
