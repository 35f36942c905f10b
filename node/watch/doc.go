// Package watch tells which other providers are dead, so that rooms can move
// away from a dead hub, and how fast they may do so (Pace). Pairs of providers
// are watched, not rooms: a hub with 100,000 rooms costs each of its replicas one
// ping per interval.
package watch
