package client_test

import (
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/room"
)

// TestOverheard: the last user of a provider leaves, and a member commits that who may not
// change the hosting: the gossip's topic stays as that provider knows it. An administrator's
// device draws another one as soon as it is there, once.
func TestOverheard(t *testing.T) {
	for name, read := range map[string]bool{"unread": false, "read": true} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			alice, amy, bob := f.person("alice", "atlanta.example"), f.person("amy", "atlanta.example"), f.person("bob", "biloxi.example")
			u := alice.create("clubhouse")
			alice.add(u, amy)
			alice.add(u, bob)
			agree(u, alice, amy, bob)
			var topic [16]byte
			var epoch, next uint64
			var providers int
			look := func(s *room.State) {
				topic, epoch, next, providers = s.Hosting().Topic, s.Epoch(), s.At().Next, len(s.Providers())
			}
			f.at(u, look)
			known := topic
			alice.kill()
			if err := bob.c.Leave(ctx10(t), u); err != nil {
				t.Fatal(err)
			}
			eventually(t, "amy has committed it", func() bool { f.at(u, look); return providers == 1 })
			if topic != known {
				t.Fatal("a member has drawn the topic")
			}
			if read { // and ends before its turn comes
				now := time.Now()
				alice.clock = func() time.Time { return now }
				alice.restart()
				eventually(t, "alice has read that bob is gone", func() bool { s, err := alice.c.Verify(ctx10(t), u); return err == nil && s.Next == next })
				alice.kill()
				if f.at(u, look); topic != known {
					t.Fatal("she has seen to it already")
				}
			}
			alice.looksIn()
			f.at(u, look)
			if topic == known {
				t.Error("the topic is the one that biloxi knows")
			}
			drawn, at := topic, epoch
			alice.looksIn()
			if f.at(u, look); topic != drawn || epoch != at {
				t.Errorf("drawn again: epoch %d, then %d", at, epoch)
			}
			amy.send(u, "among us")
			alice.restart()
			alice.hears(u, "amy: among us")
		})
	}
}

// TestOverheardByNobody: as long as other users of the provider stay, and when an
// administrator commits the departure, there is nothing to be done later.
func TestOverheardByNobody(t *testing.T) {
	f := newFake(t)
	alice, ben, bob := f.person("alice", "atlanta.example"), f.person("ben", "biloxi.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, ben)
	alice.add(u, bob)
	var topic [16]byte
	var epoch uint64
	look := func(s *room.State) { topic, epoch = s.Hosting().Topic, s.Epoch() }
	f.at(u, look)
	known := topic
	if err := alice.c.RemoveUser(ctx10(t), u, ben.user()); err != nil {
		t.Fatal(err)
	}
	agree(u, alice, bob)
	if f.at(u, look); topic != known {
		t.Error("another topic though bob is there")
	}
	if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another topic, by the commit that removes bob", func() bool { f.at(u, look); return topic != known })
	at := epoch
	alice.kill()
	alice.looksIn()
	if f.at(u, look); epoch != at {
		t.Errorf("from epoch %d to %d for nothing", at, epoch)
	}
}
