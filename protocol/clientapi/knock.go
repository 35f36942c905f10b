package clientapi

// SendKnock asks to be let into a room, or takes that back: Word is a signed word (knock)
// of this device. The answer is where it stands after a first attempt; the provider goes on
// by itself, and tells what becomes of it by an EventKnock.
type SendKnock struct {
	Word []byte `json:"word" doc:"Signed word, ask or cancel"`
}

// States of a knock.
const (
	KnockAsking     = "asking"     // kept here; no hub has taken it yet
	KnockWaiting    = "waiting"    // the hub has shown it to those who may answer
	KnockRefused    = "refused"    // somebody has refused it, or nobody may be asked
	KnockInside     = "inside"     // the user has been let in
	KnockCancelling = "cancelling" // taken back; the hub does not know it yet
	KnockCancelled  = "cancelled"
	KnockClosed     = "closed"  // the room lets nobody knock
	KnockExpired    = "expired" // nobody has answered in time
	KnockGone       = "gone"    // in an event for who may answer: answered, taken back, or expired
)

// Knock is somebody's wish to be let into a room.
type Knock struct {
	Room  string `json:"room" doc:"URI of the room"`
	User  string `json:"user" doc:"URI of who wants in"`
	State string `json:"state" enum:"asking,waiting,refused,inside,cancelling,cancelled,closed,expired,gone" doc:"Where it stands"`
	Note  string `json:"note,omitempty" doc:"What the user says, one line"`
	Text  string `json:"text,omitempty" doc:"What came with a refusal, one line"`
	// Word is the user's signed word, for who may answer.
	Word []byte `json:"word,omitempty" doc:"The user's signed word"`
	// Hub is the provider that was asked last, and Trouble why no provider has taken it yet;
	// for the user's own devices.
	Hub     string `json:"hub,omitempty" doc:"Provider that was asked last"`
	Trouble string `json:"trouble,omitempty" doc:"Why it could not be brought to the room yet"`
	Issued  int64  `json:"issued" doc:"When the user asked, Unix milliseconds"`
}

// Knocks lists knocks.
type Knocks struct {
	Knocks []Knock `json:"knocks"`
}

// RefuseKnock refuses somebody who waits at a room's door.
type RefuseKnock struct {
	User string `json:"user" maxLength:"255" doc:"URI of who wants in"`
	Text string `json:"text,omitempty" maxLength:"256" doc:"For the user, one line"`
}
