package pseudonym

import "errors"

// Errors are sentinels: test with errors.Is. The text around them says which value, never
// a secret. Those that Room.Who returns are the reasons why a member is unnamed.
var (
	// ErrMalformed: bytes that are no value of the kind that was expected, or are too long.
	ErrMalformed = errors.New("pseudonym: malformed")
	// ErrNotPseudonymous: the credential is of another type. In a pseudonymous room all
	// leaves are pseudonymous (section 6).
	ErrNotPseudonymous = errors.New("pseudonym: not a pseudonymous credential")
	// ErrOther: a credential that is another's, of another signature key, user or provider
	// than where it stands.
	ErrOther = errors.New("pseudonym: another's credential")

	// ErrNotAttested: the provider of a pseudonym has not said that the leaf is of its user.
	ErrNotAttested = errors.New("pseudonym: its provider does not vouch for the leaf")

	// ErrNoLeaf: there is no such member.
	ErrNoLeaf = errors.New("pseudonym: no such member")
	// ErrNoKey: the key that its link names has not been told to this member yet. It is
	// among those that Room.Ask asks for.
	ErrNoKey = errors.New("pseudonym: the key of the identity link is not here yet")
	// ErrNotOpen: the link does not open with the very key that it names, so who made the
	// leaf made it wrong. No other key will help.
	ErrNotOpen = errors.New("pseudonym: the identity link does not open with its key")
	// ErrNotSigned: what is in the link is not signed by the key of the credential in it.
	ErrNotSigned = errors.New("pseudonym: the identity in the link did not sign for this pseudonym")
	// ErrIdentity: the real credential was refused, or names no user of the pseudonym's
	// provider.
	ErrIdentity = errors.New("pseudonym: the identity in the link is refused")
	// ErrClash: devices under one pseudonym claim to be different users.
	ErrClash = errors.New("pseudonym: one pseudonym with several users")

	// ErrUnnamed: nobody tells names to a member that has not given its own.
	ErrUnnamed = errors.New("pseudonym: the one who asks has not said who it is")
	// ErrGeneration: generations only go up.
	ErrGeneration = errors.New("pseudonym: not a later generation")
	// ErrTooMany: more than fits into one message.
	ErrTooMany = errors.New("pseudonym: too many")
)
