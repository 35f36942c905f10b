package rooms_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestComplicitHub: a hub that orders what a member without a policy wants is followed by
// nobody: another provider stops before that entry, says why, and hands its users nothing of
// it. That such members are refused by honest hubs shows node.TestOutlaw.
func TestComplicitHub(t *testing.T) {
	type action struct {
		name string
		// does returns what carol wants of the room.
		does func(w *world, carol *device, alice, bob uri.User) wire.HandshakeBundle
		why  string
	}
	commits := func(o func(carol *device, alice, bob uri.User) mls.CommitOptions) func(*world, *device, uri.User, uri.User) wire.HandshakeBundle {
		return func(w *world, carol *device, alice, bob uri.User) wire.HandshakeBundle {
			return must(parseUpdate(carol.handshake(o(carol, alice, bob))))(w.t).Bundle
		}
	}
	list := func(d *device, set []room.Participant, remove ...uri.User) *mls.Proposal {
		return must(room.UpdateParticipants(d.group.Public().Context(), set, remove))(d.p.w.t)
	}
	leaves := func(d *device, u uri.User) []mls.LeafIndex {
		return must(room.RosterOf(d.group.Public()))(d.p.w.t).Leaves(u)
	}
	for _, c := range []action{
		{"kicks an administrator", commits(func(d *device, alice, _ uri.User) mls.CommitOptions {
			return mls.CommitOptions{Remove: leaves(d, alice)}
		}), "canKick"},
		{"bans a member", commits(func(d *device, _, bob uri.User) mls.CommitOptions {
			return mls.CommitOptions{Remove: leaves(d, bob), Proposals: []*mls.Proposal{list(d, []room.Participant{{User: bob, Role: policy.Banned}})}}
		}), "canBan"},
		{"becomes an administrator", commits(func(d *device, _, _ uri.User) mls.CommitOptions {
			return mls.CommitOptions{Proposals: []*mls.Proposal{list(d, []room.Participant{{User: d.who.User, Role: policy.Admin}})}}
		}), "admin"},
		{"changes the policy", commits(func(d *device, _, _ uri.User) mls.CommitOptions {
			return mls.CommitOptions{Proposals: []*mls.Proposal{must(room.Update(&policy.Base{}))(d.p.w.t)}}
		}), "canChangeRoomMembershipStyle"},
		{"ends the room", commits(func(*device, uri.User, uri.User) mls.CommitOptions {
			return mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(uri.Room{})}}
		}), "canDestroyRoom"},
		{"writes what cannot be read", commits(func(*device, uri.User, uri.User) mls.CommitOptions {
			return mls.CommitOptions{Proposals: []*mls.Proposal{{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: room.RolesComponent, Op: mls.AppDataSet, Update: []byte{7}}}}}
		}), "component 0x0025"},
		{"adds more users than may be", func(w *world, carol *device, _, _ uri.User) wire.HandshakeBundle {
			return must(parseUpdate(carol.handshake(carol.adding(w.device("dan@chicago.example", "phone")))))(w.t).Bundle
		}, "3"},
		{"lets a stranger in", func(w *world, carol *device, _, _ uri.User) wire.HandshakeBundle {
			dan := w.device("dan@chicago.example", "phone")
			s := must(mls.ExternalCommit(must(carol.group.GroupInfo(false))(w.t), mls.ExternalOptions{LeafParams: dan.leaf, Tree: carol.group.Public().Tree(),
				Proposals: []*mls.Proposal{list(carol, []room.Participant{{User: dan.who.User, Role: policy.Member}})}}, dan.config(), time.Now()))(w.t)
			return wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo}, Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}
		}, "joins by itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, three...)
			alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
			id, _, err := alice.create("room")
			if err != nil {
				t.Fatal(err)
			}
			if err := alice.add(id, bob, carol); err != nil {
				t.Fatal(err)
			}
			for _, d := range []*device{alice, bob, carol} {
				d.follow(id, 2)
			}
			if err := alice.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{must(room.Update(&policy.Base{MultiDevice: true, MaxUsers: policy.AtMost(3)}))(t)}}); err != nil {
				t.Fatal(err)
			}
			bob.follow(id, 3)
			carol.follow(id, 3)
			bundle := c.does(w, carol, alice.who.User, bob.who.User)
			body := must(room.HandshakeOf(&bundle).Bytes())(t)
			lie := w.ps["atlanta.example"].forge(id, func(e *room.Entry) { e.Kind, e.Txn, e.Body = room.KindHandshake, room.TxnID{9}, body })
			for _, domain := range []string{"biloxi.example", "chicago.example"} {
				p := w.ps[domain]
				p.gossip("atlanta.example", lie.Append(nil))
				eventually(t, domain+" stops following", func() bool { return p.rooms.List()[0].Broken != "" })
				if s := p.rooms.List()[0]; s.Next != 3 || !strings.Contains(s.Broken, c.why) {
					t.Errorf("%s has %d entries and says %q, expected %q", domain, s.Next, s.Broken, c.why)
				}
				eventually(t, domain+" keeps a proof", func() bool { k := p.condemned(id); return k != nil && k.Head.Head == lie.Head.Head })
			}
			// Users there have what was said before it, and nothing more.
			log, err := w.ps["biloxi.example"].rooms.Log(context.Background(), bob.who, id, 0, 100)
			if err != nil || len(log.Entries) != 3 {
				t.Errorf("bob reads %d entries, %v", len(log.Entries), err)
			}
		})
	}
}
