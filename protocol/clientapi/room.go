package clientapi

// NewRoom creates a room at the own provider: the URI is the client's choice,
// mimi://DOMAIN/r/ with at least 20 random characters, and GroupInfo and Tree
// are those of the group's epoch 0 with its one member (bare GroupInfo, ratchet
// tree of RFC 9420). The GroupContext holds participant_list, room_hosting and
// what else package room asks for.
type NewRoom struct {
	URI       string `json:"uri" maxLength:"255" doc:"URI of the room"`
	GroupInfo []byte `json:"group_info" doc:"GroupInfo of epoch 0"`
	Tree      []byte `json:"tree" doc:"Ratchet tree of epoch 0"`
	Nonce     []byte `json:"nonce" minLength:"16" doc:"16 random octets of this submission"`
}

// Submitted says where in the log a submission stands.
type Submitted struct {
	Seq        uint64 `json:"seq" doc:"Sequence number of the entry"`
	AcceptedAt int64  `json:"accepted_at" doc:"When the hub accepted it, Unix milliseconds"`
}

// Rooms lists the user's rooms.
type Rooms struct {
	Rooms []Room `json:"rooms"`
}

// Room is a room as the provider sees it.
type Room struct {
	ID           string        `json:"id" doc:"SHA-256 of the URI, hexadecimal"`
	URI          string        `json:"uri" doc:"URI of the room"`
	Hub          string        `json:"hub" doc:"Domain of the present hub"`
	Term         string        `json:"term" doc:"Term of the present hub, era.number"`
	Next         uint64        `json:"next" doc:"Sequence number of the next entry"`
	Epoch        uint64        `json:"epoch" doc:"MLS epoch"`
	Participants []Participant `json:"participants,omitempty" doc:"Who takes part"`
	As           string        `json:"as,omitempty" doc:"URI of what the user goes by in it, if it is pseudonymous; only of a room that is asked for by itself"`
	Parting      *Parting      `json:"parting,omitempty" doc:"What this provider has had in the room and is not in it"`
	MovingTo     string        `json:"moving_to,omitempty" doc:"Provider to which this one has acknowledged that the room is moved, and nobody has said here whether it was; only of a room that is asked for by itself"`
	Conflict     *Conflict     `json:"conflict,omitempty" doc:"Two histories of the room are final, and it stands still"`
}

// Parting says that an administrator has moved the room away from before the end of what
// this provider had in its log, and had told people was final: entries From to End-1 are in
// a lost branch. Nobody takes that back silently. The room stands still here until somebody
// in it has the provider follow it as it was moved (POST .../rejoin); then Followed is true,
// and the branch is kept and can be read (GET .../branch). Devices that have gone beyond
// From come back into the group by an external commit.
type Parting struct {
	From     uint64 `json:"from" doc:"First entry that is not in the room"`
	End      uint64 `json:"end" doc:"Sequence number after the last such entry"`
	Era      uint32 `json:"era" doc:"Era in which the room goes on"`
	Hub      string `json:"hub" doc:"Who ordered them"`
	To       string `json:"to" doc:"Whom the room was moved to from before them"`
	Followed bool   `json:"followed" doc:"Whether this provider follows the room as it was moved"`
}

// Conflict is what is known of a room of which two histories are certified, each by most replicas.
// It stands still until an administrator moves it, which decides which one goes on.
type Conflict struct {
	From  uint64   `json:"from" doc:"First entry that is known to differ"`
	Liars []string `json:"liars,omitempty" doc:"Providers that have certified both"`
}

// Participant is a user in a room.
type Participant struct {
	User    string `json:"user" doc:"URI of the user"`
	Role    string `json:"role" doc:"Name of the role"`
	Clients int    `json:"clients" doc:"Members (clients) of the group"`
}

// FoundRoom says who orders a room, for who has only its URI. Proven is what the log
// says at the user's own provider, and then there is one hub. Otherwise it is a hint, which
// any provider could give: the first whose log proves it right is the hub.
type FoundRoom struct {
	Room   string    `json:"room" doc:"SHA-256 of the URI, hexadecimal"`
	URI    string    `json:"uri" doc:"URI of the room"`
	Proven bool      `json:"proven" doc:"Whether the room's log says so, at this provider"`
	Hubs   []RoomHub `json:"hubs" doc:"Who says that it orders the room, the highest term first"`
}

// RoomHub is a provider that orders a room, or says so.
type RoomHub struct {
	Provider string `json:"provider" doc:"Domain of the provider"`
	Term     string `json:"term" doc:"Term in which it orders the room, era.number"`
	Said     int64  `json:"said,omitempty" doc:"When it said so, Unix milliseconds"`
}

// Recruit is a provider without a user in a room that keeps it, or has promised to until
// some time: if an administrator's commit names it before. Without a Provider there is
// none, and the one that the room names says that it does not keep the room.
type Recruit struct {
	Provider    string `json:"provider" doc:"Domain of the provider"`
	Present     bool   `json:"present" doc:"Whether the room names it already"`
	Key         []byte `json:"key,omitempty" doc:"Its provider key, Ed25519; missing if it is present and does not answer"`
	FrankingKey []byte `json:"franking_key,omitempty" doc:"Public key of its franks, Ed25519"`
	Until       int64  `json:"until,omitempty" doc:"How long its promise holds, Unix milliseconds"`
	SilentMS    int64  `json:"silent_ms,omitempty" doc:"For how long it has given no sign of life, if it does not answer"`
}

// Log is a piece of a room's log: entries (room.Entry) and the signed head
// (room.SignedHead) that ends them.
type Log struct {
	Entries [][]byte `json:"entries" doc:"Log entries, encoded"`
	Head    []byte   `json:"head" doc:"Signed head over these entries"`
	// Certificates show by whom entries were co-signed, each up to a head among these,
	// in order. Where one provider decides alone there are none.
	Certificates [][]byte `json:"certificates,omitempty" doc:"Certificates of replicas, encoded"`
}

// SubmitMessage sends an application message: Request is a SubmitMessageRequest
// (wire).
type SubmitMessage struct {
	Request []byte `json:"request" doc:"SubmitMessageRequest (MIMI section 5.4)"`
	Nonce   []byte `json:"nonce" minLength:"16" doc:"16 random octets of this submission"`
	// Privacy has the message brought over relays, so that the hub does not learn who sends it: Request names
	// the room as its sender then, and Proof is a member's (package room).
	Privacy *Privacy `json:"privacy,omitempty" doc:"Bring it to the hub so that it does not learn who sends it"`
	Proof   []byte   `json:"proof,omitempty" doc:"With privacy: that a member of the room submits it"`
}

// SubmittedMessage is the hub's answer, a SubmitMessageResponse (wire): accepted,
// not allowed, or epoch too old.
type SubmittedMessage struct {
	Response []byte `json:"response" doc:"SubmitMessageResponse (MIMI section 5.4)"`
	// Over is the way that it went, as Privacy asked for.
	Over string `json:"over,omitempty" doc:"The way that it went to the hub, if privacy asked for one"`
}

// ReportAbuse tells the room's hub about a user: Request is an AbuseReport (wire). Its
// reporting user is empty or who makes it. The answer is empty: the hub's operator has it.
type ReportAbuse struct {
	Request []byte `json:"request" doc:"AbuseReport (MIMI section 5.9)"`
	Nonce   []byte `json:"nonce" minLength:"16" doc:"16 random octets of this submission"`
}

// SubmitUpdate sends a handshake: Request is an UpdateRequest (wire).
type SubmitUpdate struct {
	Request []byte `json:"request" doc:"UpdateRequest (MIMI section 5.3)"`
	Nonce   []byte `json:"nonce" minLength:"16" doc:"16 random octets of this submission"`
	From    *Where `json:"from,omitempty" doc:"Where the room is, for who joins one that its provider may not have"`
}

// Where says where a room is that the user does not take part in: its URI, and the
// provider that orders it, as FoundRoom says.
type Where struct {
	URI string `json:"uri" maxLength:"255" doc:"URI of the room"`
	Hub string `json:"hub" maxLength:"255" doc:"Domain of the provider that orders it"`
	// Unknown are providers of whom the client could not learn the key, on which the room's
	// members rest. If they are gone, the room's hub is asked for their records.
	Unknown []string `json:"unknown,omitempty" maxItems:"8" doc:"Providers whose keys could not be found, though the room rests on them"`
}

// SubmittedUpdate is the hub's answer, an UpdateRoomResponse (wire).
type SubmittedUpdate struct {
	Response []byte `json:"response" doc:"UpdateRoomResponse (MIMI section 5.3)"`
}

// FetchGroupInfo asks for what an external commit needs: Request is a
// GroupInfoRequest (wire).
type FetchGroupInfo struct {
	Request []byte `json:"request" doc:"GroupInfoRequest (MIMI section 5.6)"`
	From    *Where `json:"from,omitempty" doc:"Where the room is, for who joins one that its provider may not have"`
}

// FetchedGroupInfo is the hub's answer, a GroupInfoResponse (wire).
type FetchedGroupInfo struct {
	Response []byte `json:"response" doc:"GroupInfoResponse (MIMI section 5.6)"`
	// Attestation goes along with the commit by which this device comes in.
	Attestation []byte `json:"attestation,omitempty" doc:"Of a pseudonymous room: this provider's word that the leaf is of its user (package pseudonym)"`
}

// NewEphemeral is told to the others who are in a room and listen now. It is lost where too
// many come.
type NewEphemeral struct {
	Data []byte `json:"data" doc:"Sealed, at most 1,024 octets"`
}
