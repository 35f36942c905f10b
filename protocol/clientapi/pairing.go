package clientapi

import "fmt"

// NewPairing opens a box in which the provider keeps what two devices of a user say to each
// other (package pairing), while the second one is not registered yet.
type NewPairing struct {
	Box string `json:"box" minLength:"32" maxLength:"32" pattern:"^[0-9a-f]{32}$" doc:"Name of the box, which the code makes"`
}

// Pairing is a box that was opened. A user has one; opening another one closes it.
type Pairing struct {
	Invite  string `json:"invite" doc:"Invite for one more device of this user"`
	Expires int64  `json:"expires" doc:"When the box is gone, Unix milliseconds"`
}

// Format implements fmt.Formatter; it does not print the invite.
func (p Pairing) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Pairing(until %d)", p.Expires) }

// PairingHello is what the new device says. The box takes one.
type PairingHello struct {
	Hello []byte `json:"hello,omitempty" maxLength:"512" doc:"Hello of the new device; absent: none has come yet, ask again"`
}

// PairingAnswer is what the old device answers.
type PairingAnswer struct {
	Answer []byte `json:"answer,omitempty" maxLength:"2048" doc:"Answer of the old device; absent: there is none yet, say the same hello again"`
}
