// Package search looks at every history of a room that a scenario allows, with
// the machines of protocol/hub themselves, and says which sentence is broken.
package search
