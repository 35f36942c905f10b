// Package evaluate has identifiers evaluated (package oprf): for the own users' devices and
// this provider itself by t of the network's n evaluators, and, if this provider is one of
// them, for other providers.
//
//	device                own provider                      evaluators, t at once
//	blinds, POST      ->  rations the user,             ->  ration the provider,
//	/v1/evaluate          verifies what comes back,         compute with their share
//	verifies, finishes <- returns t evaluations        <-
//
// The own provider sees which of its users asks, and when, and nothing of what: the request
// is blinded. An evaluator sees the provider. A provider whose evaluation does not verify is
// logged with its proof's failure and named in Faults, and another one is asked; so is one more
// for each 400 ms that pass. Who has erred in the last ten minutes is asked last.
//
// Between providers it is the endpoint "evaluate", whose subject is the key set's name in hexadecimal,
// the body an oprf.Request, the answer an oprf.Evaluation.
//
// # Quotas
//
// Counted are inputs, not requests. A user's budget is kept by its own provider, a
// provider's by each evaluator (Limits). An evaluator cannot tell the users of a
// provider apart; it would have to believe the provider.
//
// A user can have its provider ask over relays (package veil), so that evaluators do not see which provider asks. All
// who ask so have one budget at each evaluator together: less than a provider's, so that it is no better way to try
// many numbers, and used up by one who floods it, when the others are refused.
//
// Nothing is stored. Read evaluate.go, serve.go.
package evaluate
