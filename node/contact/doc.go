// Package contact brings users together: a user finds another (discovery), asks
// whether it may add the other to rooms (consent), and fetches the KeyPackages
// for it (key material). Each part has a side that serves own clients and one
// that serves other providers; between users of this provider the same code runs
// without the network in between.
//
// Read contact.go (the Service and its configuration), consent.go, scope.go (how
// consent is stored), keymaterial.go; claims.go (publishing identifiers),
// claimrecord.go, standing.go (who stands for a claim), rivals.go, findable.go, announce.go, discover.go (asking and answering), secrets.go;
// errors.go.
//
// # Who may learn what
//
// Somebody who has no consent must not learn whether a user exists. So:
//
//   - Words on consent are answered with 201 whatever becomes of them, and
//     something is written to the disk before that in every case, since the disk
//     is what takes time.
//   - KeyPackages are refused with noConsent, for users that do not exist too, in
//     the same number of octets; nothing but two consent states and three modes is read
//     before, the same keys for all users. In the modes open and quarantine a stranger
//     gets them, and so learns that there is such a user.
//   - Limits that a stranger runs into count what the stranger sends, and not what
//     came of it. Where a limit depends on the user (pending requests), what is
//     over it vanishes, be it the new one, or one of the provider that has most there
//     (consent.Places), in the same transaction.
//
// Refusals that tell more depend on the request alone: it is malformed, not
// signed by whom it says, or from a provider that does not speak for the user.
//
// # Consent
//
// The target's provider keeps the target's decisions and steps them by package
// consent. The requester's provider keeps what its user asked for and heard,
// for its devices to see; nothing depends on it. Words travel through the outbox,
// so they arrive in the end, in order for each provider, perhaps twice. ConsentEntry
// is not signed by users in MIMI: a provider is believed for its own users only. Our
// devices sign them (consent.Sign); a signature that does not fit is refused, and none is what
// other implementations send, and this one itself where it answers for a user.
//
// An invitation is a request about one room that says what is offered (consent.Invitation).
// Granting it accepts, and the inviter's device adds the user; refusing it is told to the
// inviter, unlike other refusals. Otherwise it is a request, and as uniform: it vanishes
// for users that do not exist or have refused the inviter, and over the limits.
//
// # KeyPackages
//
// A request goes to the hub of its room, if that is another provider, and by the
// hub to the target's provider; else directly. It is signed by the requesting
// device, so the target's provider knows who asks whoever brought it.
//
// # Identifiers
//
// A user publishes a claim, which its provider endorses (package discovery): a
// handle belongs to whoever comes first at this provider; telephone numbers and mail
// addresses need what an authority states that is believed here (package verification), or
// are accepted with the method "unverified" if the operator says so. Where others claim the
// same, searchers are shown all and this provider's own user is told (rivals.go). A user who withdraws frees the
// handle, and no claim from before the withdrawal is accepted again.
//
// Run keeps today's and tomorrow's keys announced and renews endorsements before
// the user certificates in them end. Other providers ask the node that announces,
// in two steps: lookup, by which it proves that it knows the identifier, and
// reveal, by which they do. Nothing is kept between the steps. Before the second,
// the searcher also checks that the node belongs to the provider that it names.
//
// Looking up is rationed per own user and per other provider: an identifier costs
// whoever guesses it 25 ms, and at most Limits.Derivations run here at one time.
// identifierQuery answers for published handles, and for names if the operator says so, as
// each user lets itself be found (findable.go), and notFound to all else.
//
// # Keys and values
//
// In store.SpaceConsent. URIs contain no 00; ROOM is empty for any room. Integers
// are big-endian, times Unix milliseconds. Each value begins with octet 01, its
// version.
//
//	01 TARGET 00 REQUESTER 00 ROOM   uint8 state; uint64 changed; opaque invitation<V>, or nothing:
//	                                 what an own user decided
//	02 REQUESTER 00 TARGET 00 ROOM   likewise: what an own user asked for
//	03 TARGET                        uint32 requests pending
//	04 DOMAIN                        uint32 requests pending of users of a provider
//	05 TARGET                        uint32 keys 01 of the user
//	06 REQUESTER                     uint32 keys 02 of the user
//	07                               uint8 0; uint64 time: written when nothing else is
//	08 TARGET 00                     uint8 mode; uint64 revision: the user's mode, if it has set one
//	08 TARGET 00 EXCEPT              uint8 mode; uint64 0: its exception for a user's URI or a domain
//
//	09 TARGET 00 ID[32]              uint64 since, next; uint32 octets; opaque by<V>, room<V>:
//	                                 a room in quarantine, by the room's id
//	0A TARGET 00 ID[32] INDEX[2]     opaque piece<V>: its Welcome, a clientapi.Welcome in JSON
//	0B TARGET                        uint32 rooms in quarantine
//	0C TARGET                        uint32 octets of their Welcomes
//	0D TARGET 00 DOMAIN              uint32 those by users of a provider
//	0E DOMAIN                        uint32 those by users of a provider, of all users
//	0F TARGET 00 DOMAIN              uint32 requests pending of users of a provider
//
// In store.SpaceClaims, ID being discovery's ClaimID:
//
//	01 USER 00 ID[32]   uint8 withdrawn; uint64 issued, ends, endorsed; opaque identifier<V>, secret<V>, claim<V>
//	02 ID[32] USER      nothing: the user claims the identifier, and has not withdrawn it
//	03 USER 00 ID[32]   who else claims it, as seen last: struct { opaque user<V>; opaque key[32]; uint64 issued, ends;
//	                    uint8 standing; opaque authority<V> } rivals<V>; nothing if nobody
//	04 USER             uint8 mode (0 none, 1 exact, 2 names); opaque given<V>, family<V>: by what it may be found
package contact
