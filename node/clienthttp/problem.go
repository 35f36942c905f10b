package clienthttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

const problemType = "application/problem+json"

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func tooMany(what string, wait time.Duration) *clientapi.Problem {
	p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, "too many %s: try again in %v", what, wait.Round(time.Millisecond))
	p.Retry = max(wait.Milliseconds(), 1)
	return p
}

// problemOf is what a client is told of an error. logged says that the operator
// should be told more.
func problemOf(err error) (p *clientapi.Problem, logged bool) {
	switch {
	case errors.As(err, &p):
		return p, false
	case errors.Is(err, store.ErrDiskFull):
		return problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable,
			"the provider's disk is full; nothing has happened: try again later"), true
	case errors.Is(err, store.ErrUnknown):
		return problem(http.StatusBadGateway, clientapi.CodeUnreachable,
			"the provider did not get to the end of it in time; it may have happened: try again with the same nonce"), true
	case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFailed):
		return problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable,
			"the provider's store is closed or has failed: try again later"), true
	case errors.Is(err, store.ErrTooLarge):
		return problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "more than the provider can store at once"), true
	case errors.Is(err, context.DeadlineExceeded):
		return problem(http.StatusBadGateway, clientapi.CodeUnreachable,
			"it took too long; it may have happened: try again with the same nonce"), true
	case errors.Is(err, context.Canceled):
		// The client has gone, or the node is stopping.
		return problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "the request was broken off"), false
	}
	return internal(), true
}

func internal() *clientapi.Problem {
	return problem(http.StatusInternalServerError, clientapi.CodeInternal,
		"a fault of the provider, which is in its log under the request id in the header X-Request-Id")
}

// writeProblem answers with a problem outside of huma.
func writeProblem(w http.ResponseWriter, p *clientapi.Problem) {
	setRetry(w.Header(), p)
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may have gone
}

func setRetry(h http.Header, p *clientapi.Problem) {
	if p.Retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(float64(p.Retry)/1000)), 10))
	}
}

// problemError is a Problem as huma takes errors.
type problemError struct{ p *clientapi.Problem }

func (e *problemError) Error() string                { return e.p.Error() }
func (e *problemError) Unwrap() error                { return e.p }
func (e *problemError) GetStatus() int               { return e.p.Status }
func (e *problemError) ContentType(string) string    { return problemType }
func (e *problemError) MarshalJSON() ([]byte, error) { return json.Marshal(e.p) }
func (e *problemError) GetHeaders() http.Header {
	h := http.Header{}
	setRetry(h, e.p)
	return h
}

// fromHuma is a transformer: it turns what huma itself objects to into a Problem.
// (huma's own hook for that is a global variable.) The offending values are left
// out, since they may be secrets.
func fromHuma(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code, detail := clientapi.CodeInvalid, m.Detail
	switch {
	case m.Status == http.StatusRequestEntityTooLarge:
		code = clientapi.CodeTooLarge
	case m.Status >= 500:
		return internal(), nil
	}
	var all []string
	for i, e := range m.Errors {
		if i == 8 {
			all = append(all, fmt.Sprintf("and %d more", len(m.Errors)-i))
			break
		}
		text := shorten(e.Message)
		if e.Location != "" {
			text = shorten(e.Location) + ": " + text
		}
		all = append(all, text)
	}
	if len(all) > 0 {
		detail += ": " + strings.Join(all, "; ")
	}
	return &clientapi.Problem{Status: m.Status, Code: code, Detail: detail}, nil
}

func shorten(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
