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

// Introduce is a request for first contact by somebody who does not say who it is, without the
// header that says so: the token in it is all that shows that it is a user of this provider.
type Introduce struct {
	Request []byte `json:"request" maxLength:"4096" doc:"introduction.Request; the same again asks whether there is an answer"`
	// Privacy passes it on over relays. The target's provider learns the issuer of the token in any case.
	Privacy *Privacy `json:"privacy,omitempty" doc:"Pass it on so that who watches links does not learn which provider asks which"`
}

// Introduced answers it.
type Introduced struct {
	Granted bool   `json:"granted" doc:"The target has said yes. False says nothing, not even that there is such a user"`
	Over    string `json:"over,omitempty" doc:"The way that it went, as privacy asked for it"`
}

// Introductions lists anonymous requests that wait for the user's answer.
type Introductions struct {
	Introductions []Introduction `json:"introductions"`
}

// Introduction is a request by somebody who has not said who it is.
type Introduction struct {
	Handle   string `json:"handle" doc:"Name of the request, hexadecimal"`
	Provider string `json:"provider" doc:"Domain of the provider whose user it is"`
	Text     string `json:"text,omitempty" doc:"What it says; nobody vouches for it"`
	At       int64  `json:"at" doc:"Unix milliseconds"`
	Until    int64  `json:"until" doc:"When it is dropped, Unix milliseconds"`
}

// JudgeIntroduction is the answer to an anonymous request.
type JudgeIntroduction struct {
	Handle string `json:"handle" pattern:"^[0-9a-f]{64}$" doc:"Name of the request"`
	Accept bool   `json:"accept" doc:"Yes: whoever it is may add the user to rooms, once it has said its name. No is told to nobody"`
}
