package discovery

import "errors"

// Errors are sentinels: test with errors.Is. The text around them names what
// was wrong. It quotes what a person typed as an identifier, in plain ASCII and
// shortened, so that the person can mend it; whoever logs errors of ParseSII
// logs what people search for. No other error holds an identifier, a secret or
// a key.
var (
	// ErrLength: the identifier is empty or longer than MaxSII bytes.
	ErrLength = errors.New("discovery: identifier is empty or too long")
	// ErrScheme: the identifier begins with none of tel:, mailto: and handle:.
	ErrScheme = errors.New("discovery: identifier does not begin with tel:, mailto: or handle: (one of these is needed)")
	// ErrNumber: the telephone number is not a plus sign and 7 to 15 digits,
	// the first of them 1 to 9. Write the country code; of punctuation use
	// hyphens, dots and parentheses only.
	ErrNumber = errors.New("discovery: not an international telephone number")
	// ErrParameter: something follows the number or the address, such as an
	// extension (;ext=) or a subject (?subject=). Leave it out.
	ErrParameter = errors.New("discovery: identifier with parameters")
	// ErrAddress: the mail address is not a local part of up to 64 plain
	// letters, digits and - . _ ~ ! $ ' * +, one @ and a domain.
	ErrAddress = errors.New("discovery: not a usable mail address")
	// ErrDomain: the domain of the mail address is no domain name, or a name in
	// another script that IDNA does not allow.
	ErrDomain = errors.New("discovery: not a usable mail domain")
	// ErrHandle: the handle is not 1 to 64 plain letters and digits, with
	// hyphens, dots and underscores only between them; or, in another script, IDNA does
	// not allow it, or its A-labels are longer.
	ErrHandle = errors.New("discovery: not a usable handle")
	// ErrFullName: a handle with a domain, such as handle:ekr@rtfm.example. That
	// is a user's full name already and needs no discovery: use it without
	// "handle:".
	ErrFullName = errors.New("discovery: a full name needs no discovery")

	// ErrNoIdentifier: the zero SII or the zero Secret was given. A bug of the
	// caller.
	ErrNoIdentifier = errors.New("discovery: no identifier given")
	// ErrStored: bytes read from storage are not a secret. The store is damaged,
	// or of a newer version; derive the secret from the identifier again.
	ErrStored = errors.New("discovery: not a stored secret")

	// ErrVersion: a message or a claim of a version that is not spoken here.
	ErrVersion = errors.New("discovery: unknown version")
	// ErrKey: a key that is neither Ed25519 nor ECDSA on P-256 cannot sign.
	ErrKey = errors.New("discovery: unsupported signing key")

	// ErrOtherIdentifier: the claim is about another identifier than the one
	// looked up.
	ErrOtherIdentifier = errors.New("discovery: claim about another identifier")
	// ErrLifetime: the claim expires before it is issued, or more than
	// MaxLifetime after it.
	ErrLifetime = errors.New("discovery: claim with an impossible lifetime")
	// ErrNotYetIssued: the claim was issued in the future, by more than MaxSkew.
	// Compare the clocks.
	ErrNotYetIssued = errors.New("discovery: claim from the future")
	// ErrExpired: the claim has ended. Its owner has to make a new one.
	ErrExpired = errors.New("discovery: claim expired")
	// ErrUserCertificate: the certificate in the claim is not good; the error of
	// x509auth beside it says why. Where the provider's keys are not known yet,
	// looking the provider up may help.
	ErrUserCertificate = errors.New("discovery: user certificate refused")
	// ErrOtherUser: the certificate is another user's: somebody claims an
	// identifier in somebody else's name.
	ErrOtherUser = errors.New("discovery: claim in another user's name")
	// ErrUserSignature: the user did not sign this.
	ErrUserSignature = errors.New("discovery: claim not signed by its user")
	// ErrNotEndorsed: no key of the user's provider signed the claim: it is
	// forged, or from before or after the provider changed its key.
	ErrNotEndorsed = errors.New("discovery: claim not endorsed by the user's provider")
	// ErrWithdrawal: a withdrawal was given where a claim is wanted. It needs no
	// endorsement; publish it as it is.
	ErrWithdrawal = errors.New("discovery: a withdrawal, not a claim")

	// ErrParty: a party to the lookup is missing, or asks in the name of another
	// provider than the one that the connection authenticated.
	ErrParty = errors.New("discovery: wrong or missing party to a lookup")
	// ErrDay: the day key is not one of the identifier's from yesterday to
	// tomorrow. A searcher whose clock is a day off gets this.
	ErrDay = errors.New("discovery: key of another day or identifier")
	// ErrNonce: the announcer did not make this nonce for this query: a Reveal
	// for another announcer, for one before its restart, or an invention.
	ErrNonce = errors.New("discovery: reveal for another challenge")
	// ErrPause: more than MaxPause passed between Challenge and Reveal. Ask
	// again.
	ErrPause = errors.New("discovery: reveal too late")
	// ErrProof: the other side did not prove that it knows the identifier. Of an
	// announcer: it may have announced a key that it saw, to collect
	// identifiers; it got none.
	ErrProof = errors.New("discovery: no proof of knowing the identifier")
	// ErrOrder: a step of the lookup out of its order, or a second time. Begin a
	// new lookup.
	ErrOrder = errors.New("discovery: step of a lookup out of order")
	// ErrOtherProvider: the announcer passed on a claim about another provider's
	// user. That provider may announce it itself.
	ErrOtherProvider = errors.New("discovery: claim about another provider's user")
)
