package rooms_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// reports keeps what hubs take.
type reports struct {
	list []abuse.Report
	err  error
}

func (r *reports) Put(_ context.Context, x abuse.Report, v abuse.Voice) (uint64, error) {
	if r.err == nil {
		x.Voices = []abuse.Voice{v}
		r.list = append(r.list, x)
	}
	return uint64(len(r.list)), r.err
}

// says sends real content, and returns it as it can be reported.
func (d *device) says(id store.RoomID, name, text string) (wire.AbusiveMessage, wire.Blind) {
	t := d.p.w.t
	t.Helper()
	said := content.New(content.Origin{Sender: d.who.User.String(), Room: name}, content.Text(text))
	b := must(said.Encode(content.Limits{}))(t)
	m := must(d.group.Encrypt(b, mls.SendOptions{AAD: wire.NewFrankAAD(said.Salt[:], b).SafeAAD()}))(t)
	nonce := room.MessageNonce(said.Salt, sha256.Sum256(m.Bytes()))
	req := must((&wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(d.who.User.String())}).Bytes())(t)
	res := must(d.send(id, &clientapi.SubmitMessage{Request: req, Nonce: nonce[:]}))(t)
	if res.Code != wire.SubmitAccepted || res.Frank == nil {
		t.Fatalf("%s says %q: %+v", d.who.User, text, res)
	}
	return wire.AbusiveMessage{Content: b, Frank: *res.Frank, AcceptedAt: res.AcceptedAt}, wire.Blind(nonce)
}

func (d *device) report(id store.RoomID, m *wire.AbuseReport) error {
	t := d.p.w.t
	t.Helper()
	return d.p.rooms.ReportAbuse(context.Background(), d.who, id, &clientapi.ReportAbuse{Request: must(m.Bytes())(t), Nonce: nonce()})
}

// TestReportsVerified_5_9: the hub takes what was sent, by whom, when and where it was
// sent, and answers everything else alike.
func TestReportsVerified_5_9(t *testing.T) {
	w := newWorld(t, "atlanta.example", "biloxi.example")
	kept := new(reports)
	hub := w.ps["atlanta.example"]
	hub.tweak = func(c *rooms.Config) { c.Reports = kept }
	hub.restart()
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, n, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	bob.follow(id, 2)
	said, blind := bob.says(id, n.URI, "insult")
	other, _ := alice.says(id, n.URI, "hello")
	id2, n2, err := alice.create("other")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, _ := alice.says(id2, n2.URI, "elsewhere")
	good := func() *wire.AbuseReport {
		m := &wire.AbuseReport{Abuser: "mimi://biloxi.example/u/bob", Messages: []wire.AbusiveMessage{said}}
		m.SetBlinds([]wire.Blind{blind})
		return m
	}
	recode := func(m *wire.AbuseReport, change func(*content.Message)) {
		c := must(content.Decode(m.Messages[0].Content, content.Limits{}))(t)
		change(c)
		m.Messages[0].Content = must(c.Encode(content.Limits{}))(t)
	}
	var first string
	for i, row := range []struct {
		name  string
		forge func(m *wire.AbuseReport)
		good  bool
	}{
		{"as it was", func(*wire.AbuseReport) {}, true},
		{"plain MIMI's, without the blinds", func(m *wire.AbuseReport) { m.Extensions = nil }, true},
		{"other words", func(m *wire.AbuseReport) {
			recode(m, func(c *content.Message) { c.Body = content.Text("threat") })
		}, false},
		{"another salt", func(m *wire.AbuseReport) { recode(m, func(c *content.Message) { c.Salt[0] ^= 1 }) }, false},
		{"alice instead of bob", func(m *wire.AbuseReport) {
			m.Abuser = "mimi://atlanta.example/u/alice"
			recode(m, func(c *content.Message) { c.Sender = string(m.Abuser) })
		}, false},
		{"bob accused of what alice said", func(m *wire.AbuseReport) { m.Messages[0] = other }, false},
		{"a message that is not by the accused", func(m *wire.AbuseReport) { m.Abuser = "mimi://atlanta.example/u/alice" }, false},
		{"of another room", func(m *wire.AbuseReport) {
			m.Abuser, m.Messages[0] = "mimi://atlanta.example/u/alice", elsewhere
		}, false},
		{"of another room, rewritten", func(m *wire.AbuseReport) {
			m.Abuser, m.Messages[0] = "mimi://atlanta.example/u/alice", elsewhere
			recode(m, func(c *content.Message) { c.Room = n.URI })
		}, false},
		{"another time", func(m *wire.AbuseReport) { m.Messages[0].AcceptedAt++ }, false},
		{"another frank", func(m *wire.AbuseReport) { m.Messages[0].Frank = other.Frank }, false},
		{"no content", func(m *wire.AbuseReport) { m.Messages[0].Content = []byte("nonsense") }, false},
		{"a good one and a bad one", func(m *wire.AbuseReport) { m.Messages, m.Extensions = append(m.Messages, other), nil }, false},
		{"blinds for another number of messages", func(m *wire.AbuseReport) { m.Extensions = map[mls.ComponentID][]byte{wire.ComponentFrankBlinds: {1}} }, false},
	} {
		m := good()
		row.forge(m)
		before := len(kept.list)
		// From both sides of the network.
		by := []*device{alice, bob}[i%2]
		err := by.report(id, m)
		switch {
		case row.good && (err != nil || len(kept.list) != before+1):
			t.Errorf("%s: %v, %d kept", row.name, err, len(kept.list)-before)
		case !row.good && (!strings.HasPrefix(status(err), "422 ") || len(kept.list) != before):
			t.Errorf("%s: %v, %d kept", row.name, err, len(kept.list)-before)
		case !row.good && first == "":
			first = err.Error()
		case !row.good && err.Error() != first:
			t.Errorf("%s is answered %q, another forgery %q", row.name, err, first)
		}
	}
	if len(kept.list) != 2 || kept.list[0].Messages[0].Text != "insult" || kept.list[0].Messages[0].Hub != "atlanta.example" || kept.list[0].Voices[0].Provider != "atlanta.example" || kept.list[1].Voices[0].Provider != "biloxi.example" {
		t.Errorf("kept: %+v", kept.list)
	}
	if got := hub.rooms.Stats().Forged; got != 12 {
		t.Errorf("%d forged reports counted, there were 12", got)
	}

	// Who reports is who says so, and takes part.
	m := good()
	m.Reporter = "mimi://biloxi.example/u/bob"
	if err := alice.report(id, m); !strings.HasPrefix(status(err), "422 ") {
		t.Errorf("alice reports as bob: %v", err)
	}
	q := &rooms.Request{Source: "chicago.example", Subject: n.URI, Body: must(good().Bytes())(t)}
	if _, err := hub.serve(context.Background(), wire.EndpointReportAbuse.String(), q); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("a provider that takes no part reports: %v", err)
	}
	q = &rooms.Request{Source: "biloxi.example", Subject: n.URI, Body: must(m.Bytes())(t)}
	if r, err := hub.serve(context.Background(), wire.EndpointReportAbuse.String(), q); err != nil || r.Status != 201 || len(r.Body) != 0 {
		t.Errorf("bob's provider reports for him: %+v, %v", r, err)
	}
	q.Source, q.Body = "atlanta.example", must(m.Bytes())(t)
	if _, err := hub.serve(context.Background(), wire.EndpointReportAbuse.String(), q); !strings.HasPrefix(status(err), "422 ") {
		t.Errorf("another provider reports for bob: %v", err)
	}
	kept.err = fmt.Errorf("no: %w", abuse.ErrFull)
	if err := bob.report(id, good()); !strings.HasPrefix(status(err), "503 ") {
		t.Errorf("a full queue: %v", err)
	}
	kept.err = fmt.Errorf("no: %w", abuse.ErrLarge)
	if err := bob.report(id, good()); !strings.HasPrefix(status(err), "413 ") {
		t.Errorf("a report that is too large: %v", err)
	}
	kept.err = nil
	over := false
	for range 20 {
		over = over || strings.HasPrefix(status(alice.report(id, good())), "429 ")
	}
	if !over {
		t.Error("one user reports without end")
	}
	if err := bob.report(id, good()); err != nil {
		t.Errorf("another user, who has not: %v", err)
	}
}

// TestReportByFormerParticipant_5_9: who was removed, with its provider, may still report what
// it has seen; a provider that has never taken part may not, nor a user who never did.
func TestReportByFormerParticipant_5_9(t *testing.T) {
	w := newWorld(t, three...)
	kept := new(reports)
	hub := w.ps[three[0]]
	hub.tweak = func(c *rooms.Config) { c.Reports = kept }
	hub.restart()
	alice, carol := w.device("alice@"+three[0], "phone"), w.device("carol@"+three[2], "phone")
	id, n, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, carol); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	carol.follow(id, 2)
	said, blind := alice.says(id, n.URI, "insult")
	carol.follow(id, 3)
	alice.follow(id, 3)
	if err := alice.commit(id, mls.CommitOptions{Remove: []mls.LeafIndex{1},
		Proposals: []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{carol.who.User}))(t)}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "carol's provider has heard", func() bool { l := w.ps[three[2]].rooms.List(); return len(l) == 1 && l[0].Next == 4 })
	m := &wire.AbuseReport{Abuser: wire.IdentifierURI(alice.who.User.String()), Messages: []wire.AbusiveMessage{said}}
	m.SetBlinds([]wire.Blind{blind})
	if err := carol.report(id, m); err != nil || len(kept.list) != 1 || kept.list[0].Voices[0].Provider != three[2] {
		t.Fatalf("carol, who was removed: %v, kept %+v", err, kept.list)
	}
	if _, err := carol.send(id, carol.message("and says no more")); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("carol says something: %v", err)
	}
	forged := *m
	forged.Messages = []wire.AbusiveMessage{said}
	forged.Messages[0].AcceptedAt++
	if err := carol.report(id, &forged); !strings.HasPrefix(status(err), "422 ") || len(kept.list) != 1 {
		t.Errorf("what nobody has said: %v", err)
	}
	if err := w.device("dan@"+three[2], "phone").report(id, m); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("another user of her provider: %v", err)
	}
	q := &rooms.Request{Source: three[1], Subject: n.URI, Body: must(m.Bytes())(t)}
	if _, err := hub.serve(context.Background(), wire.EndpointReportAbuse.String(), q); !strings.HasPrefix(status(err), "404 ") || len(kept.list) != 1 {
		t.Errorf("a provider that has never taken part: %v", err)
	}
}

// TestReportedBefore: what a former hub has franked is believed if the log holds it, and
// not on the former hub's word alone.
func TestReportedBefore(t *testing.T) {
	w, alice, bob, _, id := trio(t)
	kept := new(reports)
	name := w.ps[three[0]].rooms.List()[0].URI
	said, blind := bob.says(id, name, "insult")
	m := &wire.AbuseReport{Abuser: wire.IdentifierURI(bob.who.User.String()), Messages: []wire.AbusiveMessage{said}}
	m.SetBlinds([]wire.Blind{blind})
	hub := w.ps[three[2]]
	old := hub.tweak
	hub.tweak = func(c *rooms.Config) { old(c); c.Reports = kept }
	hub.restart()
	bob.follow(id, 5)
	eventually(t, "the room moves", func() bool {
		_ = w.ps[three[0]].rooms.Move(t.Context(), room.ID(id), three[2])
		return hub.stand(id).Hub == three[2]
	})
	eventually(t, "the report is taken", func() bool { return alice.report(id, m) == nil })
	if len(kept.list) != 1 || kept.list[0].Messages[0].Hub != three[0] {
		t.Fatalf("kept: %+v", kept.list)
	}
	// The former hub franks what nobody has said; it has its key, and not the log.
	c := content.New(content.Origin{Sender: bob.who.User.String(), Room: name}, content.Text("threat"))
	b := must(c.Encode(content.Limits{}))(t)
	forged := *m
	forged.Messages = []wire.AbusiveMessage{{Content: b, AcceptedAt: said.AcceptedAt}}
	ctx := &wire.ServerFrankingContext{Sender: forged.Abuser, Room: wire.IdentifierURI(name), AcceptedAt: said.AcceptedAt}
	key := must(mls.ParseSignatureKey(room.Suite, w.ps[three[0]].key.Seed()))(t)
	forged.Messages[0].Frank = *must(wire.NewFrank([]byte("hub"), wire.NewFrankAAD(c.Salt[:], b), ctx, blind, room.Suite, key))(t)
	if room.VerifyFrank(&room.Replica{FrankingKey: key.Public()}, &forged.Messages[0].Frank, &room.Plain{Salt: c.Salt, Sender: c.Sender, Room: c.Room, Data: b}, said.AcceptedAt, room.TxnNonce(blind)) != nil {
		t.Fatal("the forgery is not even signed")
	}
	err := alice.report(id, &forged)
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Status != 422 || len(kept.list) != 1 {
		t.Errorf("what the former hub made up: %v, %d kept", err, len(kept.list))
	}
}
