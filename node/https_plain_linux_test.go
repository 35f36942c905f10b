package node_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ohttp"
	"github.com/mimid/mimid/protocol/wire"
)

// TestPlainMIMI: what a provider is answered that has nothing but MIMI protocol section 5
// and a certificate: no envelope, no provider key, no request id. Each code of the
// answers that it can have brought about is here; notes say where the others are tested.
func TestPlainMIMI(t *testing.T) {
	a, follower, i, at, s := webRoom(t)
	if err := follower.stop(); err != nil {
		t.Fatal(err)
	}
	biloxi := i.client(t, "biloxi.example", at["atlanta.example"], 4)
	chicago := i.client(t, "chicago.example", at["atlanta.example"], 4)

	// submitMessage (section 5.4): accepted, and again the same, which is the first answer.
	submit := func(body []byte) *wire.SubmitMessageResponse {
		t.Helper()
		status, b, err := s.submit(biloxi, http.Header{}, body)
		res, perr := wire.ParseSubmitMessageResponse(b, wire.Limits{})
		if err != nil || perr != nil || status != 200 {
			t.Fatalf("%d %q, %v, %v", status, b, err, perr)
		}
		return res
	}
	body := s.next()
	first := submit(body)
	if first.Code != wire.SubmitAccepted || first.AcceptedAt == 0 {
		t.Errorf("%+v", first)
	}
	time.Sleep(5 * time.Millisecond) // so that a second entry had another time
	if again := submit(body); again.Code != wire.SubmitAccepted || again.AcceptedAt != first.AcceptedAt {
		t.Errorf("the same again: %+v, first %+v", again, first)
	}
	if other := submit(s.next()); other.Code != wire.SubmitAccepted || other.AcceptedAt == first.AcceptedAt {
		t.Errorf("another message: %+v", other)
	}
	v, err := a.n.Verify(t.Context())
	if err != nil || len(v.Faults) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	entries := v.Entries
	// notAllowed: for a user of another provider, and from an epoch that is none yet.
	forged := bytes.Replace(s.next(), []byte("mimi://biloxi.example/u/bob"), []byte("mimi://biloxi.example/u/eve"), 1)
	if res := submit(forged); res.Code != wire.SubmitNotAllowed {
		t.Errorf("of a user who is not in the room: %+v", res)
	}
	future := s.next()
	if future[0] != 1 || future[5] >= 64 {
		t.Fatalf("a submission begins with % x", future[:8])
	}
	binary.BigEndian.PutUint64(future[6+int(future[5]):], 99) // protocol, version, wire format, group id, epoch
	if res := submit(future); res.Code != wire.SubmitNotAllowed {
		t.Errorf("of an epoch to come: %+v", res)
	}

	post := func(c *http.Client, from, endpoint, subject string, body []byte) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "POST", "https://atlanta.example/v1/"+endpoint+"/"+strings.NewReplacer(":", "%3A", "/", "%2F").Replace(subject), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("From", "mimi@"+from)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode/100 == 2 {
			return resp.StatusCode, string(b)
		}
		var p clientapi.Problem
		if err := json.Unmarshal(b, &p); err != nil || p.Detail == "" || p.Status != resp.StatusCode {
			t.Errorf("%s: %d with %q: not a problem with a sentence", endpoint, resp.StatusCode, b)
		}
		return resp.StatusCode, string(p.Code)
	}
	query := func(handle string) []byte {
		b, err := (&wire.IdentifierRequest{Elements: []wire.QueryElement{{Type: wire.SearchHandle, Value: handle}}}).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	consent := func(op wire.ConsentOperation, requester, target, room string) []byte {
		b, err := (&wire.ConsentEntry{Operation: op, Scope: wire.ConsentScope{Requester: wire.IdentifierURI(requester), Target: wire.IdentifierURI(target), Room: wire.IdentifierURI(room)}}).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const alice, bob = "mimi://atlanta.example/u/alice", "mimi://biloxi.example/u/bob"
	for _, x := range []struct {
		why, endpoint, subject string
		body                   []byte
		status                 int
		code                   string // of a problem, or the answer's first octet
	}{
		{"a message that is none", "submitMessage", s.room, []byte("x"), 422, "invalid"},
		{"a room that is not there", "submitMessage", "mimi://atlanta.example/r/nowhere", s.next(), 404, "not_found"},
		{"a body beyond the limit", "submitMessage", s.room, make([]byte, 3<<20), 413, "too_large"},
		{"an update that is none", "update", s.room, []byte("x"), 422, "invalid"},
		{"a GroupInfo request that is none", "groupInfo", s.room, []byte("x"), 422, "invalid"},
		{"a notice by who is not the hub", "notify", s.room, nil, 0, ""},
		{"a consent that is none", "requestConsent", "mimi://atlanta.example/u/alice", []byte("x"), 422, "invalid"},
		{"a key request of another protocol (section 5.2)", "keyMaterial", "mimi://atlanta.example/u/alice", []byte("x"), 200, "\x01\x02"},
		{"a request for consent (section 5.7)", "requestConsent", alice, consent(wire.ConsentRequest, bob, alice, ""), 201, ""},
		{"the same again", "requestConsent", alice, consent(wire.ConsentRequest, bob, alice, ""), 201, ""},
		{"in one room", "requestConsent", alice, consent(wire.ConsentRequest, bob, alice, s.room), 201, ""},
		{"by domain, as the text has it", "requestConsent", "atlanta.example", consent(wire.ConsentCancel, bob, alice, ""), 201, ""},
		{"of a user who is not there", "requestConsent", "mimi://atlanta.example/u/eve", consent(wire.ConsentRequest, bob, "mimi://atlanta.example/u/eve", ""), 201, ""},
		{"a grant", "updateConsent", alice, consent(wire.ConsentGrant, alice, bob, ""), 201, ""},
		{"consent of another provider's user", "requestConsent", alice, consent(wire.ConsentRequest, "mimi://chicago.example/u/carol", alice, ""), 403, "forbidden"},
		{"a request at the wrong endpoint", "updateConsent", alice, consent(wire.ConsentRequest, bob, alice, ""), 422, "invalid"},
		{"a key request that is none", "keyMaterial", "mimi://atlanta.example/u/alice", []byte("\x01x"), 422, "invalid"},
		{"a handle that nobody has", "identifierQuery", "atlanta.example", query("nobody"), 200, "\x01"},
		{"a report of abuse that is none (section 5.9)", "reportAbuse", s.room, []byte("x"), 422, "invalid"},
		{"a report about a room that is not there", "reportAbuse", "mimi://atlanta.example/r/nowhere", []byte("x"), 404, "not_found"},
		{"an endpoint that is not there", "reportSpam", s.room, nil, 404, "no_endpoint"},
		{"an endpoint of ours", "mimid-log", "00", nil, 400, "bad_envelope"},
	} {
		status, code := post(biloxi, "biloxi.example", x.endpoint, x.subject, x.body)
		if x.status == 0 {
			if status < 400 || status > 499 {
				t.Errorf("%s: %d %q", x.why, status, code)
			}
			continue
		}
		if status != x.status || x.code != "" && !strings.HasPrefix(code, x.code) {
			t.Errorf("%s: %d %q, want %d %q", x.why, status, code, x.status, x.code)
		}
	}
	// Oblivious HTTP (section 5.10), where RFC 9540 has it.
	sealed := func(c *http.Client, method string, body []byte) []byte {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "https://atlanta.example/.well-known/ohttp-gateway", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("From", "mimi@biloxi.example")
		r.Header.Set("Content-Type", "message/ohttp-req")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if want := map[string]string{"GET": "application/ohttp-keys", "POST": "message/ohttp-res"}[method]; err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != want {
			t.Fatalf("%s: %d, %v, %.100q, %v", method, resp.StatusCode, resp.Header, b, err)
		}
		return b
	}
	keys, err := ohttp.ParseKeys(sealed(biloxi, "GET", nil))
	if err != nil {
		t.Fatal(err)
	}
	for url, status := range map[string]int{"atlanta.example": 404, "chicago.example": 403} {
		q, asked, err := ohttp.Seal(keys[0], (&ohttp.Request{Method: "GET", Scheme: "https", Authority: url, Path: "/v1/asset/" + strings.Repeat("0", 64)}).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		b, err := asked.Open(sealed(biloxi, "POST", q))
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := ohttp.ParseAnswer(b); err != nil || answer.Status != status {
			t.Errorf("an asset of %s that nobody has: %+v, %v", url, answer, err)
		}
	}
	// A provider that is not in the room speaks for nobody there.
	if status, b := post(chicago, "chicago.example", "submitMessage", s.room, s.next()); status != 200 || len(b) == 0 {
		t.Errorf("%d %q", status, b)
	} else if res, err := wire.ParseSubmitMessageResponse([]byte(b), wire.Limits{}); err != nil || res.Code != wire.SubmitNotAllowed {
		t.Errorf("of a provider outside: %+v, %v", res, err)
	}
	if v, err := a.n.Verify(t.Context()); err != nil || len(v.Faults) > 0 || v.Entries != entries {
		t.Errorf("after what was refused: %+v, %v; %d entries before", v, err, entries)
	}
}
