// Package hub decides who orders a room.
package hub
