package clientapi

import (
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// Provider is a provider as clients need to know it: Keys are the anchors of
// its users' certificates.
type Provider struct {
	Domain string `json:"domain" doc:"The provider's domain" example:"atlanta.example"`
	// Key is the present provider key (Ed25519, 32 octets).
	Key []byte `json:"key" doc:"Present provider key, Ed25519"`
	// Keys are all that count, the present one first.
	Keys [][]byte `json:"keys" doc:"All provider keys that certificates may rest on, the present one first"`
	// Trust says how the key was verified: self, pin, dns, https, first_use, name, or told: on the word of
	// another provider, since nobody finds this one any more.
	Trust string `json:"trust" doc:"How the key was verified" enum:"self,pin,dns,https,first_use,name,told"`
	// Lost says why nobody finds the provider any more, if that is so: its keys count
	// still, for what its users have said, and it cannot be asked.
	Lost string `json:"lost,omitempty" doc:"Why the provider cannot be found, while its keys are known"`
	// FrankingKey is the hub's franking key for suites 1 and 3 (Ed25519); the
	// own provider's only.
	FrankingKey []byte `json:"franking_key,omitempty" doc:"Franking key of this provider as a hub"`
	// Salt is the network's salt for identifiers, the own provider's only.
	Salt string `json:"salt,omitempty" doc:"Salt of the network for identifiers"`
	// Evaluators is the key set (oprf.KeySet) of those who evaluate identifiers; absent in a
	// network without. The own provider's only.
	Evaluators []byte `json:"evaluators,omitempty" doc:"Key set of the network's evaluators"`
	// Authorities are the verification authorities that the provider believes, this one
	// among them if it is one; Methods are those by which it verifies itself, then.
	Authorities []string `json:"authorities,omitempty" doc:"Verification authorities that are believed"`
	Methods     []string `json:"methods,omitempty" doc:"Methods by which this provider verifies identifiers, if it is an authority"`
	// MaxMessage is the largest MLS message, in octets, that a room takes.
	MaxMessage int `json:"max_message,omitempty" doc:"Largest message in octets"`
	// MaxAsset is the largest asset, in octets with its tag, that this provider keeps;
	// the own provider's only.
	MaxAsset int64 `json:"max_asset,omitempty" doc:"Largest asset in octets"`
}

// NewAccount registers a user with its first device. Proof is the user key's
// signature over ProofTBS.
type NewAccount struct {
	Invite  string `json:"invite" maxLength:"128" doc:"Invite from the operator"`
	Device  string `json:"device" minLength:"1" maxLength:"64" doc:"Name of this device" example:"phone"`
	UserKey []byte `json:"user_key" doc:"The user's key, Ed25519, made on this device"`
	Proof   []byte `json:"proof" doc:"Signature by the user key over the registration, see ProofTBS"`
}

// ProofTBS is what a user key signs to show at registration that it is held,
// for one provider and invite:
//
//	struct {
//	    opaque label<V> = "mimid register v1";
//	    opaque domain<V>; opaque invite<V>; opaque device<V>; opaque user_key<V>;
//	} ProofTBS;
func (n *NewAccount) ProofTBS(domain string) []byte {
	b := presentation.AppendOpaque(nil, []byte("mimid register v1"))
	for _, f := range [][]byte{[]byte(domain), []byte(n.Invite), []byte(n.Device), n.UserKey} {
		b = presentation.AppendOpaque(b, f)
	}
	return b
}

// Format implements fmt.Formatter; it prints neither invite nor proof.
func (n NewAccount) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "NewAccount(device %q)", n.Device) }

// Account answers NewAccount. The client certificate is made by the client
// (x509auth.IssueClient) with the user key and Certificate.
type Account struct {
	User        string `json:"user" doc:"URI of the user" example:"mimi://atlanta.example/u/alice"`
	Client      string `json:"client" doc:"URI of the device" example:"mimi://atlanta.example/d/alice/phone"`
	Token       string `json:"token" doc:"Bearer token of the device. It is shown this once."`
	Certificate []byte `json:"certificate" doc:"User certificate (DER)"`
}

// Format implements fmt.Formatter; it does not print the token.
func (a Account) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Account(%s)", a.Client) }

// NewCertificate renews the user certificate for the same user key.
type NewCertificate struct{}

// Certificate is a user certificate.
type Certificate struct {
	Certificate []byte `json:"certificate" doc:"User certificate (DER)"`
}

// Devices lists a user's devices.
type Devices struct {
	Devices []Device `json:"devices" doc:"The user's devices"`
}

// Device is one of them.
type Device struct {
	Name        string `json:"name" doc:"Name of the device" example:"phone"`
	Client      string `json:"client" doc:"URI of the device"`
	CreatedAt   int64  `json:"created_at" doc:"When it was registered, Unix milliseconds"`
	KeyPackages int    `json:"key_packages" doc:"KeyPackages in store"`
	LastResort  bool   `json:"last_resort" doc:"Whether a last resort is in store"`
}

// NewKeyPackages publishes KeyPackages of this device (each a bare KeyPackage of
// RFC 9420). LastResort, if given, replaces the one that may be handed out more
// than once. All or none are taken. Replace withdraws those that are used once and were
// published before: what has been handed out of them stays good.
type NewKeyPackages struct {
	KeyPackages [][]byte `json:"key_packages" maxItems:"100" nullable:"false" doc:"KeyPackages, each used once"`
	LastResort  []byte   `json:"last_resort,omitempty" doc:"KeyPackage for when no other is left"`
	Replace     bool     `json:"replace,omitempty" doc:"Withdraw the KeyPackages from before that are used once"`
}

// KeyPackageCount is what this device has in store, and what a claim would get now.
type KeyPackageCount struct {
	Available  int  `json:"available" doc:"KeyPackages of this device in store"`
	LastResort bool `json:"last_resort" doc:"Whether a last resort is there"`
	// Ends is when the last of those that are used once is not handed out any more, and
	// LastResortEnds likewise. Zero: there is none.
	Ends           int64 `json:"ends,omitempty" doc:"Until when the available ones are handed out, Unix seconds"`
	LastResortEnds int64 `json:"last_resort_ends,omitempty" doc:"Until when the last resort is handed out, Unix seconds"`
	// Next and LastResortRef let a device see whether it has the private keys to what others get.
	Next          []byte `json:"next,omitempty" doc:"KeyPackageRef of the one that a claim would get now; of the last resort, if it is that"`
	LastResortRef []byte `json:"last_resort_ref,omitempty" doc:"KeyPackageRef of the last resort"`
	// Level is how the user can be added, with all devices: fresh, reserve (some device by its last
	// resort only), partly (some device not at all), none. It is that of the provider's last
	// look at the answers that it gives, which is less than a minute old.
	Level string `json:"level,omitempty" enum:"fresh,reserve,partly,none" doc:"How the user can be added to rooms"`
	// Outside says whether the provider gives such answers to strangers, as another provider has
	// found out for it: seen, unseen (nobody elsewhere can add any of its users), unknown.
	Outside string `json:"outside,omitempty" enum:"seen,unseen,unknown" doc:"Whether strangers can claim KeyPackages at the provider"`
}

// ClaimKeyPackages asks for another user's KeyPackages, for a room. Request is a
// signed KeyMaterialRequest (wire). It goes by the room's hub; a room that does
// not exist yet is asked for at its future hub, which is the own provider.
type ClaimKeyPackages struct {
	Request []byte `json:"request" doc:"KeyMaterialRequest (MIMI section 5.2)"`
}

// ClaimedKeyPackages answers with a KeyMaterialResponse (wire).
type ClaimedKeyPackages struct {
	Response []byte `json:"response" doc:"KeyMaterialResponse (MIMI section 5.2)"`
}
