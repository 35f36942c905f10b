// Package oblivious is a provider's part in oblivious downloads (package ohttp, MIMI
// protocol-06 section 5.10, RFC 9458): as the hub of a room it is a Gateway, which brings
// attachments to devices without knowing whose they are; for its own devices it is a Relay,
// which passes their requests on without knowing what is in them.
//
// Read gateway.go and relay.go. Between providers there are two endpoints,
//
//	POST /v1/obliviousKeys/DOMAIN       -> ohttp.Signed, the keys of DOMAIN's gateway
//	POST /v1/oblivious/DOMAIN           message/ohttp-req -> message/ohttp-res
//
// in the envelopes and with the gates of package peering, and over HTTPS, for providers that
// speak MIMI only, what RFC 9540 section 5 has,
//
//	GET  /.well-known/ohttp-gateway     -> application/ohttp-keys
//	POST /.well-known/ohttp-gateway     message/ohttp-req -> message/ohttp-res
//
// # What is asked for
//
// A GET of an asset's URL, with a range of at most ohttp.MaxContent octets unless the asset
// is no larger, and the room's URI in the field "mimi-room", so that the room's policy can
// be judged; without it, the gateway looks for any room of its own in which both the relay
// and the asset's host take part. That is the same check against being an open proxy as for
// proxyDownload, with the relay as the source: a gateway knows from which provider a request
// comes, and not from which of its users.
//
// The second thing that may be asked for are KeyPackages under a pseudonym, at ClaimPath (package
// pseudonyms). There the device does say who its user is, to the gateway: what is hidden is, from the
// relay, of whom the KeyPackages are.
//
// # Keys
//
// A gateway's keys are in memory only, and made anew each day and with each start: what was
// asked cannot be read later, with whatever is stolen then. The last key is taken for another
// day. A request for a key that is gone gets 409 and clientapi.CodeKeySet.
package oblivious
