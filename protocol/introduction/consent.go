package introduction

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

// Component is what a Secret is called among the consent_extensions of a ConsentEntry; ours,
// from the private range.
const Component mls.ComponentID = 0x8013

// Attach puts the secret beside a request for consent, before that is signed. It is shown to the
// providers of both, and is good once.
func Attach(e *wire.ConsentEntry, s Secret) {
	if e.Extensions == nil {
		e.Extensions = mls.Dictionary{}
	}
	e.Extensions[Component] = s[:]
}

// SecretOf is the secret among a ConsentEntry's extensions. Error: ErrMalformed.
func SecretOf(ext mls.Dictionary) (s Secret, ok bool, err error) {
	b, ok := ext[Component]
	if !ok {
		return s, false, nil
	}
	if len(b) != len(s) {
		return s, false, fmt.Errorf("%w: a secret of %d octets", ErrMalformed, len(b))
	}
	return Secret(b), true, nil
}
