package clienthttp

import (
	"context"
	"time"
)

// Steadily is what a steady stream is written by.
func Steadily(ctx context.Context, stream Stream, every time.Duration, write func(piece []byte) error) error {
	return steadily(ctx, stream, every, write)
}
