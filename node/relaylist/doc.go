// Package relaylist agrees with other providers on the list of relays of each epoch: it publishes this
// node's descriptor, takes the list that the witnesses have signed, and, if this provider is a witness,
// makes and signs lists.
//
// Read relaylist.go (Service: what happens when), follow.go (taking a list), witness.go (descriptors, and
// signing), propose.go (making a list), record.go (what is on disk).
//
// # An epoch's list
//
// Who is a witness, and in which order, is in the configuration of every node of a network, as are the
// network's terms. For epoch e:
//
//  1. In epoch e-1 each node sends its descriptor, with keys of e-1 and e, to every witness. A witness takes
//     it if it comes from the provider that it names, and that provider's record names the node and its
//     address.
//  2. The quarter of an epoch before e begins is divided among the witnesses: one after the other may make
//     the list, beginning with another one in each epoch, and again from the first one on while there is
//     none. When a network begins, there is no list of the present epoch, and it is made in the same way
//     when no new node has come for a sixtieth of an epoch.
//  3. The one whose turn it is asks all witnesses for the descriptors that they have, and makes the only
//     list that their union can make (relays.Terms.Snapshot). If one of them has signed a list already, that
//     one is taken instead, so that an attempt that was cut off is completed and not blocked.
//  4. A witness signs a list that keeps the terms, leaves out nobody whom it has named when it was first asked,
//     and has nobody for whom no record speaks. That it has signed this list and no other for the epoch is on disk before the
//     signature leaves (TestSignedIsOnDisk).
//  5. Every node asks all witnesses for all signatures of the epoch that they know, and takes the list that
//     two thirds have signed, whole.
//
// An epoch without a list is bridged: relays have the keys of the epoch before. With a second one missing
// nothing is sent any more.
//
// # Two lists
//
// A witness that has signed two lists for one epoch has proven it: its signatures count no more, also after
// a restart, and the operator is told. Because everybody asks all witnesses, two lists of one epoch meet at
// whoever is honest.
//
// # What always holds
//
// Only *relays.Cosigned leaves the package as a list. Nobody looks up a single relay: descriptors are taken
// from the list alone, and the addresses of all nodes in it are looked up alike. Bodies, lists, waiting
// descriptors, lookups for a list and requests of one provider are bounded.
//
// # What it does not give
//
// Witnesses that make up a third can keep all from having a list, and two thirds of them decide who relays.
// Operator and network are what relays say. A provider with many domains is many providers. Who sees
// a node ask the witnesses knows that it takes part.
//
// # Format
//
// Endpoints between providers, the presentation language of package presentation:
//
//	mimid-onion-descriptor/<own domain>   SignedDescriptor                       empty
//	mimid-onion-signatures/<epoch>        empty                                  Cosignature<V><V>, up to 2 per witness
//	mimid-onion-snapshot/<hash, hex>      empty                                  Snapshot
//	mimid-onion-collect/<epoch>           empty; of witnesses only               struct { opaque snapshot<V>; SignedDescriptor<V><V>; }
//	mimid-onion-cosign/<epoch>            Snapshot; of witnesses only            Cosignature
//
// In collect, a snapshot that is not empty is the one that the witness has signed.
package relaylist
