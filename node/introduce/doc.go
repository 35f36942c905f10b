// Package introduce brings users together of whom the one that asks is not named (package
// introduction). It is the issuer of tokens for own users, passes on their requests, and takes
// those of other providers' users.
//
// Read introduce.go (the Service and its configuration), issue.go (keys and tokens), take.go (who
// comes with one, and what becomes of it), judge.go (the target's answer), pending.go and record.go
// (what is stored).
//
// # Who may learn what
//
// Whether there is a user, and what it thinks of strangers, must not show in the answer to an
// anonymous request. So everything that is refused is refused for what the request, its issuer and
// the source are; what is for nobody, for a user in mode closed, or over a user's limits vanishes,
// and costs a write as large. Yes is the only answer that is told, by the target's doing.
//
// # Where the issuer's keys are found
//
// Other providers ask the issuer for them by an endpoint, and not once per token: they keep them
// until they meet a token of another key. They could stand in the provider's signed record
// instead. But that record is in the DHT, where each octet is multiplied by all providers, while
// few ever need these 700; it is not there where providers meet by HTTPS only; and it is signed
// by the same key that the endpoint's channel proves. So the endpoint says the same with less.
// That an issuer could show each provider, or user, keys of their own, and so tell its tokens
// apart, is so with both.
//
// # What a crash leaves
//
// A key is durable before anybody hears of it; a token is counted, durably, before it is signed.
// A device whose answer was lost asks again with the same octets, and that is not counted twice.
//
// In store.SpaceTokens, integers big-endian, each value beginning with octet 01, its version:
//
//	01 WEEK[4]     the key of a week, PKCS #1
//	02 DAY[4] USER hash[32] of each TokenRequest that the user made on a day
//	03 WEEK[4] KEY[32] NONCE[32]  hash[32] of the request for which a token was spent
//	04 HANDLE[32]  uint8 granted; uint64 at, until (Unix milliseconds); opaque target<V>, issuer<V>,
//	               text<V>: a request that waits, or was answered with yes
//	05 TARGET 00 HANDLE[32]  the issuer's domain: likewise, by target
//	06 WEEK[4] ISSUER        uint32 tokens of an issuer that were spent
//	07             as 04: written when there is nobody to see it
//
// A token is spent, and its request kept, in one transaction, before the answer.
// Of a day nothing is kept when it is over, of a week when its tokens are taken no longer.
package introduce
