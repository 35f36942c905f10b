package mls

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// vectorPassive is a case of the passive-client files: a client that joins by
// Welcome and only listens.
type vectorPassive struct {
	Suite        CipherSuite `json:"cipher_suite"`
	ExternalPSKs []struct {
		ID  vectorHex `json:"psk_id"`
		PSK vectorHex `json:"psk"`
	} `json:"external_psks"`
	KeyPackage     vectorHex `json:"key_package"`
	SignaturePriv  vectorHex `json:"signature_priv"`
	EncryptionPriv vectorHex `json:"encryption_priv"`
	InitPriv       vectorHex `json:"init_priv"`
	Welcome        vectorHex `json:"welcome"`
	RatchetTree    vectorHex `json:"ratchet_tree"`
	Authenticator  vectorHex `json:"initial_epoch_authenticator"`
	Epochs         []struct {
		Proposals     []vectorHex `json:"proposals"`
		Commit        vectorHex   `json:"commit"`
		Authenticator vectorHex   `json:"epoch_authenticator"`
	} `json:"epochs"`
}

// passive is the client of one case and a server that follows the same group.
type passive struct {
	member *Group
	server *PublicGroup
	now    time.Time
}

// join enters the group as the case says, and starts a PublicGroup from the
// same GroupInfo, decrypted and verified a second time.
func (v *vectorPassive) join(t *testing.T) *passive {
	t.Helper()
	private := &PrivateKeyPackage{
		kp:          vectorMessage(t, "key_package", v.KeyPackage).KeyPackage,
		packageKeys: &packageKeys{init: hpkeKey(v.InitPriv), leaf: hpkeKey(v.EncryptionPriv)},
	}
	var err error
	private.signer, err = ParseSignatureKey(v.Suite, v.SignaturePriv)
	vectorOK(t, "signature_priv", err)
	vectorOK(t, "keys of the KeyPackage", private.check())
	if private.kp.Suite != v.Suite {
		t.Fatalf("KeyPackage of suite %d", private.kp.Suite)
	}
	now := time.Unix(int64(private.kp.Leaf.Lifetime.NotBefore)+1, 0)
	_, err = private.kp.Verify(vectorLimits, now)
	vectorOK(t, "key_package", err)

	psks := vectorPSKs{}
	for _, p := range v.ExternalPSKs {
		psks[string(p.ID)] = p.PSK
	}
	w := vectorMessage(t, "welcome", v.Welcome).Welcome
	tree := func() *RatchetTree {
		if v.RatchetTree == nil {
			return nil
		}
		return &RatchetTree{vectorTree(t, "ratchet_tree", v.RatchetTree)}
	}
	member, err := JoinWelcome(w, private, JoinOptions{Tree: tree()}, Config{Authenticator: vectorTrust{}, Limits: vectorLimits.Limits, PSKs: psks}, now)
	vectorOK(t, "joining", err)
	vectorEqual(t, "initial_epoch_authenticator", member.EpochAuthenticator(), v.Authenticator)

	info, _ := vectorOpenWelcome(t, w, private, psks)
	server, err := openGroupInfo(info, tree(), vectorLimits, now)
	vectorOK(t, "starting a PublicGroup", err)
	p := &passive{member, server, now}
	p.agree(t, "after joining")
	return p
}

// agree compares the member's public state with the server's, and checks both
// against what can be found out from the tree alone.
func (p *passive) agree(t *testing.T, when string) {
	t.Helper()
	a, b := p.member.pub, p.server
	vectorEqual(t, when+", GroupContext", a.Context().Bytes(), b.Context().Bytes())
	vectorEqual(t, when+", interim transcript hash", a.interim, b.interim)
	vectorEqual(t, when+", confirmation tag", a.tag, b.tag)
	vectorEqual(t, when+", ratchet tree", a.tree.append(nil), b.tree.append(nil))
	tree := vectorTree(t, when+", ratchet tree", b.tree.append(nil))
	vectorEqual(t, when+", tree hash of the tree as decoded", tree.root.hash, b.ctx.TreeHash)
	keys, err := verifyTree(tree, &b.ctx, &b.cfg, p.now)
	vectorOK(t, when+", tree", err)
	if len(keys) != len(b.keys) || len(keys) != len(a.keys) {
		t.Errorf("%s: %d keys in the tree, member knows %d, server %d", when, len(keys), len(a.keys), len(b.keys))
	}
	for k := range keys {
		if _, ok := b.keys[k]; !ok {
			t.Errorf("%s: a key of the tree is unknown", when)
		}
	}
	for at, priv := range p.member.path {
		pub, err := b.ctx.Suite.publicHPKE(priv)
		vectorOK(t, when+", path key", err)
		if at.level() > tree.depth {
			t.Errorf("%s: private key of node %d, which is not in the tree", when, at)
			continue
		}
		n := vectorSubtree(tree, at)
		vectorEqual(t, fmt.Sprintf("%s, key of node %d", when, at), pub, nodeKey(n.leaf, n.parent))
	}
}

// take lets both process and apply one message. The server gets what was
// encrypted from the member.
func (p *passive) take(t *testing.T, what string, data []byte, kind ContentType) *Change {
	t.Helper()
	m := vectorMessage(t, what, data)
	before := p.member.pub.Context().Bytes()
	r, err := p.member.Process(m, p.now)
	vectorOK(t, what, err)
	if r.Kind != kind {
		t.Fatalf("%s is a %s", what, r.Kind)
	}
	vectorEqual(t, what+", GroupContext after Process", p.member.pub.Context().Bytes(), before)
	var a *authContent
	switch {
	case m.Public != nil:
		a = &vectorMessage(t, what, data).Public.auth
	case r.Commit != nil:
		a = vectorAuthContent(t, r.Commit.auth.append(nil))
	default:
		a = vectorAuthContent(t, r.Change.Proposal.encoded)
	}
	c, err := p.server.process(a, p.now)
	vectorOK(t, what+" at the server", err)
	if kind == ContentCommit {
		vectorEqual(t, what+", next GroupContext", c.Context.Bytes(), r.Change.Context.Bytes())
	} else {
		vectorEqual(t, what+", reference", c.Proposal.Ref, r.Change.Proposal.Ref)
	}
	vectorOK(t, what, p.member.Apply(r))
	vectorOK(t, what+" at the server", p.server.Apply(c))
	return c
}

// run goes through all epochs of a case and returns how many there were.
func (v *vectorPassive) run(t *testing.T) {
	p := v.join(t)
	for i, e := range v.Epochs {
		epoch := p.member.Epoch()
		for k, data := range e.Proposals {
			p.take(t, fmt.Sprintf("epoch %d, proposal %d", i, k), data, ContentProposal)
		}
		if got := len(p.server.Pending()); got != len(e.Proposals) {
			t.Errorf("epoch %d: %d proposals pending of %d", i, got, len(e.Proposals))
		}
		what := fmt.Sprintf("epoch %d, commit", i)
		c := p.take(t, what, e.Commit, ContentCommit)
		byRef := 0
		for _, u := range c.Proposals {
			if u.ByReference() {
				byRef++
			}
		}
		if byRef != len(e.Proposals) {
			t.Errorf("epoch %d: commit covers %d of %d proposals", i, byRef, len(e.Proposals))
		}
		if p.member.Epoch() != epoch+1 || p.server.Epoch() != epoch+1 {
			t.Fatalf("epoch %d after epoch %d", p.member.Epoch(), epoch)
		}
		vectorEqual(t, what+", epoch_authenticator", p.member.EpochAuthenticator(), e.Authenticator)
		p.agree(t, what)
	}
}

// TestVectorPassiveClientWelcome: passive-client-welcome.json. Joining by
// Welcome, with and without the tree in the GroupInfo and PSKs, to the given
// epoch authenticator; a PublicGroup starts from the same GroupInfo.
func TestVectorPassiveClientWelcome(t *testing.T) {
	const file = "passive-client-welcome.json"
	count := vectorCount{}
	var trees, psks int
	for i, v := range loadVectors[vectorPassive](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		if v.RatchetTree != nil {
			trees++
		}
		if len(v.ExternalPSKs) > 0 {
			psks++
		}
		t.Run(fmt.Sprintf("suite%d/%d", v.Suite, i), v.run)
	}
	if trees == 0 || psks == 0 {
		t.Errorf("%d cases with a tree, %d with PSKs", trees, psks)
	}
	count.check(t, file, vectorSuites...)
}

// TestVectorPassiveClientHandlingCommit: passive-client-handling-commit.json.
// After joining, commits with proposals inside and by reference, to the epoch
// authenticator of every epoch; a PublicGroup follows and comes to the same
// GroupContext, transcript and tree.
func TestVectorPassiveClientHandlingCommit(t *testing.T) {
	const file = "passive-client-handling-commit.json"
	count := vectorCount{}
	var epochs, proposals int
	for i, v := range loadVectors[vectorPassive](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		for _, e := range v.Epochs {
			epochs++
			proposals += len(e.Proposals)
		}
		t.Run(fmt.Sprintf("suite%d/%d", v.Suite, i), v.run)
	}
	if epochs == 0 || proposals == 0 {
		t.Errorf("%d epochs, %d proposals", epochs, proposals)
	}
	t.Logf("%d epochs, %d proposals by reference", epochs, proposals)
	count.check(t, file, vectorSuites...)
}

// TestVectorPassiveClientForgery: a commit of
// passive-client-handling-commit.json with one byte changed is refused by the
// member and changes nothing, also where the membership tag, which every member
// can make, fits the changed commit; the true one is taken afterwards.
func TestVectorPassiveClientForgery(t *testing.T) {
	const file = "passive-client-handling-commit.json"
	count := vectorCount{}
	for _, v := range loadVectors[vectorPassive](t, file) {
		if !v.Suite.Supported() || count[v.Suite] > 0 || !count.runs(v.Suite) {
			continue // one case of each suite
		}
		t.Run(fmt.Sprintf("suite%d", v.Suite), func(t *testing.T) {
			p := v.join(t)
			e := v.Epochs[0]
			for k, data := range e.Proposals {
				p.take(t, fmt.Sprintf("proposal %d", k), data, ContentProposal)
			}
			before := p.member.pub.Context().Bytes()
			// After version and wire format, which other tests have.
			for at := 4; at < len(e.Commit); at++ {
				forged := bytes.Clone(e.Commit)
				forged[at] ^= 1
				m, err := ParseMessage(forged, Limits{})
				if err != nil {
					continue
				}
				if _, err := p.member.Process(m, p.now); err == nil {
					t.Errorf("commit with byte %d of %d changed is accepted", at, len(forged))
				}
			}
			for _, x := range []struct {
				what  string
				spoil func(*authContent)
				want  error
			}{
				{"other confirmation tag", func(a *authContent) { a.tag[0] ^= 1 }, ErrBadMAC},
				{"other signature", func(a *authContent) { a.signature[len(a.signature)-1] ^= 1 }, ErrBadSignature},
				{"other authenticated data", func(a *authContent) { a.aad = []byte{1} }, ErrBadSignature},
			} {
				m := vectorMessage(t, "commit", e.Commit)
				if m.Public == nil {
					t.Fatal("commit is no PublicMessage")
				}
				x.spoil(&m.Public.auth)
				m.Public.membershipTag = mac(p.member.epoch.membership, m.Public.auth.tbm(&p.member.pub.ctx))
				_, err := p.member.Process(m, p.now)
				vectorRefused(t, x.what, err, x.want)
			}
			vectorEqual(t, "GroupContext", p.member.pub.Context().Bytes(), before)
			p.take(t, "commit", e.Commit, ContentCommit)
			vectorEqual(t, "epoch_authenticator", p.member.EpochAuthenticator(), e.Authenticator)
		})
	}
	count.check(t, file, vectorSuites...)
}
