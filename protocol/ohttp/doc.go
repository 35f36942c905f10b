// Package ohttp is Oblivious HTTP (RFC 9458): a device asks a gateway for something through
// a relay, so that the relay knows who asks and not what for, and the gateway what is asked
// for and not by whom. MIMI wants the hub of a room to be such a gateway for attachments
// (draft-ietf-mimi-protocol-06 section 5.10); the relay is the device's own provider.
//
// Read keys.go (what a gateway publishes, and the provider's signature on it), message.go
// (how a request and its answer are encrypted) and bhttp.go (binary HTTP, RFC 9292, which is
// what is encrypted). Pure: keys and nonces come from crypto/rand, nothing else from outside.
//
// # What it hides, and from whom
//
// A relay that handed out keys of its own could read everything, so a device takes only keys
// that the gateway's provider has signed with the key that the room's log names. A gateway
// that gave each device other keys could tell devices apart; the relay asks for the keys
// once and gives all its users the same, so that it can tell apart relays only. Sizes and
// times stay visible: requests are filled up to RequestStep octets, answers to AnswerStep.
// A gateway that is also the relay sees all.
//
// # Replays
//
// A relay may send a request twice. What a gateway does here only reads (GET), and the
// answer to a replay is under the same keys and no different; nothing is remembered.
//
// One suite is supported: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, which is
// that of RFC 9458's example. Other configurations in a list are passed over.
//
// All functions are safe for concurrent use, but of one Asked only one goroutine at a time.
package ohttp
