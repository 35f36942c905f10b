// Package mls is an engine for Messaging Layer Security, RFC 9420: for servers
// that verify a group without being in it, and for clients that are.
//
// # Reading order
//
// Bytes: codec.go (on the package presentation), limits.go, errors.go; then the
// structures beside their layouts: extension.go, credential.go, leaf.go,
// keypackage.go, proposal.go, context.go, framing.go, appdata.go.
//
// The public half, which needs no secret: tree.go (an immutable, shared ratchet
// tree with cached hashes), treeverify.go (checks of a whole tree, once),
// verify.go and list.go (checks of one handshake), public.go (PublicGroup).
//
// The member half: suite.go and secret.go (primitives), schedule.go (key
// schedule), secrettree.go and protect.go (message keys), treekem.go (paths),
// then group.go, keygen.go, commit.go, receive.go, join.go, external.go, and
// persist.go (storage in parts).
//
// # Invariants
//
//   - One validator. A Group holds a PublicGroup and lets it judge every
//     handshake, its own included, so servers and members accept the same.
//   - Process never changes a group, whatever the input. A commit becomes a
//     Change or StagedCommit, a value that may be merged, dropped or lost
//     against another. An application message consumes its key only after it
//     has proved genuine.
//   - Decoding is strict and canonical: what decodes encodes to the same bytes.
//     Every length is checked against what is there before memory is taken, and
//     what costs more than its bytes is bounded by Limits.
//   - Verified data has its own types: ValidKeyPackage, Change, RatchetTree
//     inside a group. Parsed structures are claims until then.
//   - Secrets never reach an error or a String method, and are deleted when
//     used. Randomness is crypto/rand; epoch 0 begins with a random secret.
//   - No IO, clock or logger. Goroutines verify signatures and encrypt paths on
//     all cores, and end before the call returns.
//
// # Scope
//
// Cipher suites 1, 2 and 3. All proposals of the RFC, and of
// draft-ietf-mls-extensions AppDataUpdate, AppEphemeral (handed through) and
// SelfRemove. Unknown extensions, credentials and proposals survive as opaque
// bytes; an unknown proposal is framed as one vector, changes nothing by itself
// and needs every member's capability. Basic credentials are judged here, X.509
// chains in the package x509auth.
//
// In a browser: internal/wasmmember, a member that creates, joins, stores and
// talks, is 6.1 MB for GOOS=js GOARCH=wasm, 1.66 MB after gzip -9.
//
// # Deviations and decisions
//
//   - Capabilities may list default types, which section 7.2 calls an error:
//     nothing follows from it, and other implementations do it.
//   - A leaf must list its own cipher suite and mls10 in its capabilities.
//   - Lifetimes are judged when a KeyPackage is used, not when a tree is
//     imported: a member that joined long ago is still a member, and history
//     stays verifiable.
//   - Of an Authenticator.Succeeds, RFC 9420 leaves to the application what a
//     joiner by external commit may remove. Here it may remove only a leaf that
//     its own credential succeeds.
//   - A proposal by reference that no commit could include by itself is refused
//     on arrival, lest it stand in every commit's way.
//   - A commit with an unknown proposal type must have a path.
//   - What a server cannot check without secrets it cannot refuse: an external
//     commit whose KEM output or confirmation tag is junk passes a server, if its
//     GroupInfo agrees, and no member can follow. Who may commit from outside is
//     the application's policy, to be asked between Process and Apply.
//   - "The same client twice" under different keys (section 12.2) is for the
//     application to see in Change.Added.
package mls
