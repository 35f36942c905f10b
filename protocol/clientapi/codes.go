package clientapi

import "fmt"

// Code says what kind of problem occurred. Codes are stable; texts are not.
type Code string

// The codes. The comment says what a client does about it.
const (
	// CodeInvalid (400, 422): the request is malformed. A bug of the client.
	CodeInvalid Code = "invalid"
	// CodeUnauthorized (401): no token, or one that is not known any more.
	// Register again.
	CodeUnauthorized Code = "unauthorized"
	// CodeBadInvite (403): the invite is unknown, used or expired. Ask the
	// operator for another.
	CodeBadInvite Code = "bad_invite"
	// CodeNameTaken (409): the user has an account already.
	CodeNameTaken Code = "name_taken"
	// CodeForbidden (403): the user may not do this: it is no participant, or
	// its role lacks the capability.
	CodeForbidden Code = "forbidden"
	// CodeNotFound (404): no such room, device or claim, as far as this user
	// may know.
	CodeNotFound Code = "not_found"
	// CodeExists (409): a room with this URI exists already.
	CodeExists Code = "exists"
	// CodeKeySet (409): the evaluators have another key set by now: read the provider anew. Or
	// a gateway of oblivious downloads has other keys: fetch them anew.
	CodeKeySet Code = "key_set"
	// CodeRevision (409): it was changed by another device meanwhile. Read it anew.
	CodeRevision Code = "revision"
	// CodeTooLarge (413): the body, or something in it, exceeds its limit.
	CodeTooLarge Code = "too_large"
	// CodeTooMany (429): a rate or quota is used up. Retry after Retry-After.
	CodeTooMany Code = "too_many"
	// CodeQuota (507): the user, or the provider as a whole, keeps as much as it may.
	// Delete something, or ask the operator for more.
	CodeQuota Code = "quota"
	// CodeOffset (409): the upload goes on elsewhere than the request says. Ask where,
	// and go on there.
	CodeOffset Code = "offset"
	// CodeDamaged (422): what was uploaded has not the hash that it was to have. It is
	// gone here; begin again.
	CodeDamaged Code = "damaged"
	// CodeLinkUnknown (403): the room has no such join link. Copy it again, or ask for another.
	CodeLinkUnknown Code = "link_unknown"
	// CodeLinkExpired (403): the join link's time is over. Ask for another.
	CodeLinkExpired Code = "link_expired"
	// CodeLinkUsed (403): the join link was used as often as it could be. Ask for another.
	CodeLinkUsed Code = "link_used"
	// CodeLinkRevoked (403): the join link was taken back.
	CodeLinkRevoked Code = "link_revoked"
	// CodeWrongCode (403): that is not the code which was sent. Enter it again, or ask for another.
	CodeWrongCode Code = "wrong_code"
	// CodeSpent (403): the code has ended, or too many wrong ones were tried. Ask for another.
	CodeSpent Code = "code_spent"
	// CodeRange (416): the range begins behind the end.
	CodeRange Code = "range"
	// CodeUnreachable (502): the hub or the other provider does not answer, or
	// answers nonsense. The submission may have happened: retry with the same
	// nonce.
	CodeUnreachable Code = "unreachable"
	// CodeUnknownProvider (502): the domain has no provider that could be
	// found and verified.
	CodeUnknownProvider Code = "unknown_provider"
	// CodePrivacy (503): it cannot be done as privately as the client asked for, and was not
	// done another way. Try later, or let the user choose another privacy.
	CodePrivacy Code = "privacy"
	// CodeUnavailable (503): the provider is starting, stopping, or out of disk
	// space. Nothing has happened. Retry later.
	CodeUnavailable Code = "unavailable"
	// CodeInternal (500): a bug of the provider. Details are in its log only.
	CodeInternal Code = "internal"
)

// Problem is the body of an error.
type Problem struct {
	Status int    `json:"status" doc:"HTTP status"`
	Code   Code   `json:"code" doc:"What kind of problem, stable"`
	Detail string `json:"detail" doc:"A sentence for a person: what happened, with which value, and what to do"`
	// Retry is how long to wait before trying again, in milliseconds; zero
	// where nothing is known.
	Retry int64 `json:"retry_ms,omitempty" doc:"How long to wait before trying again, in milliseconds"`
}

// Error implements error.
func (p *Problem) Error() string { return fmt.Sprintf("%s (%s, %d)", p.Detail, p.Code, p.Status) }
