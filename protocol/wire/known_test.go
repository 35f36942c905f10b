package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/wire"
)

// body is what all structures can do.
type body interface{ Bytes() ([]byte, error) }

type codec struct {
	name  string
	parse func([]byte, wire.Limits) (body, error)
}

func of[T body](name string, parse func([]byte, wire.Limits) (T, error)) codec {
	return codec{name, func(b []byte, lim wire.Limits) (body, error) { return parse(b, lim) }}
}

// codecs are all parsers, in the order that FuzzWire numbers them: append only.
var codecs = []codec{
	of("KeyMaterialRequest", wire.ParseKeyMaterialRequest),
	of("KeyMaterialResponse", wire.ParseKeyMaterialResponse),
	of("UpdateRequest", wire.ParseUpdateRequest),
	of("UpdateRoomResponse", wire.ParseUpdateRoomResponse),
	of("SubmitMessageRequest", wire.ParseSubmitMessageRequest),
	of("SubmitMessageResponse", wire.ParseSubmitMessageResponse),
	of("FrankAAD", wire.ParseFrankAAD),
	of("FrankingAgentData", wire.ParseFrankingAgentData),
	of("ServerFrankingContext", wire.ParseServerFrankingContext),
	of("Frank", wire.ParseFrank),
	of("Fanout", wire.ParseFanout),
	of("GroupInfoRequest", wire.ParseGroupInfoRequest),
	of("GroupInfoResponse", wire.ParseGroupInfoResponse),
	of("GroupInfoRatchetTreeTBE", wire.ParseGroupInfoRatchetTreeTBE),
	of("ConsentScope", wire.ParseConsentScope),
	of("ConsentEntry", wire.ParseConsentEntry),
	of("IdentifierRequest", wire.ParseIdentifierRequest),
	of("IdentifierResponse", wire.ParseIdentifierResponse),
	of("AbuseReport", wire.ParseAbuseReport),
	of("ParticipantListData", wire.ParseParticipantListData),
	of("ParticipantListUpdate", wire.ParseParticipantListUpdate),
	of("Envelope", wire.ParseEnvelope),
}

func codecOf(t testing.TB, name string) codec {
	t.Helper()
	for _, c := range codecs {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no codec %q", name)
	return codec{}
}

// unhex reads hexadecimal with spaces, and comments from # to the end of line.
func unhex(s string) []byte {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		b.WriteString(strings.Join(strings.Fields(line), ""))
	}
	out, err := hex.DecodeString(b.String())
	if err != nil {
		panic(err)
	}
	return out
}

// Parts of MLS, by hand from RFC 9420.
const (
	epoch7     = ` 0000000000000007 `
	bytes32    = ` 1111111111111111 1111111111111111 1111111111111111 1111111111111111 `
	credHex    = ` 0001 01dd ` // basic, one octet of identity
	leafHex    = ` 01bb 01cc ` + credHex + ` 00 00 00 00 00  01 0000000000000001 0000000000000002  00  01ee `
	kpHex      = ` 0001 0001 01aa ` + leafHex + ` 00 01ff `
	proposal   = ` 0001 0001  0167 ` + epoch7 + ` 02 00000000  00  02 0003 00000001  0199 ` // external Remove of leaf 1
	commit     = ` 0001 0001  0167 ` + epoch7 + ` 04  00  03 00 00  0199  20 ` + bytes32    // by a joiner
	memberCmt  = ` 0001 0001  0167 ` + epoch7 + ` 01 00000000  00  03 00 00  0199  20 ` + bytes32 + ` 0177 `
	appHex     = ` 0001 0002  0167 ` + epoch7 + ` 01 00 01ab 01cd `
	privateCmt = ` 0001 0002  0167 ` + epoch7 + ` 03 00 01ab 01cd `
	welcome    = ` 0001 00 01ef `
	groupInfo  = ` 0001 0001 0167 ` + epoch7 + ` 01a1 01a2 00  00  01a3 00000000 01a4 `
	treeHex    = ` 23 01 01 ` + leafHex
	dictHex    = ` 04 0009 0142 ` // component 9 holds one octet
	frankHex   = bytes32 + ` 0001 0155 `
)

func read[T any, P interface {
	*T
	Read(*presentation.Reader, mls.Limits)
}](s string) P {
	v := P(new(T))
	r := presentation.NewReader(unhex(s))
	v.Read(r, mls.Limits{})
	if err := r.Done(); err != nil {
		panic(err)
	}
	return v
}

func message(s string) *mls.Message { return read[mls.Message](s) }

var (
	cred    = mls.BasicCredential([]byte{0xdd})
	dict    = mls.Dictionary{9: {0x42}}
	elevens = [32]byte(unhex(bytes32))
	aFrank  = wire.Frank{ServerFrank: elevens, Suite: 1, Signature: []byte{0x55}}
)

// known are values with their bytes, written by hand from the layouts.
// 75 is "u", 74 "t", 72 "r", 63 "c".
var known = []struct {
	codec string
	hex   string
	value body
}{
	{"KeyMaterialRequest", `
		01             # protocol mls10
		01 75          # requestingUser "u"
		01 74          # targetUser "t"
		01 72          # roomId "r"
		04 0001 0a0a   # acceptableCiphersuites: 1 and an unknown one
		02 0006 02 0008 02 0002  # requiredCapabilities: extension 6, proposal 8, X.509
		02 abcd        # requesterSignatureKey
		0001 01 dd     # requesterCredential
		03 010203      # signature`,
		&wire.KeyMaterialRequest{RequestingUser: "u", TargetUser: "t", Room: "r", Suites: []mls.CipherSuite{1, 0x0a0a},
			Required: mls.RequiredCapabilities{Extensions: []mls.ExtensionType{6}, Proposals: []mls.ProposalType{8},
				Credentials: []mls.CredentialType{2}},
			SignatureKey: []byte{0xab, 0xcd}, Credential: cred, Signature: []byte{1, 2, 3}}},
	{"KeyMaterialResponse", `
		01             # protocol
		01             # partialSuccess
		01 74          # userUri
		40 41          # 65 octets of clients, one length for all
		00 01 63` + kpHex + `  # success, "c", KeyPackage: 3 + 42
		01 01 64       # keyMaterialExhausted, "d"
		02 01 65 00    # nothingCompatible, "e", no capabilities
		02 01 66 01 02 0001 02 0001 00 00 00  # "f" with capabilities: mls10, suite 1
		`,
		&wire.KeyMaterialResponse{Status: 1, User: "t", Clients: []wire.ClientKeyMaterial{
			{Status: 0, Client: "c", KeyPackage: read[mls.KeyPackage](kpHex)},
			{Status: 1, Client: "d"}, {Status: 2, Client: "e"},
			{Status: 2, Client: "f", Capabilities: &mls.Capabilities{Versions: []mls.ProtocolVersion{1}, Suites: []mls.CipherSuite{1}}},
		}}},
	{"KeyMaterialResponse", `01 05 01 74 00 # noConsent for "t", no clients`,
		&wire.KeyMaterialResponse{Status: wire.KeyMaterialNoConsent, User: "t"}},
	{"UpdateRequest", commit + `
		01` + welcome + `   # optional<Welcome>, bare
		01` + groupInfo + ` # full GroupInfo
		01` + treeHex + `   # full tree`,
		&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: message(commit), Welcome: read[mls.Welcome](welcome),
			GroupInfo: &wire.GroupInfoOption{Full: read[mls.GroupInfo](groupInfo)},
			Tree:      &wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: read[mls.RatchetTree](treeHex)}}}},
	{"UpdateRequest", commit + `
		00             # no Welcome
		02             # partial GroupInfo
		03             # tree added
		04 0004 01 99  # one extension, external_pub
		01 a4          # signature
		02             # tree at an httpsUri
		02 683a        # "h:"
		01 a5          # tree_signature`,
		&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: message(commit),
			GroupInfo: &wire.GroupInfoOption{Partial: &wire.PartialGroupInfo{Presence: wire.TreeAdded,
				Extensions: mls.Extensions{{Type: 4, Data: []byte{0x99}}}, Signature: []byte{0xa4}}},
			Tree: &wire.RatchetTreeOption{Representation: wire.TreeHTTPS, URL: "h:", Signature: []byte{0xa5}}}}},
	{"UpdateRequest", proposal + ` 1d ` + proposal + `# moreProposals: 29 octets`,
		&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: message(proposal), MoreProposals: []*mls.Message{message(proposal)}}}},
	{"UpdateRoomResponse", `
		00             # success
		02 6f6b        # "ok"
		0000000000000102 # accepted_timestamp`,
		&wire.UpdateRoomResponse{Description: "ok", AcceptedAt: 0x102}},
	{"UpdateRoomResponse", `01 00 0000000000000009 # wrongEpoch, no text, currentEpoch`,
		&wire.UpdateRoomResponse{Code: 1, CurrentEpoch: 9}},
	{"UpdateRoomResponse", `02 01 6e # notAllowed "n"`, &wire.UpdateRoomResponse{Code: 2, Description: "n"}},
	{"UpdateRoomResponse", `03 00 05 01aa 02bbbb # invalidProposal, two references`,
		&wire.UpdateRoomResponse{Code: 3, InvalidProposals: [][]byte{{0xaa}, {0xbb, 0xbb}}}},
	{"SubmitMessageRequest", `01` + appHex + `01 75 # protocol, message, sendingUri`,
		&wire.SubmitMessageRequest{Message: message(appHex), SendingURI: "u"}},
	{"SubmitMessageResponse", `
		01 00            # protocol, accepted
		0000000000000102 # accepted_timestamp
		01               # optional<Frank>
		` + bytes32 + `  # server_frank
		0001             # suite
		01 55            # signature`,
		&wire.SubmitMessageResponse{AcceptedAt: 0x102, Frank: &aFrank}},
	{"SubmitMessageResponse", `01 00 0000000000000102 00 # no frank`, &wire.SubmitMessageResponse{AcceptedAt: 0x102}},
	{"SubmitMessageResponse", `01 01 # notAllowed`, &wire.SubmitMessageResponse{Code: 1}},
	{"SubmitMessageResponse", `01 02 0000000000000009 # epochTooOld`, &wire.SubmitMessageResponse{Code: 2, CurrentEpoch: 9}},
	{"FrankAAD", bytes32, &wire.FrankAAD{Tag: elevens}},
	{"FrankingAgentData", `02 abcd 0001 01 dd # key, credential`, &wire.FrankingAgentData{SignatureKey: []byte{0xab, 0xcd}, Credential: cred}},
	{"ServerFrankingContext", `01 75 01 72 0000000000000102 # sender, room, time`,
		&wire.ServerFrankingContext{Sender: "u", Room: "r", AcceptedAt: 0x102}},
	{"Frank", frankHex, &aFrank},
	{"Fanout", `
		0000000000000001` + appHex + `01` + frankHex + `           # application message with its frank
		0000000000000002 0001 0003` + welcome + `04                # Welcome, tree from the distribution service
		0000000000000003 0001 0003` + welcome + `03 01a5           # Welcome, tree out of band
		0000000000000004` + proposal + `00                         # proposal, no more
		0000000000000005` + commit + `1d` + proposal + `           # commit with a hub's proposal`,
		wire.Fanout{
			{Timestamp: 1, Message: message(appHex), Frank: &aFrank},
			{Timestamp: 2, Message: message("0001 0003" + welcome), Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}},
			{Timestamp: 3, Message: message("0001 0003" + welcome), Tree: &wire.RatchetTreeOption{Representation: wire.TreeOutOfBand, Signature: []byte{0xa5}}},
			{Timestamp: 4, Message: message(proposal)},
			{Timestamp: 5, Message: message(commit), ExternalProposals: []*mls.Message{message(proposal)}},
		}},
	{"GroupInfoRequest", `
		01 0001        # protocol, suite
		02 abcd        # requestingSignatureKey
		0001 01 dd     # requestingCredential
		01 50          # groupInfoPublicKey
		02 6a63        # joiningCode, no presence octet
		01 51          # signature`,
		&wire.GroupInfoRequest{Suite: 1, SignatureKey: []byte{0xab, 0xcd}, Credential: cred,
			GroupInfoKey: []byte{0x50}, JoiningCode: []byte("jc"), Signature: []byte{0x51}}},
	{"GroupInfoResponse", `
		01 01 72 01    # protocol, room_id, success
		0001           # suite
		02 abcd 0001 01 dd  # hub_sender: key, credential
		01 60 01 61    # HPKE: kem_output, ciphertext
		01 62          # signature`,
		&wire.GroupInfoResponse{Room: "r", Status: 1, Success: &wire.GroupInfoSuccessPart{Suite: 1,
			HubSender: mls.ExternalSender{SignatureKey: []byte{0xab, 0xcd}, Credential: cred},
			Encrypted: mls.HPKECiphertext{KEMOutput: []byte{0x60}, Ciphertext: []byte{0x61}}, Signature: []byte{0x62}}}},
	{"GroupInfoResponse", `01 01 72 02 # notAuthorized: nothing follows`, &wire.GroupInfoResponse{Room: "r", Status: 2}},
	{"GroupInfoRatchetTreeTBE", groupInfo + `
		01` + treeHex + `  # the tree
		25` + proposal + ` 0000000000000102 # one pending proposal and its time: 29 + 8`,
		&wire.GroupInfoRatchetTreeTBE{GroupInfo: read[mls.GroupInfo](groupInfo),
			Tree:    wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: read[mls.RatchetTree](treeHex)},
			Pending: []wire.PendingProposal{{Proposal: message(proposal), AcceptedAt: 0x102}}}},
	{"ConsentScope", `01 75 01 74 00 # requester, target, any room`, &wire.ConsentScope{Requester: "u", Target: "t"}},
	{"ConsentEntry", `
		02 01 75 01 74 # grant, requester, target
		01 01 72       # optional room
		2a` + kpHex + `# 42 octets of KeyPackages` + "\n" + dictHex,
		&wire.ConsentEntry{Operation: 2, Scope: wire.ConsentScope{Requester: "u", Target: "t", Room: "r"},
			KeyPackages: []*mls.KeyPackage{read[mls.KeyPackage](kpHex)}, Extensions: dict}},
	{"ConsentEntry", `01 01 75 01 74 00 00 # request, any room, no extensions`,
		&wire.ConsentEntry{Operation: 1, Scope: wire.ConsentScope{Requester: "u", Target: "t"}}},
	{"ConsentEntry", `00 01 75 01 74 01 01 72 00 # cancel, for a room`,
		&wire.ConsentEntry{Operation: 0, Scope: wire.ConsentScope{Requester: "u", Target: "t", Room: "r"}}},
	{"ConsentEntry", `03 01 75 01 74 00` + dictHex + `# revoke: no list of KeyPackages`,
		&wire.ConsentEntry{Operation: 3, Scope: wire.ConsentScope{Requester: "u", Target: "t"}, Extensions: dict}},
	{"IdentifierRequest", `05 08 01 6e 01 62 00 # vcardField "n", "b"`,
		&wire.IdentifierRequest{Elements: []wire.QueryElement{{Type: 8, Field: "n", Value: "b"}}}},
	{"IdentifierRequest", `
		0b             # 11 octets of elements
		01 02 616c     # handle "al"
		07 01 6e 03 626f62 # oidcStdClaim "n", "bob"` + "\n" + dictHex,
		&wire.IdentifierRequest{Elements: []wire.QueryElement{{Type: 1, Value: "al"}, {Type: 7, Field: "n", Value: "bob"}}, Extensions: dict}},
	{"IdentifierResponse", `
		00             # success
		04 01 75 01 74 # two URIs
		09             # profiles
		01 75          # stableUri
		06 08 02 464e 01 42 # fields: vcardField "FN" = "B"
		00             # no extensions`,
		&wire.IdentifierResponse{URIs: []wire.IdentifierURI{"u", "t"}, Profiles: []wire.UserProfile{
			{StableURI: "u", Fields: []wire.ProfileField{{Source: 8, Name: "FN", Value: []byte("B")}}}}}},
	{"AbuseReport", `
		00             # reportingUser: nobody
		01 75          # allegedAbuserUri
		00             # reserved
		02 686f        # note "ho"
		2f             # 47 octets of messages
		02 6d63        # message_content
		` + frankHex + ` 0000000000000102 # frank, accepted_timestamp` + "\n" + dictHex,
		&wire.AbuseReport{Abuser: "u", Note: "ho", Extensions: dict,
			Messages: []wire.AbusiveMessage{{Content: []byte("mc"), Frank: aFrank, AcceptedAt: 0x102}}}},
	{"ParticipantListData", `0c 01 75 00000002 01 74 00000001 # "u" has role 2, "t" role 1`,
		&wire.ParticipantListData{Participants: []wire.UserRolePair{{User: "u", Role: 2}, {User: "t", Role: 1}}}},
	{"ParticipantListUpdate", `
		08 00000001 00000003 # user 1 gets role 3
		08 00000002 00000000 # users 2 and 0 go
		06 01 76 00000004    # "v" comes with role 4`,
		&wire.ParticipantListUpdate{Changed: []wire.UserIndexRolePair{{Index: 1, Role: 3}},
			Removed: []uint32{2, 0}, Added: []wire.UserRolePair{{User: "v", Role: 4}}}},
	{"Envelope", `
		01             # version
		01 61          # source "a"
		01 62          # target "b"
		06 757064617465 # endpoint "update"
		01 01 72       # room "r"
		000102030405060708090a0b0c0d0e0f # request_id
		0000000000000102 # time
		` + bytes32 + `00 # body_hash, no signature`,
		&wire.Envelope{Source: "a", Target: "b", Endpoint: "update", Room: "r", Time: 0x102, BodyHash: elevens,
			RequestID: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}},
}

// same compares values by all their fields, nil and empty alike.
func same(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Exporter(allTypes))
}

// TestKnown writes and reads the known values, and cuts and lengthens them.
func TestKnown(t *testing.T) {
	covered := map[string]bool{}
	for _, k := range known {
		covered[k.codec] = true
		c, want := codecOf(t, k.codec), unhex(k.hex)
		got, err := k.value.Bytes()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: wrote\n%x (%v), want\n%x", k.codec, got, err, want)
			continue
		}
		v, err := c.parse(want, wire.Limits{})
		if err != nil {
			t.Errorf("%s: %v", k.codec, err)
			continue
		}
		if diff := same(k.value, v); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k.codec, diff)
		}
		ends := map[int]bool{}
		if f, ok := v.(wire.Fanout); ok { // where a message ends, the body may
			for i := range f[:len(f)-1] {
				b, err := f[:i+1].Bytes()
				if err != nil {
					t.Fatal(err)
				}
				ends[len(b)] = true
			}
		}
		for n := range want {
			if _, err := c.parse(want[:n], wire.Limits{}); !errors.Is(err, wire.ErrTruncated) && !ends[n] {
				t.Errorf("%s cut to %d of %d bytes: %v", k.codec, n, len(want), err)
			}
		}
		trailing := wire.ErrTrailing
		if k.codec == "Fanout" {
			trailing = wire.ErrTruncated
		}
		if _, err := c.parse(append(bytes.Clone(want), 0), wire.Limits{}); !errors.Is(err, trailing) {
			t.Errorf("%s with a byte more: %v", k.codec, err)
		}
		small := wire.Limits{Limits: mls.Limits{MessageSize: len(want) - 1}}
		if _, err := c.parse(want, small); !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%s over the size limit: %v", k.codec, err)
		}
	}
	for _, c := range codecs {
		if !covered[c.name] {
			t.Errorf("no known value for %s", c.name)
		}
	}
}
