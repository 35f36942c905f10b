package account

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// ErrRecord says that a value in the store is not what this package writes: the
// store is damaged, or was written by a newer program. Run mimid verify.
var ErrRecord = errors.New("account: unreadable record")

// ErrConfig says that New was given a configuration that cannot work.
var ErrConfig = errors.New("account: unusable configuration")

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, format, args...)
}

func badInvite(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusForbidden, clientapi.CodeBadInvite, format, args...)
}

func notFound(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusNotFound, clientapi.CodeNotFound, format, args...)
}

// unauthorized is one text for all bad tokens, so that it tells nothing of them.
func unauthorized() *clientapi.Problem {
	return problem(http.StatusUnauthorized, clientapi.CodeUnauthorized,
		"this provider does not know the token: the device was removed, or registered again; register it with a new invite")
}

// missing says whether the error is that of a key that is not there.
func missing(err error) bool { return errors.Is(err, store.ErrNotFound) }
