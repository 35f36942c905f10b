package clientapi

// Types of events in the device's stream, and what their data is.
const (
	EventEntries      = "entries"      // Entries
	EventWelcome      = "welcome"      // Welcome
	EventConsent      = "consent"      // ConsentEvent
	EventModes        = "modes"        // ModesEvent: the modes of consent were set
	EventKnock        = "knock"        // Knock: the user's own has got further, or somebody waits whom the user may let in
	EventIntroduction = "introduction" // Introduction: somebody asks who does not say who it is
	EventRivals       = "rivals"       // RivalsEvent
	EventHub          = "hub"          // HubState; not stored, it leaves the cursor where it is
	EventEphemeral    = "ephemeral"    // Ephemeral; not stored, it leaves the cursor where it is
	EventStock        = "stock"        // Stock; not stored, it leaves the cursor where it is
	EventHello        = "hello"        // Hello, the first of every stream
	EventPing         = "ping"         // {}; at least every 20 seconds
)

// Hello begins a stream. Resumed is false if the cursor was unknown (the store
// was restored from a backup), and the stream begins from the start.
type Hello struct {
	Client  string `json:"client"`
	Cursor  string `json:"cursor"`
	Resumed bool   `json:"resumed"`
}

// Entries are consecutive entries of one room's log (room.Entry), and the signed
// head (room.SignedHead) that ends them. What is stored is divided into events
// as the hub divided it into batches.
type Entries struct {
	Room    string   `json:"room" doc:"Room id, hexadecimal"`
	Entries [][]byte `json:"entries"`
	Head    []byte   `json:"head"`
}

// Stock tells a user's devices that the user cannot be added to rooms as it should be. It is
// told when that begins, and again from time to time while a device has nothing.
type Stock struct {
	// Level is the user's: reserve, partly or none; see KeyPackageCount.
	Level string `json:"level,omitempty"`
	// Dry are the URIs of devices of which nothing can be claimed. They bring KeyPackages at once.
	Dry []string `json:"dry,omitempty"`
	// Outside, where it is told, is all that is told, see KeyPackageCount: unseen is an alarm for
	// all users of the provider.
	Outside string `json:"outside,omitempty"`
}

// HubState tells how the provider that orders a room does, when that changes and again
// while it is silent. That another one orders the room now stands in its log.
type HubState struct {
	Room string `json:"room" doc:"Room id, hexadecimal"`
	Hub  string `json:"hub" doc:"Provider that orders the room"`
	// Silent: it gives no sign of life. What is sent waits.
	Silent bool `json:"silent"`
	// Moves says that other providers can give the room another hub, and try to.
	Moves bool `json:"moves"`
	// Lied: there is proof that it has signed what cannot be, or two histories of the
	// room. Its other providers look for another hub.
	Lied bool `json:"lied,omitempty"`
	// Votes, with Lied: what is proven is that it has voted twice in one term, for who is to
	// order the room. It need not be the hub; it counts as failed.
	Votes bool `json:"votes,omitempty"`
	// Stalls: it gives signs of life and leaves lying what is brought to it.
	Stalls bool `json:"stalls,omitempty"`
	// Stopped: this provider follows the room no further. What the hub has signed cannot
	// be, or two histories of the room are final; the operator has the proof.
	Stopped bool `json:"stopped,omitempty"`
	// Parting says, of a room that stands still, that it was moved away from before the end
	// of what this provider has.
	Parting *Parting `json:"parting,omitempty"`
	// Conflict says, of a room that stands still, that two histories of it are final.
	Conflict *Conflict `json:"conflict,omitempty"`
}

// Ephemeral is what a member of a room tells the others beside its log: a sealed signal of
// package ephemeral. Nobody keeps it, and it may be lost, late or repeated.
type Ephemeral struct {
	Room string `json:"room" doc:"Room id, hexadecimal"`
	Data []byte `json:"data" doc:"Sealed, at most 1,024 octets"`
}

// Welcome invites a device of the user into a room: Welcome is the bare Welcome
// of RFC 9420, Tree the ratchet tree of the epoch that it begins. The commit
// that made it stands in the log at At; the log goes on from there.
type Welcome struct {
	Room    string   `json:"room" doc:"Room id, hexadecimal"`
	URI     string   `json:"uri" doc:"URI of the room"`
	Welcome []byte   `json:"welcome"`
	Tree    []byte   `json:"tree"`
	At      Position `json:"at"`
}

// Position is where a log stands after an entry (room.Position).
type Position struct {
	Era        uint32 `json:"era"`
	Number     uint64 `json:"number"`
	Next       uint64 `json:"next" doc:"Sequence number of the next entry"`
	Last       []byte `json:"last" doc:"Hash of the last entry"`
	AcceptedAt uint64 `json:"accepted_at" doc:"Unix milliseconds"`
}

// RivalsEvent tells that others claim an identifier of the user by now, or other ones than
// before, or nobody any more.
type RivalsEvent struct {
	SII    string  `json:"sii" doc:"The identifier"`
	Rivals []Rival `json:"rivals"`
}

// ConsentEvent tells of a ConsentEntry (wire) that another user sent, or that
// another device of the same user did.
type ConsentEvent struct {
	Entry []byte `json:"entry"`
	// State is what follows from it, as in Consent.
	State string `json:"state"`
}

// ModesEvent tells a user's devices that one of them has set the modes of consent.
type ModesEvent struct {
	Revision uint64 `json:"revision"`
}
