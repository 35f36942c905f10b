package ohttp

import "errors"

var (
	// ErrFormat: octets are no message, or no key configuration, or larger than allowed.
	ErrFormat = errors.New("ohttp: bad format")
	// ErrKey: a request is for another key than the gateway has now; the keys are to be
	// fetched anew (RFC 9458 section 5.3).
	ErrKey = errors.New("ohttp: unknown key")
	// ErrSuite: no configuration of a list has a suite that is supported.
	ErrSuite = errors.New("ohttp: unsupported suite")
	// ErrDecrypt: a message is not what the other side has encrypted.
	ErrDecrypt = errors.New("ohttp: cannot be decrypted")
	// ErrSignature: keys are not signed by the provider whose gateway they are for, or no
	// longer valid.
	ErrSignature = errors.New("ohttp: keys are not the provider's")
)
