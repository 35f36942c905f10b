package introduce

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

var (
	// ErrConfig: New was given a configuration that cannot work.
	ErrConfig = errors.New("introduce: unusable configuration")
	// ErrDamaged: a stored value does not decode. `mimid verify` tells more.
	ErrDamaged = errors.New("introduce: stored record is damaged")
)

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, format, args...)
}

func tooMany(wait time.Duration, format string, args ...any) *clientapi.Problem {
	p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, format, args...)
	p.Retry = max(wait.Milliseconds(), 1)
	return p
}
