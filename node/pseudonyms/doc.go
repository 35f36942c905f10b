// Package pseudonyms is what a provider does for its own users in pseudonymous rooms
// (package pseudonym, docs/pseudonymous-rooms.md): it draws their pseudonyms, knows whose each
// is, keeps the KeyPackages that their devices have made under them, and gives those out.
//
// Read service.go (what devices call), claim.go (what somebody who adds a user gets),
// record.go (what is stored).
//
// # Sets
//
// A pseudonym that is for no room yet is an open set: each device of the user brings one
// KeyPackage for it, with the key that opens its identity link. Some are kept ready. A claim
// for a room takes one set for it, for good: from then on that is what the user goes by in
// that room, and whoever claims for the room again gets the same pseudonym. So a user has one
// pseudonym in a room, and a ban there holds. When a KeyPackage was used its device brings
// another one under the same pseudonym, for the case that the user is added again.
//
// # How a claim comes
//
// Sealed, through the claimer's provider (package oblivious): that one learns that somebody
// there adds some user of this provider, and no name and no pseudonym. Consent is asked of
// package contact, as for other KeyPackages. What is given out holds the key of the identity
// link, so that the claimer sees whose KeyPackage it is and need not believe this provider; this
// provider knows that anyway.
//
// # What always holds
//
//   - A user has at most one pseudonym in a room, and a pseudonym is one user's, in one room.
//   - What somebody without consent is answered does not depend on whether there is the user.
//   - Who may claim cannot use all sets up: at most MaxGiven of a user are given out and not
//     used, at most MaxGivenTo to one requester.
package pseudonyms
