package mls

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestVectorTreeMath: tree-math.json. Root, children, parent and sibling of
// every node.
func TestVectorTreeMath(t *testing.T) {
	type vector struct {
		Leaves  int       `json:"n_leaves"`
		Nodes   int       `json:"n_nodes"`
		Root    uint32    `json:"root"`
		Left    []*uint32 `json:"left"`
		Right   []*uint32 `json:"right"`
		Parent  []*uint32 `json:"parent"`
		Sibling []*uint32 `json:"sibling"`
	}
	cases := loadVectors[vector](t, "tree-math.json")
	for _, v := range cases {
		depth := 0
		for 1<<depth < v.Leaves {
			depth++
		}
		if 1<<depth != v.Leaves || 2*v.Leaves-1 != v.Nodes {
			t.Fatalf("tree of %d leaves and %d nodes", v.Leaves, v.Nodes)
		}
		if got := uint32(rootOf(depth)); got != v.Root {
			t.Errorf("%d leaves: root = %d, want %d", v.Leaves, got, v.Root)
		}
		for _, list := range [][]*uint32{v.Left, v.Right, v.Parent, v.Sibling} {
			if len(list) != v.Nodes {
				t.Fatalf("%d leaves: list of %d nodes", v.Leaves, len(list))
			}
		}
		for i := range v.Nodes {
			n := nodeIndex(i)
			check := func(what string, got *nodeIndex, want *uint32) {
				if (got == nil) != (want == nil) || got != nil && uint32(*got) != *want {
					t.Errorf("%d leaves: %s of node %d = %v, want %v", v.Leaves, what, i, got, want)
				}
			}
			var left, right, parent, sibling *nodeIndex
			if !n.isLeaf() {
				l, r := n.left(), n.right()
				left, right = &l, &r
			}
			if n != rootOf(depth) {
				p, s := n.parent(), nodeAt(n.level(), n.position()^1)
				parent, sibling = &p, &s
			}
			check("left", left, v.Left[i])
			check("right", right, v.Right[i])
			check("parent", parent, v.Parent[i])
			check("sibling", sibling, v.Sibling[i])
			if nodeAt(n.level(), n.position()) != n {
				t.Errorf("node %d is not at level %d, position %d", n, n.level(), n.position())
			}
		}
		for i := range v.Leaves {
			if n := LeafIndex(i).node(); n != nodeIndex(2*i) || n.position() != uint32(i) {
				t.Errorf("leaf %d is node %d", i, n)
			}
		}
	}
	t.Logf("tree-math.json: %d cases ran, no suites", len(cases))
}

// vectorTree reads a ratchet tree, which must encode to the same bytes.
func vectorTree(t *testing.T, what string, b []byte) ratchetTree {
	t.Helper()
	tree, err := ParseRatchetTree(b, Limits{})
	vectorOK(t, what, err)
	vectorEqual(t, what+", encoded again", tree.Bytes(), b)
	return tree.t
}

// TestVectorTreeOperations: tree-operations.json. One proposal applied to a
// tree: hash before and after, encoding before and after.
func TestVectorTreeOperations(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		TreeBefore vectorHex   `json:"tree_before"`
		Proposal   vectorHex   `json:"proposal"`
		Sender     LeafIndex   `json:"proposal_sender"`
		HashBefore vectorHex   `json:"tree_hash_before"`
		TreeAfter  vectorHex   `json:"tree_after"`
		HashAfter  vectorHex   `json:"tree_hash_after"`
	}
	const file = "tree-operations.json"
	count := vectorCount{}
	types := map[ProposalType]bool{}
	for i, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			before := vectorTree(t, "tree_before", v.TreeBefore)
			vectorEqual(t, "tree_hash_before", before.root.hash, v.HashBefore)
			p, err := ParseProposal(v.Proposal, Limits{})
			vectorOK(t, "proposal", err)
			vectorEqual(t, "proposal, encoded again", p.Bytes(), v.Proposal)
			types[p.Type] = true
			var after ratchetTree
			switch p.Type {
			case ProposalAdd:
				after, _ = before.add(&p.Add.Leaf)
			case ProposalUpdate:
				after = before.update(v.Sender, p.Update)
			case ProposalRemove:
				after = before.remove(p.Remove)
			default:
				t.Fatalf("proposal type %d", p.Type)
			}
			after.seal()
			vectorEqual(t, "tree_hash_after", after.root.hash, v.HashAfter)
			vectorEqual(t, "tree_after", after.append(nil), v.TreeAfter)
			parsed := vectorTree(t, "tree_after", v.TreeAfter)
			vectorEqual(t, "tree_hash_after of the tree as given", parsed.root.hash, v.HashAfter)
			if after.depth != parsed.depth || after.root.leaves != parsed.root.leaves {
				t.Errorf("tree of depth %d with %d members, want depth %d with %d",
					after.depth, after.root.leaves, parsed.depth, parsed.root.leaves)
			}
			// The earlier version has not changed.
			vectorEqual(t, "tree_before, afterwards", before.append(nil), v.TreeBefore)
		})
	}
	for _, p := range []ProposalType{ProposalAdd, ProposalUpdate, ProposalRemove} {
		if !types[p] {
			t.Errorf("no case with a proposal of type %d", p)
		}
	}
	// The file has no other suite: tree operations are the same for all.
	count.check(t, file, X25519AES128Ed25519)
}

// vectorSubtree finds a node of a tree by its index.
func vectorSubtree(t ratchetTree, at nodeIndex) *subtree {
	n := t.root
	for level := t.depth; level > at.level(); level-- {
		n = n.child(at.position() >> (level - 1 - at.level()) & 1)
	}
	return n
}

// TestVectorTreeValidation: tree-validation.json. Encoding; tree hash and
// resolution of every node; parent hashes, unmerged leaves and leaf signatures
// of the whole tree; the same after adding a leaf; and that damage is found.
func TestVectorTreeValidation(t *testing.T) {
	type vector struct {
		Suite       CipherSuite   `json:"cipher_suite"`
		Tree        vectorHex     `json:"tree"`
		GroupID     vectorHex     `json:"group_id"`
		TreeHashes  []vectorHex   `json:"tree_hashes"`
		Resolutions [][]nodeIndex `json:"resolutions"`
	}
	const file = "tree-validation.json"
	count := vectorCount{}
	cfg := vectorConfig(t)
	now := time.Unix(0, 0) // lifetimes are not judged in a tree
	unmerged := 0
	for i, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d/%d", v.Suite, i), func(t *testing.T) {
			tree := vectorTree(t, "tree", v.Tree)
			nodes := int(2*tree.width() - 1)
			if len(v.TreeHashes) != nodes || len(v.Resolutions) != nodes {
				t.Fatalf("tree of %d nodes, %d hashes, %d resolutions", nodes, len(v.TreeHashes), len(v.Resolutions))
			}
			for i := range nodes {
				at := nodeIndex(i)
				n := vectorSubtree(tree, at)
				vectorEqual(t, fmt.Sprintf("tree hash of node %d", i), n.hash, v.TreeHashes[i])
				got := []nodeIndex{}
				for _, r := range n.resolution(at.level(), at.position(), nil) {
					got = append(got, r.index)
					at := vectorSubtree(tree, r.index)
					vectorEqual(t, fmt.Sprintf("key of node %d in a resolution", r.index), r.key, nodeKey(at.leaf, at.parent))
				}
				if !slices.Equal(got, v.Resolutions[i]) {
					t.Errorf("resolution of node %d = %v, want %v", i, got, v.Resolutions[i])
				}
			}
			ctx := &GroupContext{Suite: v.Suite, GroupID: v.GroupID}
			vectorOK(t, "unmerged leaves", tree.verifyUnmerged())
			vectorOK(t, "parent hashes", tree.verifyParentHashes())
			vectorOK(t, "leaves", verifyLeaves(tree, ctx, &cfg, now))
			_, err := verifyTree(tree, ctx, &cfg, now)
			vectorOK(t, "tree", err)

			// A further leaf is unmerged at every node above it that has a key,
			// and leaves all parent hashes as they are.
			var first *LeafNode
			tree.members(func(_ LeafIndex, l *LeafNode) bool { first = l; return false })
			wider, added := tree.add(first)
			wider.seal()
			for at := added.node(); at != rootOf(wider.depth); {
				at = at.parent()
				if p := vectorSubtree(wider, at).parent; p != nil {
					unmerged++
					if !slices.Contains(p.unmerged, added) {
						t.Errorf("added leaf %d is not unmerged at node %d", added, at)
					}
				}
			}
			vectorOK(t, "unmerged leaves after an add", wider.verifyUnmerged())
			vectorOK(t, "parent hashes after an add", wider.verifyParentHashes())

			// Damage, one node at a time.
			tree.nodes(func(at nodeIndex, _ *subtree) bool {
				bad := vectorTree(t, "tree", v.Tree)
				n := vectorSubtree(bad, at)
				switch {
				case n.parent != nil:
					// Another key fits no child's parent hash.
					n.parent.key[0] ^= 1
					vectorRefused(t, fmt.Sprintf("parent node %d", at), bad.verifyParentHashes(), ErrBadTree)
				case n.leaf.Source != LeafFromKeyPackage:
					// Such a leaf's signature covers group and place.
					other := &GroupContext{Suite: v.Suite, GroupID: append([]byte{1}, v.GroupID...)}
					vectorRefused(t, fmt.Sprintf("leaf node %d in another group", at),
						n.leaf.verify(v.Suite, other.GroupID, LeafIndex(at.position()), cfg.Authenticator, now), ErrBadSignature)
					vectorRefused(t, fmt.Sprintf("leaf node %d in another place", at),
						n.leaf.verify(v.Suite, v.GroupID, LeafIndex(at.position()+1), cfg.Authenticator, now), ErrBadSignature)
				}
				if n.leaf != nil {
					n.leaf.Signature[len(n.leaf.Signature)-1] ^= 1
					vectorRefused(t, fmt.Sprintf("signature of leaf node %d", at),
						verifyLeaves(bad, ctx, &cfg, now), ErrBadSignature)
				}
				return true
			})
		})
	}
	if unmerged == 0 {
		t.Error("no tree in which an added leaf is unmerged")
	}
	count.check(t, file, vectorSuites...)
}

// TestVectorTreeKEM: treekem.json. Of every member its private keys; every
// UpdatePath as all others see it: path secrets, commit secret, tree hash after
// it; and paths of our own, from every member to all others.
func TestVectorTreeKEM(t *testing.T) {
	type member struct {
		Index       LeafIndex `json:"index"`
		Encryption  vectorHex `json:"encryption_priv"`
		Signature   vectorHex `json:"signature_priv"`
		PathSecrets []struct {
			Node   nodeIndex `json:"node"`
			Secret vectorHex `json:"path_secret"`
		} `json:"path_secrets"`
	}
	type vector struct {
		Suite               CipherSuite `json:"cipher_suite"`
		GroupID             vectorHex   `json:"group_id"`
		Epoch               uint64      `json:"epoch"`
		ConfirmedTranscript vectorHex   `json:"confirmed_transcript_hash"`
		RatchetTree         vectorHex   `json:"ratchet_tree"`
		Leaves              []member    `json:"leaves_private"`
		UpdatePaths         []struct {
			Sender        LeafIndex   `json:"sender"`
			UpdatePath    vectorHex   `json:"update_path"`
			PathSecrets   []vectorHex `json:"path_secrets"`
			CommitSecret  vectorHex   `json:"commit_secret"`
			TreeHashAfter vectorHex   `json:"tree_hash_after"`
		} `json:"update_paths"`
	}
	const file = "treekem.json"
	count := vectorCount{}
	cfg := vectorConfig(t)
	now := time.Unix(0, 0)
	for i, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d/%d", v.Suite, i), func(t *testing.T) {
			tree := vectorTree(t, "ratchet_tree", v.RatchetTree)
			g := &PublicGroup{cfg: cfg, tree: tree, ctx: GroupContext{Suite: v.Suite, GroupID: v.GroupID, Epoch: v.Epoch,
				TreeHash: tree.root.hash, ConfirmedTranscriptHash: v.ConfirmedTranscript, Extensions: Extensions{}}}
			var err error
			g.keys, err = verifyTree(tree, &g.ctx, &cfg, now)
			vectorOK(t, "ratchet_tree", err)
			vectorOK(t, "ratchet_tree", g.index())

			keys := map[LeafIndex]map[nodeIndex]hpkeKey{}
			signers := map[LeafIndex]SignatureKey{}
			for _, m := range v.Leaves {
				leaf := tree.leaf(m.Index)
				if leaf == nil {
					t.Fatalf("leaf %d is blank", m.Index)
				}
				own := map[nodeIndex]hpkeKey{m.Index.node(): hpkeKey(m.Encryption)}
				pub, err := v.Suite.publicHPKE(hpkeKey(m.Encryption))
				vectorOK(t, "encryption_priv", err)
				vectorEqual(t, fmt.Sprintf("encryption key of leaf %d", m.Index), pub, leaf.EncryptionKey)
				signer, err := ParseSignatureKey(v.Suite, m.Signature)
				vectorOK(t, "signature_priv", err)
				vectorEqual(t, fmt.Sprintf("signature key of leaf %d", m.Index), signer.Public(), leaf.SignatureKey)
				for _, s := range m.PathSecrets {
					n := vectorSubtree(tree, s.Node)
					if n.parent == nil {
						t.Fatalf("leaf %d has a path secret of node %d, which is blank", m.Index, s.Node)
					}
					p := v.Suite.climb(secret(s.Secret), 0, 1)
					vectorEqual(t, fmt.Sprintf("leaf %d, key of node %d", m.Index, s.Node), p.publics[0], n.parent.key)
					own[s.Node] = p.keys[0]
				}
				keys[m.Index], signers[m.Index] = own, signer
			}
			if len(keys) != tree.root.leaves {
				t.Fatalf("private keys of %d members of %d", len(keys), tree.root.leaves)
			}

			change := func(sender LeafIndex, u *updatePath) *Change {
				next := g.ctx
				return &Change{Kind: ContentCommit, Sender: Sender{Type: SenderMember, Leaf: sender}, Committer: sender,
					Context: &next, tree: tree, provisional: tree, path: u, base: g}
			}
			// follow applies a path as every commit's is, ciphertexts aside.
			follow := func(sender LeafIndex, u *updatePath) *Change {
				c := change(sender, u)
				vectorOK(t, "applying the path", g.applyPath(c, now))
				vectorOK(t, "applying the path", g.finish(c))
				vectorOK(t, "tree after the path", c.tree.verifyUnmerged())
				vectorOK(t, "tree after the path", c.tree.verifyParentHashes())
				again := vectorTree(t, "tree after the path", c.tree.append(nil))
				vectorEqual(t, "tree hash after the path, read again", again.root.hash, c.Context.TreeHash)
				return c
			}
			// decrypt lets one member read a path, and checks that the private
			// keys it got are those of the new tree.
			decrypt := func(c *Change, own LeafIndex) *pathSecrets {
				p, err := v.Suite.decryptPath(tree, c.Committer, own, c.path, nil, keys[own], c.Context.Bytes())
				vectorOK(t, fmt.Sprintf("leaf %d reads the path of leaf %d", own, c.Committer), err)
				for at, priv := range p.placed(tree.filteredPath(c.Committer)) {
					pub, err := v.Suite.publicHPKE(priv)
					vectorOK(t, "path key", err)
					vectorEqual(t, fmt.Sprintf("key of node %d", at), pub, vectorSubtree(c.tree, at).parent.key)
				}
				return p
			}

			for _, x := range v.UpdatePaths {
				u := new(updatePath)
				vectorParse(t, "update_path", x.UpdatePath, u.read, u.append)
				c := follow(x.Sender, u)
				vectorEqual(t, "tree_hash_after", c.Context.TreeHash, x.TreeHashAfter)
				if len(x.PathSecrets) != int(tree.width()) {
					t.Fatalf("%d path secrets for %d leaves", len(x.PathSecrets), tree.width())
				}
				for i, want := range x.PathSecrets {
					own := LeafIndex(i)
					if reads := own != x.Sender && tree.leaf(own) != nil; reads != (want != nil) {
						t.Fatalf("leaf %d: path secret given: %v, member and not the sender: %v", own, want != nil, reads)
					} else if !reads {
						continue
					}
					p := decrypt(c, own)
					vectorEqual(t, fmt.Sprintf("path secret of leaf %d for leaf %d", x.Sender, own), p.secrets[0], want)
					vectorEqual(t, fmt.Sprintf("commit_secret at leaf %d", own), p.commit, x.CommitSecret)
				}
			}

			for sender := range keys {
				steps := tree.filteredPath(sender)
				ps := v.Suite.climb(randomBytes(hashSize), 0, len(steps))
				u := &updatePath{leaf: *tree.leaf(sender)}
				to := make([][]resolved, len(steps))
				for k, s := range steps {
					to[k] = s.recipients(nil)
					u.nodes = append(u.nodes, pathNode{key: ps.publics[k], secrets: make([]HPKECiphertext, len(to[k]))})
				}
				_, u.leaf.EncryptionKey = v.Suite.generateHPKE()
				u.leaf.Source = LeafFromCommit
				_, u.leaf.ParentHash = pathParents(steps, ps.publics)
				other := *u
				other.leaf.ParentHash = append(bytes.Clone(u.leaf.ParentHash), 0)
				vectorOK(t, "signing the leaf", other.leaf.sign(signers[sender], v.GroupID, sender))
				c := change(sender, &other)
				vectorRefused(t, "path with another parent hash in the leaf", g.applyPath(c, now), ErrBadPath)
				vectorOK(t, "signing the leaf", u.leaf.sign(signers[sender], v.GroupID, sender))
				c = follow(sender, u)
				vectorOK(t, "encrypting the path", v.Suite.encryptPath(u, ps, to, c.Context.Bytes()))
				sent := new(updatePath)
				vectorParse(t, "own path", u.append(nil), sent.read, sent.append)
				c.path = sent
				for own := range keys {
					if own == sender {
						continue
					}
					p := decrypt(c, own)
					vectorEqual(t, fmt.Sprintf("own path of leaf %d, secret for leaf %d", sender, own), p.secrets[0], ps.secrets[p.from])
					vectorEqual(t, fmt.Sprintf("own path of leaf %d, commit secret at leaf %d", sender, own), p.commit, ps.commit)
					if bytes.Equal(p.commit, make([]byte, hashSize)) {
						t.Error("commit secret is zero")
					}
				}
			}
		})
	}
	count.check(t, file, vectorSuites...)
}
