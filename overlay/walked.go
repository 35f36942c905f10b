package overlay

import "context"

// Walked says what one search through the DHT did, for measurements.
type Walked struct {
	Asked    int // nodes that were asked, one request each
	Answered int
	Hops     int // from this node to the one that answered last: the one with what was looked for, if that ended the search
}

type walkedKey struct{}

// WithWalked returns a context in which Announcers tells what its search did, when it ends.
// What lies here ends a search before it has begun, and is not told.
func WithWalked(ctx context.Context, told func(Walked)) context.Context {
	return context.WithValue(ctx, walkedKey{}, told)
}
