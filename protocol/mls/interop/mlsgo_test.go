package interop

import (
	"bytes"
	"fmt"
	"testing"
)

// goAgree checks that mls-go members agree.
func goAgree(t *testing.T, members ...*MLSGoMember) {
	t.Helper()
	want := must(members[0].Export("label", []byte{1}, 48))(t)
	for i, m := range members[1:] {
		if !bytes.Equal(m.GroupContext(), members[0].GroupContext()) {
			t.Fatalf("member %d: GroupContext %x, want %x", i+1, m.GroupContext(), members[0].GroupContext())
		}
		if !bytes.Equal(m.EpochAuthenticator(), members[0].EpochAuthenticator()) {
			t.Fatalf("member %d: other epoch authenticator", i+1)
		}
		if got := must(m.Export("label", []byte{1}, 48))(t); !bytes.Equal(got, want) {
			t.Fatalf("member %d: other exporter", i+1)
		}
	}
}

func goTalk(t *testing.T, members ...*MLSGoMember) {
	t.Helper()
	for i, from := range members {
		text := fmt.Appendf(nil, "from %d", i)
		message := must(from.Encrypt(text, []byte("aad")))(t)
		for _, to := range members {
			if to == from {
				continue
			}
			data, aad, sender, err := to.Decrypt(message)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(data, text) || string(aad) != "aad" || sender != from.OwnLeaf() {
				t.Fatalf("got %q, %q of leaf %d", data, aad, sender)
			}
		}
	}
}

func goProcess(t *testing.T, message []byte, members ...*MLSGoMember) {
	t.Helper()
	for _, m := range members {
		if err := m.Process(message); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMLSGoWithItself(t *testing.T) {
	for _, suite := range []uint16{1, 2} {
		t.Run(fmt.Sprintf("suite%d", suite), func(t *testing.T) {
			t.Parallel()
			member := func(name string) *MLSGoMember {
				return must(NewMLSGoMember(suite, []byte(name)))(t)
			}
			alice, bob, carol, dave := member("alice"), member("bob"), member("carol"), member("dave")

			if err := alice.CreateGroup([]byte("room")); err != nil {
				t.Fatal(err)
			}
			_, welcome, err := alice.Commit(MLSGoCommit{Add: [][]byte{must(bob.KeyPackage())(t)}})
			if err != nil {
				t.Fatal(err)
			}
			if err := bob.JoinWelcome(welcome); err != nil {
				t.Fatal(err)
			}
			goAgree(t, alice, bob)
			goTalk(t, alice, bob)

			// Add by proposal, committed by somebody else.
			p := must(bob.ProposeAdd(must(carol.KeyPackage())(t)))(t)
			goProcess(t, p, alice)
			commit, welcome, err := alice.Commit(MLSGoCommit{})
			if err != nil {
				t.Fatal(err)
			}
			goProcess(t, commit, bob)
			if err := carol.JoinWelcome(welcome); err != nil {
				t.Fatal(err)
			}
			goAgree(t, alice, bob, carol)

			// Updates: empty commit, and Update by reference.
			goProcess(t, must(carol.SelfUpdate())(t), alice, bob)
			goAgree(t, alice, bob, carol)
			goProcess(t, must(bob.ProposeUpdate())(t), alice, carol)
			commit, _, err = alice.Commit(MLSGoCommit{})
			if err != nil {
				t.Fatal(err)
			}
			goProcess(t, commit, bob, carol)
			goAgree(t, alice, bob, carol)
			goTalk(t, alice, bob, carol)

			// External join.
			commit = must(dave.ExternalJoin(must(alice.GroupInfo(true))(t), nil))(t)
			goProcess(t, commit, alice, bob, carol)
			goAgree(t, alice, bob, carol, dave)
			// Without the correction of D06 nobody could follow this one.
			erin := member("erin")
			goProcess(t, must(erin.ExternalJoin(must(dave.GroupInfo(true))(t), nil))(t), alice, bob, carol, dave)
			goAgree(t, alice, bob, carol, dave, erin)
			commit, _, err = alice.Commit(MLSGoCommit{Remove: []uint32{erin.OwnLeaf()}})
			if err != nil {
				t.Fatal(err)
			}
			goProcess(t, commit, bob, carol, dave)
			goProcess(t, must(bob.SelfUpdate())(t), alice, carol, dave)
			must(dave.GroupInfo(true))(t)
			goTalk(t, alice, bob, carol, dave)

			// External PSK.
			for _, m := range []*MLSGoMember{alice, bob, carol, dave} {
				m.AddPSK([]byte("id"), bytes.Repeat([]byte{7}, 32))
			}
			commit, _, err = dave.Commit(MLSGoCommit{PSK: [][]byte{[]byte("id")}})
			if err != nil {
				t.Fatal(err)
			}
			goProcess(t, commit, alice, bob, carol)
			goAgree(t, alice, bob, carol, dave)

			// Remove.
			commit, _, err = alice.Commit(MLSGoCommit{Remove: []uint32{1}})
			if err != nil {
				t.Fatal(err)
			}
			goProcess(t, commit, carol, dave)
			goAgree(t, alice, carol, dave)
			goTalk(t, alice, carol, dave)
			if members := alice.Members(); len(members) != 3 || members[1].Leaf != 2 {
				t.Errorf("members %v", members)
			}
			if bytes.Equal(bob.EpochAuthenticator(), alice.EpochAuthenticator()) {
				t.Error("the removed member followed")
			}
		})
	}
}
