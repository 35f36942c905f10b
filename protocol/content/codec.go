package content

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The layout of a message (appendix A.1), in deterministic CBOR:
//
//	[ salt:       byte string of 16,
//	  replaces:   null / message id,
//	  topicId:    byte string,
//	  expires:    null / [ relative: bool, time: uint32 ],
//	  inReplyTo:  null / message id,
//	  extensions: { ? 1: senderUri text, ? 2: roomUri text, * int / text => any },
//	  body:       part ]
//
//	message id = byte string of 32, the first octet 1
//
//	part = [ disposition: uint8, language: text, 0 ]
//	     / [ disposition: uint8, language: text, 1, contentType: text, content: byte string ]
//	     / [ disposition: uint8, language: text, 2, contentType: text, url: text,
//	         expires: uint32, size: uint64, encAlg: uint16, key, nonce, aad: byte string,
//	         hashAlg: uint8, contentHash: byte string, description, filename: text ]
//	     / [ disposition: uint8, language: text, 3, semantics: 0..2, [ 2* part ] ]
//
// A message therefore begins with the octets 87 50 and its salt.
const (
	messageItems = 7
	saltAt       = 2 // offset of the salt in an encoding

	senderKey = 1
	roomKey   = 2
)

// Items of the parts, by cardinality: three and those of the group.
var partItems = [4]int{3, 5, 15, 5}

// Decode reads a message. Nothing but the deterministic encoding of a message
// is accepted, so that Encode returns the same octets again. The Message shares
// no memory with b.
//
// Whether the message makes sense is not judged: message ids may name unknown
// messages, dispositions and media types may be new, a reaction may be to
// nothing. See CheckOrigin and CheckExpiry for what to ask next.
//
// Errors: ErrTooLarge, ErrTooDeep, ErrMalformed, ErrNonCanonical,
// ErrDuplicateKey, ErrHash.
func Decode(b []byte, lim Limits) (*Message, error) {
	m, err := decode(b, lim)
	if err == nil {
		// The heads were found to be deterministic one by one. That the whole is,
		// too, is so important to ids and franks that we look.
		var again []byte
		if again, err = m.marshal(); err == nil && !bytes.Equal(again, b) {
			err = ErrNonCanonical
		}
	}
	if err != nil {
		return nil, fmt.Errorf("decoding message: %w", err)
	}
	return m, nil
}

// Encode returns the encoding. It fails with the error that Decode would have
// for it, given the same limits; a part without content is ErrMalformed.
func (m *Message) Encode(lim Limits) ([]byte, error) {
	b, err := m.marshal()
	if err == nil {
		_, err = decode(b, lim)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding message: %w", err)
	}
	return b, nil
}

func decode(b []byte, lim Limits) (*Message, error) {
	lim = lim.withDefaults()
	if len(b) > lim.Size {
		return nil, fmt.Errorf("%d bytes (limit %d): %w", len(b), lim.Size, ErrTooLarge)
	}
	if err := wellFormed(b); err != nil {
		return nil, err
	}
	r := &reader{rest: b, lim: lim}
	m := r.message()
	if r.err == nil && len(r.rest) > 0 {
		r.fail(ErrMalformed, "%d bytes after the message", len(r.rest))
	}
	return m, r.err
}

func (r *reader) message() *Message {
	m := new(Message)
	r.arrayOf("message", messageItems)
	copy(m.Salt[:], r.exactly("salt", len(m.Salt)))
	m.Replaces = r.optionalID("replaces")
	m.TopicID = r.bytes("topicId", r.lim.TopicID)
	m.Expires = r.expiration()
	m.InReplyTo = r.optionalID("inReplyTo")
	r.extensions(m)
	m.Body = r.part(1)
	return m
}

func (m *Message) marshal() ([]byte, error) {
	extensions, err := m.extensionMap()
	if err != nil {
		return nil, err
	}
	body, err := m.Body.items(1)
	if err != nil {
		return nil, err
	}
	var expires any
	if m.Expires != nil {
		expires = []any{m.Expires.Relative, m.Expires.Seconds}
	}
	b, err := encoding.Marshal([]any{
		m.Salt[:], optionalID(m.Replaces), m.TopicID, expires, optionalID(m.InReplyTo), extensions, body,
	})
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrMalformed)
	}
	return b, nil
}

// exactly reads a byte string of n octets.
func (r *reader) exactly(what string, n int) []byte {
	if h := r.expect(what, majorBytes); r.err == nil && h.arg != uint64(n) {
		r.fail(ErrMalformed, "%s of %d bytes, not %d", what, h.arg, n)
	}
	return r.bytes(what, n)
}

func (r *reader) id(what string) (id MessageID) {
	copy(id[:], r.exactly(what, len(id)))
	if r.err == nil && id[0] != SHA256 {
		r.fail(ErrHash, "%s with hash function %d", what, id[0])
	}
	return id
}

func (r *reader) optionalID(what string) *MessageID {
	if r.null() {
		return nil
	}
	id := r.id(what)
	return &id
}

func optionalID(id *MessageID) any {
	if id == nil {
		return nil
	}
	return id[:]
}

func (r *reader) expiration() *Expiration {
	if r.null() {
		return nil
	}
	r.arrayOf("expires", 2)
	return &Expiration{
		Relative: r.bool("relative"),
		Seconds:  uint32(r.uint("time", 1<<32-1)),
	}
}

func (r *reader) extensions(m *Message) {
	h := r.expect("extensions", majorMap)
	if r.err != nil {
		return
	}
	r.rest = r.rest[h.size:]
	var last []byte
	for i := uint64(0); i < h.arg && r.err == nil; i++ {
		at := r.rest
		last = r.key(last, majorText)
		k := r.keyValue(at[:len(at)-len(r.rest)])
		switch k {
		case Key{Int: senderKey}:
			m.Sender = r.extensionURI("senderUri")
			continue
		case Key{Int: roomKey}:
			m.Room = r.extensionURI("roomUri")
			continue
		}
		if len(m.Extensions) == r.lim.Extensions {
			r.fail(ErrTooLarge, "more than %d extensions", r.lim.Extensions)
			return
		}
		at = r.rest
		r.value(1)
		if size := len(at) - len(r.rest); r.err == nil && size > r.lim.ExtensionSize {
			r.fail(ErrTooLarge, "extension of %d bytes (limit %d)", size, r.lim.ExtensionSize)
		}
		if r.err == nil {
			m.Extensions = append(m.Extensions, Extension{k, bytes.Clone(at[:len(at)-len(r.rest)])})
		}
	}
}

// keyValue decodes the octets of an extension's key, which is an integer within
// ±(2^53-1) or UTF-8.
func (r *reader) keyValue(b []byte) (k Key) {
	if r.err != nil {
		return k
	}
	var err error
	if b[0]>>5 == majorText {
		err = decoding.Unmarshal(b, &k.Text)
		if err == nil && (k.Text == "" || len(k.Text) > maxKeyText) {
			r.fail(ErrMalformed, "extension key of %d bytes", len(k.Text))
		}
	} else {
		err = decoding.Unmarshal(b, &k.Int)
	}
	if err != nil {
		r.fail(ErrMalformed, "extension key: %v", err)
	}
	return k
}

// extensionURI reads the URI of a sender or room. Absent is the empty URI, so a
// present empty one has no place.
func (r *reader) extensionURI(what string) string {
	s := r.text(what, r.lim.URI)
	if r.err == nil && s == "" {
		r.fail(ErrMalformed, "empty %s", what)
	}
	return s
}

// extensionMap returns all extensions for the library to sort. It holds values
// to being one item each, because the library copies them as they are.
func (m *Message) extensionMap() (map[any]cbor.RawMessage, error) {
	out := make(map[any]cbor.RawMessage, len(m.Extensions)+2)
	for i, uri := range []string{m.Sender, m.Room} {
		if uri == "" {
			continue
		}
		b, err := encoding.Marshal(uri)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", err, ErrMalformed)
		}
		out[int64(senderKey+i)] = b
	}
	for _, e := range m.Extensions {
		var key any = e.Key.Int
		switch {
		case e.Key.Text != "" && e.Key.Int != 0:
			return nil, fmt.Errorf("extension with two keys: %w", ErrMalformed)
		case e.Key.Text != "":
			key = e.Key.Text
		case e.Key.Int == senderKey || e.Key.Int == roomKey:
			return nil, fmt.Errorf("extension %d, which is a field of its own: %w", e.Key.Int, ErrMalformed)
		}
		if _, ok := out[key]; ok {
			return nil, fmt.Errorf("extensions: %w", ErrDuplicateKey)
		}
		if err := single(e.Value); err != nil {
			return nil, fmt.Errorf("value of an extension: %w", err)
		}
		out[key] = e.Value
	}
	return out, nil
}

func (r *reader) part(level int) (p Part) {
	if r.err != nil {
		return p
	}
	if level > r.lim.Depth {
		r.fail(ErrTooDeep, "more than %d levels of parts", r.lim.Depth)
		return p
	}
	if r.parts++; r.parts > r.lim.Parts {
		r.fail(ErrTooLarge, "more than %d parts", r.lim.Parts)
		return p
	}
	items := r.array("part")
	p.Disposition = Disposition(r.uint("disposition", 1<<8-1))
	p.Language = r.text("language", r.lim.Text)
	cardinality := r.uint("cardinality", uint64(len(partItems)-1))
	if r.err == nil && items != partItems[cardinality] {
		r.fail(ErrMalformed, "part of cardinality %d has %d items, not %d", cardinality, items, partItems[cardinality])
	}
	if r.err != nil {
		return p
	}
	switch cardinality {
	case NullPart{}.cardinality():
		p.Content = NullPart{}
	case SinglePart{}.cardinality():
		p.Content = SinglePart{
			MediaType: r.text("contentType", r.lim.Text),
			Content:   r.bytes("content", r.lim.Size),
		}
	case ExternalPart{}.cardinality():
		p.Content = r.external()
	case MultiPart{}.cardinality():
		p.Content = r.multi(level)
	}
	return p
}

func (r *reader) external() ExternalPart {
	return ExternalPart{
		MediaType:   r.text("contentType", r.lim.Text),
		URL:         r.text("url", r.lim.Text),
		Expires:     uint32(r.uint("expires", 1<<32-1)),
		Size:        r.uint("size", 1<<64-1),
		EncAlg:      uint16(r.uint("encAlg", 1<<16-1)),
		Key:         r.bytes("key", r.lim.Text),
		Nonce:       r.bytes("nonce", r.lim.Text),
		AAD:         r.bytes("aad", r.lim.Text),
		HashAlg:     uint8(r.uint("hashAlg", 1<<8-1)),
		ContentHash: r.bytes("contentHash", r.lim.Text),
		Description: r.text("description", r.lim.Text),
		Filename:    r.text("filename", r.lim.Text),
	}
}

func (r *reader) multi(level int) (m MultiPart) {
	m.Semantics = Semantics(r.uint("partSemantics", uint64(ProcessAll)))
	n := r.array("parts")
	switch {
	case r.err != nil:
		return m
	case n < 2:
		r.fail(ErrMalformed, "multipart of %d parts", n)
		return m
	case n > r.lim.Parts-r.parts:
		r.fail(ErrTooLarge, "more than %d parts", r.lim.Parts)
		return m
	}
	m.Parts = make([]Part, 0, n)
	for range n {
		m.Parts = append(m.Parts, r.part(level+1))
	}
	return m
}

// items returns what the library is to encode. It stops where the reader would,
// lest a part that holds itself keeps us here.
func (p Part) items(level int) ([]any, error) {
	if p.Content == nil {
		return nil, fmt.Errorf("part without content: %w", ErrMalformed)
	}
	if level > maxDepth {
		return nil, fmt.Errorf("more than %d levels of parts: %w", maxDepth, ErrTooDeep)
	}
	out := []any{p.Disposition, p.Language, p.Content.cardinality()}
	switch c := p.Content.(type) {
	case SinglePart:
		out = append(out, c.MediaType, c.Content)
	case ExternalPart:
		out = append(out, c.MediaType, c.URL, c.Expires, c.Size, c.EncAlg, c.Key, c.Nonce, c.AAD,
			c.HashAlg, c.ContentHash, c.Description, c.Filename)
	case MultiPart:
		parts := make([]any, 0, len(c.Parts))
		for _, part := range c.Parts {
			items, err := part.items(level + 1)
			if err != nil {
				return nil, err
			}
			parts = append(parts, items)
		}
		out = append(out, c.Semantics, parts)
	}
	return out, nil
}
