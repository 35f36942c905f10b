package mls

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// TestLimits: every field of Limits is enforced, at its exact value.

func TestLimitMessageSize(t *testing.T) {
	seeds := fuzzSeeds()
	for name, decode := range map[string]func([]byte, Limits) error{
		"message":       func(b []byte, l Limits) error { _, err := ParseMessage(b, l); return err },
		"key package":   func(b []byte, l Limits) error { _, err := ParseKeyPackage(b, l); return err },
		"group info":    func(b []byte, l Limits) error { _, err := ParseGroupInfo(b, l); return err },
		"tree":          func(b []byte, l Limits) error { _, err := ParseRatchetTree(b, l); return err },
		"proposal":      func(b []byte, l Limits) error { _, err := ParseProposal(b, l); return err },
		"group context": func(b []byte, l Limits) error { _, err := ParseGroupContext(b, l); return err },
		"dictionary": func(b []byte, l Limits) error {
			_, err := Extensions{{ExtAppDataDictionary, b}}.Dictionary(l)
			return err
		},
	} {
		for _, b := range seeds[name] {
			if len(b) < 2 {
				continue
			}
			if err := decode(b, Limits{MessageSize: len(b)}); err != nil {
				t.Errorf("%s at the limit: %v", name, err)
			}
			wantOne(t, name, decode(b, Limits{MessageSize: len(b) - 1}), ErrTooLarge)
		}
	}
	// Nothing is copied of what is refused for its size.
	big := make([]byte, 17<<20)
	bounded(t, "17 MiB", 64<<10, 0, len(big), func() {
		_, err := ParseMessage(big, Limits{})
		wantOne(t, "17 MiB", err, ErrTooLarge)
	})
}

func TestLimitLeaves(t *testing.T) {
	r := plainRoom(t, Limits{Leaves: 4}, 4)
	tree := r.server.Tree().Bytes()
	_, err := ParseRatchetTree(tree, Limits{Leaves: 4})
	fuzzOK(err)
	_, err = ParseRatchetTree(tree, Limits{Leaves: 3})
	wantOne(t, "tree", err, ErrTooLarge)
	narrow := r.cfg
	narrow.Limits.Leaves = 2
	info := fuzzGot(r.members[0].GroupInfo(true))
	_, err = NewPublicGroup(info, nil, narrow, fuzzTime)
	wantOne(t, "GroupInfo", err, ErrTooLarge)
	_, err = NewPublicGroup(info, r.server.Tree(), narrow, fuzzTime)
	wantOne(t, "tree that was decoded under another limit", err, ErrTooLarge)
	_, err = ExternalCommit(info, ExternalOptions{LeafParams: r.params("fifth")}, r.cfg, fuzzTime)
	wantOne(t, "external commit", err, ErrTooLarge)

	kp, v := r.keyPackage("fifth")
	_, err = r.members[0].Commit(CommitOptions{Add: []*ValidKeyPackage{v}}, fuzzTime)
	wantOne(t, "own commit", err, ErrTooLarge)
	// A member that knows no such limit adds one more.
	r.members[0].pub.cfg.Limits.Leaves = 64
	s := fuzzGot(r.members[0].Commit(CommitOptions{Add: []*ValidKeyPackage{v}, TreeInWelcome: true}, fuzzTime))
	wantOne(t, "commit", r.deliver(0, s), ErrTooLarge)
	_, err = r.members[1].Process(s.Message, fuzzTime)
	wantOne(t, "commit", err, ErrTooLarge)
	_, err = JoinWelcome(s.Welcome, kp, JoinOptions{}, r.cfg, fuzzTime)
	wantOne(t, "Welcome", err, ErrTooLarge)

	// Lists with an entry per leaf.
	seeds := fuzzSeeds()
	two := Welcome{Suite: r.suite, secrets: make([]encryptedGroupSecrets, 2)}
	_, err = ParseMessage(two.Message().Bytes(), Limits{Leaves: 1})
	wantOne(t, "Welcome for two", err, ErrTooLarge)
	_, err = ParseMessage(seeds["message"][4], Limits{Leaves: 1}) // a path node for two
	wantOne(t, "path for two", err, ErrTooLarge)
}

func TestLimitProposals(t *testing.T) {
	r := plainRoom(t, Limits{Proposals: 3}, 3)
	remove := func(n int) (out CommitOptions) {
		for range n {
			out.Proposals = append(out.Proposals, &Proposal{Type: ProposalAppEphemeral, Content: []byte{}})
		}
		return out
	}
	_, err := r.members[0].Commit(remove(4), fuzzTime)
	wantOne(t, "own commit", err, ErrTooLarge)
	s := fuzzGot(r.members[1].Commit(CommitOptions{}, fuzzTime))
	s.Message.Public.auth.commit.proposals = make([]proposalOrRef, 4)
	for i := range 4 {
		s.Message.Public.auth.commit.proposals[i].proposal = remove(1).Proposals[0]
	}
	a := &s.Message.Public.auth
	fuzzOK(a.sign(r.members[1].signer, &r.server.ctx))
	m := publicMessage(a, &r.server.ctx, r.members[1].epoch.membership).Message()
	_, err = ParseMessage(m.Bytes(), r.cfg.Limits)
	wantOne(t, "decoding", err, ErrTooLarge)
	m = reparsed(m)
	_, err = r.server.Process(m.Public, s.GroupInfo, fuzzTime)
	wantOne(t, "server", err, ErrTooLarge)
	_, err = r.members[0].Process(m, fuzzTime)
	wantOne(t, "member", err, ErrTooLarge)
}

func TestLimitPendingProposals(t *testing.T) {
	r := plainRoom(t, Limits{PendingProposals: 2}, 3)
	propose := func(k byte) *Message {
		return sealedProposal(r.members[0], &Proposal{Type: ProposalPSK, PSK: &PreSharedKeyID{Type: PSKExternal,
			ID: []byte("psk"), Nonce: bytes.Repeat([]byte{k}, hashSize)}}, WirePublicMessage)
	}
	first := fuzzGot(r.server.Process(propose(1).Public, nil, fuzzTime))
	second := fuzzGot(r.server.Process(propose(2).Public, nil, fuzzTime))
	third := fuzzGot(r.server.Process(propose(3).Public, nil, fuzzTime))
	fuzzOK(r.server.Apply(first))
	fuzzOK(r.server.Apply(second))
	before := publicPrint(r.server)
	wantOne(t, "server applies", r.server.Apply(third), ErrTooLarge)
	_, err := r.server.Process(propose(4).Public, nil, fuzzTime)
	wantOne(t, "server", err, ErrTooLarge)
	if publicPrint(r.server) != before || len(r.server.Pending()) != 2 {
		t.Error("server has changed")
	}
	fuzzGot(r.server.Process(propose(1).Public, nil, fuzzTime)) // it is there already
	x := r.members[1]
	fuzzOK(x.Apply(fuzzGot(x.Process(propose(1), fuzzTime))))
	fuzzOK(x.Apply(fuzzGot(x.Process(propose(2), fuzzTime))))
	print := memberPrint(x)
	_, err = x.Process(propose(3), fuzzTime)
	wantOne(t, "member", err, ErrTooLarge)
	_, err = x.Propose(&Proposal{Type: ProposalRemove, Remove: 2}, SendOptions{}, fuzzTime)
	wantOne(t, "own proposal", err, ErrTooLarge)
	if memberPrint(x) != print {
		t.Error("member has changed")
	}
	fuzzGot(x.Commit(CommitOptions{}, fuzzTime))
}

func TestLimitListEntries(t *testing.T) {
	three := make([]CredentialType, 3)
	ext := Extensions{{1, nil}, {2, nil}, {3, nil}}
	chain := X509Credential([]byte{1}, []byte{2}, []byte{3})
	senders := ExternalSendersExtension(make([]ExternalSender, 3))
	for i := range 3 {
		senders = ExternalSendersExtension(append(make([]ExternalSender, 0), ExternalSender{[]byte{1}, BasicCredential(nil)},
			ExternalSender{[]byte{byte(i)}, BasicCredential(nil)}, ExternalSender{[]byte{3}, BasicCredential(nil)}))
	}
	psk := PreSharedKeyID{Type: PSKExternal}
	gs := groupSecrets{psks: []PreSharedKeyID{psk, psk, psk}}
	caps := Capabilities{Credentials: three}
	for name, decode := range map[string]func(Limits) error{
		"extensions": func(l Limits) error {
			return parse(ext.append(nil), l, "extensions", func(r *reader) { r.extensions() })
		},
		"capabilities": func(l Limits) error {
			return parse(caps.append(nil), l, "capabilities", new(Capabilities).read)
		},
		"chain": func(l Limits) error { return parse(chain.append(nil), l, "credential", new(Credential).read) },
		"dictionary": func(l Limits) error {
			_, err := Extensions{Dictionary{1: nil, 2: nil, 3: nil}.Extension()}.Dictionary(l)
			return err
		},
		"external senders": func(l Limits) error { _, err := Extensions{senders}.externalSenders(l); return err },
		"required capabilities": func(l Limits) error {
			_, err := Extensions{RequiredCapabilities{Credentials: three}.Extension()}.requiredCapabilities(l)
			return err
		},
		"PSKs": func(l Limits) error { return parse(gs.append(nil), l, "GroupSecrets", new(groupSecrets).read) },
	} {
		if err := decode(Limits{ListEntries: 3}); err != nil {
			t.Errorf("%s at the limit: %v", name, err)
		}
		wantOne(t, name, decode(Limits{ListEntries: 2}), ErrTooLarge)
	}

	// A dictionary does not grow beyond it by updates.
	r := plainRoom(t, Limits{}, 2)
	r.server.cfg.Limits.ListEntries = 8
	r.members[0].pub.cfg.Limits.ListEntries = 8
	var o CommitOptions
	for i := range 9 {
		o.Proposals = append(o.Proposals, &Proposal{Type: ProposalAppDataUpdate,
			AppData: &AppDataUpdate{ComponentID(i), AppDataSet, []byte{1}}})
	}
	_, err := r.members[0].Commit(o, fuzzTime)
	wantOne(t, "own commit", err, ErrTooLarge)
	s := fuzzGot(r.members[1].Commit(o, fuzzTime))
	_, err = r.server.Process(s.Message.Public, s.GroupInfo, fuzzTime)
	wantOne(t, "server", err, ErrTooLarge)
	_, err = r.members[0].Process(s.Message, fuzzTime)
	wantOne(t, "member", err, ErrTooLarge)
}

func TestLimitForwardGenerations(t *testing.T) {
	r := plainRoom(t, Limits{ForwardGenerations: 3}, 2)
	var sent []*Message
	for range 6 {
		sent = append(sent, fuzzGot(r.members[0].Encrypt([]byte("hello"), SendOptions{})))
	}
	x := r.members[1]
	before := memberPrint(x)
	_, err := x.Process(sent[4], fuzzTime)
	wantOne(t, "four ahead", err, ErrTooFarAhead)
	if memberPrint(x) != before {
		t.Error("member has changed")
	}
	fuzzGot(x.Process(sent[3], fuzzTime))
	fuzzGot(x.Process(sent[5], fuzzTime))
	fuzzGot(x.Process(sent[0], fuzzTime))
}

func TestLimitSkippedKeys(t *testing.T) {
	r := plainRoom(t, Limits{SkippedKeys: 2}, 2)
	var sent []*Message
	for range 6 {
		sent = append(sent, fuzzGot(r.members[0].Encrypt([]byte("hello"), SendOptions{})))
	}
	x := r.members[1]
	fuzzGot(x.Process(sent[5], fuzzTime))
	for i := range 3 {
		_, err := x.Process(sent[i], fuzzTime)
		wantOne(t, fmt.Sprint("generation ", i), err, ErrReplayed)
	}
	fuzzGot(x.Process(sent[3], fuzzTime))
	fuzzGot(x.Process(sent[4], fuzzTime))
}

func TestLimitPastEpochs(t *testing.T) {
	for _, c := range []struct{ limit, held int }{{2, 2}, {-1, 0}, {0, 3}} {
		r := plainRoom(t, Limits{PastEpochs: c.limit}, 2)
		var sent []*Message
		for range 5 {
			sent = append(sent, fuzzGot(r.members[0].Encrypt([]byte("hello"), SendOptions{})))
			r.commit(0, CommitOptions{})
		}
		for i, m := range sent {
			_, err := r.members[1].Process(m, fuzzTime)
			if i >= len(sent)-c.held {
				fuzzOK(err)
			} else {
				wantOne(t, fmt.Sprintf("limit %d, message of %d epochs ago", c.limit, len(sent)-i), err, ErrWrongEpoch)
			}
		}
	}
}

func TestLimitResumptionPSKs(t *testing.T) {
	for _, c := range []struct{ limit, held int }{{2, 2}, {-1, 0}, {0, 3}} {
		r := plainRoom(t, Limits{ResumptionPSKs: c.limit}, 2)
		for range 5 {
			r.commit(0, CommitOptions{})
		}
		x := r.members[1]
		fuzzGot(x.ResumptionPSK(x.Epoch()))
		for ago := uint64(1); ago <= 5; ago++ {
			_, err := x.ResumptionPSK(x.Epoch() - ago)
			if ago <= uint64(c.held) {
				fuzzOK(err)
			} else {
				wantOne(t, fmt.Sprintf("limit %d, %d epochs ago", c.limit, ago), err, ErrUnknownPSK)
			}
		}
		if len(x.resumption) != c.held {
			t.Errorf("limit %d: %d held", c.limit, len(x.resumption))
		}
	}
}

// TestNoGoroutineOutlivesACall: verifying a tree uses all cores, and whether it
// succeeds or fails half-way, its goroutines have ended when it returns.
func TestNoGoroutineOutlivesACall(t *testing.T) {
	r := newRoom(t, 40, roomParams{})
	info, err := r.members[0].GroupInfo(true)
	noErr(t, err)
	bad, err := ParseGroupInfo(info.Bytes(), Limits{})
	noErr(t, err)
	tree := r.server.Tree().Bytes()
	tree[len(tree)/2] ^= 1
	before := runtime.NumGoroutine()
	for range 20 {
		if _, err := NewPublicGroup(info, nil, r.cfg, attackTime); err != nil {
			t.Fatal(err)
		}
		if x, err := ParseRatchetTree(tree, Limits{}); err == nil {
			if _, err := NewPublicGroup(bad, x, r.cfg, attackTime); err == nil {
				t.Fatal("a damaged tree is accepted")
			}
		}
		// One bad leaf, found while others verify.
		g := *r.server
		leaf := *g.tree.leaf(20)
		leaf.Signature = append([]byte(nil), leaf.Signature...)
		leaf.Signature[5] ^= 1
		damaged := g.tree.edit(20, &leaf, func(_ int, p *parentNode) *parentNode { return p })
		damaged.seal()
		if err := verifyLeaves(damaged, &g.ctx, &g.cfg, attackTime); !errors.Is(err, ErrBadSignature) {
			t.Fatalf("bad leaf signature: %v", err)
		}
		// One that has said it is done takes a moment to be gone.
		for wait := 0; runtime.NumGoroutine() > before; wait++ {
			if wait == 1000 {
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
