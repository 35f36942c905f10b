package admin

import "time"

// Status is how the node is.
type Status struct {
	Domain  string    `json:"domain"`
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Ready is empty when the node is ready, and otherwise why it is not.
	Ready string `json:"ready,omitempty"`
	// KeyFingerprint is that of the provider key, as others pin it.
	KeyFingerprint string `json:"key_fingerprint"`
	// PeerID and Addresses are how other nodes reach this one.
	PeerID    string   `json:"peer_id,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// Clients is where clients reach it.
	Clients string `json:"clients,omitempty"`

	Users   int `json:"users"`
	Rooms   int `json:"rooms"`
	Streams int `json:"streams"` // of clients, open now
	Peers   int `json:"peers"`   // connected now
	Outbox  int `json:"outbox"`  // deliveries to other providers that wait
	// Outside is whether other providers can claim KeyPackages here: seen, unseen, unknown, or empty: nobody
	// is asked. OutsideWhy is what they said, unless it is seen.
	Outside    string `json:"outside,omitempty"`
	OutsideWhy string `json:"outside_why,omitempty"`
	Updates    uint64 `json:"updates"` // functions in durable commits since the start
	Commits    uint64 `json:"commits"` // commits, each with its fsync
}

// NewInvite asks for an invite.
type NewInvite struct {
	Name string `json:"name"`
	// Lifetime in seconds; zero for the default.
	Lifetime int64 `json:"lifetime_s,omitempty"`
	// Replaces takes over the account, see account.NewInvite.
	Replaces bool `json:"replaces,omitempty"`
}

// Invite is an invite. Code is there only when it is made.
type Invite struct {
	ID       string    `json:"id"`
	Code     string    `json:"code,omitempty"`
	User     string    `json:"user"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Replaces bool      `json:"replaces,omitempty"`
	// Exists says that the user has an account, to which the invite adds a device.
	Exists bool `json:"exists,omitempty"`
	// Used and Device say when which device registered with it.
	Used   *time.Time `json:"used,omitempty"`
	Device string     `json:"device,omitempty"`
}

// InviteList lists those that have not expired.
type InviteList struct {
	Invites []Invite `json:"invites"`
}

// UserList is a page of users by name. Next, if not empty, is what to ask for after.
type UserList struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitempty"`
}

// User is an account.
type User struct {
	Name    string    `json:"name"`
	URI     string    `json:"uri"`
	Created time.Time `json:"created"`
	Devices []Device  `json:"devices"`
	// Stock is how the user can be added to rooms: fresh, reserve (some device by its last resort
	// only), partly (some device not at all), none. Empty: nobody has looked yet.
	Stock string `json:"stock,omitempty"`
}

// Device is one of a user's.
type Device struct {
	Name        string    `json:"name"`
	Created     time.Time `json:"created"`
	KeyPackages int       `json:"key_packages"`
	LastResort  bool      `json:"last_resort"`
}

// RoomList is a page of rooms by id.
type RoomList struct {
	Rooms []Room `json:"rooms"`
	Next  string `json:"next,omitempty"`
}

// Room is a room as this provider has it.
type Room struct {
	ID   string `json:"id"`
	URI  string `json:"uri"`
	Hub  string `json:"hub"`
	Term string `json:"term"`
	// Next is the sequence number of the next entry, Head the hash of the last.
	Next     uint64   `json:"next"`
	Head     string   `json:"head"`
	Epoch    uint64   `json:"epoch"`
	Members  int      `json:"members,omitempty"` // clients in the MLS group; of a room that is shown by itself
	Replicas []string `json:"replicas,omitempty"`
	// Outside are those of the replicas, and the hub, that have no participant.
	Outside []string `json:"outside,omitempty"`
	// NextReplicas are those that are to decide, while the set changes; in the answer
	// for one room, as what follows.
	NextReplicas []string `json:"next_replicas,omitempty"`
	// Role is what this provider is to the room: hub, replica, follower, candidate,
	// releasing, waiting, restored.
	Role string `json:"role,omitempty"`
	// ReleasedTo is whom this provider has released the room to, which has not begun.
	ReleasedTo string `json:"released_to,omitempty"`
	// Seen is the highest term that was voted in or heard of, if that is not Term.
	Seen string `json:"seen,omitempty"`
	// Proof says what is kept against a hub of the room.
	Proof string `json:"proof,omitempty"`
	// Claim says who claims to succeed the room's administrators; in the answer for one room.
	Claim string `json:"claim,omitempty"`
	// Branches are what this provider has had in the room and lost by a move, and keeps; in
	// the answer for one room.
	Branches []Branch `json:"branches,omitempty"`
	// Unfinal is how many entries are here that no majority is known to have.
	Unfinal uint64 `json:"unfinal,omitempty"`
	// Participants are user URIs with their roles; in the answer for one room.
	Participants []Participant `json:"participants,omitempty"`
	// Trouble says what an operator should look at: frozen, behind, hub unreachable.
	Trouble string `json:"trouble,omitempty"`
}

// Participant is a user in a room.
type Participant struct {
	User string `json:"user"`
	Role string `json:"role"`
}

// LogPage is a piece of a room's log without the bodies, which are encrypted or
// long. Next, if not zero, is where the next page begins.
type LogPage struct {
	Entries []LogEntry `json:"entries"`
	Next    uint64     `json:"next,omitempty"`
}

// LogEntry is one entry.
type LogEntry struct {
	Seq      uint64    `json:"seq"`
	Term     string    `json:"term"`
	Kind     string    `json:"kind"`
	Accepted time.Time `json:"accepted"`
	Txn      string    `json:"txn"`
	Hash     string    `json:"hash"`
	Size     int       `json:"size"` // of the body
	// What says in words what an entry of the providers' own does: who orders the room
	// from here on and by whose word, or which providers decide.
	What string `json:"what,omitempty"`
	// Certified are the providers that have co-signed the log up to here, where a
	// certificate of that is stored.
	Certified []string `json:"certified,omitempty"`
}

// PeerList lists the providers that this one knows.
type PeerList struct {
	Peers []Peer `json:"peers"`
}

// Peer is another provider.
type Peer struct {
	Domain      string `json:"domain"`
	Fingerprint string `json:"fingerprint"`
	// Trust says why the key is believed: pin, dns, https, name, first_use, told.
	Trust     string    `json:"trust"`
	Connected bool      `json:"connected"`
	Expires   time.Time `json:"expires"` // of its record
	// Conflicts are fingerprints of other keys that claimed the domain and were
	// refused.
	Conflicts []string `json:"conflicts,omitempty"`
}

// Pin decides for one key of a provider.
type Pin struct {
	Fingerprint string `json:"fingerprint"`
}

// Rotated is the result of a change of the provider key.
type Rotated struct {
	Old string `json:"old"` // fingerprints
	New string `json:"new"`
	// Todo says what the operator has to do now, such as changing a DNS record.
	Todo []string `json:"todo,omitempty"`
}

// Verification is the result of checking the whole store.
type Verification struct {
	Rooms   int           `json:"rooms"`
	Entries uint64        `json:"entries"`
	Assets  int           `json:"assets"` // attachments
	Took    time.Duration `json:"took_ns"`
	// Faults are sentences; none means that all is well.
	Faults []string `json:"faults,omitempty"`
	// Notes are sentences about rooms that stand still or were decided about by people, and
	// whose store is whole.
	Notes []string `json:"notes,omitempty"`
}

// Backup is the result of making or restoring a backup.
type Backup struct {
	ID      string        `json:"id"`
	Created time.Time     `json:"created"`
	Rooms   uint64        `json:"rooms"`
	Keys    uint64        `json:"keys"` // of the store
	Bytes   uint64        `json:"bytes"`
	Took    time.Duration `json:"took_ns"`
}

// Move is where a room is to go.
type Move struct {
	Target string `json:"target"` // domain of the provider that is to order it
}

// Branch is a part of a room's log that the room was moved away from: entries From to End-1
// were final here, and are not in the room.
type Branch struct {
	Number uint32    `json:"number"`
	From   uint64    `json:"from"`
	End    uint64    `json:"end"`
	Hub    string    `json:"hub"` // who ordered them
	To     string    `json:"to"`  // whom the room was moved to
	Given  time.Time `json:"given_up"`
	Why    string    `json:"why"`
}

// Moved is a room that was handed over.
type Moved struct {
	Room
	// Pause is how long nobody ordered the room, as seen from the provider that gave it.
	Pause time.Duration `json:"pause_ns"`
}

// Draining is how far a drain is.
type Draining struct {
	Rooms  int           `json:"rooms"` // found so far that this provider orders
	Moved  int           `json:"moved"` // others order these now
	Stayed int           `json:"stayed"`
	Took   time.Duration `json:"took_ns"`
}

// Drained is the result of handing over all rooms.
type Drained struct {
	Draining
	// Left are rooms that could not be handed over, the first MaxLeft of them.
	Left []LeftRoom `json:"left,omitempty"`
	// Voter is in how many rooms that others order this provider still is one of those
	// that decide, until a member's commit replaces it.
	Voter int `json:"voter"`
}

// MaxLeft is how many rooms that stayed are listed.
const MaxLeft = 1000

// LeftRoom is a room that could not be handed over.
type LeftRoom struct {
	ID  string `json:"id"`
	URI string `json:"uri"`
	Why string `json:"why"`
}
