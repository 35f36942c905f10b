package privacypass

import "errors"

var (
	// ErrMalformed: octets that are no value of the format, or one with a name that is too long.
	ErrMalformed = errors.New("privacypass: malformed")
	// ErrKey: a key that is not one of 2048 bits with the exponent 65537.
	ErrKey = errors.New("privacypass: not a key for tokens of type 2")
	// ErrToken: a token that its issuer has not signed, of another key, or for another challenge.
	ErrToken = errors.New("privacypass: the token is not good")
	// ErrResponse: an issuer's answer that makes no token.
	ErrResponse = errors.New("privacypass: the issuer's answer makes no token")
)
