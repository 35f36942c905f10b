package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// joinedBy has one add another to a room, when that one has consented.
func joinedBy(t *testing.T, u uri.Room, by, who *client.Client) {
	t.Helper()
	if err := who.Accept(t.Context(), by.User()); err != nil {
		t.Fatal(err)
	}
	var last error
	defer func() {
		if t.Failed() {
			t.Log(last)
		}
	}()
	within(t, who.User().Short()+" can be added", func() bool { last = by.AddUser(t.Context(), u, who.User()); return last == nil })
}

// readBy waits for a message, and returns its index on a device.
func readBy(t *testing.T, c *client.Client, u uri.Room, by *client.Client, text string) (index uint64) {
	t.Helper()
	within(t, c.User().Short()+" reads "+text, func() bool {
		list, err := c.Messages(u, 0, 100)
		i := slices.IndexFunc(list, func(m client.Message) bool {
			return strings.HasPrefix(m.Text, text) && m.Sender == by.User() && m.State == client.StateFinal
		})
		if err == nil && i >= 0 {
			index = list[i].Index
		}
		return i >= 0
	})
	return index
}

// goesBy is a participant's pseudonym, as a member sees it.
func goesBy(t *testing.T, c *client.Client, u uri.Room, who *client.Client) string {
	t.Helper()
	r, err := c.FindRoom(t.Context(), u.String())
	i := slices.IndexFunc(r.Participants, func(p client.Participant) bool { return p.User == who.User() })
	if err != nil || i < 0 {
		t.Fatalf("%s is not in the room: %v", who.User(), err)
	}
	return r.Participants[i].Pseudonym.String()
}

// forger changes the reports of a device on their way to its provider.
type forger struct {
	change atomic.Pointer[func(*wire.AbuseReport)]
	last   atomic.Pointer[wire.AbuseReport]
}

func (f *forger) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/reports") {
		return http.DefaultTransport.RoundTrip(r)
	}
	var x clientapi.ReportAbuse
	err := json.NewDecoder(r.Body).Decode(&x)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	m, err := wire.ParseAbuseReport(x.Request, wire.Limits{})
	if err != nil {
		return nil, err
	}
	if change := f.change.Load(); change != nil {
		(*change)(m)
		if x.Request, err = m.Bytes(); err != nil {
			return nil, err
		}
	}
	f.last.Store(m)
	b, err := json.Marshal(&x)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return http.DefaultTransport.RoundTrip(r)
}

// forgeries has bob report what carol has not said, and his provider lie to others. Nothing of
// it is kept by anybody; masks are what they go by.
func (f *forger) forgeries(t *testing.T, b *running, u uri.Room, bob *client.Client, insult uint64, alices, bobs, carols string) {
	ctx := t.Context()
	recode := func(m *wire.AbuseReport, change func(*content.Message)) {
		c, err := content.Decode(m.Messages[0].Content, content.Limits{})
		if err == nil {
			change(c)
			m.Messages[0].Content, err = c.Encode(content.Limits{})
		}
		if err != nil {
			t.Error(err)
		}
	}
	pass := func(to string, m *wire.AbuseReport) error {
		raw, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b.n.Call(ctx, peering.Request{Target: to, Endpoint: wire.EndpointReportAbuse.String(), Subject: u.String(), Room: wire.IdentifierURI(u.String()), Body: raw})
	}
	says := func(err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, expected %q", err, text)
		}
	}
	for _, row := range []struct {
		what         string
		forge        func(m *wire.AbuseReport)
		own, hub, at string // what bob's provider, the hub and carol's provider say
	}{
		{"other words", func(m *wire.AbuseReport) { recode(m, func(c *content.Message) { c.Body = content.Text("a threat") }) },
			"shows nothing", "shows nothing", "shows nothing"},
		{"alice is accused", func(m *wire.AbuseReport) {
			m.Abuser = wire.IdentifierURI(alices)
			recode(m, func(c *content.Message) { c.Sender = alices })
		}, "shows nothing", "shows nothing", "the hub is atlanta.example"},
		{"carol is accused by her name", func(m *wire.AbuseReport) {
			m.Abuser = "mimi://chicago.example/u/carol.bingley"
			recode(m, func(c *content.Message) { c.Sender = string(m.Abuser) })
		}, "shows nothing", "shows nothing", "shows nothing"},
		{"a pseudonym that is nobody's", func(m *wire.AbuseReport) {
			m.Abuser = "mimi://chicago.example/p/00000000-0000-4000-8000-000000000000"
			recode(m, func(c *content.Message) { c.Sender = string(m.Abuser) })
		}, "shows nothing", "shows nothing", "nobody's here"},
		{"he says his name", func(m *wire.AbuseReport) { m.Reporter = "mimi://biloxi.example/u/bob.cratchit" },
			"made by " + bobs, "brought by biloxi.example", "brought by biloxi.example"},
		{"he is alice", func(m *wire.AbuseReport) { m.Reporter = wire.IdentifierURI(alices) },
			"made by " + bobs, "brought by biloxi.example", "brought by biloxi.example"},
	} {
		f.change.Store(&row.forge)
		_, err := bob.Report(ctx, u, client.Report{Messages: []uint64{insult}})
		says(err, row.own)
		m := f.last.Load()
		says(pass("atlanta.example", m), row.hub)
		says(pass("chicago.example", m), row.at)
	}
	f.change.Store(nil)
	if m := f.last.Load(); m.Abuser != wire.IdentifierURI(carols) {
		t.Errorf("what was reported last is about %s", m.Abuser)
	}
}

// TestPseudonymousRoomLife: members of three providers report abuse, see who is typing and who
// has got what, exchange files and give the room other roles; neither the hub nor another
// provider has a name by that which is not its own user's or its user's contact.
func TestPseudonymousRoomLife(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	c := prepare(t, "chicago.example", a.status().Addresses[0]).must()
	forged := new(forger)
	alice, bob, carol := a.user("alice.liddell"), b.userBy("bob.cratchit", &http.Client{Transport: forged}), c.user("carol.bingley")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true, Roles: policy.Channel()})
	if err != nil {
		t.Fatal(err)
	}
	joinedBy(t, u, alice, bob)
	names(t, bob, u, alice, bob)
	if err := alice.SetRole(ctx, u, bob.User(), "admin"); err != nil {
		t.Fatal(err)
	}
	joinedBy(t, u, bob, carol)
	for _, x := range []*client.Client{alice, bob, carol} {
		names(t, x, u, alice, bob, carol)
	}
	if err := alice.SetRole(ctx, u, carol.User(), "writer"); err != nil {
		t.Fatal(err)
	}
	within(t, "carol may write", func() bool {
		r, err := carol.FindRoom(ctx, u.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(p client.Participant) bool { return p.User == carol.User() && p.Role == "writer" })
	})
	everybody := []*client.Client{alice, bob, carol}

	// Typing, told beside the log, and receipts.
	typed := notices[client.Typing](t, carol)
	within(t, "carol sees alice type", func() bool {
		if err := alice.TellTyping(ctx, u, true); err != nil && !strings.Contains(err.Error(), "too many") {
			t.Fatal(err)
		}
		select {
		case n := <-typed:
			if n.User != alice.User() || !n.On {
				t.Errorf("carol is told %+v", n)
			}
			return true
		default:
			return false
		}
	})
	if err := bob.SetReceipts(ctx, client.Receipts{Delivered: true, Read: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Send(ctx, u, "good morning"); err != nil {
		t.Fatal(err)
	}
	if err := bob.MarkRead(ctx, u, readBy(t, bob, u, alice, "good morning")); err != nil {
		t.Fatal(err)
	}
	if err := bob.SettleReceipts(ctx); err != nil {
		t.Fatal(err)
	}
	within(t, "alice sees that bob has read it", func() bool {
		all, err := alice.Conversation(u)
		return err == nil && len(all) == 1 && slices.ContainsFunc(all[0].Receipts, func(x client.Receipt) bool { return x.User == bob.User() && !x.Read.IsZero() })
	})

	// A file, through the hub, and by the oblivious way.
	octets := bytes.Repeat([]byte("a map of the garden "), 5000)
	if _, err := carol.Attach(ctx, u, client.Outgoing{Name: "map.txt", Text: "the map", Content: bytes.NewReader(octets), Size: int64(len(octets))}); err != nil {
		t.Fatal(err)
	}
	for i, x := range everybody {
		index := readBy(t, x, u, carol, "the map")
		for _, oblivious := range []bool{false, true} {
			if oblivious && x == alice {
				continue // her provider orders the room
			}
			var got bytes.Buffer
			about, err := x.FetchAttachment(ctx, client.Fetch{Room: u, Index: index, Oblivious: oblivious}, &got)
			if err != nil || about.Name != "map.txt" || !bytes.Equal(got.Bytes(), octets) {
				t.Errorf("member %d, oblivious %v, fetches %d octets: %v", i, oblivious, got.Len(), err)
			}
		}
	}

	masks := map[*client.Client]string{}
	for _, x := range everybody {
		masks[x] = goesBy(t, alice, u, x)
	}
	// Who reports is a pseudonym, or nobody; who is accused is known to its provider alone.
	if _, err := carol.Send(ctx, u, "an insult"); err != nil {
		t.Fatal(err)
	}
	insult := readBy(t, alice, u, carol, "an insult")
	forged.forgeries(t, b, u, bob, readBy(t, bob, u, carol, "an insult"), masks[alice], masks[bob], masks[carol])
	if hub, err := alice.Report(ctx, u, client.Report{Messages: []uint64{insult}, Note: "said to me, the gardener"}); err != nil || hub != "atlanta.example" {
		t.Fatalf("%s, %v", hub, err)
	}
	if hub, err := bob.Report(ctx, u, client.Report{Messages: []uint64{readBy(t, bob, u, carol, "an insult")}, Named: true}); err != nil || hub != "atlanta.example" {
		t.Fatalf("%s, %v", hub, err)
	}
	if _, err := carol.Report(ctx, u, client.Report{Messages: []uint64{readBy(t, carol, u, carol, "an insult")}}); !errors.Is(err, client.ErrRefused) {
		t.Errorf("carol reports herself: %v", err)
	}
	only := func(r *running) *admin.AbuseReport {
		t.Helper()
		list, err := r.operator().Reports(ctx, 0, false)
		if err != nil || len(list.Reports) != 1 {
			t.Fatalf("%s has %+v, %v", r.cfg.Domain, list, err)
		}
		x, err := r.operator().Report(ctx, list.Reports[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	at := only(a)
	if at.Abuser != masks[carol] || at.User != "" || at.Times != 2 || len(at.Messages) != 1 || at.Messages[0].Text != "an insult" || at.Messages[0].FrankedBy != "atlanta.example" {
		t.Errorf("the hub has %+v", at)
	}
	if v := at.Voices; len(v) != 2 || v[0].Reporter != "" || v[0].Note != "said to me, the gardener" || v[1].Reporter != masks[bob] || v[1].Provider != "biloxi.example" {
		t.Errorf("voices at the hub: %+v", v)
	}
	within(t, "carol's provider has both", func() bool {
		list, err := c.operator().Reports(ctx, 0, false)
		return err == nil && len(list.Reports) == 1 && list.Reports[0].Times == 2
	})
	at = only(c)
	if at.Abuser != masks[carol] || at.User != carol.User().String() || len(at.Messages) != 1 || at.Messages[0].Text != "an insult" {
		t.Errorf("carol's provider has %+v", at)
	}
	for _, v := range at.Voices {
		if v.Provider != "atlanta.example" || v.Reporter != "" || v.Note != "" || !v.Passed {
			t.Errorf("carol's provider is told %+v", v)
		}
	}
	if list, err := b.operator().Reports(ctx, 0, true); err != nil || len(list.Reports) > 0 {
		t.Errorf("biloxi, which is not concerned, has %+v, %v", list, err)
	}
	// The hub's operator bans a pseudonym; carol's cannot, who does not order the room.
	if _, err := c.operator().ResolveReport(ctx, at.ID, admin.ResolveAbuse{Ban: true}); err == nil || !strings.Contains(err.Error(), "atlanta.example orders the room now") {
		t.Errorf("a ban by who does not order the room: %v", err)
	}
	if r, err := a.operator().ResolveReport(ctx, only(a).ID, admin.ResolveAbuse{Ban: true}); err != nil || r.Outcome != "banned" {
		t.Fatalf("%+v, %v", r, err)
	}
	within(t, "carol is out", func() bool { _, err := carol.Send(ctx, u, "still here"); return errors.Is(err, client.ErrNoRoom) })
	within(t, "it is known who is banned", func() bool {
		r, err := bob.FindRoom(ctx, u.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(p client.Participant) bool { return p.User == carol.User() && p.Role == "banned" })
	})

	for _, r := range []*running{a, b, c} {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	id := room.IDOf([]byte(u.String()))
	all := []string{"alice.liddell", "bob.cratchit", "carol.bingley"}
	for _, row := range []struct {
		at            *running
		own, stranger string
	}{{a, "alice.liddell", "carol.bingley"}, {c, "carol.bingley", "alice.liddell"}} {
		found := row.at.traces(id, all...)
		for _, name := range all {
			if slices.Contains(found[name], "room") {
				t.Errorf("%s has %s in the room", row.at.cfg.Domain, name)
			}
		}
		if len(found[row.own]) == 0 {
			t.Errorf("%s has no trace of its own user: is that all of its store?", row.at.cfg.Domain)
		}
		if len(found[row.stranger]) > 0 || strings.Contains(row.at.log.String(), row.stranger) {
			t.Errorf("%s has traces of %s in %v, or in its log:\n%s", row.at.cfg.Domain, row.stranger, found[row.stranger], row.at.log)
		}
	}
}
