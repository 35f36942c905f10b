package mls

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// TestVectorCryptoBasics: crypto-basics.json. The labelled primitives of RFC
// 9420 sections 5 and 8; signatures and encryption also with values of our own.
func TestVectorCryptoBasics(t *testing.T) {
	type vector struct {
		Suite   CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label string    `json:"label"`
			Value vectorHex `json:"value"`
			Out   vectorHex `json:"out"`
		} `json:"ref_hash"`
		Expand struct {
			Secret  vectorHex `json:"secret"`
			Label   string    `json:"label"`
			Context vectorHex `json:"context"`
			Length  int       `json:"length"`
			Out     vectorHex `json:"out"`
		} `json:"expand_with_label"`
		Derive struct {
			Secret vectorHex `json:"secret"`
			Label  string    `json:"label"`
			Out    vectorHex `json:"out"`
		} `json:"derive_secret"`
		DeriveTree struct {
			Secret     vectorHex `json:"secret"`
			Label      string    `json:"label"`
			Generation uint32    `json:"generation"`
			Length     int       `json:"length"`
			Out        vectorHex `json:"out"`
		} `json:"derive_tree_secret"`
		Sign struct {
			Priv      vectorHex `json:"priv"`
			Pub       vectorHex `json:"pub"`
			Content   vectorHex `json:"content"`
			Label     string    `json:"label"`
			Signature vectorHex `json:"signature"`
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv       vectorHex `json:"priv"`
			Pub        vectorHex `json:"pub"`
			Label      string    `json:"label"`
			Context    vectorHex `json:"context"`
			Plaintext  vectorHex `json:"plaintext"`
			KEMOutput  vectorHex `json:"kem_output"`
			Ciphertext vectorHex `json:"ciphertext"`
		} `json:"encrypt_with_label"`
	}
	const file = "crypto-basics.json"
	count := vectorCount{}
	for _, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d", v.Suite), func(t *testing.T) {
			vectorEqual(t, "ref_hash", refHash(v.RefHash.Label, v.RefHash.Value), v.RefHash.Out)
			e := v.Expand
			vectorEqual(t, "expand_with_label", expandWithLabel(secret(e.Secret), e.Label, e.Context, e.Length), e.Out)
			vectorEqual(t, "derive_secret", deriveSecret(secret(v.Derive.Secret), v.Derive.Label), v.Derive.Out)
			d := v.DeriveTree
			vectorEqual(t, "derive_tree_secret", deriveTreeSecret(secret(d.Secret), d.Label, d.Generation, d.Length), d.Out)

			s := v.Sign
			vectorOK(t, "signature", v.Suite.verify(s.Pub, s.Label, s.Content, s.Signature))
			vectorOK(t, "signature key", v.Suite.checkSignatureKey(s.Pub))
			key, err := ParseSignatureKey(v.Suite, s.Priv)
			vectorOK(t, "signature private key", err)
			vectorEqual(t, "signature public key", key.Public(), s.Pub)
			vectorEqual(t, "signature private key, encoded again", key.Bytes(), s.Priv)
			own, err := key.sign(s.Label, s.Content)
			vectorOK(t, "signing", err)
			vectorOK(t, "own signature", v.Suite.verify(s.Pub, s.Label, s.Content, own))
			vectorRefused(t, "signature under another label",
				v.Suite.verify(s.Pub, s.Label+"x", s.Content, s.Signature), ErrBadSignature)

			x := v.Encrypt
			pub, err := v.Suite.publicHPKE(hpkeKey(x.Priv))
			vectorOK(t, "HPKE private key", err)
			vectorEqual(t, "HPKE public key", pub, x.Pub)
			ct := HPKECiphertext{KEMOutput: x.KEMOutput, Ciphertext: x.Ciphertext}
			plain, err := v.Suite.open(hpkeKey(x.Priv), x.Label, x.Context, ct)
			vectorOK(t, "decrypting", err)
			vectorEqual(t, "plaintext", plain, x.Plaintext)
			_, err = v.Suite.open(hpkeKey(x.Priv), x.Label+"x", x.Context, ct)
			vectorRefused(t, "ciphertext under another label", err, ErrDecrypt)
			ct, err = v.Suite.seal(x.Pub, x.Label, x.Context, secret(x.Plaintext))
			vectorOK(t, "encrypting", err)
			plain, err = v.Suite.open(hpkeKey(x.Priv), x.Label, x.Context, ct)
			vectorOK(t, "decrypting own ciphertext", err)
			vectorEqual(t, "plaintext of own ciphertext", plain, x.Plaintext)

			pair, err := ParseHPKEKey(v.Suite, x.Priv)
			vectorOK(t, "HPKE key pair", err)
			vectorEqual(t, "public part of the key pair", pair.Public(), x.Pub)
			vectorEqual(t, "private part, encoded again", pair.Bytes(), x.Priv)
			plain, err = pair.Decrypt(x.Label, x.Context, HPKECiphertext{KEMOutput: x.KEMOutput, Ciphertext: x.Ciphertext})
			vectorOK(t, "Decrypt", err)
			vectorEqual(t, "plaintext of Decrypt", plain, x.Plaintext)
			ct, err = v.Suite.Encrypt(x.Pub, x.Label, x.Context, x.Plaintext)
			vectorOK(t, "Encrypt", err)
			_, err = pair.Decrypt(x.Label, append([]byte("x"), x.Context...), ct)
			vectorRefused(t, "ciphertext under another context", err, ErrDecrypt)
			_, err = ParseHPKEKey(v.Suite, x.Priv[1:])
			vectorRefused(t, "short HPKE key", err, ErrMalformed)
			_, err = v.Suite.Encrypt(x.Pub[1:], x.Label, x.Context, nil)
			vectorRefused(t, "short public key", err, ErrMalformed)
		})
	}
	count.check(t, file, vectorSuites...)
}

// TestVectorDeserialization: deserialization.json. Headers of variable-size
// vectors, read and written.
func TestVectorDeserialization(t *testing.T) {
	type vector struct {
		Header vectorHex `json:"vlbytes_header"`
		Length int       `json:"length"`
	}
	cases := loadVectors[vector](t, "deserialization.json")
	for _, v := range cases {
		got := -1
		vectorOK(t, "header", parse(v.Header, Limits{}, "header", func(r *reader) { got = r.Length() }))
		if got != v.Length {
			t.Errorf("header %x = %d, want %d", v.Header, got, v.Length)
		}
		vectorEqual(t, "header", appendVarint(nil, v.Length), v.Header)
	}
	t.Logf("deserialization.json: %d cases ran, no suites", len(cases))
}

// TestVectorKeySchedule: key-schedule.json. A chain of epochs: the
// GroupContext's encoding, every secret, the external key pair and the
// exporter.
func TestVectorKeySchedule(t *testing.T) {
	type epoch struct {
		TreeHash                vectorHex `json:"tree_hash"`
		CommitSecret            vectorHex `json:"commit_secret"`
		PSKSecret               vectorHex `json:"psk_secret"`
		ConfirmedTranscriptHash vectorHex `json:"confirmed_transcript_hash"`
		GroupContext            vectorHex `json:"group_context"`
		JoinerSecret            vectorHex `json:"joiner_secret"`
		WelcomeSecret           vectorHex `json:"welcome_secret"`
		InitSecret              vectorHex `json:"init_secret"`
		SenderDataSecret        vectorHex `json:"sender_data_secret"`
		EncryptionSecret        vectorHex `json:"encryption_secret"`
		ExporterSecret          vectorHex `json:"exporter_secret"`
		EpochAuthenticator      vectorHex `json:"epoch_authenticator"`
		ExternalSecret          vectorHex `json:"external_secret"`
		ConfirmationKey         vectorHex `json:"confirmation_key"`
		MembershipKey           vectorHex `json:"membership_key"`
		ResumptionPSK           vectorHex `json:"resumption_psk"`
		ExternalPub             vectorHex `json:"external_pub"`
		Exporter                struct {
			Label   string    `json:"label"`
			Context vectorHex `json:"context"`
			Length  int       `json:"length"`
			Secret  vectorHex `json:"secret"`
		} `json:"exporter"`
	}
	type vector struct {
		Suite             CipherSuite `json:"cipher_suite"`
		GroupID           vectorHex   `json:"group_id"`
		InitialInitSecret vectorHex   `json:"initial_init_secret"`
		Epochs            []epoch     `json:"epochs"`
	}
	const file = "key-schedule.json"
	count := vectorCount{}
	for _, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d", v.Suite), func(t *testing.T) {
			if len(v.Epochs) == 0 {
				t.Fatal("no epochs")
			}
			init := secret(v.InitialInitSecret)
			for i, x := range v.Epochs {
				name := func(s string) string { return fmt.Sprintf("epoch %d, %s", i, s) }
				ctx := &GroupContext{Suite: v.Suite, GroupID: v.GroupID, Epoch: uint64(i), TreeHash: x.TreeHash,
					ConfirmedTranscriptHash: x.ConfirmedTranscriptHash, Extensions: Extensions{}}
				vectorEqual(t, name("group_context"), ctx.Bytes(), x.GroupContext)
				parsed, err := ParseGroupContext(x.GroupContext, Limits{})
				vectorOK(t, name("group_context"), err)
				vectorEqual(t, name("group_context, encoded again"), parsed.Bytes(), x.GroupContext)

				e, joiner, member := nextEpoch(&Change{Context: parsed}, init, secret(x.CommitSecret), secret(x.PSKSecret))
				vectorEqual(t, name("joiner_secret"), joiner, x.JoinerSecret)
				vectorEqual(t, name("welcome_secret"), deriveSecret(member, "welcome"), x.WelcomeSecret)
				key, nonce := v.Suite.welcomeKeys(member)
				vectorEqual(t, name("welcome key"), key,
					expandWithLabel(secret(x.WelcomeSecret), "key", nil, v.Suite.keySize()))
				vectorEqual(t, name("welcome nonce"), nonce,
					expandWithLabel(secret(x.WelcomeSecret), "nonce", nil, nonceSize))
				vectorEqual(t, name("init_secret"), e.nextInit, x.InitSecret)
				vectorEqual(t, name("sender_data_secret"), e.senderData, x.SenderDataSecret)
				vectorEqual(t, name("encryption_secret"), e.encryption, x.EncryptionSecret)
				vectorEqual(t, name("exporter_secret"), e.exporter, x.ExporterSecret)
				vectorEqual(t, name("epoch_authenticator"), e.authenticator, x.EpochAuthenticator)
				vectorEqual(t, name("external_secret"), e.external, x.ExternalSecret)
				vectorEqual(t, name("confirmation_key"), e.confirmation, x.ConfirmationKey)
				vectorEqual(t, name("membership_key"), e.membership, x.MembershipKey)
				vectorEqual(t, name("resumption_psk"), e.resumption, x.ResumptionPSK)
				priv, pub := v.Suite.deriveHPKE(e.external)
				vectorEqual(t, name("external_pub"), pub, x.ExternalPub)
				vectorEqual(t, name("exporter"), e.export(x.Exporter.Label, x.Exporter.Context, x.Exporter.Length), x.Exporter.Secret)

				kem, sent, err := v.Suite.exportExternal(x.ExternalPub)
				vectorOK(t, name("external init"), err)
				received, err := v.Suite.receiveExternal(priv, kem)
				vectorOK(t, name("external init"), err)
				vectorEqual(t, name("external init secret"), received, sent)
				init = e.nextInit
			}
		})
	}
	count.check(t, file, vectorSuites...)
}

// vectorPSKs is a PSKSource of external PSKs.
type vectorPSKs map[string][]byte

func (s vectorPSKs) ExternalPSK(id []byte) ([]byte, error) {
	if k, ok := s[string(id)]; ok {
		return bytes.Clone(k), nil
	}
	return nil, ErrUnknownPSK
}

func (vectorPSKs) ResumptionPSK([]byte, uint64) ([]byte, error) { return nil, ErrUnknownPSK }

// TestVectorPSKSecret: psk_secret.json. The combination of 0 to 10 external
// PSKs, looked up by id.
func TestVectorPSKSecret(t *testing.T) {
	type vector struct {
		Suite CipherSuite `json:"cipher_suite"`
		PSKs  []struct {
			ID    vectorHex `json:"psk_id"`
			PSK   vectorHex `json:"psk"`
			Nonce vectorHex `json:"psk_nonce"`
		} `json:"psks"`
		Secret vectorHex `json:"psk_secret"`
	}
	const file = "psk_secret.json"
	count := vectorCount{}
	for i, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		source := vectorPSKs{}
		var ids []PreSharedKeyID
		for _, p := range v.PSKs {
			source[string(p.ID)] = p.PSK
			ids = append(ids, PreSharedKeyID{Type: PSKExternal, ID: p.ID, Nonce: p.Nonce})
		}
		got, err := lookupPSKs(ids, nil, source)
		vectorOK(t, "PSKs", err)
		vectorEqual(t, fmt.Sprintf("case %d, psk_secret of %d", i, len(ids)), got, v.Secret)
	}
	count.check(t, file, vectorSuites...)
}

// TestVectorSecretTree: secret-tree.json. Sender data keys, and of every leaf
// both ratchets at every generation given: ascending, descending (so that the
// lower generations are skipped keys), leaves in both orders; each key once.
func TestVectorSecretTree(t *testing.T) {
	type step struct {
		Generation       uint32    `json:"generation"`
		HandshakeKey     vectorHex `json:"handshake_key"`
		HandshakeNonce   vectorHex `json:"handshake_nonce"`
		ApplicationKey   vectorHex `json:"application_key"`
		ApplicationNonce vectorHex `json:"application_nonce"`
	}
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		SenderData struct {
			Secret     vectorHex `json:"sender_data_secret"`
			Ciphertext vectorHex `json:"ciphertext"`
			Key        vectorHex `json:"key"`
			Nonce      vectorHex `json:"nonce"`
		} `json:"sender_data"`
		EncryptionSecret vectorHex `json:"encryption_secret"`
		Leaves           [][]step  `json:"leaves"`
	}
	const file = "secret-tree.json"
	count := vectorCount{}
	lim := Limits{}.withDefaults()
	for _, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d/%dleaves", v.Suite, len(v.Leaves)), func(t *testing.T) {
			key, nonce := v.Suite.senderDataKeys(secret(v.SenderData.Secret), v.SenderData.Ciphertext)
			vectorEqual(t, "sender data key", key, v.SenderData.Key)
			vectorEqual(t, "sender data nonce", nonce, v.SenderData.Nonce)

			if len(v.Leaves) == 0 {
				t.Fatal("no leaves")
			}
			depth := 0
			for 1<<depth < len(v.Leaves) {
				depth++
			}
			for _, descending := range []bool{false, true} {
				tree := newSecretTree(v.Suite, depth, secret(v.EncryptionSecret).clone())
				leaves := make([]LeafIndex, len(v.Leaves))
				for i := range leaves {
					leaves[i] = LeafIndex(i)
				}
				if descending {
					slices.Reverse(leaves)
				}
				for _, leaf := range leaves {
					steps := slices.Clone(v.Leaves[leaf])
					if len(steps) == 0 {
						t.Fatalf("leaf %d has no generations", leaf)
					}
					if descending {
						slices.Reverse(steps)
					}
					for _, s := range steps {
						for _, k := range []struct {
							handshake  bool
							key, nonce vectorHex
						}{{true, s.HandshakeKey, s.HandshakeNonce}, {false, s.ApplicationKey, s.ApplicationNonce}} {
							id := ratchetID{leaf, k.handshake}
							name := fmt.Sprintf("leaf %d, generation %d, handshake %v", leaf, s.Generation, k.handshake)
							got, err := tree.find(id, s.Generation, &lim)
							vectorOK(t, name, err)
							vectorEqual(t, name+", key", got.key.key, k.key)
							vectorEqual(t, name+", nonce", got.key.nonce, k.nonce)
							tree.take(got, &lim, func(treePart) {})
							_, err = tree.find(id, s.Generation, &lim)
							vectorRefused(t, name+", again", err, ErrReplayed)
						}
					}
				}
			}
		})
	}
	count.check(t, file, vectorSuites...)
}

// TestVectorTranscriptHashes: transcript-hashes.json. Both hashes over a given
// commit, its confirmation tag, and its encoding.
func TestVectorTranscriptHashes(t *testing.T) {
	type vector struct {
		Suite           CipherSuite `json:"cipher_suite"`
		ConfirmationKey vectorHex   `json:"confirmation_key"`
		Content         vectorHex   `json:"authenticated_content"`
		InterimBefore   vectorHex   `json:"interim_transcript_hash_before"`
		ConfirmedAfter  vectorHex   `json:"confirmed_transcript_hash_after"`
		InterimAfter    vectorHex   `json:"interim_transcript_hash_after"`
	}
	const file = "transcript-hashes.json"
	count := vectorCount{}
	for _, v := range loadVectors[vector](t, file) {
		if !count.runs(v.Suite) {
			continue
		}
		t.Run(fmt.Sprintf("suite%d", v.Suite), func(t *testing.T) {
			a := vectorAuthContent(t, v.Content)
			confirmed := a.confirmedTranscript(v.InterimBefore)
			vectorEqual(t, "confirmed_transcript_hash_after", confirmed, v.ConfirmedAfter)
			vectorEqual(t, "confirmation tag", mac(secret(v.ConfirmationKey), confirmed), a.tag)
			vectorEqual(t, "interim_transcript_hash_after", interimTranscript(confirmed, a.tag), v.InterimAfter)
		})
	}
	count.check(t, file, vectorSuites...)
}
