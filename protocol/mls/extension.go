package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// ExtensionType is a registered extension (RFC 9420 section 17.3).
type ExtensionType uint16

// Extension types that this engine reads. All others travel as opaque bytes.
const (
	ExtApplicationID        ExtensionType = 1
	ExtRatchetTree          ExtensionType = 2
	ExtRequiredCapabilities ExtensionType = 3
	ExtExternalPub          ExtensionType = 4
	ExtExternalSenders      ExtensionType = 5
	// ExtAppDataDictionary is app_data_dictionary of draft-ietf-mls-extensions.
	ExtAppDataDictionary ExtensionType = 6
)

// implied says whether RFC 9420 section 7.2 takes support for granted, so that
// the type needs no place in capabilities. Listing it all the same is wrong
// but harmless, and accepted.
func (t ExtensionType) implied() bool { return t >= ExtApplicationID && t <= ExtExternalSenders }

// Extension is {uint16 extension_type; opaque extension_data<V>}.
type Extension struct {
	Type ExtensionType
	Data []byte
}

// Extensions is a list in which every type occurs at most once.
type Extensions []Extension

// Get returns the data of the extension of type t, which the list owns.
func (e Extensions) Get(t ExtensionType) ([]byte, bool) {
	for _, x := range e {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}

// With returns a copy of the list in which t has the given data, in its old
// place or at the end.
func (e Extensions) With(t ExtensionType, data []byte) Extensions {
	out := slices.Clone(e)
	for i := range out {
		if out[i].Type == t {
			out[i].Data = data
			return out
		}
	}
	return append(out, Extension{t, data})
}

// Without returns a copy of the list that lacks t.
func (e Extensions) Without(t ExtensionType) Extensions {
	return slices.DeleteFunc(slices.Clone(e), func(x Extension) bool { return x.Type == t })
}

func (e Extensions) equal(o Extensions) bool {
	return slices.EqualFunc(e, o, func(a, b Extension) bool {
		return a.Type == b.Type && bytes.Equal(a.Data, b.Data)
	})
}

func (r *reader) extensions() Extensions {
	out := Extensions{}
	r.List(r.lim.ListEntries, func() {
		x := Extension{Type: ExtensionType(r.U16()), Data: r.Opaque()}
		if _, twice := out.Get(x.Type); twice && r.Err() == nil {
			r.Fail(ErrMalformed, "extension %#04x twice", uint16(x.Type))
		}
		out = append(out, x)
	})
	return out
}

func (e Extensions) append(b []byte) []byte {
	return appendList(b, func(b []byte) []byte {
		for _, x := range e {
			b = appendOpaque(appendU16(b, uint16(x.Type)), x.Data)
		}
		return b
	})
}

func (e Extensions) checkUnique() error {
	for i, x := range e {
		if slices.ContainsFunc(e[:i], func(y Extension) bool { return y.Type == x.Type }) {
			return fmt.Errorf("extension %#04x twice: %w", uint16(x.Type), ErrMalformed)
		}
	}
	return nil
}

// RequiredCapabilities is the required_capabilities extension (section 11.1):
//
//	struct {
//	    ExtensionType extension_types<V>;
//	    ProposalType proposal_types<V>;
//	    CredentialType credential_types<V>;
//	} RequiredCapabilities;
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// Extension encodes it for a GroupContext.
func (c RequiredCapabilities) Extension() Extension {
	return Extension{ExtRequiredCapabilities, c.append(nil)}
}

func (c *RequiredCapabilities) append(b []byte) []byte {
	b = appendU16s(b, c.Extensions)
	b = appendU16s(b, c.Proposals)
	return appendU16s(b, c.Credentials)
}

func (c *RequiredCapabilities) read(r *reader) {
	c.Extensions = readU16s[ExtensionType](r)
	c.Proposals = readU16s[ProposalType](r)
	c.Credentials = readU16s[CredentialType](r)
}

func (e Extensions) requiredCapabilities(lim Limits) (c RequiredCapabilities, err error) {
	data, ok := e.Get(ExtRequiredCapabilities)
	if !ok {
		return c, nil
	}
	err = parse(data, lim, "required_capabilities", c.read)
	return c, err
}

// ExternalSender may send proposals without being a member (section 12.1.8.1):
//
//	struct { SignaturePublicKey signature_key; Credential credential; } ExternalSender;
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

// ExternalSendersExtension encodes the list for a GroupContext. A sender's
// index in it is how its messages name it.
func ExternalSendersExtension(senders []ExternalSender) Extension {
	b := appendList(nil, func(b []byte) []byte {
		for _, s := range senders {
			b = s.append(b)
		}
		return b
	})
	return Extension{ExtExternalSenders, b}
}

func (s *ExternalSender) read(r *reader) {
	s.SignatureKey = r.Opaque()
	s.Credential.read(r)
}

func (s *ExternalSender) append(b []byte) []byte {
	return s.Credential.append(appendOpaque(b, s.SignatureKey))
}

func (e Extensions) externalSenders(lim Limits) (out []ExternalSender, err error) {
	data, ok := e.Get(ExtExternalSenders)
	if !ok {
		return nil, nil
	}
	err = parse(data, lim, "external_senders", func(r *reader) {
		r.List(r.lim.ListEntries, func() {
			var s ExternalSender
			s.read(r)
			out = append(out, s)
		})
	})
	return out, err
}

// externalPub reads the external_pub extension: {HPKEPublicKey external_pub}.
func (e Extensions) externalPub(lim Limits) (pub []byte, ok bool, err error) {
	data, ok := e.Get(ExtExternalPub)
	if !ok {
		return nil, false, nil
	}
	err = parse(data, lim, "external_pub", func(r *reader) { pub = r.Opaque() })
	return pub, true, err
}
