// Package authority verifies that users hold the telephone numbers and mail addresses that
// they claim (package verification): for the own users' devices by any authority that this
// provider believes, and, if this provider is one, for the users of all providers.
//
//	device                 own provider          authority
//	POST                   rations the user,     verifies the request, counts, stores a
//	/v1/verifications  ->  passes it on      ->  challenge, sends its code by a Sender
//	POST …/answer      ->  passes it on      ->  counts an attempt, compares, derives the
//	                                             claim id, signs, stores the statement
//
// Between providers these are the endpoints "verify" and "verifyAnswer", whose subject is the
// authority's domain; the bodies are a verification.Request and an Answer, the answers nothing
// and a Statement. A provider speaks for its own users only.
//
// # What is stored, and what a crash leaves
//
// Challenges are durable: a restart neither makes a code useless that somebody has in the
// mail, nor gives back attempts and quotas. Each is counted before its code is sent, and
// each attempt before its result is told. A crash between storing and sending leaves a code
// that nobody has; the same request sends another, a few times. A crash after a right code
// leaves the challenge open or its statement stored; the same answer goes on. After Keep all is
// deleted, and Run sees to it.
//
// In store.SpaceVerifications, integers big-endian, each value beginning with octet 01, its
// version:
//
//	01 ID[32]            verification.Challenge
//	02 KIND HASH[32]     uint32: challenges that are kept, of one identifier, one identifier by
//	                     one provider, one user, one provider, and all (kinds 1 to 5; HASH is
//	                     SHA-256 of its name)
//	03 MADE[8] ID[32]    identifier's HASH[32], and the same with the provider: what is to be
//	                     counted back; MADE in milliseconds
//
// The identifier stands in the challenge until it is verified or deleted, in the clear: it
// is needed to send again, and to derive the claim id. What is deleted is gone from the disk
// when the database has compacted its files.
//
// # Reading order
//
// authority.go (the Service, quotas), challenge.go (the authority's side), relay.go (the own
// users' side), record.go (what is stored), sender.go (what a Sender is), smtp.go, webhook.go.
package authority
