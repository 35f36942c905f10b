package mls

import (
	"bytes"
	"fmt"
)

// TreeKEM (RFC 9420 sections 7.4 to 7.6): a commit's path secrets, made by the
// committer and decrypted by everybody else.

const pathLabel = "UpdatePathNode"

// pathSecrets is the secret half of a path. keys and secrets run along the
// filtered direct path, from the first step whose secret is known (from).
type pathSecrets struct {
	from    int
	secrets []secret
	keys    []hpkeKey
	publics [][]byte
	commit  secret
}

// climb derives the keys of n steps from the first one's path secret:
// node_secret = DeriveSecret(path_secret, "node"), the next path secret is
// DeriveSecret(path_secret, "path"), and the one after the last step is the
// commit secret.
func (c CipherSuite) climb(first secret, from, n int) *pathSecrets {
	p := &pathSecrets{from: from}
	s := first
	for range n {
		priv, pub := c.deriveHPKE(deriveSecret(s, "node"))
		p.secrets = append(p.secrets, s)
		p.keys = append(p.keys, priv)
		p.publics = append(p.publics, pub)
		s = deriveSecret(s, "path")
	}
	p.commit = s
	return p
}

// encryptPath fills in the ciphertexts of a path: each step's path secret to
// every recipient, on all cores. context is the provisional GroupContext.
func (c CipherSuite) encryptPath(u *updatePath, p *pathSecrets, to [][]resolved, context []byte) error {
	type job struct{ step, at int }
	var jobs []job
	for k := range to {
		for i := range to[k] {
			jobs = append(jobs, job{k, i})
		}
	}
	return onAllCores(len(jobs), func(i int) (err error) {
		j := jobs[i]
		u.nodes[j.step].secrets[j.at], err = c.seal(to[j.step][j.at].key, pathLabel, context, p.secrets[j.step])
		return err
	})
}

// decryptPath finds the ciphertext meant for the leaf own, whose private keys
// are given by node, and derives the keys from there to the root. Every one
// must be the announced one.
func (c CipherSuite) decryptPath(t ratchetTree, committer, own LeafIndex, u *updatePath,
	newLeaves map[LeafIndex]bool, keys map[nodeIndex]hpkeKey, context []byte) (*pathSecrets, error) {
	for k, s := range t.filteredPath(committer) {
		if uint32(own)>>(s.level-1) != s.copathPos {
			continue
		}
		for i, r := range s.recipients(newLeaves) {
			priv := keys[r.index]
			if priv == nil {
				continue
			}
			ps, err := c.open(priv, pathLabel, context, u.nodes[k].secrets[i])
			if err != nil {
				return nil, err
			}
			if len(ps) != hashSize {
				return nil, fmt.Errorf("path secret of %d bytes: %w", len(ps), ErrBadPath)
			}
			p := c.climb(ps, k, len(u.nodes)-k)
			for j, pub := range p.publics {
				if !bytes.Equal(pub, u.nodes[k+j].key) {
					return nil, fmt.Errorf("path node %d has another key than its secret gives: %w", k+j, ErrBadPath)
				}
			}
			return p, nil
		}
		return nil, fmt.Errorf("no ciphertext for leaf %d: %w", own, ErrBadPath)
	}
	return nil, fmt.Errorf("leaf %d is not below the path of leaf %d: %w", own, committer, ErrBadPath)
}

// placed gives the private keys of a path by node.
func (p *pathSecrets) placed(steps []pathStep) map[nodeIndex]hpkeKey {
	out := make(map[nodeIndex]hpkeKey, len(p.keys)+1)
	for i, k := range p.keys {
		out[steps[p.from+i].index] = k
	}
	return out
}
