// Package node is a running provider: it reads the configuration, makes every
// part, connects them, and runs them in order.
//
// Read config.go (what an operator may set, which is also the documentation of
// mimid.toml), keys.go (what lies in the data directory), node.go (all wiring, and
// the order of starting and stopping), adapters.go (where two parts meet that do
// not know each other), https.go (the other way to providers), operator.go (what the
// operator's commands see), verify.go (checking a store from end to end), metrics.go.
//
// # The data directory
//
//	mimid.toml           configuration, see Config
//	keys/provider-N.pem  provider keys, Ed25519 in PKCS#8; the highest N is in
//	                     force, the others vouch for their successors and go on
//	                     signing the rooms that name them
//	keys/node.pem        the node's libp2p identity
//	keys/franking.pem    the franking key
//	store/               the database, see package store
//	assets/              attachments, as their users' devices encrypted them
//	admin.sock           operator commands, while the node runs
//
// # Order
//
// Starting: store, feed, accounts, overlay, HTTPS, rooms, outbox, contacts, attachments,
// client API, operator socket, metrics. A part is started when those before it are ready.
// Stopping goes the other way, under one deadline: clients are let go first, what
// they have submitted is written, and the store is closed last. Killing the
// process at any point is as safe, only the next start reads a log.
package node
