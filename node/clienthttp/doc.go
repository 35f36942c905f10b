// Package clienthttp serves the API between clients and their provider, which
// package clientapi defines, over HTTP. What the calls do is behind the interfaces
// in services.go; this package parses, authenticates, bounds, and answers.
//
// Read services.go (what the API is made of), server.go (configuration, listening,
// stopping), handler.go (the way of a request), operations.go (each call),
// stream.go and steady.go (events), problem.go (errors), describe.go (the OpenAPI document).
//
// # The way of a request
//
// Outside in: a request id, which the answer's header X-Request-Id and the log
// share; a net for panics; the router; then for each path: the device's token, the
// device's rate, a deadline for the body and one for the whole; then huma, which
// reads the body up to the operation's bound and validates it; then the service.
// The token is judged before the body is read, so a stranger cannot make the node
// take in more than the body of a registration, and of those only so many.
//
// Every error is a clientapi.Problem, those of the router, of huma and of
// panics included. Logs hold patterns of paths, never paths with room ids, never a
// header, a query or a body.
//
// # Streams
//
// A stream's writer asks for encoded events, writes all that there are, and flushes
// once. It asks again only when the client has taken them, so a slow client costs no
// memory, and one that takes nothing for Config.WriteTimeout is cut. A stream
// ends when its device is removed: at once if that was done through this API, and at
// the next ping otherwise. A device that opens more than Config.StreamsPerDevice
// loses its oldest, for that is the one whose network has gone.
//
// # Beside the API
//
//	GET /healthz        200 while the process serves
//	GET /readyz         200 when the node is ready, else 503 and why
//	GET /openapi.json   the API's description, OpenAPI 3.1
//	GET /docs           a page that shows it; it loads nothing from elsewhere
package clienthttp
