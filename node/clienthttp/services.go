package clienthttp

import (
	"context"
	"io"
	"net/http"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// What the API is made of. Methods are called from many goroutines at once.
// An expected failure is a *clientapi.Problem (anywhere in the error's chain),
// which is sent as it is; any other error is a bug or an outage: it is logged
// once, here, and the client learns no details. Requests have been parsed as JSON
// and their lengths bounded; what their octets hold is for the service to judge.
type Services struct {
	Accounts      Accounts
	KeyPackages   KeyPackages
	Pseudonyms    Pseudonyms
	Providers     Providers
	Contacts      Contacts
	Privacy       Privacy
	Claims        Claims
	Evaluations   Evaluations
	Verifications Verifications
	Rooms         Rooms
	Finder        Finder
	Recruits      Recruits
	Knocks        Knocks
	Introductions Introductions
	Pairings      Pairings
	Signals       Signals
	Submissions   Submissions
	Streams       Streams
	Assets        Assets
	Downloads     Downloads
	// Oblivious may be nil: then devices have no relay here.
	Oblivious Oblivious
}

// Accounts knows users and their devices; *account.Registry is one.
type Accounts interface {
	Register(ctx context.Context, n *clientapi.NewAccount) (*clientapi.Account, error)
	// Authenticate is called for every request. An unknown token is a Problem
	// with CodeUnauthorized.
	Authenticate(ctx context.Context, token string) (account.Identity, error)
	RenewCertificate(ctx context.Context, who account.Identity) (*clientapi.Certificate, error)
	Devices(ctx context.Context, who account.Identity) (*clientapi.Devices, error)
	RemoveDevice(ctx context.Context, who account.Identity, device string) error
}

// KeyPackages keeps the devices' KeyPackages; *account.Registry is one.
type KeyPackages interface {
	PublishKeyPackages(ctx context.Context, who account.Identity, n *clientapi.NewKeyPackages) (*clientapi.KeyPackageCount, error)
	CountKeyPackages(ctx context.Context, who account.Identity) (*clientapi.KeyPackageCount, error)
}

// Pseudonyms keeps what users go by in pseudonymous rooms; *pseudonyms.Service is one.
type Pseudonyms interface {
	Pseudonym(ctx context.Context, who account.Identity, q *clientapi.NewPseudonym) (*clientapi.Pseudonym, error)
	Wanted(ctx context.Context, who account.Identity) (*clientapi.WantedPseudonyms, error)
	// Bring returns when they are durable.
	Bring(ctx context.Context, who account.Identity, n *clientapi.PseudonymousKeyPackages) error
	Held(ctx context.Context, who account.Identity, x *clientapi.HeldPseudonym) error
}

// Providers knows this provider and others.
type Providers interface {
	Self(ctx context.Context) (*clientapi.Provider, error)
	// Provider finds a provider and verifies it. The domain is well-formed.
	Provider(ctx context.Context, domain string) (*clientapi.Provider, error)
}

// Contacts brings users together: consent, and KeyPackages of others.
type Contacts interface {
	ClaimKeyPackages(ctx context.Context, who account.Identity, c *clientapi.ClaimKeyPackages) (*clientapi.ClaimedKeyPackages, error)
	SendConsent(ctx context.Context, who account.Identity, c *clientapi.SendConsent) error
	Consents(ctx context.Context, who account.Identity) (*clientapi.Consents, error)
	ConsentModes(ctx context.Context, who account.Identity) (*clientapi.ConsentModes, error)
	Quarantine(ctx context.Context, who account.Identity) (*clientapi.Quarantine, error)
	// Judged returns when what was said about a room in quarantine is durable.
	Judged(ctx context.Context, who account.Identity, room store.RoomID, j *clientapi.JudgeHeld) error
	// SetConsentModes returns when they are durable.
	SetConsentModes(ctx context.Context, who account.Identity, m *clientapi.ConsentModes) (*clientapi.ConsentModes, error)
}

// Claims publishes and finds identifiers.
type Claims interface {
	PublishClaim(ctx context.Context, who account.Identity, n *clientapi.NewClaim) (*clientapi.Claim, error)
	Claims(ctx context.Context, who account.Identity) (*clientapi.Claims, error)
	WithdrawClaim(ctx context.Context, who account.Identity, w *clientapi.WithdrawClaim) error
	Discover(ctx context.Context, who account.Identity, d *clientapi.Discover) (*clientapi.Discovered, error)
	SetFindable(ctx context.Context, who account.Identity, q *clientapi.Findable) (*clientapi.Findable, error)
	Findable(ctx context.Context, who account.Identity) (*clientapi.Findable, error)
}

// Evaluations has identifiers evaluated. Without evaluators in the network it is a Problem with
// CodeNotFound.
type Evaluations interface {
	Evaluate(ctx context.Context, who account.Identity, q *clientapi.Evaluate) (*clientapi.Evaluated, error)
}

// Verifications has identifiers verified by authorities.
type Verifications interface {
	Verify(ctx context.Context, who account.Identity, q *clientapi.NewVerification) error
	AnswerVerification(ctx context.Context, who account.Identity, a *clientapi.VerificationAnswer) (*clientapi.Verified, error)
}

// Rooms reads rooms. A room that the user does not take part in is a Problem
// with CodeNotFound, like one that does not exist.
type Rooms interface {
	Rooms(ctx context.Context, who account.Identity) (*clientapi.Rooms, error)
	Room(ctx context.Context, who account.Identity, room store.RoomID) (*clientapi.Room, error)
	// Log returns at most limit entries (1 to MaxLog) from the given sequence
	// number on, fewer where they are large, and none behind the end.
	Log(ctx context.Context, who account.Identity, room store.RoomID, from uint64, limit int) (*clientapi.Log, error)
	// Rejoin follows a room again that was moved away from before the end of what is here
	// (clientapi.Parting). Where nothing is lost it is a Problem with CodeNotFound.
	Rejoin(ctx context.Context, who account.Identity, room store.RoomID) (*clientapi.Parting, error)
	// Branch is Log of what was lost so, with what came before it.
	Branch(ctx context.Context, who account.Identity, room store.RoomID, from uint64, limit int) (*clientapi.Log, error)
}

// Finder finds out who orders a room that has moved away from the provider in its URI.
type Finder interface {
	// FindRoom asks the network if the user takes part in no such room. Nobody found is
	// a Problem with CodeNotFound.
	FindRoom(ctx context.Context, who account.Identity, room uri.Room) (*clientapi.FoundRoom, error)
}

// Recruits finds replicas for rooms in which two providers take part.
type Recruits interface {
	// Recruit returns the one that the room has, if that keeps it, or else another one
	// that has promised to. None at all is a Problem with CodeNotFound.
	Recruit(ctx context.Context, who account.Identity, room store.RoomID) (*clientapi.Recruit, error)
}

// Knocks lets users ask to be let into rooms, and others answer.
type Knocks interface {
	SendKnock(ctx context.Context, who account.Identity, k *clientapi.SendKnock) (*clientapi.Knock, error)
	Knocks(ctx context.Context, who account.Identity) (*clientapi.Knocks, error)
	RoomKnocks(ctx context.Context, who account.Identity, room store.RoomID) (*clientapi.Knocks, error)
	RefuseKnock(ctx context.Context, who account.Identity, room store.RoomID, r *clientapi.RefuseKnock) error
}

// Privacy says what it is worth to ask other providers over relays.
type Privacy interface {
	// To is whom to ask, a domain; empty: nobody in particular.
	Privacy(ctx context.Context, who account.Identity, to string) (*clientapi.PrivacyReport, error)
}

// Introductions lets users ask others without saying who they are; *introduce.Service does.
type Introductions interface {
	// TokenKeys and NewTokens are a Problem with CodeNotFound where no tokens are given.
	TokenKeys(ctx context.Context, who account.Identity) (*clientapi.TokenKeys, error)
	NewTokens(ctx context.Context, who account.Identity, n *clientapi.NewTokens) (*clientapi.Tokens, error)
	// Introduce is called for whoever comes with a request.
	Introduce(ctx context.Context, n *clientapi.Introduce) (*clientapi.Introduced, error)
	Introductions(ctx context.Context, who account.Identity) (*clientapi.Introductions, error)
	// JudgeIntroduction returns when the answer is durable.
	JudgeIntroduction(ctx context.Context, who account.Identity, j *clientapi.JudgeIntroduction) error
}

// Pairings keeps what a device and a new one of the same user say to each other. Whoever says
// hello has no account here yet. Calls that wait for the other device return empty-handed
// after a while.
type Pairings interface {
	OpenPairing(ctx context.Context, who account.Identity, n *clientapi.NewPairing) (*clientapi.Pairing, error)
	PairingHello(ctx context.Context, who account.Identity, box string) (*clientapi.PairingHello, error)
	AnswerPairing(ctx context.Context, who account.Identity, box string, a *clientapi.PairingAnswer) error
	ClosePairing(ctx context.Context, who account.Identity, box string) error
	SayHello(ctx context.Context, box string, h *clientapi.PairingHello) (*clientapi.PairingAnswer, error)
}

// Signals passes on what devices tell each other beside the rooms' logs, and keeps nothing.
type Signals interface {
	Signal(ctx context.Context, who account.Identity, room store.RoomID, x *clientapi.NewEphemeral) error
}

// Submissions brings what clients do to the rooms' hubs. Nonces have 16 octets.
type Submissions interface {
	CreateRoom(ctx context.Context, who account.Identity, n *clientapi.NewRoom) (*clientapi.Submitted, error)
	SubmitMessage(ctx context.Context, who account.Identity, room store.RoomID, m *clientapi.SubmitMessage) (*clientapi.SubmittedMessage, error)
	SubmitUpdate(ctx context.Context, who account.Identity, room store.RoomID, u *clientapi.SubmitUpdate) (*clientapi.SubmittedUpdate, error)
	FetchGroupInfo(ctx context.Context, who account.Identity, room store.RoomID, f *clientapi.FetchGroupInfo) (*clientapi.FetchedGroupInfo, error)
	// ReportAbuse returns when the hub's operator has the report.
	ReportAbuse(ctx context.Context, who account.Identity, room store.RoomID, a *clientapi.ReportAbuse) error
}

// Streams opens the devices' event streams.
type Streams interface {
	// Open begins behind the cursor, or with all that the user has in store if
	// it is empty or unknown.
	Open(ctx context.Context, who account.Identity, cursor string) (Stream, error)
}

// Stream is one open event stream. One goroutine uses it.
type Stream interface {
	// Next waits until there is something to send, and returns it: complete
	// frames (see Frame) in order, the first of a stream being the hello. Frames
	// may be shared by all streams, so nobody changes them; the slice that holds
	// them is the caller's until the next call. What is returned at once should
	// be bounded to about 256 KiB, since the writer asks again as soon as
	// the client has taken it; a stream therefore holds a position and no queue
	// of its own, however slow its client is.
	//
	// When ctx ends, Next returns its error and the stream can go on. Any other
	// error ends the stream.
	Next(ctx context.Context) ([][]byte, error)
	// Close frees what the stream holds. It is called once.
	Close()
}

// Assets keeps the users' attachments; *assets.Store does. Hashes are as they came.
type Assets interface {
	Begin(ctx context.Context, who account.Identity, n *clientapi.NewAsset) (*clientapi.Asset, error)
	// Append takes octets from an offset on until body ends. Reading it may take
	// long; when it breaks off, what came counts.
	Append(ctx context.Context, who account.Identity, hash string, offset int64, body io.Reader) (*clientapi.Asset, error)
	Asset(ctx context.Context, who account.Identity, hash string) (*clientapi.Asset, error)
	Assets(ctx context.Context, who account.Identity) (*clientapi.Assets, error)
	Remove(ctx context.Context, who account.Identity, hash string) error
}

// Downloads brings the attachments of others; *assets.Proxy does.
type Downloads interface {
	// Download answers a GET or HEAD as HTTP does, with ranges, and sets its own
	// deadlines. An error came before anything was written. The URL is as it came.
	Download(w http.ResponseWriter, req *http.Request, who account.Identity, room store.RoomID, url string) error
}

// Oblivious passes encrypted requests on to gateways; *oblivious.Relay does. The domains of
// gateways are as they came.
type Oblivious interface {
	// Keys are the signed keys of a gateway; anew says that those known were refused.
	Keys(ctx context.Context, gateway string, anew bool) ([]byte, error)
	Pass(ctx context.Context, gateway string, sealed []byte) ([]byte, error)
}
