// Package introduction is how somebody asks a user for first contact without saying who it is:
// what there is in the place of a name is a token of its provider's (package privacypass), which
// says that it is a user there, who has not asked many others today, and no more.
//
// Read week.go (for how long tokens are good), keys.go (how a provider publishes with what it
// signs them), request.go (what is asked), consent.go (how the asker names itself when the answer
// was yes); this file has what a token is for.
//
// # The way
//
//  1. A device has its own provider, the issuer, sign a token, blinded. The provider counts
//     tokens per user and day, and sees neither the token nor for which provider it is.
//  2. It makes a Request: who is asked, the token, a few words, and the handle, a hash of a
//     secret that it keeps. That goes to the provider of who is asked (the origin), which
//     verifies and spends the token, and shows the request if there is such a user. To the asker
//     it answers the same in any case.
//  3. The same request again is answered with whether the user has said yes. Until then it is
//     the same as if there were no such user. No is never told.
//  4. After a yes the asker asks for consent by its name, as anybody does (package consent), with
//     the secret beside it (Attach); that is granted, once, without asking the user again,
//     unless the user has refused or blocked this name.
//
// # What always holds
//
// A token is for one issuer, origin and week: it cannot be spent at two providers. A Request is
// parsed, and its token not checked, until Check has done so with the issuer's key.
//
// Pure: values in, values out. To remember spent tokens, and how many there may be, is the
// caller's.
package introduction

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/mimid/mimid/protocol/privacypass"
)

var (
	// ErrMalformed: octets that are no value of the format.
	ErrMalformed = errors.New("introduction: malformed")
	// ErrWeek: a token of a week that is over, or has not begun.
	ErrWeek = errors.New("introduction: the token's week is over, or has not begun")
)

// Challenge is what a token is for by which a user of the issuer is introduced at the origin, both
// domains of providers, in a week.
func Challenge(issuer, origin string, w Week) *privacypass.Challenge {
	h := sha256.New()
	h.Write([]byte("mimid introduction week v1"))
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(w)))
	return &privacypass.Challenge{Issuer: issuer, Origin: origin, Context: h.Sum(nil)}
}
