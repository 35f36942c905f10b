package clienthttp_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/clientapi"
)

var (
	nonce    = make([]byte, 16)
	roomPath = fmt.Sprintf("/v1/rooms/%x", room[:])
)

const boxName = "00112233445566778899aabbccddeeff"

// calls is one good example of every call but the stream.
var calls = []struct {
	method, path string
	body         any
	status       int
	service      string
}{
	{"GET", "/v1/provider", nil, 200, "Self"},
	{"GET", "/v1/providers/biloxi.example", nil, 200, "Provider"},
	{"POST", "/v1/accounts", clientapi.NewAccount{Invite: "i", Device: "phone", UserKey: []byte{1}, Proof: []byte{2}}, 200, "Register"},
	{"POST", "/v1/account/certificate", clientapi.NewCertificate{}, 200, "RenewCertificate"},
	{"GET", "/v1/devices", nil, 200, "Devices"},
	{"POST", "/v1/keypackages", clientapi.NewKeyPackages{KeyPackages: [][]byte{{1}}, LastResort: []byte{2}}, 200, "PublishKeyPackages"},
	{"GET", "/v1/keypackages", nil, 200, "CountKeyPackages"},
	{"POST", "/v1/keypackages/claim", clientapi.ClaimKeyPackages{Request: []byte{1}}, 200, "ClaimKeyPackages"},
	{"POST", "/v1/pseudonyms", clientapi.NewPseudonym{Room: "mimi://atlanta.example/r/x"}, 200, "Pseudonym"},
	{"GET", "/v1/pseudonyms/keypackages", nil, 200, "Wanted"},
	{"POST", "/v1/pseudonyms/keypackages", clientapi.PseudonymousKeyPackages{KeyPackages: []clientapi.PseudonymousKeyPackage{{KeyPackage: []byte{1}, Key: []byte{2}}}}, 204, "Bring"},
	{"POST", "/v1/pseudonyms/held", clientapi.HeldPseudonym{Room: "mimi://atlanta.example/r/x", Pseudonym: "p", Proof: []byte{1}}, 204, "Held"},
	{"POST", "/v1/claims", clientapi.NewClaim{SII: "handle:alice", Claim: []byte{1}}, 200, "PublishClaim"},
	{"GET", "/v1/claims", nil, 200, "Claims"},
	{"DELETE", "/v1/claims", clientapi.WithdrawClaim{SII: "handle:alice", Withdrawal: []byte{1}}, 204, "WithdrawClaim"},
	{"POST", "/v1/discover", clientapi.Discover{Secret: []byte{1}}, 200, "Discover"},
	{"POST", "/v1/evaluate", clientapi.Evaluate{Request: []byte{1}}, 200, "Evaluate"},
	{"PUT", "/v1/findable", clientapi.Findable{Mode: clientapi.FindNone}, 200, "SetFindable"},
	{"GET", "/v1/findable", nil, 200, "Findable"},
	{"POST", "/v1/verifications", clientapi.NewVerification{Authority: "c.example", Request: []byte{1}}, 204, "Verify"},
	{"POST", "/v1/verifications/answer", clientapi.VerificationAnswer{Authority: "c.example", Answer: []byte{1}}, 200, "AnswerVerification"},
	{"POST", "/v1/consent", clientapi.SendConsent{Entry: []byte{1}}, 202, "SendConsent"},
	{"GET", "/v1/consent", nil, 200, "Consents"},
	{"GET", "/v1/tokens", nil, 200, "TokenKeys"},
	{"GET", "/v1/privacy", nil, 200, "Privacy"},
	{"POST", "/v1/discover", clientapi.Discover{Secret: []byte{1}, Privacy: &clientapi.Privacy{Over: "onion", Floor: 3}}, 200, "Discover"},
	{"POST", "/v1/introduce", clientapi.Introduce{Request: []byte{1}}, 200, "Introduce"},
	{"GET", "/v1/introductions", nil, 200, "Introductions"},
	{"POST", "/v1/introductions", clientapi.JudgeIntroduction{Handle: strings.Repeat("0f", 32)}, 204, "JudgeIntroduction"},
	{"POST", "/v1/tokens", clientapi.NewTokens{Requests: [][]byte{{1}}}, 200, "NewTokens"},
	{"GET", "/v1/consent/modes", nil, 200, "ConsentModes"},
	{"PUT", "/v1/consent/modes", clientapi.ConsentModes{Mode: "open", Exceptions: []clientapi.ConsentException{{Who: "chicago.example", Mode: "closed"}}}, 200, "SetConsentModes"},
	{"POST", "/v1/rooms", clientapi.NewRoom{URI: "mimi://atlanta.example/r/x", GroupInfo: []byte{1}, Tree: []byte{2}, Nonce: nonce}, 200, "CreateRoom"},
	{"GET", "/v1/rooms", nil, 200, "Rooms"},
	{"GET", "/v1/room-hub?uri=mimi://atlanta.example/r/x", nil, 200, "FindRoom"},
	{"GET", roomPath, nil, 200, "Room"},
	{"GET", roomPath + "/log?from=5&limit=1000", nil, 200, "Log"},
	{"GET", roomPath + "/log", nil, 200, "Log"},
	{"GET", roomPath + "/branch?from=5&limit=1000", nil, 200, "Branch"},
	{"GET", "/v1/quarantine", nil, 200, "Quarantine"},
	{"POST", "/v1/quarantine/" + roomPath[len("/v1/rooms/"):], clientapi.JudgeHeld{Verdict: "reject"}, 204, "Judged"},
	{"POST", roomPath + "/rejoin", nil, 200, "Rejoin"},
	{"POST", roomPath + "/messages", clientapi.SubmitMessage{Request: []byte{1}, Nonce: nonce}, 200, "SubmitMessage"},
	{"POST", roomPath + "/updates", clientapi.SubmitUpdate{Request: []byte{1}, Nonce: nonce}, 200, "SubmitUpdate"},
	{"POST", roomPath + "/reports", clientapi.ReportAbuse{Request: []byte{1}, Nonce: nonce}, 202, "ReportAbuse"},
	{"POST", roomPath + "/groupinfo", clientapi.FetchGroupInfo{Request: []byte{1}}, 200, "FetchGroupInfo"},
	{"POST", roomPath + "/ephemeral", clientapi.NewEphemeral{Data: []byte{1}}, 204, "Signal"},
	{"POST", roomPath + "/recruit", nil, 200, "Recruit"},
	{"POST", "/v1/pairings", clientapi.NewPairing{Box: boxName}, 200, "OpenPairing"},
	{"GET", "/v1/pairings/" + boxName, nil, 200, "PairingHello"},
	{"POST", "/v1/pairings/" + boxName + "/answer", clientapi.PairingAnswer{Answer: []byte{1}}, 204, "AnswerPairing"},
	{"DELETE", "/v1/pairings/" + boxName, nil, 204, "ClosePairing"},
	{"POST", "/v1/pairings/" + boxName + "/hello", clientapi.PairingHello{Hello: []byte{1}}, 200, "SayHello"},
	{"POST", "/v1/knocks", clientapi.SendKnock{Word: []byte{1}}, 200, "SendKnock"},
	{"GET", "/v1/knocks", nil, 200, "Knocks"},
	{"GET", roomPath + "/knocks", nil, 200, "RoomKnocks"},
	{"POST", roomPath + "/knocks/refuse", clientapi.RefuseKnock{User: "mimi://chicago.example/u/carol"}, 204, "RefuseKnock"},
	{"POST", "/v1/assets", clientapi.NewAsset{Hash: assetHash, Size: 17}, 200, "Begin"},
	{"GET", "/v1/assets", nil, 200, "Assets"},
	{"GET", "/v1/assets/" + assetHash, nil, 200, "Asset"},
	{"DELETE", "/v1/assets/" + assetHash, nil, 204, "Remove"},
	{"POST", "/v1/oblivious/keys", clientapi.ObliviousKeys{Gateway: "c.example", Anew: true}, 200, "Keys"},
	{"POST", "/v1/oblivious", clientapi.ObliviousRequest{Gateway: "c.example", Sealed: []byte{1}}, 200, "Pass"},
	{"DELETE", "/v1/devices/phone", nil, 204, "RemoveDevice"}, // last: its token is gone then
}

func TestEveryCall(t *testing.T) {
	s := serve(t)
	for _, c := range calls {
		res := s.do(c.method, c.path, c.body)
		b := s.body(res)
		if res.StatusCode != c.status {
			t.Errorf("%s %s: status %d, body %s", c.method, c.path, res.StatusCode, b)
			continue
		}
		if got := s.f.calls[len(s.f.calls)-1]; got != c.service {
			t.Errorf("%s %s: called %s, want %s", c.method, c.path, got, c.service)
		}
		if c.status == 200 && (res.Header.Get("Content-Type") != "application/json" || !json.Valid(b)) {
			t.Errorf("%s %s: answered with %q %s", c.method, c.path, res.Header.Get("Content-Type"), b)
		}
		if c.status != 200 && len(b) != 0 {
			t.Errorf("%s %s: body %q, want none", c.method, c.path, b)
		}
		if c.body != nil && s.f.got != nil {
			sent, _ := json.Marshal(c.body)
			got, _ := json.Marshal(s.f.got)
			if string(sent) != string(got) {
				t.Errorf("%s %s: sent %s, the service got %s", c.method, c.path, sent, got)
			}
		}
	}
	// What clients of other languages leave out.
	s.f.removed = false
	if res := s.do("POST", "/v1/account/certificate", nil); res.StatusCode != 200 {
		t.Errorf("renewing without a body: status %d, %s", res.StatusCode, s.body(res))
	} else {
		s.body(res)
	}
}

// The paths of clientapi's documentation, the description, and the examples above
// are the same.
func TestPathsAreThoseOfClientAPI(t *testing.T) {
	doc, err := os.ReadFile("../../protocol/clientapi/doc.go")
	must(t, err)
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^//\t(GET|POST|PUT|PATCH|DELETE) +(/v1/[^ ?\n]+)`).FindAllStringSubmatch(string(doc), -1) {
		want = append(want, m[1]+" "+m[2])
	}
	if len(want) < 20 {
		t.Fatalf("found only %d paths in clientapi's documentation", len(want))
	}
	slices.Sort(want)

	s := serve(t)
	var api struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]any }
	}
	must(t, json.Unmarshal(s.OpenAPI(), &api))
	if !strings.HasPrefix(api.OpenAPI, "3.1") {
		t.Errorf("OpenAPI version %q", api.OpenAPI)
	}
	var got []string
	ids := map[string]bool{}
	for path, item := range api.Paths {
		for method, op := range item {
			got = append(got, strings.ToUpper(method)+" "+path)
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: operation id %q is missing or not unique", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("described:\n%s\nclientapi has:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	examples := map[string]bool{"GET /v1/events": true,
		"PATCH /v1/assets/{hash}": true, "GET /v1/download": true} // TestUpload, TestDownload
	for _, c := range calls {
		path, _, _ := strings.Cut(c.path, "?")
		path = strings.Replace(path, fmt.Sprintf("/%x", room[:]), "/{room}", 1)
		path = strings.Replace(path, "biloxi.example", "{domain}", 1)
		path = strings.Replace(path, "/phone", "/{name}", 1)
		path = strings.Replace(path, assetHash, "{hash}", 1)
		path = strings.Replace(path, boxName, "{box}", 1)
		examples[c.method+" "+path] = true
	}
	for _, w := range want {
		if !examples[w] {
			t.Errorf("%s: no example, so TestEveryCall does not try it", w)
		}
	}

	// Every reference in the description leads somewhere, and huma's shapes of
	// errors, which nobody gets, are not in it.
	for _, m := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(string(s.OpenAPI()), -1) {
		if api.Components.Schemas[m[1]] == nil {
			t.Errorf("the description refers to a schema %s that it does not have", m[1])
		}
	}
	if api.Components.Schemas["ErrorModel"] != nil || api.Components.Schemas["Problem"] == nil {
		t.Error("the description's errors are not our problems")
	}
}
