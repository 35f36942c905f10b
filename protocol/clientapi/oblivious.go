package clientapi

// ObliviousKeys asks for the keys of a gateway, as a device needs them to ask for something
// that its own provider is not to see (package ohttp).
type ObliviousKeys struct {
	Gateway string `json:"gateway" maxLength:"253" doc:"Domain of the provider whose gateway it is"`
	Anew    bool   `json:"anew,omitempty" doc:"Whether the keys known so far were refused"`
}

// GatewayKeys are the answer. The device verifies them.
type GatewayKeys struct {
	Signed []byte `json:"signed" doc:"The keys, with their end and the signatures of the gateway's provider"`
}

// ObliviousRequest is an encrypted request, to be passed on.
type ObliviousRequest struct {
	Gateway string `json:"gateway" maxLength:"253" doc:"Domain of the provider whose gateway it is for"`
	Sealed  []byte `json:"sealed" doc:"The request, message/ohttp-req of RFC 9458"`
}

// ObliviousAnswer is the encrypted answer to one.
type ObliviousAnswer struct {
	Sealed []byte `json:"sealed" doc:"The answer, message/ohttp-res of RFC 9458"`
}
