// Package overlay connects providers: it finds them, says which key speaks for which
// name, carries their HTTP requests over libp2p streams, and their rooms' messages over
// gossip.
package overlay
