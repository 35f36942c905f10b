package mls

import (
	"fmt"
)

// Key schedule (RFC 9420 section 8):
//
//	init_secret[n-1] + commit_secret + GroupContext[n] -> joiner_secret
//	joiner_secret + psk_secret -> member_secret -> welcome_secret
//	member_secret + GroupContext[n] -> epoch_secret -> the secrets below

// epochSecrets are the secrets of one epoch that outlive its beginning.
type epochSecrets struct {
	senderData, exporter, authenticator, external  secret
	confirmation, membership, resumption, nextInit secret
	// encryption is the root of the secret tree, which takes it over.
	encryption secret
}

// joinerSecret: Extract(init_secret, commit_secret), then "joiner".
func joinerSecret(init, commit secret, ctx []byte) secret {
	return expandWithLabel(extract(init, commit), "joiner", ctx, hashSize)
}

func memberSecret(joiner, psk secret) secret { return extract(joiner, psk) }

func newEpoch(member secret, ctx []byte) *epochSecrets {
	return deriveEpoch(expandWithLabel(member, "epoch", ctx, hashSize))
}

func deriveEpoch(s secret) *epochSecrets {
	return &epochSecrets{
		senderData:    deriveSecret(s, "sender data"),
		encryption:    deriveSecret(s, "encryption"),
		exporter:      deriveSecret(s, "exporter"),
		external:      deriveSecret(s, "external"),
		confirmation:  deriveSecret(s, "confirm"),
		membership:    deriveSecret(s, "membership"),
		resumption:    deriveSecret(s, "resumption"),
		authenticator: deriveSecret(s, "authentication"),
		nextInit:      deriveSecret(s, "init"),
	}
}

func (e *epochSecrets) each(f func(*secret)) {
	for _, s := range []*secret{&e.senderData, &e.exporter, &e.authenticator, &e.external,
		&e.confirmation, &e.membership, &e.resumption, &e.nextInit, &e.encryption} {
		f(s)
	}
}

func (e *epochSecrets) wipe() { e.each(func(s *secret) { s.wipe() }) }

// export is MLS-Exporter (section 8.5).
func (e *epochSecrets) export(label string, context []byte, length int) secret {
	return expandWithLabel(deriveSecret(e.exporter, label), "exported", hash(context), length)
}

// welcomeKeys are key and nonce of the encrypted GroupInfo in a Welcome.
func (c CipherSuite) welcomeKeys(member secret) (key, nonce secret) {
	w := deriveSecret(member, "welcome")
	return expandWithLabel(w, "key", nil, c.keySize()), expandWithLabel(w, "nonce", nil, nonceSize)
}

// PSKSource finds pre-shared keys. It must return a fresh copy or one that is
// never changed; an unknown key is an error.
type PSKSource interface {
	// ExternalPSK returns the key that members know under id.
	ExternalPSK(id []byte) ([]byte, error)
	// ResumptionPSK returns the resumption PSK of another group's epoch, as
	// that Group's ResumptionPSK method gives it.
	ResumptionPSK(groupID []byte, epoch uint64) ([]byte, error)
}

// pskSecret combines pre-shared keys (section 8.4), in their order:
//
//	psk_input[i]  = ExpandWithLabel(Extract(0, psk[i]), "derived psk", PSKLabel, Nh)
//	psk_secret[i] = Extract(psk_input[i-1], psk_secret[i-1]), psk_secret[0] = 0
//	PSKLabel      = {PreSharedKeyID id; uint16 index; uint16 count}
func pskSecret(ids []PreSharedKeyID, keys []secret) secret {
	zero := make(secret, hashSize)
	out := zero
	for i := range ids {
		label := appendU16(appendU16(ids[i].append(nil), uint16(i)), uint16(len(ids)))
		input := expandWithLabel(extract(zero, keys[i]), "derived psk", label, hashSize)
		out = extract(input, out)
	}
	return out
}

// lookup resolves PSK ids through own, which knows this group's resumption
// PSKs, and then the source.
func lookupPSKs(ids []PreSharedKeyID, own func(*PreSharedKeyID) secret, src PSKSource) (secret, error) {
	if len(ids) > 0xffff {
		return nil, fmt.Errorf("%d PSKs: %w", len(ids), ErrTooLarge)
	}
	keys := make([]secret, len(ids))
	for i := range ids {
		id := &ids[i]
		if own != nil {
			keys[i] = own(id)
		}
		if keys[i] != nil {
			continue
		}
		var err error
		switch {
		case src == nil:
			err = fmt.Errorf("no PSKSource configured")
		case id.Type == PSKExternal:
			keys[i], err = src.ExternalPSK(id.ID)
		default:
			keys[i], err = src.ResumptionPSK(id.GroupID, id.Epoch)
		}
		if err != nil {
			return nil, fmt.Errorf("PSK %d: %w: %w", i, ErrUnknownPSK, err)
		}
		if len(keys[i]) == 0 {
			return nil, fmt.Errorf("PSK %d is empty: %w", i, ErrUnknownPSK)
		}
	}
	return pskSecret(ids, keys), nil
}
