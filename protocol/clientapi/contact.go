package clientapi

// NewClaim publishes an identifier of the user: Claim is a claim (discovery)
// signed by the user key. The provider verifies the identifier as it can, adds
// its signature and announces it.
type NewClaim struct {
	SII   string `json:"sii" maxLength:"512" doc:"The identifier" example:"handle:alice"`
	Claim []byte `json:"claim" doc:"Claim signed by the user"`
}

// Claim is a published claim.
type Claim struct {
	SII     string `json:"sii" doc:"The identifier" example:"handle:alice"`
	Claim   []byte `json:"claim" doc:"Claim with both signatures"`
	Expires int64  `json:"expires" doc:"Unix milliseconds"`
	// Rivals are others who claim the identifier, as the provider has seen them last: it
	// looks once a day. Searchers are shown all. For handles it does not look.
	Rivals []Rival `json:"rivals,omitempty" doc:"Others who claim the identifier"`
}

// Rival is a claim of somebody else, under another user key.
type Rival struct {
	User      string `json:"user" doc:"URI of the user"`
	Verified  string `json:"verified" enum:"authority,provider,nobody" doc:"Who stands for it that the user holds the identifier"`
	Authority string `json:"authority,omitempty" doc:"Domain of the authority"`
	Issued    int64  `json:"issued" doc:"Unix milliseconds"`
	Expires   int64  `json:"expires" doc:"Unix milliseconds"`
}

// Claims lists the user's published claims.
type Claims struct {
	Claims []Claim `json:"claims"`
}

// WithdrawClaim ends a claim. Withdrawal is the user's signed statement
// (discovery).
type WithdrawClaim struct {
	SII        string `json:"sii" maxLength:"512" doc:"The identifier"`
	Withdrawal []byte `json:"withdrawal" doc:"Withdrawal signed by the user"`
}

// Evaluate has blinded identifiers evaluated, in a network that has evaluators: Request is an
// oprf.Request. Whoever evaluates, and the own provider, learns how many they are.
type Evaluate struct {
	Request []byte `json:"request" maxLength:"4096" doc:"Blinded inputs, an oprf.Request"`
	// Privacy has evaluators that are other providers asked over relays.
	Privacy *Privacy `json:"privacy,omitempty" doc:"Ask evaluators so that they do not learn which provider asks"`
}

// Evaluated are as many evaluations as the key set's threshold, verified by the provider.
// A device verifies them itself, too.
type Evaluated struct {
	Evaluations []Evaluation `json:"evaluations"`
	// Over is the way that it went, if the client asked for one.
	Over string `json:"over,omitempty" doc:"The way, as privacy asked for it"`
}

// Evaluation is one evaluator's.
type Evaluation struct {
	Number     int    `json:"number" doc:"The evaluator's number in the key set"`
	Evaluation []byte `json:"evaluation" doc:"An oprf.Evaluation"`
}

// Discover looks an identifier up at all providers. The own provider gets the secret that
// the device has derived of it (discovery.Network), not the identifier: with evaluators
// in the network, it can only guess at their price.
type Discover struct {
	Secret []byte `json:"secret" maxLength:"48" doc:"The identifier's secret, 32 octets (base64)"`
	// Privacy has others look in the DHT, and announcers asked, over relays. Announcers that do not
	// take part there are not asked, and count as failed.
	Privacy *Privacy `json:"privacy,omitempty" doc:"Look it up so that others do not learn which provider asks"`
}

// Discovered lists what was found: every claim that the provider could verify,
// in the owners' order. Several owners are normal.
type Discovered struct {
	Found []Found `json:"found"`
	// Conflict: several people claim it. Nothing is sent to any of them before the user
	// has chosen one.
	Conflict bool `json:"conflict" doc:"Several user keys claim the identifier"`
	// Asked is how many announcing providers were asked, and Failed how many of
	// them did not answer or could not prove that they know the identifier.
	Asked  int   `json:"asked" doc:"Announcing providers that were asked"`
	Failed int   `json:"failed" doc:"Those that gave no valid answer"`
	TookMS int64 `json:"took_ms" doc:"How long it took"`
	// Over is the way that it went, if the client asked for one.
	Over string `json:"over,omitempty" doc:"The way, as privacy asked for it"`
}

// Found is one claim.
type Found struct {
	User     string `json:"user" doc:"URI of the user"`
	Provider string `json:"provider" doc:"Domain of the provider"`
	Method   string `json:"method" doc:"How the identifier was verified"`
	// Verified is who stands for it: an authority whose statement holds and whom the own
	// provider believes, the user's provider alone, or nobody.
	Verified  string   `json:"verified" enum:"authority,provider,nobody" doc:"Who stands for it that the user holds the identifier"`
	Authority string   `json:"authority,omitempty" doc:"Domain of that authority"`
	Tags      []string `json:"tags,omitempty" doc:"The owner's preference tags"`
	Issued    int64    `json:"issued" doc:"Unix milliseconds"`
	Expires   int64    `json:"expires" doc:"Unix milliseconds"`
	Claim     []byte   `json:"claim" doc:"The signed claim"`
	// Owner is the same number for claims of one user key: one person, as far as can be
	// told, at several providers. They stand beside each other, in the owner's order.
	Owner int `json:"owner" doc:"Number of the user key among those found, from 1"`
	// VerifiedAt is when the authority found it out. Numbers change hands: the later one is
	// likelier to hold it still.
	VerifiedAt int64 `json:"verified_at,omitempty" doc:"When the authority verified it, Unix milliseconds"`
}

// NewVerification asks a verification authority to send a code to the identifier in Request, a
// verification.Request, which the user key has signed. The own provider passes it on. The
// same request again sends nothing more, unless the sending had failed.
type NewVerification struct {
	Authority string `json:"authority" maxLength:"253" doc:"Domain of the authority"`
	Request   []byte `json:"request" maxLength:"12288" doc:"A verification.Request"`
}

// VerificationAnswer is the code, in a verification.Answer.
type VerificationAnswer struct {
	Authority string `json:"authority" maxLength:"253" doc:"Domain of the authority"`
	Answer    []byte `json:"answer" maxLength:"1024" doc:"A verification.Answer"`
}

// Verified is what the authority states: a verification.Statement, to be put into a claim.
type Verified struct {
	Statement []byte `json:"statement" doc:"A verification.Statement"`
}

// SendConsent asks for consent, grants or takes it back: Entry is a ConsentEntry
// (wire) in which the own user is the requester (request, cancel) or the target
// (grant, revoke). The answer is 202: taken on, will be delivered.
type SendConsent struct {
	Entry []byte `json:"entry" doc:"ConsentEntry (MIMI section 5.7)"`
	// Also is a second word about the same user, said in the same step: with a request, the
	// grant to whom it goes to, so that one answer connects both ways.
	Also []byte `json:"also,omitempty" doc:"A second ConsentEntry about the same user"`
	// Block goes with a revocation, which then blocks, or lifts a block. What others are
	// told is the same.
	Block string `json:"block,omitempty" enum:"block,unblock" doc:"With a revocation: block, or lift a block"`
}

// Consents lists all consent that the user gave or asked for.
type Consents struct {
	Consents []Consent `json:"consents"`
}

// Consent is the state of one scope.
type Consent struct {
	Requester string `json:"requester" doc:"URI of the user who may fetch KeyPackages"`
	Target    string `json:"target" doc:"URI of the user whose KeyPackages they are"`
	Room      string `json:"room,omitempty" doc:"URI of the room; empty for any"`
	State     string `json:"state" enum:"none,requested,granted,revoked,blocked,held" doc:"As far as this provider knows"`
	ChangedAt int64  `json:"changed_at" doc:"Unix milliseconds"`
	// Invitation is what is offered, of a request that waits for an answer.
	Invitation []byte `json:"invitation,omitempty" doc:"Invitation that the request is, if it is one"`
}

// ConsentModes say what becomes of somebody about whom the user has decided nothing: the
// exception for it, that for its provider, or Mode. To set them is to replace all.
type ConsentModes struct {
	Mode       string             `json:"mode" enum:"ask,open,quarantine,closed" doc:"What holds where there is no exception"`
	Exceptions []ConsentException `json:"exceptions" maxItems:"256"`
	// Revision counts how often they were set. What was not read last cannot be replaced.
	Revision uint64 `json:"revision" doc:"As it was read; 409 if another device has set them since"`
}

// ConsentException is the mode for one user, or all of one provider.
type ConsentException struct {
	Who  string `json:"who" maxLength:"512" doc:"URI of a user, or domain of a provider" example:"biloxi.example"`
	Mode string `json:"mode" enum:"ask,open,quarantine,closed"`
}

// Quarantine lists what strangers want of a user in mode quarantine. It holds no content, and
// the user's devices are told of none of it before it is accepted.
type Quarantine struct {
	Rooms    []HeldRoom    `json:"rooms"`
	Requests []HeldRequest `json:"requests"`
}

// HeldRoom is a room into which a stranger has put the user.
type HeldRoom struct {
	Room  string `json:"room" doc:"Room id, hexadecimal"`
	URI   string `json:"uri" doc:"URI of the room"`
	By    string `json:"by" doc:"URI of the user who did it"`
	At    int64  `json:"at" doc:"Unix milliseconds"`
	Until int64  `json:"until" doc:"When it is dropped, Unix milliseconds"`
	// Messages and Octets are counted up to 1,000 entries of the log.
	Messages int   `json:"messages" doc:"How many messages wait"`
	Octets   int64 `json:"octets" doc:"Their size, encrypted, with the Welcome's"`
	Joins    bool  `json:"joins" doc:"The Welcome is there, so that what was said can be read"`
}

// HeldRequest is a request for consent that was not shown.
type HeldRequest struct {
	By    string `json:"by" doc:"URI of the user"`
	Room  string `json:"room,omitempty" doc:"URI of the room; empty for any"`
	At    int64  `json:"at" doc:"Unix milliseconds"`
	Until int64  `json:"until" doc:"When it is dropped, Unix milliseconds"`
}

// Verdicts about a room in quarantine.
const (
	HeldAccept = "accept" // the devices come in, and read what was said
	HeldReject = "reject" // nobody is told
	HeldReport = "report" // likewise; who did it is blocked, and the operator told
)

// JudgeHeld is what a user says about a room in quarantine.
type JudgeHeld struct {
	Verdict string `json:"verdict" enum:"accept,reject,report"`
	Note    string `json:"note,omitempty" maxLength:"1024" doc:"For the operator, of a report"`
}
