package ohttp

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Binary HTTP, RFC 9292. Written are messages of known length, section 3.1:
//
//	varint framing;                   /* 0 request, 1 response */
//	request: opaque method, scheme, authority, path, each behind its varint length
//	response: varint status           /* informational ones, with their fields, may precede */
//	fields: varint length; { name behind its varint length; value likewise } ...
//	content: varint length; octets
//	fields                            /* trailers */
//	zero octets                       /* padding */
//
// where a varint is that of QUIC (RFC 9000 section 16). Read are these and messages of
// indeterminate length (framing 2 and 3, section 3.2), which other programs write. What ends
// before its last parts is complete with these empty (section 3.8). Trailers are read and
// forgotten.

const (
	// MaxRequest is the largest request in binary HTTP that is read, in octets.
	MaxRequest = 8 << 10
	// MaxContent is the largest content of an answer: devices ask for an attachment in
	// pieces of at most that.
	MaxContent = 1 << 20
	// MaxAnswer is the largest answer in binary HTTP that is read.
	MaxAnswer = MaxContent + 64<<10
	// RequestStep and AnswerStep are what messages are filled up to a multiple of, with
	// the padding that binary HTTP has.
	RequestStep, AnswerStep = 1 << 10, 16 << 10

	maxFields = 64
)

// Field is a header's line. Names are lower case.
type Field struct{ Name, Value string }

// Request is a request without content: nothing else is asked here.
type Request struct {
	Method, Scheme, Authority, Path string
	Fields                          []Field
}

// Answer is the final answer to one.
type Answer struct {
	Status  int
	Fields  []Field
	Content []byte
}

// Get is the value of the first field of that name, in lower case; "" for none.
func get(list []Field, name string) string {
	for _, f := range list {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Get is the value of the first field of that name, in lower case; "" for none.
func (r *Request) Get(name string) string { return get(r.Fields, name) }

// Get is the value of the first field of that name, in lower case; "" for none.
func (a *Answer) Get(name string) string { return get(a.Fields, name) }

// AppendVarint appends a QUIC varint of at most 2^62-1, in the shortest form.
func appendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return binary.BigEndian.AppendUint16(b, uint16(v)|1<<14)
	case v < 1<<30:
		return binary.BigEndian.AppendUint32(b, uint32(v)|2<<30)
	}
	return binary.BigEndian.AppendUint64(b, v|3<<62)
}

func appendString(b []byte, s string) []byte {
	return append(appendVarint(b, uint64(len(s))), s...)
}

func appendFields(b []byte, list []Field) []byte {
	var in []byte
	for _, f := range list {
		in = appendString(appendString(in, f.Name), f.Value)
	}
	return append(appendVarint(b, uint64(len(in))), in...)
}

func pad(b []byte, step int) []byte { return append(b, make([]byte, -len(b)&(step-1))...) }

// Bytes is the request as it is encrypted, filled up to a multiple of RequestStep.
func (r *Request) Bytes() []byte {
	b := appendVarint(nil, 0)
	for _, s := range []string{r.Method, r.Scheme, r.Authority, r.Path} {
		b = appendString(b, s)
	}
	b = appendFields(b, r.Fields)
	b = appendVarint(b, 0)
	return pad(appendVarint(b, 0), RequestStep)
}

// Bytes is the answer as it is encrypted, filled up to a multiple of AnswerStep.
func (a *Answer) Bytes() []byte {
	b := make([]byte, 0, (len(a.Content)+4096+AnswerStep-1)&^(AnswerStep-1))
	b = appendVarint(appendVarint(b, 1), uint64(a.Status))
	b = appendFields(b, a.Fields)
	b = append(appendVarint(b, uint64(len(a.Content))), a.Content...)
	return pad(appendVarint(b, 0), AnswerStep)
}

// reader reads binary HTTP; the first error sticks. What is behind the end reads as zero if
// the message may end there.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: binary HTTP: "+format, append([]any{ErrFormat}, args...)...)
	}
	r.b = nil
}

func (r *reader) varint() uint64 {
	if len(r.b) == 0 {
		r.fail("it ends in a number")
		return 0
	}
	n := 1 << (r.b[0] >> 6)
	if len(r.b) < n {
		r.fail("it ends in a number")
		return 0
	}
	v := uint64(r.b[0] & 0x3f)
	for _, c := range r.b[1:n] {
		v = v<<8 | uint64(c)
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) octets(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("%d octets are said to come, and %d do", n, len(r.b))
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() string { return string(r.octets(r.varint())) }

// fields reads a section of fields, whose end is known or marked by an empty name.
func (r *reader) fields(known bool) (list []Field) {
	in := r
	if known {
		in = &reader{b: r.octets(r.varint())}
	}
	for r.err == nil && in.err == nil {
		if known && len(in.b) == 0 {
			break
		}
		n := in.varint()
		if n == 0 {
			if known {
				in.fail("a field without a name")
			}
			break
		}
		f := Field{Name: string(in.octets(n)), Value: in.text()}
		if len(list) == maxFields {
			in.fail("more than %d fields", maxFields)
		}
		if !fieldName(f.Name) || strings.ContainsAny(f.Value, "\x00\r\n") {
			in.fail("the field %.40q", f.Name)
		}
		list = append(list, f)
	}
	if r.err == nil && in.err != nil {
		r.err = in.err
	}
	return list
}

// fieldName says whether a name is a token in lower case, RFC 9292 section 3.6. Pseudo
// fields, with a colon, are none.
func fieldName(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c >= 'A' && c <= 'Z' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// content reads content of known or indeterminate length.
func (r *reader) content(known bool) []byte {
	if known {
		return r.octets(r.varint())
	}
	var out []byte
	for r.err == nil {
		n := r.varint()
		if n == 0 {
			break
		}
		out = append(out, r.octets(n)...)
	}
	return out
}

// rest reads content and trailers, either of which may be missing at the end, and sees that
// nothing but zero octets follows.
func (r *reader) rest(known bool) (content []byte) {
	if r.err == nil && len(r.b) > 0 {
		content = r.content(known)
	}
	if r.err == nil && len(r.b) > 0 {
		r.fields(known)
	}
	for _, c := range r.b {
		if c != 0 {
			r.fail("something follows its end")
			break
		}
	}
	return content
}

// ParseRequest reads a request. One with content is refused. Error: ErrFormat.
func ParseRequest(b []byte) (*Request, error) {
	if len(b) > MaxRequest {
		return nil, fmt.Errorf("%w: a request of %d octets, at most %d are read", ErrFormat, len(b), MaxRequest)
	}
	r := &reader{b: b}
	framing := r.varint()
	if r.err == nil && framing != 0 && framing != 2 {
		r.fail("framing %d is none of a request", framing)
	}
	q := &Request{Method: r.text(), Scheme: r.text(), Authority: r.text(), Path: r.text()}
	if r.err == nil && len(r.b) > 0 {
		q.Fields = r.fields(framing == 0)
	}
	if content := r.rest(framing == 0); r.err == nil && len(content) > 0 {
		r.fail("a request with content")
	}
	if r.err != nil {
		return nil, r.err
	}
	return q, nil
}

// ParseAnswer reads an answer and passes over informational ones. Error: ErrFormat.
func ParseAnswer(b []byte) (*Answer, error) {
	if len(b) > MaxAnswer+AnswerStep {
		return nil, fmt.Errorf("%w: an answer of %d octets, at most %d are read", ErrFormat, len(b), MaxAnswer)
	}
	r := &reader{b: b}
	framing := r.varint()
	if r.err == nil && framing != 1 && framing != 3 {
		r.fail("framing %d is none of an answer", framing)
	}
	for n := 0; r.err == nil; n++ {
		status := r.varint()
		if status < 100 || status > 599 || n > maxFields {
			r.fail("status %d", status)
			break
		}
		var list []Field
		if len(r.b) > 0 {
			list = r.fields(framing == 1)
		}
		if status < 200 {
			continue
		}
		a := &Answer{Status: int(status), Fields: list, Content: r.rest(framing == 1)}
		if r.err != nil {
			break
		}
		return a, nil
	}
	return nil, r.err
}
