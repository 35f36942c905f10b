package clientapi

// Privacy asks for a request to other providers to be made over relays, so that they do not learn
// which provider asks. It is done so or not at all: then the answer is a Problem with CodePrivacy.
type Privacy struct {
	Over string `json:"over" enum:"onion" doc:"The way: over the onion overlay"`
	// Floor is among how many providers it has to hide, as the own provider estimates it now.
	Floor float64 `json:"floor,omitempty" minimum:"0" maximum:"1000000" doc:"The least estimate of PrivacyReport.anonymity_set that will do"`
}

// PrivacyReport says what it is worth now to ask over relays, and what it costs. The estimate is
// the provider's, of what it can know: it is no proof.
type PrivacyReport struct {
	// Onion says that requests can be made over relays now; Why says why not.
	Onion bool   `json:"onion" doc:"Whether requests can be made over relays now"`
	Why   string `json:"why,omitempty" doc:"Why they cannot"`
	// AnonymitySet is among how many providers a request hides from somebody who sees all links and
	// runs no relay: 1 is nobody to hide among.
	AnonymitySet float64 `json:"anonymity_set" doc:"Among how many providers a request hides, an estimate"`
	// Providers is how many take part.
	Providers int `json:"providers" doc:"Providers that take part"`
	// Warnings are for the user.
	Warnings []string `json:"warnings,omitempty" doc:"What the user should know"`
	// ComputedMS is how long a request and its answer take on average by the configured rate and delays;
	// MeasuredMS is the same by the cover packets of the last minutes, zero if there are none yet.
	ComputedMS int64 `json:"computed_ms" doc:"How long a request and its answer take on average, of the configured delays"`
	MeasuredMS int64 `json:"measured_ms,omitempty" doc:"The same, with the trips of this provider's last cover packets"`
}

// SteadySize is how many octets each piece of a steady event stream has. That it is one the answer says in
// HeaderSteady, with the milliseconds that were asked for.
const (
	SteadySize   = 8 << 10
	HeaderSteady = "Mimid-Steady"
)
