package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// stage are the roles of a room in which guests react, speakers say things and their own
// they change, and the chair takes back what others say.
func stage(t *testing.T) *policy.Roles {
	t.Helper()
	enter := []policy.Capability{policy.ReceiveMessage, policy.AddOwnClient, policy.RemoveSelf}
	speak := append([]policy.Capability{policy.SendMessage, policy.ReplyInTopic, policy.EditOwnMessage, policy.DeleteOwnMessage}, enter...)
	r, err := policy.NewRoles([]policy.Definition{
		{Index: 1, Name: "banned", MaxActive: policy.AtMost(0)},
		{Index: 2, Name: "guest", Capabilities: append([]policy.Capability{policy.ReactToMessage, policy.DeleteOwnReaction}, enter...)},
		{Index: 3, Name: "speaker", Capabilities: speak},
		{Index: 4, Name: "chair", Capabilities: append([]policy.Capability{policy.AddParticipant, policy.ChangeUserRole, policy.ChangeHosting,
			policy.ReplyToMessage, policy.DeleteOtherMessage}, speak...),
			Changes: []policy.Changes{{From: 0, To: []policy.Role{2, 3}}, {From: 2, To: []policy.Role{3}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPermits: what kind of message a role may send. The own device refuses the rest at
// once; what a hostile device sends all the same, the hub can't tell from what it may
// send, and every other device leaves out, with a word to its user.
func TestPermits(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "atlanta.example")
	u, err := alice.c.CreateRoomAs(ctx10(t), client.NewRoom{Name: "stage", Roles: stage(t)})
	if err != nil {
		t.Fatal(err)
	}
	alice.add(u, bob)
	alice.add(u, carol)
	if err := alice.c.SetRole(ctx10(t), u, carol.user(), "speaker"); err != nil {
		t.Fatal(err)
	}
	ids := map[string]content.MessageID{}
	whole := map[string]*content.Message{}
	note := func(name string, p *person, index uint64) {
		t.Helper()
		list, err := p.c.Messages(u, index, 1)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		ids[name], whole[name] = list[0].ID, list[0].Content
	}
	for _, p := range []*person{alice, carol} {
		p.eventuallySpeaks(u)
		note(p.name, p, p.send(u, "by "+p.name))
	}
	for _, p := range []*person{alice, bob, carol} {
		p.hears(u, "alice: by alice", "carol: by carol")
	}
	i, err := bob.c.SendContent(ctx10(t), u, content.React(content.Origin{}, ids["alice"], "\u2764"))
	if err != nil {
		t.Fatal("a guest reacts: ", err)
	}
	note("heart", bob, i)
	eventually(t, "alice sees the reaction", func() bool {
		list, _ := alice.c.Messages(u, 0, 100)
		return slices.ContainsFunc(list, func(m client.Message) bool { return m.ID == ids["heart"] })
	})

	topic := content.Reply(content.Origin{}, ids["alice"], content.Text("in topic"))
	topic.TopicID = []byte("t")
	changed := func(name string) *content.Message {
		return content.Edit(content.Origin{}, whole[name], ids[name], content.Text("changed"))
	}
	heart := content.Edit(content.Origin{}, whole["heart"], ids["heart"], content.Part{Disposition: content.Reaction, Content: content.SinglePart{MediaType: content.PlainText, Content: []byte("+")}})
	for n, x := range []struct {
		what string
		by   *person
		m    *content.Message
		why  string // empty: allowed
	}{
		{"says", bob, content.New(content.Origin{}, content.Text("unasked")), "the role guest lacks canSendMessage"},
		{"replies", bob, content.Reply(content.Origin{}, ids["alice"], content.Text("unasked")), "the role guest lacks canReplyToMessage"},
		{"edits its reaction", bob, heart, "the role guest lacks canEditReaction"},
		{"takes back its reaction", bob, content.Delete(content.Origin{}, whole["heart"], ids["heart"]), ""},
		{"takes back another's message", bob, content.Delete(content.Origin{}, whole["alice"], ids["alice"]), "the role guest lacks canDeleteOtherMessage"},
		{"replies", carol, content.Reply(content.Origin{}, ids["alice"], content.Text("unasked")), "the role speaker lacks canReplyToMessage"},
		{"replies in a topic", carol, topic, ""},
		{"reacts", carol, content.React(content.Origin{}, ids["alice"], "+"), "the role speaker lacks canReactToMessage"},
		{"edits", carol, changed("carol"), ""},
		{"edits another's", carol, changed("alice"), "nobody edits what another has written"},
		{"edits another's", alice, changed("carol"), "nobody edits what another has written"},
		{"takes back another's", carol, content.Delete(content.Origin{}, whole["alice"], ids["alice"]), "the role speaker lacks canDeleteOtherMessage"},
		{"takes back another's reaction", alice, content.Delete(content.Origin{}, whole["heart"], ids["heart"]), "the role chair lacks canDeleteOtherReaction"},
		{"takes back its own", carol, content.Delete(content.Origin{}, whole["carol"], ids["carol"]), ""},
		{"takes back another's", alice, content.Delete(content.Origin{}, whole["carol"], ids["carol"]), ""},
	} {
		what := x.by.name + " " + x.what
		send := x.by.c.SendContent
		if x.why != "" {
			if _, err := send(ctx10(t), u, x.m); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), x.why) {
				t.Errorf("%s: %v", what, err)
			}
			send = x.by.c.SendUnjudged
		}
		// Another salt, so that each is a message of its own.
		m := *x.m
		m.Salt = content.NewSalt()
		i, err := send(ctx10(t), u, &m)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		note(fmt.Sprint(n), x.by, i)
		other := alice
		if x.by == alice {
			other = carol
		}
		id := ids[fmt.Sprint(n)]
		if x.why == "" {
			eventually(t, what+", and it is seen", func() bool { return other.has(u, id) })
			continue
		}
		await(other, func(p client.Problem) bool { return strings.Contains(p.Err.Error(), x.why) })
		if other.has(u, id) {
			t.Errorf("%s, and %s shows it", what, other.name)
		}
	}
}

// TestDefineRoles: a device says what a room's roles mean, and all go by that.
func TestDefineRoles(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u, err := alice.c.CreateRoomAs(ctx10(t), client.NewRoom{Name: "news", Roles: policy.Channel()})
	if err != nil {
		t.Fatal(err)
	}
	alice.add(u, bob)
	defs := slices.Clone(policy.Channel().All())
	defs[2].Capabilities = append(slices.Clone(defs[2].Capabilities), policy.SendMessage)
	open, err := policy.NewRoles(defs)
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.c.DefineRoles(ctx10(t), u, open); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "the role reader lacks canChangeRoleDefinitions") {
		t.Errorf("a reader says what the roles mean: %v", err)
	}
	if _, err := bob.c.Send(ctx10(t), u, "too early"); !errors.Is(err, client.ErrRefused) {
		t.Errorf("a reader writes: %v", err)
	}
	for range 2 { // the second time there is nothing to change
		if err := alice.c.DefineRoles(ctx10(t), u, open); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "bob knows", func() bool {
		r, err := bob.c.Roles(ctx10(t), u)
		return err == nil && r.May(2, policy.SendMessage)
	})
	bob.send(u, "now")
	alice.hears(u, "bob: now")
}

// eventuallySpeaks waits until a device knows that it may.
func (p *person) eventuallySpeaks(u uri.Room) {
	p.t.Helper()
	eventually(p.t, p.name+" may speak", func() bool {
		list, err := p.c.Rooms(context.Background())
		return err == nil && slices.ContainsFunc(list, func(r client.Room) bool {
			return r.URI == u && slices.ContainsFunc(r.Participants, func(x client.Participant) bool { return x.User == p.user() && x.Role != "guest" })
		})
	})
}

func (p *person) has(u uri.Room, id content.MessageID) bool {
	p.t.Helper()
	list, err := p.c.Messages(u, 0, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(m client.Message) bool { return m.ID == id })
}
