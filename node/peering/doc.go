// Package peering carries requests from one provider to another: a Caller makes
// them, a Server answers them, and both know nothing of what is asked. MIMI's
// endpoints and our own go this way, over any http.Client and http.Handler; on
// the overlay these are HTTP over libp2p streams.
//
// Read peering.go (what a request and an answer are), caller.go, server.go (the
// order in which a request is judged), verify.go, plain.go, replay.go, gate.go,
// errors.go.
//
// # On the wire
//
//	POST http://TARGET/v1/ENDPOINT/SUBJECT
//	Mimi-Envelope: base64url, no padding, of a wire.Envelope
//	Idempotency-Key: the envelope's request id in hexadecimal, not read by servers
//	Content-Length: required
//
// ENDPOINT is a name as in MIMI's directory (keyMaterial, update, ...) or one of
// ours. SUBJECT is what the URL template's variable holds, with all but the
// unreserved characters percent-encoded: a room's, a user's URI, a domain. The
// answer is a status and a body; one that is not 2xx has an
// application/problem+json body of the form of clientapi.Problem. The directory
// is at wire.DirectoryPath.
//
// # Who is asking
//
// Every request names its source, which it has signed with its provider key unless the
// channel proves it. Over libp2p it could always be left unsigned and is not: a signature
// costs 25 us to make and 55 us to check (see BenchmarkCall), and requests with it are the
// same on all channels and outlive a change of nodes. A request without one is accepted
// from a recorded node of its source, all the same; and over HTTPS, where a certificate
// names the source, at MIMI's endpoints, which who holds the certificate can call without
// an envelope anyway. Who the source is, is asked of a Directory; a source that cannot be
// resolved now is told to come again (503), because a provider that has just come to the
// network is not known everywhere at once.
//
// Over HTTPS a certificate names the source as well (package mimihttps), and the
// envelope must agree with it. A provider that speaks MIMI and nothing of ours sends
// none: then the certificate is all, the target is the Host, the room is in the URL, and
// the request id is made of the body (plain.go). It gets MIMI's endpoints only.
//
// # Repetitions
//
// A request may arrive twice: its answer got lost, or somebody replays it. An
// endpoint that is idempotent gets it again, and finds out by itself. For the
// others, the server remembers the ids of each source's requests as long as
// their time would be accepted, and answers a repetition with the first answer; the
// same id on something else is refused. What was answered with 429 or 5xx is
// forgotten, as nothing has happened. The memory does not survive a restart:
// requests to such endpoints that were made before the start of the server are
// refused with 503 and made anew by an honest source, which keeps the id.
//
// # Bounds
//
// Before anything is read, the peer at the other end pays from its budget; once
// the source is known to be the source, it pays from the source's (node/ration).
// The bodies being read and handled at one time share Limits.Memory. Nothing is
// kept per source beyond the requests in work, the budgets and the ids.
package peering
