package clienthttp

import (
	"context"
	"encoding/hex"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Bounds of bodies, in octets of JSON, in which octets are a third longer.
const (
	smallBody = 64 << 10
	largeBody = 2 << 20
)

// MaxLog is how many entries of a log one call may ask for.
const MaxLog = 1000

const defaultLog = 100

// The shapes of requests and answers, as huma reads them. InRoom is embedded, and
// huma fills in exported fields only.
type (
	none struct{}

	withBody[T any] struct{ Body T }

	InRoom struct {
		Room string `path:"room" doc:"Room id: SHA-256 of the room's URI, hexadecimal" pattern:"^[0-9a-f]{64}$"`
	}

	inRoomWithBody[T any] struct {
		InRoom
		Body T
	}

	inLog struct {
		InRoom
		From  uint64 `query:"from" doc:"Sequence number of the first entry"`
		Limit int    `query:"limit" doc:"How many entries at most" minimum:"1" maximum:"1000" default:"100"`
	}

	ofRoomURI struct {
		URI string `query:"uri" required:"true" doc:"URI of the room" maxLength:"255" example:"mimi://atlanta.example/r/clubhouse"`
	}

	ofDomain struct {
		Domain string `path:"domain" doc:"Domain of the provider" maxLength:"253" example:"biloxi.example"`
	}

	ofDevice struct {
		Name string `path:"name" doc:"Name of the device" maxLength:"128" example:"phone"`
	}
)

func (r *InRoom) id() (id store.RoomID, err error) {
	b, err := hex.DecodeString(r.Room)
	if err != nil || len(b) != len(id) {
		return id, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "%.80q is no room id: 64 hexadecimal digits", r.Room)
	}
	return store.RoomID(b), nil
}

// call is one operation's description.
type call struct {
	method, path string
	id, summary  string
	tag          string
	large        bool // in body
	hot          bool // the body is decoded once, and not compared with its schema first
	status       int  // of success; 200 if 0
}

// add registers an operation whose handler gets what huma has read, and returns the
// body of the answer, nil for none.
func add[I, O any](s *Server, api huma.API, c call, h func(context.Context, *I) (*O, error)) {
	op := s.operation(c)
	if c.hot {
		op.Middlewares = append(op.Middlewares, jsonOnly(api))
	}
	if c.status == http.StatusNoContent || c.status == http.StatusAccepted {
		huma.Register(api, op, func(ctx context.Context, in *I) (*struct{}, error) {
			_, err := h(ctx, in)
			return nil, s.forHuma(ctx, err)
		})
		return
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*withBody[*O], error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.forHuma(ctx, err)
		}
		return &withBody[*O]{out}, nil
	})
}

// forHuma returns an error as huma sends it.
func (s *Server) forHuma(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return &problemError{s.judge(ctx, err)}
}

func checkNonce(nonce []byte) error {
	if len(nonce) != 16 {
		return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "a nonce of %d octets: it has 16 random ones", len(nonce))
	}
	return nil
}

// register registers all calls but the stream.
func (s *Server) register(api huma.API) {
	s.registerAccounts(api)
	s.registerOblivious(api)
	s.registerContacts(api)
	s.registerRooms(api)
	s.registerKnocks(api)
	s.registerIntroductions(api)
	s.registerPairings(api)
	s.registerAssets(api)
}

func (s *Server) registerAccounts(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "GET", path: "/v1/provider", id: "get-provider", summary: "This provider", tag: "providers"},
		func(ctx context.Context, _ *none) (*clientapi.Provider, error) { return v.Providers.Self(ctx) })
	add(s, api, call{method: "GET", path: "/v1/providers/{domain}", id: "get-provider-of-domain", summary: "Another provider, as this one verified it", tag: "providers"},
		func(ctx context.Context, in *ofDomain) (*clientapi.Provider, error) {
			if _, err := uri.ParseDomain(in.Domain); err != nil {
				return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "%.100q is no domain: %v", in.Domain, err)
			}
			return v.Providers.Provider(ctx, in.Domain)
		})
	add(s, api, call{method: "POST", path: "/v1/accounts", id: "register", summary: "Register a user with a device", tag: "account"},
		func(ctx context.Context, in *withBody[clientapi.NewAccount]) (*clientapi.Account, error) {
			return v.Accounts.Register(ctx, &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/account/certificate", id: "renew-certificate", summary: "Renew the user certificate", tag: "account"},
		func(ctx context.Context, _ *struct {
			Body *clientapi.NewCertificate
		}) (*clientapi.Certificate, error) {
			return v.Accounts.RenewCertificate(ctx, who(ctx))
		})
	add(s, api, call{method: "GET", path: "/v1/devices", id: "list-devices", summary: "The user's devices", tag: "account"},
		func(ctx context.Context, _ *none) (*clientapi.Devices, error) {
			return v.Accounts.Devices(ctx, who(ctx))
		})
	add(s, api, call{method: "DELETE", path: "/v1/devices/{name}", id: "remove-device", summary: "Remove a device, or this one", tag: "account", status: http.StatusNoContent},
		func(ctx context.Context, in *ofDevice) (*none, error) {
			id := who(ctx)
			if err := v.Accounts.RemoveDevice(ctx, id, in.Name); err != nil {
				return nil, err
			}
			if client, err := id.User.Provider().Client(id.User.Name(), in.Name); err == nil {
				s.CloseStreams(account.Identity{User: id.User, Client: client, Device: in.Name})
			}
			return nil, nil
		})
	add(s, api, call{method: "POST", path: "/v1/keypackages", id: "publish-key-packages", summary: "Publish KeyPackages of this device", tag: "key packages", large: true},
		func(ctx context.Context, in *withBody[clientapi.NewKeyPackages]) (*clientapi.KeyPackageCount, error) {
			return v.KeyPackages.PublishKeyPackages(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/keypackages", id: "count-key-packages", summary: "How many KeyPackages of this device are left", tag: "key packages"},
		func(ctx context.Context, _ *none) (*clientapi.KeyPackageCount, error) {
			return v.KeyPackages.CountKeyPackages(ctx, who(ctx))
		})
	add(s, api, call{method: "POST", path: "/v1/keypackages/claim", id: "claim-key-packages", summary: "Claim KeyPackages of another user", tag: "key packages"},
		func(ctx context.Context, in *withBody[clientapi.ClaimKeyPackages]) (*clientapi.ClaimedKeyPackages, error) {
			return v.Contacts.ClaimKeyPackages(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/pseudonyms", id: "draw-pseudonym", summary: "What the user goes by in a pseudonymous room that it begins", tag: "key packages"},
		func(ctx context.Context, in *withBody[clientapi.NewPseudonym]) (*clientapi.Pseudonym, error) {
			return v.Pseudonyms.Pseudonym(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/pseudonyms/keypackages", id: "wanted-pseudonyms", summary: "Pseudonyms that lack a KeyPackage of this device", tag: "key packages"},
		func(ctx context.Context, _ *none) (*clientapi.WantedPseudonyms, error) {
			return v.Pseudonyms.Wanted(ctx, who(ctx))
		})
	add(s, api, call{method: "POST", path: "/v1/pseudonyms/keypackages", id: "bring-pseudonymous-key-packages", summary: "KeyPackages of this device under pseudonyms", tag: "key packages", large: true, status: http.StatusNoContent},
		func(ctx context.Context, in *withBody[clientapi.PseudonymousKeyPackages]) (*none, error) {
			return nil, v.Pseudonyms.Bring(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/pseudonyms/held", id: "say-pseudonym", summary: "What the user goes by in a room, after the provider was put back to a backup", tag: "key packages", status: http.StatusNoContent},
		func(ctx context.Context, in *withBody[clientapi.HeldPseudonym]) (*none, error) {
			return nil, v.Pseudonyms.Held(ctx, who(ctx), &in.Body)
		})
}

func (s *Server) registerContacts(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "POST", path: "/v1/claims", id: "publish-claim", summary: "Publish an identifier", tag: "discovery"},
		func(ctx context.Context, in *withBody[clientapi.NewClaim]) (*clientapi.Claim, error) {
			return v.Claims.PublishClaim(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/claims", id: "list-claims", summary: "The user's published identifiers", tag: "discovery"},
		func(ctx context.Context, _ *none) (*clientapi.Claims, error) { return v.Claims.Claims(ctx, who(ctx)) })
	add(s, api, call{method: "DELETE", path: "/v1/claims", id: "withdraw-claim", summary: "Withdraw an identifier", tag: "discovery", status: http.StatusNoContent},
		func(ctx context.Context, in *withBody[clientapi.WithdrawClaim]) (*none, error) {
			return nil, v.Claims.WithdrawClaim(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/evaluate", id: "evaluate", summary: "Have blinded identifiers evaluated", tag: "discovery"},
		func(ctx context.Context, in *withBody[clientapi.Evaluate]) (*clientapi.Evaluated, error) {
			return v.Evaluations.Evaluate(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "PUT", path: "/v1/findable", id: "set-findable", summary: "Say by what others may find the user", tag: "discovery"},
		func(ctx context.Context, in *withBody[clientapi.Findable]) (*clientapi.Findable, error) {
			return v.Claims.SetFindable(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/findable", id: "get-findable", summary: "By what others may find the user", tag: "discovery"},
		func(ctx context.Context, _ *none) (*clientapi.Findable, error) {
			return v.Claims.Findable(ctx, who(ctx))
		})
	add(s, api, call{method: "POST", path: "/v1/verifications", id: "begin-verification", summary: "Have a code sent to a number or address", tag: "discovery", status: http.StatusNoContent},
		func(ctx context.Context, in *withBody[clientapi.NewVerification]) (*none, error) {
			return nil, v.Verifications.Verify(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/verifications/answer", id: "answer-verification", summary: "Enter the code", tag: "discovery"},
		func(ctx context.Context, in *withBody[clientapi.VerificationAnswer]) (*clientapi.Verified, error) {
			return v.Verifications.AnswerVerification(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/discover", id: "discover", summary: "Look an identifier up at all providers", tag: "discovery"},
		func(ctx context.Context, in *withBody[clientapi.Discover]) (*clientapi.Discovered, error) {
			return v.Claims.Discover(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/consent", id: "send-consent", summary: "Ask for consent, grant it or take it back", tag: "consent", status: http.StatusAccepted},
		func(ctx context.Context, in *withBody[clientapi.SendConsent]) (*none, error) {
			return nil, v.Contacts.SendConsent(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/consent", id: "list-consent", summary: "All consent that the user gave or asked for", tag: "consent"},
		func(ctx context.Context, _ *none) (*clientapi.Consents, error) {
			return v.Contacts.Consents(ctx, who(ctx))
		})
	add(s, api, call{method: "GET", path: "/v1/consent/modes", id: "get-consent-modes", summary: "What becomes of strangers", tag: "consent"},
		func(ctx context.Context, _ *none) (*clientapi.ConsentModes, error) {
			return v.Contacts.ConsentModes(ctx, who(ctx))
		})
	add(s, api, call{method: "PUT", path: "/v1/consent/modes", id: "set-consent-modes", summary: "Say what becomes of strangers", tag: "consent"},
		func(ctx context.Context, in *withBody[clientapi.ConsentModes]) (*clientapi.ConsentModes, error) {
			return v.Contacts.SetConsentModes(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/quarantine", id: "get-quarantine", summary: "What strangers want of the user", tag: "consent"},
		func(ctx context.Context, _ *none) (*clientapi.Quarantine, error) {
			return v.Contacts.Quarantine(ctx, who(ctx))
		})
	add(s, api, call{method: "POST", path: "/v1/quarantine/{room}", id: "judge-held-room", summary: "Accept, reject or report a room in quarantine", tag: "consent", status: http.StatusNoContent},
		func(ctx context.Context, in *inRoomWithBody[clientapi.JudgeHeld]) (*none, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return nil, v.Contacts.Judged(ctx, who(ctx), id, &in.Body)
		})
}

func (s *Server) registerRooms(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "POST", path: "/v1/rooms", id: "create-room", summary: "Create a room at this provider", tag: "rooms", large: true},
		func(ctx context.Context, in *withBody[clientapi.NewRoom]) (*clientapi.Submitted, error) {
			if err := checkNonce(in.Body.Nonce); err != nil {
				return nil, err
			}
			return v.Submissions.CreateRoom(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/rooms", id: "list-rooms", summary: "The user's rooms", tag: "rooms"},
		func(ctx context.Context, _ *none) (*clientapi.Rooms, error) { return v.Rooms.Rooms(ctx, who(ctx)) })
	add(s, api, call{method: "GET", path: "/v1/room-hub", id: "find-room-hub", summary: "Who orders a room, by its URI", tag: "rooms"},
		func(ctx context.Context, in *ofRoomURI) (*clientapi.FoundRoom, error) {
			u, err := uri.ParseRoom(in.URI)
			if err != nil {
				return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "%.255q is no room's URI, such as mimi://atlanta.example/r/clubhouse", in.URI)
			}
			return v.Finder.FindRoom(ctx, who(ctx), u)
		})
	add(s, api, call{method: "GET", path: "/v1/rooms/{room}", id: "get-room", summary: "A room", tag: "rooms"},
		func(ctx context.Context, in *InRoom) (*clientapi.Room, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return v.Rooms.Room(ctx, who(ctx), id)
		})
	add(s, api, call{method: "GET", path: "/v1/rooms/{room}/log", id: "get-log", summary: "A piece of a room's log", tag: "rooms"},
		func(ctx context.Context, in *inLog) (*clientapi.Log, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			if in.Limit == 0 {
				in.Limit = defaultLog
			}
			return v.Rooms.Log(ctx, who(ctx), id, in.From, in.Limit)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/rejoin", id: "rejoin-room", summary: "Follow a room again that was moved away", tag: "rooms"},
		func(ctx context.Context, in *InRoom) (*clientapi.Parting, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return v.Rooms.Rejoin(ctx, who(ctx), id)
		})
	add(s, api, call{method: "GET", path: "/v1/rooms/{room}/branch", id: "get-branch", summary: "A piece of a lost branch of a room's log", tag: "rooms"},
		func(ctx context.Context, in *inLog) (*clientapi.Log, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			if in.Limit == 0 {
				in.Limit = defaultLog
			}
			return v.Rooms.Branch(ctx, who(ctx), id, in.From, in.Limit)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/recruit", id: "recruit-replica", summary: "Find a replica from outside for a room", tag: "rooms"},
		func(ctx context.Context, in *InRoom) (*clientapi.Recruit, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return v.Recruits.Recruit(ctx, who(ctx), id)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/messages", id: "submit-message", summary: "Send a message", tag: "rooms", large: true, hot: true},
		func(ctx context.Context, in *inRoomWithBody[clientapi.SubmitMessage]) (*clientapi.SubmittedMessage, error) {
			id, err := in.id()
			if err == nil {
				err = checkNonce(in.Body.Nonce)
			}
			if err != nil {
				return nil, err
			}
			return v.Submissions.SubmitMessage(ctx, who(ctx), id, &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/updates", id: "submit-update", summary: "Send a handshake", tag: "rooms", large: true},
		func(ctx context.Context, in *inRoomWithBody[clientapi.SubmitUpdate]) (*clientapi.SubmittedUpdate, error) {
			id, err := in.id()
			if err == nil {
				err = checkNonce(in.Body.Nonce)
			}
			if err != nil {
				return nil, err
			}
			return v.Submissions.SubmitUpdate(ctx, who(ctx), id, &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/ephemeral", id: "send-ephemeral", summary: "Tell the others something that nobody keeps", tag: "rooms", status: http.StatusNoContent},
		func(ctx context.Context, in *inRoomWithBody[clientapi.NewEphemeral]) (*none, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return nil, v.Signals.Signal(ctx, who(ctx), id, &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/reports", id: "report-abuse", summary: "Report messages to the room's hub", tag: "rooms", large: true, status: http.StatusAccepted},
		func(ctx context.Context, in *inRoomWithBody[clientapi.ReportAbuse]) (*none, error) {
			id, err := in.id()
			if err == nil {
				err = checkNonce(in.Body.Nonce)
			}
			if err != nil {
				return nil, err
			}
			return nil, v.Submissions.ReportAbuse(ctx, who(ctx), id, &in.Body)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/groupinfo", id: "fetch-group-info", summary: "What an external commit needs", tag: "rooms"},
		func(ctx context.Context, in *inRoomWithBody[clientapi.FetchGroupInfo]) (*clientapi.FetchedGroupInfo, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return v.Submissions.FetchGroupInfo(ctx, who(ctx), id, &in.Body)
		})
}

func (s *Server) registerKnocks(api huma.API) {
	v := &s.cfg.Services
	add(s, api, call{method: "POST", path: "/v1/knocks", id: "send-knock", summary: "Ask to be let into a room, or take that back", tag: "knocks"},
		func(ctx context.Context, in *withBody[clientapi.SendKnock]) (*clientapi.Knock, error) {
			return v.Knocks.SendKnock(ctx, who(ctx), &in.Body)
		})
	add(s, api, call{method: "GET", path: "/v1/knocks", id: "list-knocks", summary: "The user's own knocks", tag: "knocks"},
		func(ctx context.Context, _ *none) (*clientapi.Knocks, error) { return v.Knocks.Knocks(ctx, who(ctx)) })
	add(s, api, call{method: "GET", path: "/v1/rooms/{room}/knocks", id: "list-room-knocks", summary: "Who waits at a room's door", tag: "knocks"},
		func(ctx context.Context, in *InRoom) (*clientapi.Knocks, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return v.Knocks.RoomKnocks(ctx, who(ctx), id)
		})
	add(s, api, call{method: "POST", path: "/v1/rooms/{room}/knocks/refuse", id: "refuse-knock", summary: "Refuse somebody who waits", tag: "knocks", status: http.StatusNoContent},
		func(ctx context.Context, in *inRoomWithBody[clientapi.RefuseKnock]) (*none, error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			return nil, v.Knocks.RefuseKnock(ctx, who(ctx), id, &in.Body)
		})
}
