package mls

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// TestVectorMessages: messages.json. Every object decodes and encodes to the
// same bytes.
func TestVectorMessages(t *testing.T) {
	type vector struct {
		Welcome      vectorHex `json:"mls_welcome"`
		GroupInfo    vectorHex `json:"mls_group_info"`
		KeyPackage   vectorHex `json:"mls_key_package"`
		RatchetTree  vectorHex `json:"ratchet_tree"`
		GroupSecrets vectorHex `json:"group_secrets"`

		Add          vectorHex `json:"add_proposal"`
		Update       vectorHex `json:"update_proposal"`
		Remove       vectorHex `json:"remove_proposal"`
		PSK          vectorHex `json:"pre_shared_key_proposal"`
		ReInit       vectorHex `json:"re_init_proposal"`
		ExternalInit vectorHex `json:"external_init_proposal"`
		Extensions   vectorHex `json:"group_context_extensions_proposal"`

		Commit            vectorHex `json:"commit"`
		PublicApplication vectorHex `json:"public_message_application"`
		PublicProposal    vectorHex `json:"public_message_proposal"`
		PublicCommit      vectorHex `json:"public_message_commit"`
		Private           vectorHex `json:"private_message"`
	}
	cases := loadVectors[vector](t, "messages.json")
	for i, v := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			for _, x := range []struct {
				what    string
				data    []byte
				wire    WireFormat
				content ContentType
			}{
				{"mls_welcome", v.Welcome, WireWelcome, 0},
				{"mls_group_info", v.GroupInfo, WireGroupInfo, 0},
				{"mls_key_package", v.KeyPackage, WireKeyPackage, 0},
				{"public_message_application", v.PublicApplication, WirePublicMessage, ContentApplication},
				{"public_message_proposal", v.PublicProposal, WirePublicMessage, ContentProposal},
				{"public_message_commit", v.PublicCommit, WirePublicMessage, ContentCommit},
				{"private_message", v.Private, WirePrivateMessage, 0},
			} {
				m := vectorMessage(t, x.what, x.data)
				if m.Wire != x.wire || (m.Public != nil && m.Public.ContentType() != x.content) {
					t.Errorf("%s has wire format %d", x.what, m.Wire)
				}
				_, err := ParseMessage(append(bytes.Clone(x.data), 0), Limits{})
				vectorRefused(t, x.what+" with a further byte", err, ErrTrailing)
				if _, err := ParseMessage(x.data[:len(x.data)-1], Limits{}); err == nil {
					t.Errorf("%s without its last byte decodes", x.what)
				}
			}
			kp := vectorMessage(t, "mls_key_package", v.KeyPackage).KeyPackage
			bare, err := ParseKeyPackage(v.KeyPackage[4:], Limits{})
			vectorOK(t, "bare KeyPackage", err)
			vectorEqual(t, "KeyPackageRef", bare.Ref(), kp.Ref())
			info, err := ParseGroupInfo(v.GroupInfo[4:], Limits{})
			vectorOK(t, "bare GroupInfo", err)
			vectorEqual(t, "bare GroupInfo", info.Bytes(), v.GroupInfo[4:])

			vectorTree(t, "ratchet_tree", v.RatchetTree)
			gs := new(groupSecrets)
			vectorParse(t, "group_secrets", v.GroupSecrets, gs.read, gs.append)
			vectorOK(t, "group_secrets", gs.check())
			c := new(commit)
			vectorParse(t, "commit", v.Commit, c.read, c.append)

			// Proposals come without their type.
			for _, x := range []struct {
				kind ProposalType
				data []byte
			}{
				{ProposalAdd, v.Add},
				{ProposalUpdate, v.Update},
				{ProposalRemove, v.Remove},
				{ProposalPSK, v.PSK},
				{ProposalReInit, v.ReInit},
				{ProposalExternalInit, v.ExternalInit},
				{ProposalGroupContextExtensions, v.Extensions},
			} {
				b := append(appendU16(nil, uint16(x.kind)), x.data...)
				p, err := ParseProposal(b, Limits{})
				vectorOK(t, fmt.Sprintf("proposal of type %d", x.kind), err)
				vectorEqual(t, fmt.Sprintf("proposal of type %d, encoded again", x.kind), p.Bytes(), b)
				vectorOK(t, "proposal", p.complete())
			}
		})
	}
	t.Logf("messages.json: %d cases ran, no suites", len(cases))
}

// TestVectorMessageProtection: message-protection.json. Leaf 1 of two sends a
// proposal, a commit and application data, as PublicMessage and as
// PrivateMessage; leaf 0 unprotects what the file holds and what we protect
// ourselves. Application data in a PublicMessage is refused.
func TestVectorMessageProtection(t *testing.T) {
	type vector struct {
		Suite               CipherSuite `json:"cipher_suite"`
		GroupID             vectorHex   `json:"group_id"`
		Epoch               uint64      `json:"epoch"`
		TreeHash            vectorHex   `json:"tree_hash"`
		ConfirmedTranscript vectorHex   `json:"confirmed_transcript_hash"`
		SignaturePriv       vectorHex   `json:"signature_priv"`
		SignaturePub        vectorHex   `json:"signature_pub"`
		EncryptionSecret    vectorHex   `json:"encryption_secret"`
		SenderDataSecret    vectorHex   `json:"sender_data_secret"`
		MembershipKey       vectorHex   `json:"membership_key"`
		Proposal            vectorHex   `json:"proposal"`
		ProposalPub         vectorHex   `json:"proposal_pub"`
		ProposalPriv        vectorHex   `json:"proposal_priv"`
		Commit              vectorHex   `json:"commit"`
		CommitPub           vectorHex   `json:"commit_pub"`
		CommitPriv          vectorHex   `json:"commit_priv"`
		Application         vectorHex   `json:"application"`
		ApplicationPriv     vectorHex   `json:"application_priv"`
	}
	const file = "message-protection.json"
	count := vectorCount{}
	cfg := vectorConfig(t)
	now := time.Unix(0, 0)
	for _, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d", v.Suite), func(t *testing.T) {
			signer, err := ParseSignatureKey(v.Suite, v.SignaturePriv)
			vectorOK(t, "signature_priv", err)
			vectorEqual(t, "signature_pub", signer.Public(), v.SignaturePub)
			// member is one of two members with the file's secrets. Of the tree
			// only leaf 1 and its signature key matter.
			member := func(own LeafIndex) *Group {
				tree := newTree(&LeafNode{SignatureKey: []byte{0}})
				tree, _ = tree.add(&LeafNode{SignatureKey: v.SignaturePub})
				pub := &PublicGroup{cfg: cfg, tree: tree, ctx: GroupContext{Suite: v.Suite, GroupID: v.GroupID,
					Epoch: v.Epoch, TreeHash: v.TreeHash, ConfirmedTranscriptHash: v.ConfirmedTranscript, Extensions: Extensions{}}}
				return newMember(pub, own, signer, nil, &epochSecrets{membership: secret(v.MembershipKey),
					senderData: secret(v.SenderDataSecret), encryption: secret(v.EncryptionSecret).clone()})
			}
			// unprotect decrypts, verifies tag and signature, and returns what
			// was sent.
			unprotect := func(g *Group, what string, m *Message) *authContent {
				t.Helper()
				var a *authContent
				if m.Public != nil {
					a = &m.Public.auth
					vectorOK(t, what+", membership tag", m.Public.verifyTag(&g.pub.ctx, g.epoch.membership))
					forged := *m.Public
					forged.membershipTag = bytes.Clone(forged.membershipTag)
					forged.membershipTag[0] ^= 1
					vectorRefused(t, what+", other membership tag", forged.verifyTag(&g.pub.ctx, g.epoch.membership), ErrBadMAC)
				} else {
					leaf, gen, guard, err := v.Suite.senderOf(m.Private, g.epoch.senderData)
					vectorOK(t, what+", sender data", err)
					if leaf != 1 {
						t.Fatalf("%s: sender %d, want 1", what, leaf)
					}
					step, err := g.keys.find(ratchetID{leaf, m.Private.kind != ContentApplication}, gen, &cfg.Limits)
					vectorOK(t, what+", key", err)
					forged := *m.Private
					forged.aad = append(bytes.Clone(forged.aad), 1)
					_, err = v.Suite.openPrivate(&forged, step, guard, cfg.Limits)
					vectorRefused(t, what+", other authenticated data", err, ErrDecrypt)
					a, err = v.Suite.openPrivate(m.Private, step, guard, cfg.Limits)
					vectorOK(t, what, err)
					g.take(g.Epoch(), g.keys, step)
				}
				vectorOK(t, what+", frame and signature", g.pub.verifyFrame(a))
				if want := (Sender{Type: SenderMember, Leaf: 1}); a.sender != want {
					t.Errorf("%s: sender %v, want %v", what, a.sender, want)
				}
				forged := *a
				forged.signature = bytes.Clone(forged.signature)
				forged.signature[len(forged.signature)-1] ^= 1
				vectorRefused(t, what+", other signature", g.pub.verifyFrame(&forged), ErrBadSignature)
				return a
			}
			body := func(a *authContent) []byte {
				if a.kind == ContentApplication {
					return a.data
				}
				return a.appendBody(nil)
			}

			proposal, err := ParseProposal(v.Proposal, Limits{})
			vectorOK(t, "proposal", err)
			c := new(commit)
			vectorParse(t, "commit", v.Commit, c.read, c.append)

			for _, x := range []struct {
				what      string
				kind      ContentType
				pub, priv []byte
				want      []byte
			}{
				{"proposal", ContentProposal, v.ProposalPub, v.ProposalPriv, v.Proposal},
				{"commit", ContentCommit, v.CommitPub, v.CommitPriv, v.Commit},
				{"application", ContentApplication, nil, v.ApplicationPriv, v.Application},
			} {
				for _, y := range []struct {
					what string
					wire WireFormat
					data []byte
				}{{x.what + "_pub", WirePublicMessage, x.pub}, {x.what + "_priv", WirePrivateMessage, x.priv}} {
					if y.data != nil {
						m := vectorMessage(t, y.what, y.data)
						if m.Wire != y.wire {
							t.Fatalf("%s has wire format %d", y.what, m.Wire)
						}
						a := unprotect(member(0), y.what, m)
						if a.kind != x.kind {
							t.Errorf("%s holds a %s", y.what, a.kind)
						}
						vectorEqual(t, y.what, body(a), x.want)
					}
					if x.kind == ContentApplication && y.wire == WirePublicMessage {
						continue
					}
					// The same, protected by us, with and without padding.
					from, to := member(1), member(0)
					for _, padTo := range []int{0, 64} {
						a := from.frame(x.kind, y.wire, []byte("some data"))
						switch x.kind {
						case ContentProposal:
							a.proposal = proposal
						case ContentCommit:
							a.commit, a.tag = c, mac(randomBytes(hashSize), nil)
							vectorOK(t, "signing", a.sign(signer, &from.pub.ctx))
						default:
							a.data = v.Application
						}
						m, err := from.send(a, SendOptions{PadTo: padTo})
						vectorOK(t, "protecting "+y.what, err)
						got := unprotect(to, "own "+y.what, vectorMessage(t, "own "+y.what, m.Bytes()))
						vectorEqual(t, "own "+y.what, body(got), x.want)
						vectorEqual(t, "authenticated data of own "+y.what, got.aad, []byte("some data"))
						vectorEqual(t, "confirmation tag of own "+y.what, got.tag, a.tag)
					}
				}
			}

			// The whole way that an application message takes in a group.
			to := member(0)
			m := vectorMessage(t, "application_priv", v.ApplicationPriv)
			r, err := to.Process(m, now)
			vectorOK(t, "application_priv", err)
			vectorEqual(t, "application_priv", r.Data, v.Application)
			if r.Kind != ContentApplication || r.Sender.Leaf != 1 || r.Epoch != v.Epoch {
				t.Errorf("application_priv = %v", r)
			}
			_, err = to.Process(m, now)
			vectorRefused(t, "application_priv again", err, ErrReplayed)

			// Correctly signed and tagged, but not encrypted.
			from := member(1)
			a := from.frame(ContentApplication, WirePublicMessage, nil)
			a.data = v.Application
			vectorOK(t, "signing", a.sign(signer, &from.pub.ctx))
			m = vectorMessage(t, "application data in a PublicMessage",
				publicMessage(a, &from.pub.ctx, from.epoch.membership).Message().Bytes())
			vectorOK(t, "membership tag", m.Public.verifyTag(&to.pub.ctx, to.epoch.membership))
			vectorOK(t, "frame and signature", to.pub.verifyFrame(&m.Public.auth))
			_, err = to.Process(m, now)
			vectorRefused(t, "application data in a PublicMessage", err, ErrMalformed)
			_, err = to.pub.Process(m.Public, nil, now)
			vectorRefused(t, "application data in a PublicMessage, at a server", err, ErrMalformed)
		})
	}
	count.check(t, file, vectorSuites...)
}

// TestVectorWelcome: welcome.json. The entry for the given KeyPackage, the
// GroupInfo with its signature, and the confirmation tag.
func TestVectorWelcome(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		InitPriv   vectorHex   `json:"init_priv"`
		SignerPub  vectorHex   `json:"signer_pub"`
		KeyPackage vectorHex   `json:"key_package"`
		Welcome    vectorHex   `json:"welcome"`
	}
	const file = "welcome.json"
	count := vectorCount{}
	for _, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d", v.Suite), func(t *testing.T) {
			kp := vectorMessage(t, "key_package", v.KeyPackage).KeyPackage
			w := vectorMessage(t, "welcome", v.Welcome).Welcome
			if kp.Suite != v.Suite || w.Suite != v.Suite {
				t.Fatalf("KeyPackage of suite %d, Welcome of suite %d", kp.Suite, w.Suite)
			}
			pub, err := v.Suite.publicHPKE(hpkeKey(v.InitPriv))
			vectorOK(t, "init_priv", err)
			vectorEqual(t, "init key", pub, kp.InitKey)
			valid, err := kp.Verify(vectorLimits, time.Unix(int64(kp.Leaf.Lifetime.NotBefore)+1, 0))
			vectorOK(t, "key_package", err)
			vectorEqual(t, "KeyPackageRef", valid.Ref(), kp.Ref())

			private := &PrivateKeyPackage{kp, &packageKeys{init: hpkeKey(v.InitPriv)}}
			info, member := vectorOpenWelcome(t, w, private, nil)
			vectorOK(t, "signature of the GroupInfo", info.verifySignature(v.SignerPub))
			e := newEpoch(member, info.Context.Bytes())
			vectorEqual(t, "confirmation tag", info.ConfirmationTag,
				mac(e.confirmation, info.Context.ConfirmedTranscriptHash))

			other := *kp
			other.Signature = append(bytes.Clone(kp.Signature), 0)
			_, err = w.open(&PrivateKeyPackage{&other, &packageKeys{init: hpkeKey(v.InitPriv)}}, Limits{})
			vectorRefused(t, "another KeyPackage", err, ErrNoKeyPackage)
			_, err = w.open(&PrivateKeyPackage{kp, &packageKeys{init: randomBytes(hashSize)}}, Limits{})
			vectorRefused(t, "another private key", err, ErrDecrypt)
		})
	}
	count.check(t, file, vectorSuites...)
}

// vectorOpenWelcome decrypts a Welcome's GroupInfo, which must encode to the
// same bytes, and returns it with the member secret.
func vectorOpenWelcome(t *testing.T, w *Welcome, kp *PrivateKeyPackage, psks PSKSource) (*GroupInfo, secret) {
	t.Helper()
	gs, err := w.open(kp, Limits{})
	vectorOK(t, "GroupSecrets", err)
	psk, err := lookupPSKs(gs.psks, nil, psks)
	vectorOK(t, "PSKs of the Welcome", err)
	member := memberSecret(gs.joiner, psk)
	key, nonce := w.Suite.welcomeKeys(member)
	plain, err := w.Suite.aead(key).Open(nil, nonce, w.encryptedGroupInfo, nil)
	vectorOK(t, "encrypted GroupInfo", err)
	info, err := ParseGroupInfo(plain, Limits{})
	vectorOK(t, "GroupInfo", err)
	vectorEqual(t, "GroupInfo, encoded again", info.Bytes(), plain)
	return info, member
}
