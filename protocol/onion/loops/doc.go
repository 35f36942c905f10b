// Package loops judges by a node's packets to itself whether the relays of its paths lose packets.
//
// A relay, or whoever holds the links to it, can find out where a packet goes by keeping all others
// away from it: with n packets in the relay of which n-1 are its own, the one that is left is known
// (Serjantov, Dingledine and Syverson, "From a Trickle to a Flood", 2002). To do so it has to drop or
// delay packets of others, and cannot tell whose are loops: a sender whose loops do not come back knows
// that something is wrong (Danezis and Sassaman, "Heartbeat Traffic to Counter (n-1) Attacks", 2003).
//
// Read monitor.go. The package is pure: time is an argument, and nothing is sent here.
//
// # What always holds
//
// Each loop is judged once: returned, or lost when its time is over; one that comes later stays lost.
// What is held is bounded. The alarm depends on the last Window loops that were judged, and rises when
// more of them were lost than chance explains with the loss that is expected anyway, at three standard
// deviations.
//
// # What it does not give
//
// A relay that only delays within the slack, or attacks rarely, is not found. A broken link looks the
// same as an attack: the alarm says that loops are missing, not why. Suspects are those relays that
// were on the paths of lost loops more often than on those of others; a relay can make its neighbours
// look bad.
package loops
