// Package ration gives each key (a device, an address, another provider) a
// budget that is spent by use and comes back with time: a token bucket per key,
// in bounded memory, without a goroutine and without a clock of its own.
//
// A key that has not been seen for so long that its budget is full again is no
// different from a new one, and is forgotten when room is needed. If all
// MaxKeys keys are in use, newcomers share one budget, the size of one key's:
// whoever floods with made-up keys, then, competes with other newcomers and
// takes nothing from those who are known.
package ration
