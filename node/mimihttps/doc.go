// Package mimihttps is MIMI's own transport, HTTPS with certificates on both sides (MIMI
// protocol sections 4 and 5.1): a Server in front of the handlers that the overlay's
// streams have, and a Transport that takes requests to other providers by the overlay
// where it can and by HTTPS where it cannot. What is asked and answered is the business of
// package peering.
//
// Read names.go (who a certificate speaks for), server.go, directories.go (what other
// providers say about themselves), transport.go, certificate.go (the own one).
//
// # Who is who
//
//   - The target of a request is its Host, whose port does not matter. A server answers
//     for its own domain only, any other is 421.
//   - The source is in the header From: mimi@DOMAIN, and the client's certificate has to
//     name that domain. A certificate may name several.
//   - A name is a DNS entry among the subjectAltNames, letter by letter: no wildcards, no
//     common names. A wildcard speaks for hosts below a domain, and a provider is a domain.
//   - Certificates are good for either side if they are good for a TLS server: those who
//     issue to the public do not issue for clients any more, and the name is what counts.
//
// The directory needs no certificate of who reads it. Everything is TLS 1.3 and HTTP/1.1:
// one request at a time on a connection, so what a peer can hold open is counted in
// connections.
//
// A certificate proves the provider. Providers that run mimid also sign an envelope with
// the provider key, as over the overlay; the two must agree. See package peering.
//
// # How a provider is found
//
// By its domain, in DNS, on port 443, or as ClientConfig.Resolve says. Its directory lies
// at wire.DirectoryPath. URLs in it may lead to a host below the domain and to another
// port, the same for all of them; the certificate there has to name the domain all the same,
// and the Host stays the domain. So a directory cannot send anybody's request elsewhere. No redirect is followed.
//
// The directory of a provider that runs mimid holds its provider record (package
// overlay), which names its key; that is how the certificate proves the key. It is used
// for a quarter of an hour without being read again.
package mimihttps
