// Package clientapi is what a user's client and its provider say to each other:
// the paths, bodies, events and error codes of the provider's HTTP API. MIMI
// leaves this side to each provider; this is ours. A node serves it and
// describes it at /openapi.json, and package client speaks it. Only values: no IO.
//
// # Shape
//
// JSON over HTTP, all paths below /v1. Octets ([]byte here) are base64 in the
// standard alphabet. What MLS or MIMI defines travels as the octets of that
// structure, so that the client and the providers beyond see the same bytes. A
// room is named in paths by its id, the SHA-256 of its URI in hexadecimal.
//
// Every call but POST /v1/accounts and GET /v1/provider carries the header
// "Authorization: Bearer TOKEN", with the device's token from registration.
// A provider keeps a hash of it only.
//
//	GET    /v1/provider                      Provider
//	GET    /v1/providers/{domain}            Provider of that domain, as ours verified it
//	POST   /v1/accounts                      NewAccount -> Account
//	POST   /v1/account/certificate           NewCertificate -> Certificate
//	GET    /v1/devices                       Devices
//	DELETE /v1/devices/{name}
//	POST   /v1/pairings                      NewPairing -> Pairing: begin to add a device on another machine
//	GET    /v1/pairings/{box}                PairingHello, when it has come
//	POST   /v1/pairings/{box}/answer         PairingAnswer
//	DELETE /v1/pairings/{box}
//	POST   /v1/pairings/{box}/hello          PairingHello -> PairingAnswer: of the new device, without a token
//	POST   /v1/keypackages                   NewKeyPackages -> KeyPackageCount
//	GET    /v1/keypackages                   KeyPackageCount
//	POST   /v1/keypackages/claim             ClaimKeyPackages -> ClaimedKeyPackages
//	POST   /v1/claims                        NewClaim -> Claim: publish an identifier
//	GET    /v1/claims                        Claims
//	DELETE /v1/claims                        WithdrawClaim
//	PUT    /v1/findable                      Findable: by what others may find the user by identifierQuery
//	GET    /v1/findable                      Findable
//	POST   /v1/verifications                 NewVerification: have a code sent to a number or address
//	POST   /v1/verifications/answer          VerificationAnswer -> Verified
//	POST   /v1/evaluate                      Evaluate -> Evaluated, in a network with evaluators
//	POST   /v1/discover                      Discover -> Discovered
//	POST   /v1/consent                       SendConsent
//	GET    /v1/consent                       Consents
//	GET    /v1/consent/modes                 ConsentModes: what becomes of strangers
//	PUT    /v1/consent/modes                 ConsentModes -> ConsentModes: all of them anew
//	GET    /v1/quarantine                    Quarantine: who has put the user into which room, or asks
//	POST   /v1/quarantine/{room}             JudgeHeld: accept, reject or report such a room
//	GET    /v1/tokens                        TokenKeys: with what tokens for anonymous requests are signed
//	POST   /v1/tokens                        NewTokens -> Tokens
//	POST   /v1/introduce                     Introduce -> Introduced: an anonymous request, without a token of a device
//	GET    /v1/privacy                       PrivacyReport: what it is worth now, and costs, to ask others over relays
//	GET    /v1/introductions                 Introductions: anonymous requests that wait for the user's answer
//	POST   /v1/introductions                 JudgeIntroduction
//	POST   /v1/knocks                        SendKnock -> Knock: ask to be let into a room, or no longer
//	GET    /v1/knocks                        Knocks: the user's own
//	POST   /v1/rooms                         NewRoom -> Submitted
//	GET    /v1/rooms                         Rooms
//	GET    /v1/rooms/{room}                  Room
//	GET    /v1/rooms/{room}/log?from=&limit= Log
//	POST   /v1/rooms/{room}/rejoin           Parting: follow a room that was moved away from before the end of what is here
//	GET    /v1/rooms/{room}/branch?from=&limit= Log: what was lost by that
//	POST   /v1/rooms/{room}/messages         SubmitMessage -> SubmittedMessage
//	POST   /v1/rooms/{room}/updates          SubmitUpdate -> SubmittedUpdate
//	POST   /v1/rooms/{room}/groupinfo        FetchGroupInfo -> FetchedGroupInfo
//	POST   /v1/rooms/{room}/ephemeral        NewEphemeral: passed on to whoever listens, and not kept
//	POST   /v1/rooms/{room}/recruit          Recruit: a provider that would be a replica from outside
//	GET    /v1/rooms/{room}/knocks           Knocks: who waits at its door, for who may answer
//	POST   /v1/rooms/{room}/knocks/refuse    RefuseKnock
//	POST   /v1/rooms/{room}/reports          ReportAbuse: messages for the hub's operator to see; 202
//	GET    /v1/room-hub?uri=                 FoundRoom: who orders a room that is known by its URI only
//	POST   /v1/assets                        NewAsset -> Asset: begin an upload, or go on with it
//	GET    /v1/assets                        Assets: what the user keeps at the provider
//	GET    /v1/assets/{hash}                 Asset: how far an upload is
//	PATCH  /v1/assets/{hash}                 octets -> Asset: the next part of an upload
//	DELETE /v1/assets/{hash}                 delete an asset, or give an upload up
//	GET    /v1/download?room=&url=           octets: an asset of anybody in the room
//	POST   /v1/pseudonyms                    NewPseudonym -> Pseudonym: what the user goes by in a room that it begins
//	GET    /v1/pseudonyms/keypackages        WantedPseudonyms: those that lack a KeyPackage of this device
//	POST   /v1/pseudonyms/keypackages        PseudonymousKeyPackages
//	POST   /v1/pseudonyms/held               HeldPseudonym: after the provider was put back to a backup
//	POST   /v1/oblivious/keys                ObliviousKeys -> GatewayKeys: for downloads by which nobody learns who reads what
//	POST   /v1/oblivious                     ObliviousRequest -> ObliviousAnswer: passed on to a hub, encrypted
//	GET    /v1/events?cursor=                the device's stream (text/event-stream)
//
// # The stream
//
// One stream carries everything for a device: the logs of all its user's rooms,
// Welcomes, consent. Events have the types Event... with the JSON named there.
// The id of an event is a cursor: a client stores it with what it made of the
// event, in one transaction, and asks for events after it with ?cursor= (or the
// header Last-Event-ID). An event without an id leaves the cursor where it is.
// Without a cursor the stream begins with what the user has in store. Events of
// one room come in the order of its log, each entry once per stream; a client
// that sees an entry again skips it by its sequence number. What concerns a room
// may arrive before the client has joined it; it is the client's to ignore.
//
// # Submissions
//
// A client draws 16 random bytes (room.TxnNonce) for each submission and keeps
// them with it until it has seen the outcome in the room's log: the transaction
// id that it computes from them stands in the entry. Submitting again with the
// same nonce is answered with the first result.
//
// # Attachments
//
// A client encrypts what it attaches (package asset) and brings the ciphertext to its
// provider, where it is named by its SHA-256. A PATCH has the header Upload-Offset, which
// says where in the asset its body begins, and the type application/offset+octet-stream,
// as in tus 1.0; its body may be any part of what is missing. Whenever a request was
// broken off, GET or POST tells the offset to go on from, and this survives a crash of the
// provider. With the last octet the hash is compared, and the answer has the URL by which
// others fetch the asset. Uploading the same again is answered with what is there.
//
// A download goes through the own provider and the room's hub, so that who keeps the
// asset does not learn who reads it. It takes a Range of octets as RFC 9110 section 14
// has it, and a part of the answer can be kept when it is broken off: an asset never
// changes.
//
// # Errors
//
// Any other status than 2xx has a body of type Problem (RFC 9457,
// application/problem+json) with one of the codes below. A wrong epoch is not an
// error of this API but an answer of the hub, see SubmittedUpdate.
package clientapi
