package contact

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// ErrConfig: New was given a configuration that cannot work.
var ErrConfig = errors.New("contact: unusable configuration")

// ErrDamaged: a stored value does not decode. `mimid verify` tells more.
var ErrDamaged = errors.New("contact: stored record is damaged")

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, format, args...)
}

func forbidden(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusForbidden, clientapi.CodeForbidden, format, args...)
}

func unreachable(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusBadGateway, clientapi.CodeUnreachable, format, args...)
}

func tooMany(wait time.Duration, format string, args ...any) *clientapi.Problem {
	p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, format, args...)
	p.Retry = max(wait.Milliseconds(), 1)
	return p
}
