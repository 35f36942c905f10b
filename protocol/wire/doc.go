// Package wire holds what providers say to each other: every request and
// response of draft-ietf-mimi-protocol-06 in TLS presentation language, byte
// for byte, the directory of endpoints, and the envelope of our own that goes
// around each request. Sections in comments are that draft's.
//
// # Reading order
//
// wire.go (URIs, enums, how a structure is read, written and checked),
// limits.go, errors.go; then the structures beside their layouts, by endpoint:
// keymaterial.go, update.go, submit.go with franking.go, fanout.go,
// groupinfo.go, consent.go, identifier.go, abuse.go; participants.go (the
// participant list, which is in the GroupContext); envelope.go; directory.go.
//
// # Invariants
//
//   - Decoding is strict: all input is consumed, unknown enum values are refused
//     by name, and what decodes encodes to the same bytes.
//   - Every length and list is bounded by Limits before memory is taken.
//   - A structure whose fields contradict each other is neither read nor
//     written: Bytes returns ErrCombination.
//   - A structure is a claim. Where the draft signs one, Verify returns a type
//     of its own.
//   - Values only: no IO, clock or lock. Structures may be read from several
//     goroutines while none changes them; byte slices belong to the structure.
//
// # The draft's defects, decided
//
//   - Protocol octet: written where the struct has one (KeyMaterial*, Submit*,
//     GroupInfo*), and not where it has none (Update*, Fanout, Consent*,
//     Identifier*, AbuseReport). A room's protocol is MLS 1.0.
//   - "optional Frank" and "optional<RoomId>" are optional<T>, with a presence
//     octet; RoomId and IdentifierURI are IdentifierUri; string is opaque<V>
//     holding UTF-8.
//   - joiningCode is opaque<V> in GroupInfoRequest and "optional opaque" in its
//     TBS: both are taken literally, an empty code being absent in the TBS.
//   - FanoutMessage selects on the kind of message, not on wire_format alone.
//     UpdateRequest selects on room.protocol, which is not in the bytes; nothing is
//     added. SemiPrivateMessage has no code point yet and is not supported.
//   - SubmitResponseCode "success" is accepted(0). errorDescription is there in
//     every UpdateRoomResponse. GroupInfoCode starts at 1.
//   - RatchetTreeOption's "httpsUrl" is httpsUri(2); tree_signature is carried
//     and trusted for nothing.
//   - FrankingIntegrityTBS's "opaque server_frank[32]" is 32 octets without a
//     length. franking_agent and franking_signature_key are one component,
//     0x0021.
//   - encrypted_groupinfo_and_tree is sealed and opened by
//     GroupInfoRatchetTreeTBE, with the room URI's octets as the context.
//   - GroupInfoResponseTBS covers a success only. A failure is unsigned, so it
//     proves nothing beyond the channel.
//   - KeyMaterialRequest does not say its key's signature scheme: it is that of
//     one of the acceptable suites. It and GroupInfoRequest have no freshness;
//     ConsentEntry, AbuseReport and identifier queries no signature: the
//     envelope gives them source, target, room and time.
//   - AbuseType has no value, so reserved(0) is written, and nothing else read.
//   - A URI may be empty where the draft lets it be missing (roomId of a
//     KeyMaterialRequest, reportingUser), and nowhere else.
//   - The consent templates of the directory name a user, section 5.7 names a
//     domain: either is read, the directory's form is written. URIs in a URL are
//     percent-encoded, all but unreserved characters. The draft's example lacks
//     a colon and is refused as it stands.
package wire
