package clientapi

// NewPseudonym asks for what the user goes by in a pseudonymous room that it begins.
type NewPseudonym struct {
	Room string `json:"room" maxLength:"1024" doc:"URI of the room"`
}

// Pseudonym is the answer.
type Pseudonym struct {
	Pseudonym string `json:"pseudonym" doc:"URI of the pseudonym"`
}

// WantedPseudonyms are pseudonyms of the user that lack a KeyPackage of this device.
type WantedPseudonyms struct {
	Pseudonyms []string `json:"pseudonyms" doc:"URIs of pseudonyms"`
	Restored   string   `json:"restored,omitempty" doc:"Which backup the provider was put back to, and when. A device that has not heard of it says what it goes by in its rooms: the provider may have forgotten"`
}

// HeldPseudonym says what the user goes by in a room, to a provider that may have forgotten.
type HeldPseudonym struct {
	Room      string `json:"room" maxLength:"1024" doc:"URI of the room"`
	Pseudonym string `json:"pseudonym" maxLength:"1024" doc:"URI of the pseudonym"`
	Proof     []byte `json:"proof" doc:"Signature with the key of a leaf under the pseudonym"`
	Hub       string `json:"hub,omitempty" maxLength:"255" doc:"Who orders the room, to be asked for what the provider does not know of it"`
}

// PseudonymousKeyPackages are KeyPackages of this device under pseudonyms of its user.
type PseudonymousKeyPackages struct {
	KeyPackages []PseudonymousKeyPackage `json:"key_packages" doc:"At most 64"`
}

// PseudonymousKeyPackage is a KeyPackage and the key that opens its identity link. It is
// secret: the user's own provider knows the name anyway, and gives it to who may add the user.
type PseudonymousKeyPackage struct {
	KeyPackage []byte `json:"key_package" doc:"The KeyPackage, of a pseudonymous credential"`
	Key        []byte `json:"key" doc:"The key of its identity link, 32 octets"`
}

// What a claim under a pseudonym comes to.
const (
	ClaimGiven     = "given"
	ClaimNoConsent = "no consent"
	ClaimExhausted = "exhausted" // there is nothing to give now, or no such user
)

// PseudonymousClaim answers, sealed for the device that asks, a request for KeyPackages under a
// pseudonym.
type PseudonymousClaim struct {
	Status      string                   `json:"status"`
	Pseudonym   string                   `json:"pseudonym,omitempty"`
	KeyPackages []PseudonymousKeyPackage `json:"key_packages,omitempty"`
}
