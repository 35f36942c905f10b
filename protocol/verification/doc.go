// Package verification holds what a verification authority says and is asked: a provider
// that finds out whether somebody holds a telephone number or mail address, by sending a
// code there, and signs what it has found out.
//
//	device                     own provider          authority
//	Request, signed        ->  passes it on     ->   makes a Challenge, sends its code
//	Answer, code, signed   ->  passes it on     ->   compares, signs a Statement
//
// The device puts the Statement into its user's claim (package discovery), whose user and
// provider signatures then cover it. Who looks the identifier up verifies it against the
// claim, if it believes that authority.
//
// # What is stated
//
// A Statement says: at the time Issued, the holder of the user key with this id, who is this
// user, controlled the identifier with this claim id; found out by this method. The claim id
// is derived from the identifier (discovery.Secret), so the statement names it to nobody who
// does not know it, and is of no use for another identifier, user, user key or network. It
// lasts until Expires, at most MaxLifetime: numbers change hands.
//
// A user key is named by its SHA-256. User and key both stand in the statement, because a
// provider could certify one key for two of its users.
//
// # Who can do what
//
// Request and Answer are signed by the user key. The user's provider, through which they go,
// sees the code and cannot use it for another key: the challenge is for the key that has
// asked. If it asks itself, for a user of its making, the message with the code names that
// user to whoever reads it. A guess costs an attempt, and only the key's holder has any.
//
// The authority learns the identifier and who claims it. It cannot help that.
//
// # Reading order
//
// statement.go, request.go (what a device sends), challenge.go (what the authority keeps, and
// how it judges an answer), errors.go.
//
// Pure: no IO, no clock; time is an argument. Randomness, for codes and signatures, is
// crypto/rand.
package verification
