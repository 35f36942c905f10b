package peering

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
)

// ErrUnreachable: the target could not be connected to, the connection broke, or
// it did not answer in time. Unless ErrNotSent is there too, the request may have
// happened: repeat it with the same id.
var ErrUnreachable = errors.New("peering: provider does not answer")

// ErrNotSent: nothing reached the target, so nothing has happened.
var ErrNotSent = errors.New("peering: request was not sent")

// ErrUnknown: no provider of this name could be found and verified: it was
// mistyped, or its record expired, or another key claims the name. Nothing was
// sent.
var ErrUnknown = errors.New("peering: unknown provider")

// ErrTooLarge: the answer, or the request, is longer than the caller allows. A
// too large answer means that the request has happened.
var ErrTooLarge = errors.New("peering: too large")

// ErrConfig: a Caller or Server was configured so that it cannot work.
var ErrConfig = errors.New("peering: unusable configuration")

// Codes of problems that only providers tell each other. The others are those of
// clientapi.
const (
	// CodeEnvelope (400): the envelope is missing, malformed, or does not go
	// with endpoint, room or body. A bug of the source.
	CodeEnvelope clientapi.Code = "bad_envelope"
	// CodeTarget (421): the request was made for another provider. Resolve the
	// name again.
	CodeTarget clientapi.Code = "wrong_target"
	// CodeClock (401): the request's time is too far from the target's. Both
	// times are in the text; set the clock of one provider.
	CodeClock clientapi.Code = "clock"
	// CodeSource (401): the signature is not by the source's provider key.
	CodeSource clientapi.Code = "wrong_source"
	// CodeUnresolved (503): the source's key could not be found or verified now.
	// Come again; publish a record, if there is none.
	CodeUnresolved clientapi.Code = "unresolved_source"
	// CodeReplay (409): the request id was used for something else, or its answer
	// was too large to be kept. Use another id.
	CodeReplay clientapi.Code = "replayed"
	// CodeEndpoint (404): no such endpoint here.
	CodeEndpoint clientapi.Code = "no_endpoint"
	// CodeMethod (405): requests are POST, the directory is GET.
	CodeMethod clientapi.Code = "method"
	// CodeLength (411): the request has no Content-Length.
	CodeLength clientapi.Code = "length_required"
	// CodeStalled (408): the body did not come in time.
	CodeStalled clientapi.Code = "stalled"
)

// Refused is an answer that is not 2xx.
type Refused struct {
	Target   string
	Endpoint string
	Problem  clientapi.Problem
}

// Error implements error. The text is the target's, quoted and cut.
func (r *Refused) Error() string {
	return fmt.Sprintf("%s refuses %s: status %d, %.40q: %.300q", r.Target, r.Endpoint, r.Problem.Status, r.Problem.Code, r.Problem.Detail)
}

// Retry says whether the same request may be accepted later: the target or its
// view of us has to change, not the request.
func (r *Refused) Retry() bool {
	switch r.Problem.Status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		return true
	}
	return r.Problem.Status >= 500
}

// Retry says whether a request that ended with this error of Call may succeed
// later, with the same id.
func Retry(err error) bool {
	if refused, ok := errors.AsType[*Refused](err); ok {
		return refused.Retry()
	}
	return !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrConfig)
}

// Problem is what an own user is told when a request for it ended with this error
// of Call. Refusals for a reason that lies with the user pass; those for a reason
// that lies with the provider become 502. It returns nil for other errors, which
// are internal, and for the end of the caller's context.
func Problem(err error) *clientapi.Problem {
	if refused, ok := errors.AsType[*Refused](err); ok {
		p := refused.Problem
		switch p.Code {
		case clientapi.CodeInvalid, clientapi.CodeForbidden, clientapi.CodeNotFound, clientapi.CodeExists,
			clientapi.CodeTooLarge, clientapi.CodeTooMany,
			clientapi.CodeLinkUnknown, clientapi.CodeLinkExpired, clientapi.CodeLinkUsed, clientapi.CodeLinkRevoked,
			clientapi.CodeWrongCode, clientapi.CodeSpent:
			return &clientapi.Problem{Status: p.Status, Code: p.Code, Retry: p.Retry,
				Detail: fmt.Sprintf("%s says: %.300q", refused.Target, p.Detail)}
		}
		if p.Code == CodeClock {
			return &clientapi.Problem{Status: http.StatusBadGateway, Code: clientapi.CodeUnreachable, Retry: p.Retry,
				Detail: fmt.Sprintf("the clocks of %s and of this provider are too far apart; an operator has to set the wrong one", refused.Target)}
		}
		return &clientapi.Problem{Status: http.StatusBadGateway, Code: clientapi.CodeUnreachable, Retry: p.Retry,
			Detail: fmt.Sprintf("%s does not take this provider's request (status %d, %.40q); try again, and if it stays tell the operator", refused.Target, p.Status, p.Code)}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, ErrUnknown):
		return &clientapi.Problem{Status: http.StatusBadGateway, Code: clientapi.CodeUnknownProvider, Detail: err.Error()}
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrTooLarge):
		return &clientapi.Problem{Status: http.StatusBadGateway, Code: clientapi.CodeUnreachable, Detail: err.Error()}
	}
	return nil
}

// unknown says that no record could be verified, and that trying again at once
// is of no use.
func unknown(err error) bool {
	return errors.Is(err, overlay.ErrUnknownProvider) || errors.Is(err, overlay.ErrExpired) ||
		errors.Is(err, overlay.ErrConflict) || errors.Is(err, overlay.ErrDNS) || errors.Is(err, overlay.ErrName)
}

// unsent says that nothing can have arrived.
func unsent(err error) bool {
	return errors.Is(err, overlay.ErrUnreachable) || errors.Is(err, overlay.ErrNotRunning) || errors.Is(err, overlay.ErrNoPeers) ||
		errors.Is(err, overlay.ErrFull)
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}
