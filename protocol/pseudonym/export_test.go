package pseudonym

import "slices"

// HeldKeys are the keys that a member could keep and use later.
func HeldKeys(r *Room) []Key {
	var out []Key
	for _, k := range r.keys {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Key) int { return a.id.compare(b.id) })
	return out
}

// As is a key that says it is another one.
func As(k Key, id ID) Key {
	k.id = id
	return k
}

// SignatureName is the label of what identities sign.
const SignatureName = signatureName

// LinkBucket is what links are filled up to.
const LinkBucket = linkBucket

// TBS is what they sign.
var TBS = tbs

// SealClaim seals whatever claim, true or not.
func SealClaim(c *Credential, k Key, about []byte, plain []byte) {
	about = append(k.id.append(nil), about...)
	c.Link = Sealed{Key: k.id}
	c.Link.Ciphertext = k.aead(about).Seal(nil, c.Link.Nonce[:], plain, about)
}
