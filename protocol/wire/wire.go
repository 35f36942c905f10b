package wire

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// IdentifierURI names a user, client, room or provider (section 5.2):
//
//	struct { opaque uri<V>; } IdentifierUri;
//
// It holds the octets as received, whatever they are: hashes, franks and
// comparisons (==) are over these. Its syntax is judged elsewhere.
type IdentifierURI string

// Protocol says what protects a room's messages (section 5):
//
//	enum { reserved(0), mls10(1), (255) } Protocol;
//
// There is one value, so no structure has a field for it.
type Protocol uint8

// MLS10 is MLS 1.0, RFC 9420.
const MLS10 Protocol = 1

var protocolNames = []string{"", "mls10"}

func (p Protocol) String() string { return enumName(p, "Protocol", protocolNames) }

// reader is a presentation.Reader that knows the limits in force. Each
// structure has a method read that takes one, beside its layout; a method
// append that writes it; and a method check, which both directions ask, for
// what the layout alone does not rule out.
type reader struct {
	*presentation.Reader
	lim *Limits
}

// structure is what a body can hold.
type structure interface {
	read(*reader)
	append([]byte) []byte
	check() error
}

// parse reads v from a private copy of b, which must be consumed whole.
func parse(b []byte, lim Limits, what string, v structure) error {
	lim = lim.withDefaults()
	if len(b) > lim.MessageSize {
		return fmt.Errorf("reading %s of %d bytes (limit %d): %w", what, len(b), lim.MessageSize, ErrTooLarge)
	}
	r := &reader{presentation.NewReader(bytes.Clone(b)), &lim}
	v.read(r)
	err := r.Done()
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}

func encode(what string, v structure) ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("writing %s: %w", what, err)
	}
	return v.append(nil), nil
}

// protocol reads the octet that stands before a choice of protocols.
func (r *reader) protocol() { readEnum[Protocol](r, "Protocol", protocolNames) }

// bounded reads opaque<V> of at most limit bytes.
func (r *reader) bounded(limit int, what string) []byte {
	b := r.Opaque()
	if len(b) > limit {
		r.Fail(ErrTooLarge, "%s of %d bytes (limit %d)", what, len(b), limit)
		return nil
	}
	return b
}

func (r *reader) short(what string) []byte { return r.bounded(r.lim.Text, what) }

func (r *reader) text(what string) string { return string(r.short(what)) }

func (r *reader) uri(what string) IdentifierURI {
	return IdentifierURI(r.bounded(r.lim.URI, what))
}

// optionalURI reads optional<IdentifierUri>. Absent is the empty URI, so a
// present empty one has no place.
func (r *reader) optionalURI(what string) IdentifierURI {
	if !r.Optional() {
		return ""
	}
	u := r.uri(what)
	if r.Err() == nil && u == "" {
		r.Fail(ErrMalformed, "empty %s", what)
	}
	return u
}

func (r *reader) dictionary() (d mls.Dictionary) {
	d.Read(r.Reader, r.lim.Limits)
	return d
}

func appendURI(b []byte, u IdentifierURI) []byte {
	return append(presentation.AppendLength(b, len(u)), u...)
}

func appendText(b []byte, s string) []byte {
	return append(presentation.AppendLength(b, len(s)), s...)
}

func appendOptionalURI(b []byte, u IdentifierURI) []byte {
	b = presentation.AppendOptional(b, u != "")
	if u != "" {
		b = appendURI(b, u)
	}
	return b
}

// appendEach appends a vector of structures: one length in bytes around all of
// them, none around each.
func appendEach[T any](b []byte, list []T, each func([]byte, T) []byte) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, v := range list {
			b = each(b, v)
		}
		return b
	})
}

func checkURI(u IdentifierURI, what string) error {
	if u == "" {
		return fmt.Errorf("empty %s: %w", what, ErrMalformed)
	}
	return nil
}

func checkText(s, what string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not UTF-8: %w", what, ErrMalformed)
	}
	return nil
}

func checkCredential(c *mls.Credential) error {
	if c.Type == 0 || (c.Type == mls.CredentialX509 && len(c.Certificates) == 0) {
		return fmt.Errorf("empty credential of type %d: %w", c.Type, ErrMalformed)
	}
	return nil
}

// The enums of MIMI are one octet, and each has a table of names by value; a
// value without a name is refused.

func enumName[T ~uint8](v T, typ string, names []string) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", typ, uint8(v))
}

func checkEnum[T ~uint8](v T, typ string, names []string) error {
	if int(v) >= len(names) || names[v] == "" {
		return fmt.Errorf("%s %d: %w", typ, uint8(v), ErrMalformed)
	}
	return nil
}

func readEnum[T ~uint8](r *reader, typ string, names []string) T {
	v := T(r.U8())
	if r.Err() == nil && checkEnum(v, typ, names) != nil {
		r.Fail(ErrMalformed, "%s %d", typ, uint8(v))
	}
	return v
}

// contradiction is an ErrCombination that says what goes with what.
func contradiction(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrCombination)
}

// firstError returns the first that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// MLSMessages inside MIMI: which kinds stand where.

func (r *reader) message() *mls.Message {
	m := new(mls.Message)
	m.Read(r.Reader, r.lim.Limits)
	return m
}

func (r *reader) proposals() (out []*mls.Message) {
	r.List(r.lim.PendingProposals, func() { out = append(out, r.message()) })
	return out
}

func appendMessage(b []byte, m *mls.Message) []byte { return m.Append(b) }

// handshake returns the PublicMessage in m, or an error: a PrivateMessage
// cannot be verified by a hub, and the engine has no SemiPrivateMessage.
func handshake(m *mls.Message, what string) (*mls.PublicMessage, error) {
	if m == nil || m.Wire != mls.WirePublicMessage || m.Public == nil ||
		m.Private != nil || m.Welcome != nil || m.GroupInfo != nil || m.KeyPackage != nil {
		return nil, contradiction("%s is not a PublicMessage", what)
	}
	switch m.Public.ContentType() {
	case mls.ContentProposal, mls.ContentCommit:
		return m.Public, nil
	}
	return nil, contradiction("%s is an %v", what, m.Public.ContentType())
}

// checkProposals: every message is a proposal in a PublicMessage.
func checkProposals(list []*mls.Message, what string) error {
	for _, m := range list {
		p, err := handshake(m, what)
		if err != nil {
			return err
		}
		if p.ContentType() != mls.ContentProposal {
			return contradiction("%s has a %v", what, p.ContentType())
		}
	}
	return nil
}

// checkApplication: m is an application message in a PrivateMessage.
func checkApplication(m *mls.Message, what string) error {
	if m == nil || m.Wire != mls.WirePrivateMessage || m.Private == nil ||
		m.Public != nil || m.Welcome != nil || m.GroupInfo != nil || m.KeyPackage != nil {
		return contradiction("%s is not a PrivateMessage", what)
	}
	if t := m.Private.ContentType(); t != mls.ContentApplication {
		return contradiction("%s is a %v in a PrivateMessage", what, t)
	}
	return nil
}
