package rooms_test

import (
	"crypto/rand"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// topic is the name of the topic that a provider has joined for its only room; "" if it has
// joined none or several.
func (p *provider) topic() (name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name = range p.topics {
	}
	if len(p.topics) != 1 {
		return ""
	}
	return name
}

// TestOldTopic: a provider whose last user was removed knows the topic of the room's gossip as
// long as no commit has drawn another one, and then nothing comes there any more.
func TestOldTopic(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	old := chicago.topic()
	if old == "" || atlanta.topic() != old || biloxi.topic() != old {
		t.Fatalf("topics %q, %q, %q", atlanta.topic(), biloxi.topic(), old)
	}
	pub := alice.group.Public()
	err := alice.commit(id, mls.CommitOptions{Remove: must(room.RosterOf(pub))(t).Leaves(carol.who.User),
		Proposals: []*mls.Proposal{must(room.UpdateParticipants(pub.Context(), nil, []uri.User{carol.who.User}))(t)}})
	if err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 4)
	bob.follow(id, 4)
	eventually(t, "chicago takes part no more", func() bool { return chicago.topic() == "" && chicago.stand(id).Next == 4 })
	if atlanta.topic() != old {
		t.Errorf("the topic is %q without any commit that says so", atlanta.topic())
	}

	h := w.hosting(alice, three[0], room.FirstTerm, three[0])
	rand.Read(h.Topic[:])
	if err := alice.rehost(id, h); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 5)
	bob.follow(id, 5)
	eventually(t, "those who stay have left the topic for another one", func() bool {
		name := atlanta.topic()
		return name != "" && name != old && biloxi.topic() == name
	})
	published := func(name string) (n int) {
		for _, p := range []*provider{atlanta, biloxi} {
			p.set(func() { n += p.toldTo["gossip "+name] })
		}
		return n
	}
	before := published(old)
	bob.say(id, "among us")
	alice.read(id, "among us")
	eventually(t, "it was published", func() bool { return published(atlanta.topic()) > 0 })
	if n := published(old) - before; n > 0 || before == 0 {
		t.Errorf("%d pieces came on the old topic, after %d", n, before)
	}
	if n := chicago.stand(id).Next; n != 4 {
		t.Errorf("chicago has %d entries", n)
	}
	var head *logstore.Head
	err = chicago.st.View(func(tx *store.Tx) (err error) { head, err = logstore.ReadHead(tx, room.ID(id)); return err })
	if err != nil || head.Topic == h.Topic {
		t.Errorf("chicago knows the new topic: %v", err)
	}
}
