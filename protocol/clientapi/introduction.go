package clientapi

// MaxTokens is how many tokens one call may ask for.
const MaxTokens = 8

// TokenKeys is with what the provider signs tokens for anonymous requests.
type TokenKeys struct {
	Keys []byte `json:"keys" doc:"introduction.Keys; tokens are signed by the first, this week's"`
	Left int    `json:"left" doc:"How many tokens the user gets today"`
}

// NewTokens asks for tokens. Asked for again with the same octets, nothing is counted twice.
type NewTokens struct {
	Requests [][]byte `json:"requests" minItems:"1" maxItems:"8" doc:"TokenRequests (RFC 9578 section 6.1), which do not show for what the tokens are"`
}

// Tokens are tokens, signed and still blinded.
type Tokens struct {
	Responses [][]byte `json:"responses" doc:"TokenResponses, in the order of the requests"`
	Left      int      `json:"left" doc:"How many more the user gets today"`
}
