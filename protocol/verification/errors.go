package verification

import "errors"

// Errors are sentinels. None holds an identifier, a code or a key.
var (
	// ErrVersion: a message of a version that is not spoken here.
	ErrVersion = errors.New("verification: unknown version")
	// ErrMethod: the identifier cannot be verified by this method: mail goes to mail
	// addresses, sms and call to telephone numbers, and nothing to handles.
	ErrMethod = errors.New("verification: no method for this kind of identifier")
	// ErrOtherAuthority: the request is for another authority than the one that got it.
	ErrOtherAuthority = errors.New("verification: for another authority")
	// ErrOtherIdentifier: the statement is about another identifier than the claim.
	ErrOtherIdentifier = errors.New("verification: statement about another identifier")
	// ErrOtherUser: the statement, or the certificate, is about another user.
	ErrOtherUser = errors.New("verification: about another user")
	// ErrOtherKey: the statement is about another user key than the claim is signed with.
	// Who replaces the user key has to be verified anew.
	ErrOtherKey = errors.New("verification: about another user key")
	// ErrOtherMethod: the claim names another method than the statement.
	ErrOtherMethod = errors.New("verification: by another method than the claim says")
	// ErrLifetime: the statement expires before it is issued, or more than MaxLifetime after.
	ErrLifetime = errors.New("verification: impossible lifetime")
	// ErrTime: the statement or the request is from the future, or the request too old.
	// Compare the clocks.
	ErrTime = errors.New("verification: from another time")
	// ErrExpired: the statement or the challenge has ended. Have it verified anew.
	ErrExpired = errors.New("verification: expired")
	// ErrSignature: not signed by whom it should be.
	ErrSignature = errors.New("verification: wrong signature")
	// ErrCertificate: the user certificate of the request is not good.
	ErrCertificate = errors.New("verification: user certificate refused")
	// ErrCode: that is not the code which was sent.
	ErrCode = errors.New("verification: wrong code")
	// ErrSpent: too many wrong codes, or sent too often. Begin anew.
	ErrSpent = errors.New("verification: no attempts left")
)
