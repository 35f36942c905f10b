// Package overlay connects providers over libp2p: it finds them by name, says which key
// speaks for which name, carries their HTTP requests over streams and the messages of
// their rooms over gossip, and finds nodes that announced a key.
//
// Read overlay.go for the configuration and the life of a node; then, as needed,
// record.go (what a provider signs about itself), trust.go (whom to believe), resolve.go
// and publish.go (records in the DHT), offline.go (records in HTTPS directories),
// room_record.go and room_find.go (who orders a room), http.go, topic.go and mesh.go,
// announce.go, walk.go, size.go and search.go (who announces a key), walk_alone.go and walked.go (for
// simulations and measurements), crowd.go (who is around a key), stranger.go (coming to a
// provider as nobody), messages.go (of the DHT),
// peers.go (joining, and who is connected), host.go, limits.go and keeper.go (what peers can
// make us hold, and which connections are kept).
//
// A node speaks /mimi/kad/1.0.0 (a private Kademlia DHT, always as a server),
// /meshsub/1.3.0 to 1.1.0 (gossipsub) and /mimid/http/1.1 (HTTP/1.1, a stream being a
// connection) over TCP with TLS or Noise, and over QUIC.
//
// # Which key speaks for a name
//
// A provider record is signed by the key that it names, so the signature proves nothing
// about the name. The first of these that applies decides:
//
//  1. A pin: the operator has named the key, in the configuration or, next, by Pin.
//  2. DNS: a TXT record at _mimi.<domain> holds "v=mimi1; fp=" and the SHA-256 of the key
//     in hexadecimal; several records allow several keys. It is asked at every lookup.
//  3. The name itself: <base36 CID of the key>.p2p.invalid.
//  4. HTTPS: the MIMI directory of the domain, read from a server whose certificate
//     names the domain, holds a record by the key. It is asked at every lookup of a name
//     for which none of the above has spoken.
//  5. First use: the first valid record that this node saw.
//
// What names a key also accepts a key that it has led to: a record carries up to eight
// older keys, each with its signature over the next. From then on the newest key is the
// one in force, and none before it can take the name back.
//
// A provider that is gone for good has no record in the DHT any more. Who has to read
// what it has signed can be shown the record by another provider (Envelope, Hear), and
// then has a key for the name on that one's word, called Told: weaker than all of the
// above, refused where a pin or DNS says otherwise, and gone with the first record of the
// name that is found.
//
// Once a key is in force for a name, records of keys that do not follow from it are
// refused, counted, logged and shown by Known, and nothing else changes. Only the
// operator can drop a key in force (Pin, Forget), with one exception: DNS and HTTPS correct
// a first use. They do not drop a key that either has confirmed: whoever can spoof DNS, or
// get a certificate, for a while could otherwise take over every name. A provider that loses its key without
// having signed a successor must ask the other operators.
//
// DNS that does not answer is not DNS without a record. For a name whose key is in force,
// that key stays. For a new name Resolve fails with ErrDNS, because whoever can block DNS
// could otherwise turn case 2 into case 4. A TXT record of ours that cannot be read
// counts as no answer. Names below .invalid are not asked for. A directory that cannot be
// read is like none: most providers may have none, and to wait for it would keep them from
// each other. So whoever can block HTTPS to a domain can turn case 4 into case 5, until it
// is asked again and corrects that.
//
// Trust is durable before it is used. An expired record does not end the trust in its
// key, and an expired or refused record never replaces another.
//
// # Records in the DHT
//
// A record lies under "/mimi-provider/" and the SHA-256 of its domain, and again under
// the SHA-256 of domain, a zero byte and the fingerprint of each of its keys. Whoever
// knows a key looks there first: nobody else can put anything there. Under the domain
// alone, nodes keep the record that came first until it expires, and refuse one whose key
// contradicts what they themselves trust; a search there returns all that it meets. A
// stranger can still occupy a name that no provider has used. Then first use is wrong,
// and pins and DNS are right.
//
// Among records of one key the highest sequence number counts. It is the time of signing
// in milliseconds, or one more than the last, which is stored; a number more than ten
// minutes in the future is refused, so nobody can exhaust it. A record expires within 48
// hours. Ours is valid for 36, sealed anew every four hours and when our addresses
// change, and put again while the network is small and peers come. Nodes that search
// refresh what other nodes hold; nothing else keeps it alive.
//
// # Who orders a room
//
// A room's address names the provider where it was made, which need not be its hub any
// more, nor exist. Who has the room reads in its log who orders it. For who has only the
// address, in a link, the hub puts a record under "/mimi-room/" and the room's id, the
// SHA-256 of its address: AnnounceRoom, FindRoom.
//
// The record is a hint. Its signature, and the key that its provider is known by, prove
// who says so, not that it is true: any provider can sign any term of any room. So a
// search returns all that it meets, the highest term first, and who asks takes the first
// that the log proves right. The DHT keeps one value for a key at a node; which one of
// several signers' differs from node to node, see roomBook.Select, and with twenty
// nodes asked a liar needs many names to drive a hub out. The hub keeps its own, whatever
// others say.
//
// Nodes that hold a record learn the room's id and its hub, and who looks for it; not its
// address, unless they can guess it.
//
// A record is valid for a week, but forgotten two days after it was last put. Repeating
// it, at a pace, is for the caller.
//
// # Who announces a key
//
// Anybody can announce any key, each node of the DHT can hide what it holds, and whoever
// tries some thousands of node keys can put nodes next to a key. So neither side relies on
// the twenty nodes that are nearest to it, as Kademlia does.
//
// A search (walk.go) takes four paths that share no node, so that who lies leads one of
// them astray, and asks all that it hears of in the key's region: as far around it as some
// 30 nodes are, by the size of the network. At most 96 nodes are asked, half of them the nearest and half any
// of the region. Announcers are named at once when two nodes have named them, and a few
// before that, and the rest at the end, those of most nodes first: one node that makes up
// hundreds does not crowd out a true one.
//
// The size of the network (size.go) is estimated from who is near to our own id, and not to the key, as long as that agrees
// with what the refresh of the routing table meets at random places: our id is public, and twenty nodes made next to it
// would make the network seem many times as large, and a key's region so small that only those made for the key are in it. The
// median of the last nine places counts then, which nobody can foresee and which costs no request, and before the first refresh
// how full the routing table is. Where all that we know next to the key are in its region, more than come by chance, one path begins with others.
//
// Announcements go to 30 nodes, found in the same way. If many more are in the region than
// come by chance, the 30 are drawn of all of it. They are repeated by libp2p's sweep, which
// goes through the keys in the order of the nodes' ids twice a day, so that for 200,000
// keys a node is looked for once and not once for each key. Who has announced nothing yet sweeps nothing.
//
// libp2p has no paths that share no node. What it has against such attacks, a limit of
// nodes for each block of addresses, is on where the network is the Internet (Public).
//
// # Gossip
//
// Messages carry no author and no signature: what they contain proves itself. The id of a
// message is the hash of topic and data. TopicHandler.Allow holds in both directions.
// gossipsub's own peer filter does not cover everything, so floodsub and flood publishing
// are off, since both send without asking it, and messages of others are taken out before
// their hash could be noted as seen. Until the mesh has formed, within a second or two of
// joining, and whenever a peer is slow, messages are lost: rooms fill gaps by asking.
//
// The names of all topics are announced to every peer that connects, in one message of
// less than 4 MiB, so that some 120,000 topics with names of 22 bytes can be joined. Names
// should say nothing, and be short.
//
// # What is stored
//
// In the KV (integers as noted beside each format):
//
//	p/<domain>      trust in a name, and its newest record: trust.go
//	d/<key>         datastore of the DHT: values and announcements of others, libp2p's format
//	g/<key>         block list, libp2p's format
//
// # What peers can make us hold
//
// Connections, streams and their number by peer and by address are bounded by libp2p's
// resource manager with our numbers; HTTP requests by the server's timeouts and sizes;
// what the DHT stores by number, and by peer and hour, announcements also by key; records by 4 KiB, of rooms by 412
// bytes and one for each room; topics by number
// for each peer; messages by 256 KiB; and everything that is decoded before it is decoded.
// A response's body is bounded by whoever reads it, with a context that ends.
//
// # Without libp2p
//
// A node that is Offline opens no socket and takes no part in DHT and gossip; its record
// names no node. It finds others, and is found, by what lies in HTTPS directories, which
// somebody else reads and serves (Config.Certified, OwnRecord), under the same rules of
// trust. Whoever has a node and asks for a name looks there, too, before or after the DHT.
//
// libp2p writes its own errors to standard error. Relays and NAT traversal are not there
// yet: a node needs an address that others can reach.
package overlay
