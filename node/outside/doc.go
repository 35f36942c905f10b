// Package outside finds out whether strangers can claim KeyPackages at this provider, by having
// another provider try.
//
// Read outside.go (Watch and its configuration), look.go (what a look is), probe.go (for whom
// a KeyPackage is claimed), answer.go (doing it for others), verdict.go (what is said on the wire).
//
// # Why
//
// Package stock watches from within: it makes, for each user, the answer that others would get.
// What it cannot see is whether anybody gets that answer: a node that has moved, that is behind a
// router that lets nobody in, that announces a wrong address, or whose key others do not believe,
// looks well from within for weeks, by the connections that it has made itself.
//
// # A look
//
// The provider makes up a user of its own, with a certificate and one KeyPackage, and signs a
// KeyMaterialRequest of that user for its own KeyPackages, for a room that there is not. It gives
// the request to another provider that it has a connection with (Endpoint). That one brings it to
// where it is for, in the way that a hub brings the request of a participant (MIMI section 5.2): as
// a signed request for keyMaterial, but over a connection that it makes for this, by a node identity
// made for this, with nothing to go by but the provider's public record (overlay.Stranger); or by HTTPS, over a
// connection made for this, by a directory that is read anew. The
// answer, which is made by what answers everybody, is verified there with the keys that are believed
// there, and comes back. Only the KeyPackage of this very look counts, and it is handed out once:
// nobody can say that it has been here who has not.
//
// # Why not for a real user
//
// To claim for a real user would say to the other provider that the user exists, use KeyPackages up
// or ask for the last resort, and need the user's consent. The made-up user's name is random and
// drawn for each look, nobody but it may claim its KeyPackage, and everybody else who asks for it
// gets the uniform refusal, so that a look shows nothing of who the users are. Where a user's
// answer could differ from the made-up one's is behind consent only, in the account registry, and
// that is what package stock looks at for each user. Both together are the whole way.
//
// # When, and the alarm
//
// A look is made every Config.Every (20 s), at another provider each time. Unless it comes back well,
// up to three more are asked at once. Who does not answer, does not know the question, or has no
// time, says nothing. If nobody could claim, and at least two tried in vain (or one, where there is
// no second), strangers cannot add this provider's users: the state is Unseen. With Config.Within of
// 12 s for each, that is known at most 20 + 12 + 12 = 44 s after it has become so. A line in the log
// tells of it, and again every hour; so do a metric, the doctor, `mimid status`, and an event
// to all devices that are connected (Config.Tell).
//
// # For others
//
// A provider brings requests back to where they came from, never to a third one, and only those
// that a provider's own made-up user makes for itself. A provider may ask for six at once and one
// in ten seconds; four are made at a time in all, within 10 s each. It dials at most three nodes with
// eight addresses each. The answer says one of four words and nothing of what dialling met.
//
// # What is not seen
//
// One other provider's network is not everybody's. Providers that lie together can say that
// they were let in by a connection of old when strangers are not, or that they were not let in when
// strangers are. Where a provider has the overlay and HTTPS, a look that comes by one of them is good: it is
// made as requests are, by the overlay first; and one that has HTTPS only asks whomever it knows, so that those who
// cannot reach it by HTTPS say nothing of use until its turn comes to others.
//
// # What always holds
//
// Nothing is stored. State other than Unknown rests on looks of the last round. The owner of
// all state is the mutex of Watch.
package outside
