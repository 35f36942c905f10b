package mls

import (
	"bytes"
	"testing"
)

// FuzzWelcome: a joiner survives any Welcome, one that its inviter sealed
// properly around whatever it likes included. What it accepts is a group that
// is in the state that the GroupInfo says, and that can go on. The first byte
// chooses the layer that is changed.
func FuzzWelcome(f *testing.F) {
	for layer := range byte(6) {
		f.Add([]byte{layer})
		for op := range byte(8) {
			f.Add([]byte{layer, 0, op, 0, 33, 7, 5})
			f.Add([]byte{layer, 1, op, 1, 44, 1, 5})
			f.Add([]byte{layer, 2, op, 0, 2, 0, 9, 1, 2, 3})
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := fuzzRoomOf(t, X25519AES128Ed25519)
		s := &script{in}
		layer := s.pick(6)
		gs := groupSecrets{joiner: r.secrets.joiner.clone(), path: r.secrets.path.clone()}
		info, tree := *r.info, r.tree
		var secretsPlain, infoPlain []byte
		switch layer {
		case 0: // the outside
			b := s.edit(r.welcome.append(nil))
			w := new(Welcome)
			if parse(b, r.cfg.Limits, "Welcome", w.read) != nil {
				return
			}
			r.join(t, w, nil, tree, len(b))
			return
		case 1: // GroupSecrets as bytes
			secretsPlain = s.edit(gs.append(nil))
			var changed groupSecrets
			if parse(secretsPlain, Limits{}, "GroupSecrets", changed.read) == nil {
				gs = changed
			}
		case 2: // GroupSecrets as values
			switch s.pick(4) {
			case 0:
				gs.path = nil
			case 1:
				gs.path = randomBytes(s.pick(64))
			case 2:
				gs.joiner = randomBytes(s.pick(64))
			}
			for range s.pick(4) {
				id := PreSharedKeyID{Type: PSKExternal, ID: []byte("psk"), Nonce: s.bytes(s.pick(33))}
				if s.flag() {
					id = PreSharedKeyID{Type: PSKResumption, Usage: ResumptionUsage(1 + s.pick(3)),
						GroupID: info.Context.GroupID, Epoch: uint64(s.pick(20)), Nonce: randomBytes(32)}
				}
				gs.psks = append(gs.psks, id)
			}
			r.confirm(&gs, &info)
		case 3: // GroupInfo as bytes
			infoPlain = s.edit(info.append(nil))
		case 4: // GroupInfo as values, signed by a member
			ctx := &info.Context
			for range s.pick(4) {
				switch s.pick(8) {
				case 0:
					ctx.Epoch = uint64(s.u16())
				case 1:
					ctx.Extensions = r.flawExtensions(s)
				case 2:
					ctx.GroupID = s.bytes(4)
				case 3:
					ctx.ConfirmedTranscriptHash = s.bytes(33)
				case 4:
					ctx.TreeHash = s.bytes(32)
				case 5:
					info.Extensions = info.Extensions.With(ExtensionType(s.pick(8)), s.edit(tree.Bytes()))
				case 6:
					ctx.Suite = CipherSuite(s.pick(5))
				case 7:
					info.Signer = LeafIndex(s.pick(10))
				}
			}
			if s.pick(4) > 0 {
				r.confirm(&gs, &info)
			}
			r.signAs(&info, tree)
		case 5: // the tree, and a GroupInfo for it
			b := s.editTree(r, tree.t)
			var err error
			if tree, err = ParseRatchetTree(b, r.cfg.Limits); err != nil {
				return
			}
			info.Context.TreeHash = tree.Hash()
			r.confirm(&gs, &info)
			r.signAs(&info, tree)
		}
		if secretsPlain == nil {
			secretsPlain = gs.append(nil)
		}
		if infoPlain == nil {
			infoPlain = info.append(nil)
		}
		psk, err := lookupPSKs(gs.psks, nil, r.cfg.PSKs)
		if err != nil {
			psk = make(secret, hashSize)
		}
		key, nonce := r.suite.welcomeKeys(memberSecret(gs.joiner, psk))
		w := &Welcome{Suite: r.suite, encryptedGroupInfo: r.suite.aead(key).Seal(nil, nonce, infoPlain, nil)}
		ct := fuzzGot(r.suite.seal(r.joiner.kp.InitKey, "Welcome", w.encryptedGroupInfo, secretsPlain))
		w.secrets = []encryptedGroupSecrets{{r.joiner.kp.Ref(), ct}}
		w = reparsed(w.Message()).Welcome
		r.join(t, w, &info, tree, len(w.append(nil))+len(tree.Bytes()))
	})
}

// confirm makes the confirmation tag fit the GroupSecrets.
func (r *fuzzRoom) confirm(gs *groupSecrets, info *GroupInfo) {
	psk, err := lookupPSKs(gs.psks, nil, r.cfg.PSKs)
	if err != nil {
		psk = make(secret, hashSize)
	}
	e := newEpoch(memberSecret(gs.joiner, psk), info.Context.Bytes())
	info.ConfirmationTag = mac(e.confirmation, info.Context.ConfirmedTranscriptHash)
}

// signAs signs a GroupInfo as whoever it names, if that is a member of the
// room, or as its first member.
func (r *fuzzRoom) signAs(info *GroupInfo, tree *RatchetTree) {
	signer := r.members[0].signer
	if l := tree.t.leaf(info.Signer); l != nil {
		for _, m := range r.members {
			if bytes.Equal(m.signer.Public(), l.SignatureKey) {
				signer = m.signer
			}
		}
	}
	fuzzOK(info.sign(signer))
}

// join tries a Welcome. info is what the inviter put into it, where known.
func (r *fuzzRoom) join(t *testing.T, w *Welcome, info *GroupInfo, tree *RatchetTree, size int) {
	t.Helper()
	kp := r.joiner.Bytes()
	for _, o := range []JoinOptions{{Tree: tree}, {}, {Tree: tree, Parent: r.joined}} {
		var g *Group
		var err error
		bounded(t, "joining by Welcome", processBase, 1000, size, func() {
			g, err = JoinWelcome(w, r.joiner, o, r.cfg, fuzzTime)
		})
		if !bytes.Equal(r.joiner.Bytes(), kp) {
			t.Fatal("joining changes the KeyPackage")
		}
		if err != nil {
			if len(sentinelsOf(err)) == 0 {
				t.Fatalf("error without a sentinel: %v", err)
			}
			continue
		}
		if info != nil && !g.pub.ctx.Equal(&info.Context) {
			t.Fatal("joined another GroupContext than the Welcome's")
		}
		fuzzGot(g.Encrypt([]byte("hello"), SendOptions{}))
		if g.Epoch() == 1<<64-1 {
			continue
		}
		if s, err := g.Commit(CommitOptions{}, fuzzTime); err != nil {
			t.Fatalf("after joining no commit is possible: %v", err)
		} else {
			fuzzOK(g.Merge(s))
		}
		if _, err := LoadGroup(partsOf(AllParts(g)), r.cfg); err != nil {
			t.Fatalf("after joining the state does not load: %v", err)
		}
	}
}

// TestFuzzWelcome: the unchanged Welcome lets the joiner in, once with the tree
// given and never as the continuation of another group.
func TestFuzzWelcome(t *testing.T) {
	r := fuzzRoomOf(t, X25519AES128Ed25519)
	g, err := JoinWelcome(r.welcome, r.joiner, JoinOptions{Tree: r.tree}, r.cfg, fuzzTime)
	if err != nil {
		t.Fatal(err)
	}
	if !g.pub.ctx.Equal(&r.info.Context) {
		t.Fatal("joined another GroupContext than the Welcome's")
	}
	if len(r.secrets.path) == 0 {
		t.Fatal("the Welcome of a commit with a path holds no path secret")
	}
}
