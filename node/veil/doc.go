// Package veil lets a provider ask another one over the onion overlay, so that the other one does not learn
// who asks. It is an evaluate.Caller, contact.Caller and introduce.Caller: a request is the same as by
// package peering, but for the source, which is not there.
//
// Read veil.go (Service, asking), serve.go (answering), message.go (what is sent).
//
//	Call: reply blocks to this node  ->  message over relays, acknowledged  ->  inbox, Consume
//	                                                                            Handler, no Source
//	Call: the parts, put together    <-  a packet of a part of the answer   <-  by reply block
//
// # What always holds
//
// Nothing is ever asked another way: if there is no way over relays, or the other provider does not take
// part, nothing is sent and the error is a *clientapi.Problem with CodePrivacy. An answer is one only if it
// has come back whole by the reply blocks that went with the request; that a request was acknowledged says
// that it is on a disk, and no more. It is sent again, over new paths and with new reply blocks, if no answer
// comes; so only endpoints that are idempotent can be asked, and of these only those that take requests
// of nobody in particular (peering.Route.Unnamed). What is in work, and what waits, is bounded; above, a request is
// answered with 429.
//
// # Who is not named
//
// A handler gets an Incoming without Source, which it has to judge by what is in it, or by a budget that all who are
// not named have together. So who floods takes the budget of all others who are not named, and of nobody
// who is.
//
// # What it does not hide
//
// The own provider knows what its user asks. What is asked may name who asks, such as a token that names
// its issuer. The number of packets shows how much was asked, and where relays hold few packets, times show
// who asks whom (docs/threats.md).
package veil
