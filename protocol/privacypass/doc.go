// Package privacypass makes and checks Privacy Pass tokens of type 2 (RFC 9577, RFC 9578
// section 6): an issuer signs what it cannot see (blind RSA, RFC 9474), so that whoever is
// shown the token knows that the issuer gave it to somebody, and neither of them, nor both
// together, to whom. Signatures can be checked by anybody who has the issuer's public key.
//
// Read challenge.go (what a token is for), token.go, key.go (the issuer's public key and how it is
// written), issue.go (asking for a token and giving one).
//
// # What always holds
//
// Only blind RSA with SHA-384, PSS with a salt of 48 octets and no prefix, and keys of 2048
// bits with the exponent 65537: there is nothing to choose. Verify is what gives a Token
// its meaning; a parsed one says nothing. Whether a token has been spent before is
// the caller's to remember, by its Nonce, which is signed; and a Key is good for as long as the
// caller says.
//
// # What it does not give
//
// Who issues and who redeems, if they talk to each other, can compare times: a token that is
// spent as soon as it is issued hides its owner among those who got one at that moment. The
// arithmetic of the library on the issuer's side is blinded, and not constant in time.
//
// # Format
//
//	struct {
//	    uint16 token_type = 0x0002;
//	    opaque issuer_name<1..2^16-1>;
//	    opaque redemption_context<0..32>;     // 0 or 32
//	    opaque origin_info<0..2^16-1>;
//	} TokenChallenge;                           // RFC 9577 section 2.1
//
//	struct {
//	    uint16 token_type = 0x0002;
//	    uint8 truncated_token_key_id;           // the last octet of it
//	    uint8 blinded_msg[256];
//	} TokenRequest;                             // RFC 9578 section 6.1
//
//	struct { uint8 blind_sig[256]; } TokenResponse;   // section 6.2
//
//	struct {
//	    uint16 token_type = 0x0002;
//	    uint8 nonce[32];
//	    uint8 challenge_digest[32];
//	    uint8 token_key_id[32];
//	    uint8 authenticator[256];
//	} Token;                                    // RFC 9577 section 2.2
//
// Integers are big-endian. Lengths of issuer_name and origin_info are bound by MaxName and
// MaxOrigin. token_key_id is the SHA-256 of the key as Key.Bytes writes it.
package privacypass
