package discovery

import "github.com/mimid/mimid/protocol/uri"

// Unnamed is the searcher in a Query by a provider that does not say its name, as it asks over
// relays: a name that nobody can have (RFC 6761, section 6.4). The announcer's name in the transport, which is in the
// transcript, still says whom both proofs are for.
func Unnamed() uri.Provider {
	p, err := uri.ParseDomain("unnamed.invalid")
	if err != nil {
		panic("discovery: the name of nobody is none: " + err.Error())
	}
	return p
}
