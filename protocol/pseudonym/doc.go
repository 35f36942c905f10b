// Package pseudonym is the pure part of pseudonymous rooms ("minimal metadata rooms",
// draft-ietf-mimi-protocol section 6): what stands in a leaf instead of a name, how the
// name is hidden there from all but members, which keys open it, and what one member
// knows of the others. docs/pseudonymous-rooms.md says what is learnt by whom, and why it
// is done so.
//
// # Reading order
//
// credential.go: Credential, what a leaf shows to everybody. key.go: Key, the keys that
// hide names, of the room (one for each generation) and of a newcomer. link.go: Seal hides
// a name in a credential, Open and Verify find it. message.go: Keys, Request, what members
// tell each other, and those whom they add. attest.go: the word of a provider for who comes in from outside. room.go: Room, what one member knows. group.go: what MLS needs, and what it says.
//
// # What always holds
//
//   - A Link is a name that was proved: its holder signed, with the key of its real
//     credential, that it goes by this pseudonym with this leaf's signature key, and in
//     this room as soon as the room is known. Only Claim.Verify makes one.
//   - A key is named by a commitment to it. A link names the key that opens it, so a key
//     that somebody tells is known to be the right one before it is used, and one link
//     cannot be opened by two keys to two names.
//   - A generation's key comes from the exporter of the epoch that began it: no message
//     carries it to those who are there, so none can be lost, and who was removed by that
//     commit does not have it.
//   - What a commit costs does not depend on how many members there are: at most one link
//     is sealed by its committer, and each new credential in it is opened once.
//   - Of each other member a Room knows the name, or a reason, which is one of the
//     package's errors.
//   - Links have the same length for names of any usual length. Nothing that holds a key
//     prints it. All lengths are bounded before anything is allocated.
//
// # Not here
//
// Who may be in a room, that participants are listed by pseudonyms, and that all leaves
// have pseudonymous credentials: that is for protocol/room (naming.go). Who is asked for consent,
// and gets a newcomer's key: node/pseudonyms.
package pseudonym
