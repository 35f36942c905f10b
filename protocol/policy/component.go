package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/presentation"
)

// ErrComponent: a policy component that does not decode or contradicts itself.
var ErrComponent = errors.New("no valid policy")

// MaxSize bounds each policy component but roles_list, in bytes, and how many entries its
// lists have.
const (
	MaxSize = 16 << 10
	maxList = 64
)

// Optionality says whether something may, must or must not be.
//
//	enum { optional(0), required(1), forbidden(2) } Optionality;
//
// Where the draft selects by "mandatory", required is meant.
type Optionality uint8

// The values of Optionality.
const (
	Optional  Optionality = 0
	Required  Optionality = 1
	Forbidden Optionality = 2
)

var optionalityNames = []string{"optional", "required", "forbidden"}

func (o Optionality) String() string { return named(o, optionalityNames) }

// ParseOptionality is the inverse of String.
func ParseOptionality(s string) (Optionality, error) {
	return byName[Optionality](s, optionalityNames)
}

func named[T ~uint8](x T, names []string) string {
	if int(x) < len(names) {
		return names[x]
	}
	return fmt.Sprintf("value %d", uint8(x))
}

func byName[T ~uint8](s string, names []string) (T, error) {
	for i, n := range names {
		if n == s {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("%.64q is none of %s: %w", s, strings.Join(names, ", "), ErrComponent)
}

// reader reads one component: a presentation.Reader, and what components have in common.
type reader struct{ *presentation.Reader }

// parse reads a whole component. check is what the layout does not rule out.
func parse(what string, b []byte, read func(r reader), check func() error) error {
	if len(b) > MaxSize {
		return fmt.Errorf("%s of %d bytes, at most %d: %w", what, len(b), MaxSize, ErrComponent)
	}
	r := reader{presentation.NewReader(b)}
	read(r)
	if err := r.Done(); err != nil {
		return fmt.Errorf("reading %s: %w: %w", what, err, ErrComponent)
	}
	if err := check(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// bool is one octet, 0 or 1.
func (r reader) bool() bool { return r.Optional() }

func appendBool(b []byte, x bool) []byte { return presentation.AppendOptional(b, x) }

// enum reads an octet of which there are n values.
func (r reader) enum(what string, n int) uint8 {
	x := r.U8()
	if int(x) >= n {
		r.Fail(presentation.ErrMalformed, "%s %d", what, x)
	}
	return x
}

func (r reader) text() string { return string(r.Opaque()) }

func appendText(b []byte, s string) []byte { return presentation.AppendOpaque(b, []byte(s)) }

func readList[T any](r reader, one func() T) (out []T) {
	r.List(maxList, func() { out = append(out, one()) })
	return out
}

func appendEach[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, x := range list {
			b = one(b, x)
		}
		return b
	})
}

func appendBound(b []byte, x Bound) []byte {
	if b = presentation.AppendOptional(b, x.Set); x.Set {
		b = presentation.AppendU32(b, x.N)
	}
	return b
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrComponent)
}

// within says that an encoding is no larger than a reader takes.
func within(b []byte) error {
	if len(b) > MaxSize {
		return invalid("%d bytes, at most %d", len(b), MaxSize)
	}
	return nil
}

// asciiURI: what a URI is made of, whatever it says.
func asciiURI(s string) bool {
	return len(s) <= 2048 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= utf8.RuneSelf || c == 0x7f })
}
