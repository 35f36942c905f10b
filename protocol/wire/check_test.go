package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

// TestUnknownEnums: a value that an enum does not have is refused by name.
func TestUnknownEnums(t *testing.T) {
	for _, c := range []struct{ codec, hex, want string }{
		{"KeyMaterialRequest", `00`, "Protocol 0"},
		{"KeyMaterialRequest", `02`, "Protocol 2"},
		{"KeyMaterialResponse", `01 08`, "KeyMaterialUserCode 8"},
		{"KeyMaterialResponse", `01 01 01 74 03 03 01 63`, "KeyMaterialClientCode 3"},
		{"UpdateRequest", commit + `00 00`, "GroupInfoRepresentation 0"},
		{"UpdateRequest", commit + `00 03`, "GroupInfoRepresentation 3"},
		{"UpdateRequest", commit + `00 02 04`, "RatchetTreePresence 4"},
		{"UpdateRequest", commit + `00 02 00 00 00 00`, "RatchetTreeRepresentation 0"},
		{"UpdateRequest", commit + `00 02 00 00 00 05`, "RatchetTreeRepresentation 5"},
		{"UpdateRoomResponse", `04`, "UpdateResponseCode 4"},
		{"SubmitMessageRequest", `03`, "Protocol 3"},
		{"SubmitMessageResponse", `01 03`, "SubmitResponseCode 3"},
		{"GroupInfoRequest", `ff`, "Protocol 255"},
		{"GroupInfoResponse", `01 01 72 00`, "GroupInfoCode 0"},
		{"GroupInfoResponse", `01 01 72 04`, "GroupInfoCode 4"},
		{"ConsentEntry", `04`, "ConsentOperation 4"},
		{"IdentifierRequest", `02 00 00 00`, "SearchIdentifierType 0"},
		{"IdentifierRequest", `02 09 00 00`, "SearchIdentifierType 9"},
		{"IdentifierResponse", `05`, "IdentifierQueryCode 5"},
		{"IdentifierResponse", `00 00 04 01 75 01 06`, "FieldSource 6"},
		{"AbuseReport", `00 01 75 01`, "AbuseType 1"},
		{"Envelope", `02`, "version 2"},
	} {
		_, err := codecOf(t, c.codec).parse(unhex(c.hex), wire.Limits{})
		if err == nil || !strings.Contains(err.Error(), c.want) ||
			!errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrUnsupported) {
			t.Errorf("%s %s: %v, want one that names %s", c.codec, c.hex, err, c.want)
		}
	}
}

// TestStrings: codes print by the draft's names, unknown ones by their number.
func TestStrings(t *testing.T) {
	for _, c := range []struct {
		v    fmt.Stringer
		want string
	}{
		{wire.MLS10, "mls10"},
		{wire.KeyMaterialNoConsentForRoom, "noConsentForThisRoom"},
		{wire.ClientExhausted, "keyMaterialExhausted"},
		{wire.TreeHTTPS, "httpsUri"},
		{wire.TreeRemoved, "removed"},
		{wire.UpdateInvalidProposal, "invalidProposal"},
		{wire.SubmitEpochTooOld, "epochTooOld"},
		{wire.GroupInfoNoSuchRoom, "noSuchRoom"},
		{wire.ConsentRevoke, "revoke"},
		{wire.SearchVCardField, "vcardField"},
		{wire.QueryUnsupportedField, "unsupportedField"},
		{wire.FieldOIDCStdClaim, "oidcStdClaim"},
		{wire.AbuseUnspecified, "reserved"},
		{wire.EndpointProxyDownload, "proxyDownload"},
		{wire.KeyMaterialUserCode(9), "KeyMaterialUserCode(9)"},
		{wire.GroupInfoCode(0), "GroupInfoCode(0)"},
		{wire.Endpoint(10), "Endpoint(10)"},
	} {
		if got := c.v.String(); got != c.want {
			t.Errorf("%T prints as %q, want %q", c.v, got, c.want)
		}
	}
}

// TestContradictions: what does not go together is not written.
func TestContradictions(t *testing.T) {
	kp := read[mls.KeyPackage](kpHex)
	good := wire.ClientKeyMaterial{Client: "c", KeyPackage: kp}
	gone := wire.ClientKeyMaterial{Client: "d", Status: wire.ClientExhausted}
	tree := &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}
	info := &wire.GroupInfoOption{Full: read[mls.GroupInfo](groupInfo)}
	withTree := read[mls.GroupInfo](groupInfo)
	withTree.Extensions = mls.Extensions{{Type: mls.ExtRatchetTree}}
	bundle := func(b wire.HandshakeBundle) body { return &wire.UpdateRequest{Bundle: b} }
	response := func(s wire.KeyMaterialUserCode, c ...wire.ClientKeyMaterial) body {
		return &wire.KeyMaterialResponse{Status: s, User: "u", Clients: c}
	}
	for why, v := range map[string]body{
		"success without clients":             response(wire.KeyMaterialSuccess),
		"success with an exhausted client":    response(wire.KeyMaterialSuccess, good, gone),
		"partial success without any":         response(wire.KeyMaterialPartialSuccess, gone),
		"a good client and nothing matches":   response(wire.KeyMaterialNoCompatible, good),
		"clients beside noConsent":            response(wire.KeyMaterialNoConsent, gone),
		"clients of nobody":                   response(wire.KeyMaterialUserUnknown, gone),
		"a client twice":                      response(wire.KeyMaterialPartialSuccess, good, good),
		"success without KeyPackage":          response(wire.KeyMaterialSuccess, wire.ClientKeyMaterial{Client: "c"}),
		"exhausted with KeyPackage":           response(wire.KeyMaterialPartialSuccess, good, wire.ClientKeyMaterial{Status: 1, Client: "e", KeyPackage: kp}),
		"capabilities of an exhausted client": response(wire.KeyMaterialPartialSuccess, good, wire.ClientKeyMaterial{Status: 1, Client: "e", Capabilities: &mls.Capabilities{}}),

		"no message":                   bundle(wire.HandshakeBundle{}),
		"commit without GroupInfo":     bundle(wire.HandshakeBundle{Message: message(commit), Tree: tree}),
		"commit without tree":          bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: info}),
		"commit with proposals":        bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: info, Tree: tree, MoreProposals: []*mls.Message{message(proposal)}}),
		"proposal with Welcome":        bundle(wire.HandshakeBundle{Message: message(proposal), Welcome: read[mls.Welcome](welcome)}),
		"proposal with GroupInfo":      bundle(wire.HandshakeBundle{Message: message(proposal), GroupInfo: info}),
		"commit among proposals":       bundle(wire.HandshakeBundle{Message: message(proposal), MoreProposals: []*mls.Message{message(commit)}}),
		"nil among proposals":          bundle(wire.HandshakeBundle{Message: message(proposal), MoreProposals: []*mls.Message{nil}}),
		"private commit":               bundle(wire.HandshakeBundle{Message: message(privateCmt), GroupInfo: info, Tree: tree}),
		"GroupInfo neither nor":        bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: &wire.GroupInfoOption{}, Tree: tree}),
		"GroupInfo both":               bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: &wire.GroupInfoOption{Full: info.Full, Partial: &wire.PartialGroupInfo{}}, Tree: tree}),
		"GroupInfo with tree":          bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: &wire.GroupInfoOption{Full: withTree}, Tree: tree}),
		"partial GroupInfo with tree":  bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: &wire.GroupInfoOption{Partial: &wire.PartialGroupInfo{Extensions: withTree.Extensions}}, Tree: tree}),
		"full tree without tree":       bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: info, Tree: &wire.RatchetTreeOption{Representation: wire.TreeFull}}),
		"signature where none belongs": bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: info, Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService, Signature: []byte{1}}}),
		"out of band with URL":         bundle(wire.HandshakeBundle{Message: message(commit), GroupInfo: info, Tree: &wire.RatchetTreeOption{Representation: wire.TreeOutOfBand, URL: "h:"}}),

		"time without success":       &wire.UpdateRoomResponse{Code: wire.UpdateNotAllowed, AcceptedAt: 1},
		"epoch beside success":       &wire.UpdateRoomResponse{CurrentEpoch: 1},
		"proposals beside success":   &wire.UpdateRoomResponse{InvalidProposals: [][]byte{{1}}},
		"handshake submitted":        &wire.SubmitMessageRequest{Message: message(commit), SendingURI: "u"},
		"private commit submitted":   &wire.SubmitMessageRequest{Message: message(privateCmt), SendingURI: "u"},
		"frank on a refusal":         &wire.SubmitMessageResponse{Code: wire.SubmitNotAllowed, Frank: &aFrank},
		"epoch beside accepted":      &wire.SubmitMessageResponse{CurrentEpoch: 1},
		"empty fan-out":              wire.Fanout{},
		"nil in a fan-out":           wire.Fanout{nil},
		"fan-out of nothing":         wire.Fanout{{}},
		"frank on a commit":          wire.Fanout{{Message: message(commit), Frank: &aFrank}},
		"tree with a message":        wire.Fanout{{Message: message(appHex), Tree: tree}},
		"Welcome without tree":       wire.Fanout{{Message: message("0001 0003" + welcome)}},
		"Welcome of nothing":         wire.Fanout{{Message: &mls.Message{Wire: mls.WireWelcome}, Tree: tree}},
		"KeyPackage fanned out":      wire.Fanout{{Message: kp.Message()}},
		"private commit fanned out":  wire.Fanout{{Message: message(privateCmt)}},
		"member's commit and staple": wire.Fanout{{Message: message(memberCmt), ExternalProposals: []*mls.Message{message(proposal)}}},
		"staple on a proposal":       wire.Fanout{{Message: message(proposal), ExternalProposals: []*mls.Message{message(proposal)}}},
		"success without GroupInfo":  &wire.GroupInfoResponse{Room: "r", Status: wire.GroupInfoSuccess},
		"GroupInfo and no success":   &wire.GroupInfoResponse{Room: "r", Status: wire.GroupInfoNotAuthorized, Success: &wire.GroupInfoSuccessPart{}},
		"TBE without GroupInfo":      &wire.GroupInfoRatchetTreeTBE{Tree: *tree},
		"TBE with tree extension":    &wire.GroupInfoRatchetTreeTBE{GroupInfo: withTree, Tree: *tree},
		"TBE with pending commit":    &wire.GroupInfoRatchetTreeTBE{GroupInfo: info.Full, Tree: *tree, Pending: []wire.PendingProposal{{Proposal: message(commit)}}},
		"request with KeyPackages":   &wire.ConsentEntry{Operation: 1, Scope: wire.ConsentScope{Requester: "u", Target: "t"}, KeyPackages: []*mls.KeyPackage{kp}},
		"grant of nil":               &wire.ConsentEntry{Operation: 2, Scope: wire.ConsentScope{Requester: "u", Target: "t"}, KeyPackages: []*mls.KeyPackage{nil}},
		"handle with field":          &wire.IdentifierRequest{Elements: []wire.QueryElement{{Type: 1, Field: "x"}}},
		"claim without name":         &wire.IdentifierRequest{Elements: []wire.QueryElement{{Type: 7}}},
		"success finds nothing":      &wire.IdentifierResponse{},
		"notFound finds something":   &wire.IdentifierResponse{Code: 1, URIs: []wire.IdentifierURI{"u"}},
		"participant twice":          &wire.ParticipantListData{Participants: []wire.UserRolePair{{User: "u"}, {User: "u"}}},
		"changed twice":              &wire.ParticipantListUpdate{Changed: []wire.UserIndexRolePair{{Index: 1}, {Index: 1}}},
		"changed and removed":        &wire.ParticipantListUpdate{Changed: []wire.UserIndexRolePair{{Index: 1}}, Removed: []uint32{1}},
		"added twice":                &wire.ParticipantListUpdate{Added: []wire.UserRolePair{{User: "u"}, {User: "u"}}},
	} {
		if b, err := v.Bytes(); !errors.Is(err, wire.ErrCombination) || b != nil {
			t.Errorf("%s: wrote %x, %v", why, b, err)
		}
	}
	for why, v := range map[string]body{
		"no suite":          &wire.KeyMaterialRequest{RequestingUser: "u", TargetUser: "t", Credential: cred},
		"no credential":     &wire.GroupInfoRequest{Suite: 1},
		"unknown status":    &wire.KeyMaterialResponse{Status: 8, User: "u"},
		"nobody":            &wire.KeyMaterialResponse{Status: 5},
		"text not UTF-8":    &wire.UpdateRoomResponse{Description: "\xff"},
		"note not UTF-8":    &wire.AbuseReport{Abuser: "u", Note: "\xff"},
		"no abuser":         &wire.AbuseReport{},
		"no element":        &wire.IdentifierRequest{},
		"no field name":     &wire.IdentifierResponse{Profiles: []wire.UserProfile{{StableURI: "u", Fields: []wire.ProfileField{{Source: 7}}}}},
		"empty participant": &wire.ParticipantListData{Participants: []wire.UserRolePair{{}}},
		"no sender":         &wire.SubmitMessageRequest{Message: message(appHex)},
		"no target":         &wire.ConsentScope{Requester: "u"},
		"envelope to none":  &wire.Envelope{Source: "a", Endpoint: "e"},
		"short signature":   &wire.Envelope{Source: "a", Target: "b", Endpoint: "e", Signature: []byte{1}},
	} {
		if b, err := v.Bytes(); !errors.Is(err, wire.ErrMalformed) || b != nil {
			t.Errorf("%s: wrote %x, %v", why, b, err)
		}
	}
}

// TestContradictionsRead: nor is it read.
func TestContradictionsRead(t *testing.T) {
	for _, c := range []struct {
		why, codec, hex string
		want            error
	}{
		{"clients beside noConsent", "KeyMaterialResponse", `01 05 01 74 03 01 01 64`, wire.ErrCombination},
		{"success with exhausted client", "KeyMaterialResponse", `01 00 01 74 03 01 01 64`, wire.ErrCombination},
		{"no suite", "KeyMaterialRequest", `01 01 75 01 74 00 00 00 00 00 01dd` + credHex + `00`, wire.ErrMalformed},
		{"private commit", "UpdateRequest", privateCmt, wire.ErrCombination},
		{"SemiPrivateMessage", "UpdateRequest", `0001 0006`, wire.ErrUnsupported},
		{"application message in Fanout is private", "Fanout", `0000000000000001` + privateCmt + `00`, wire.ErrCombination},
		{"staple on a member's commit", "Fanout", `0000000000000001` + memberCmt + `1d` + proposal, wire.ErrCombination},
		{"room present and empty", "ConsentScope", `01 75 01 74 01 00`, wire.ErrMalformed},
		{"presence octet 2", "ConsentScope", `01 75 01 74 02 01 72`, wire.ErrNonCanonical},
		{"length in a longer form", "ConsentScope", `4001 75 01 74 00`, wire.ErrNonCanonical},
		{"participant twice", "ParticipantListData", `0c 01 75 00000002 01 75 00000001`, wire.ErrCombination},
		{"text not UTF-8", "UpdateRoomResponse", `02 01 ff`, wire.ErrMalformed},
	} {
		if v, err := codecOf(t, c.codec).parse(unhex(c.hex), wire.Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.why, v, err, c.want)
		}
	}
}

// TestLimits: each limit is one that a known value meets, and one less it
// does not.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		codec string
		nth   int // of the codec's known values
		limit func(*wire.Limits, int)
		value int // what the known value needs
	}{
		{"KeyMaterialRequest", 0, func(l *wire.Limits, n int) { l.ListEntries = n }, 2},
		{"KeyMaterialRequest", 0, func(l *wire.Limits, n int) { l.Text = n }, 3},
		{"KeyMaterialResponse", 0, func(l *wire.Limits, n int) { l.Clients = n }, 4},
		{"UpdateRequest", 1, func(l *wire.Limits, n int) { l.URI = n }, 2},
		{"UpdateRequest", 2, func(l *wire.Limits, n int) { l.PendingProposals = n }, 1},
		{"UpdateRoomResponse", 3, func(l *wire.Limits, n int) { l.PendingProposals = n }, 2},
		{"Fanout", 0, func(l *wire.Limits, n int) { l.FanoutMessages = n }, 5},
		{"GroupInfoRatchetTreeTBE", 0, func(l *wire.Limits, n int) { l.PendingProposals = n }, 1},
		{"ConsentEntry", 0, func(l *wire.Limits, n int) { l.Clients = n }, 1},
		{"IdentifierRequest", 1, func(l *wire.Limits, n int) { l.QueryElements = n }, 2},
		{"IdentifierResponse", 0, func(l *wire.Limits, n int) { l.Profiles = n }, 2},
		{"IdentifierResponse", 0, func(l *wire.Limits, n int) { l.ProfileFields = n }, 1},
		{"AbuseReport", 0, func(l *wire.Limits, n int) { l.AbusiveMessages = n }, 1},
		{"ParticipantListData", 0, func(l *wire.Limits, n int) { l.Participants = n }, 2},
		{"ParticipantListUpdate", 0, func(l *wire.Limits, n int) { l.Participants = n }, 2},
	} {
		nth, in := c.nth, []byte(nil)
		for _, k := range known {
			if k.codec == c.codec {
				if nth == 0 {
					in = unhex(k.hex)
				}
				nth--
			}
		}
		for n, want := range map[int]error{c.value: nil, c.value - 1: wire.ErrTooLarge} {
			var lim wire.Limits
			if n == 0 {
				n = -1 // none at all: 0 is the default
			}
			c.limit(&lim, n)
			if _, err := codecOf(t, c.codec).parse(in, lim); !errors.Is(err, want) {
				t.Errorf("%s at limit %d: %v, want %v", c.codec, n, err, want)
			}
		}
	}
}
