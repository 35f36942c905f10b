package outbox

import "errors"

// ErrFull: as much waits for this target, or as many targets wait, as the
// configuration allows. The target has probably been away for long. Nothing was
// stored; try again when it is back.
var ErrFull = errors.New("outbox: full")

// ErrItem: an item cannot be stored: no target or endpoint, or too long. A
// mistake of the program.
var ErrItem = errors.New("outbox: not an item")

// ErrDamaged: a stored item does not decode. `mimid verify` tells more.
var ErrDamaged = errors.New("outbox: stored item is damaged")

// ErrConfig: New was given a configuration that cannot work.
var ErrConfig = errors.New("outbox: unusable configuration")
