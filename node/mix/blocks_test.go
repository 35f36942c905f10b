package mix_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/protocol/onion"
)

// TestBlocks: who has reply blocks answers by each once, and by none that is closed; nothing is left behind.
func TestBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, 50*time.Millisecond, nil)
		for _, v := range w.nodes {
			w.start(v)
		}
		asks, answers := w.nodes[3], w.nodes[4]
		if _, err := asks.sender.Blocks(t.Context(), answers.id, onion.MaxParts+1); !errors.Is(err, mix.ErrConfig) {
			t.Errorf("too many: %v", err)
		}
		b := must[*mix.Blocks](t)(asks.sender.Blocks(t.Context(), answers.id, 3))
		if len(b.Blocks) != 3 || b.Delay <= 0 {
			t.Fatalf("%d blocks, %v", len(b.Blocks), b.Delay)
		}
		for i, text := range []string{"one", "two", "two again"} {
			if err := answers.exit.Answer(b.Blocks[min(i, 1)], []byte(text)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // longer than any path
		}
		for _, want := range []string{"one", "two"} {
			if got := string(<-b.Answers); got != want {
				t.Errorf("answered %q, not %q", got, want)
			}
		}
		b.Close()
		if err := answers.exit.Answer(b.Blocks[2], []byte("late")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		select {
		case got := <-b.Answers:
			t.Errorf("answered %q behind the end", got)
		default:
		}
		if err := asks.sender.Use(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := asks.sender.Blocks(context.Background(), answers.id, 1); !errors.Is(err, mix.ErrNoRelays) {
			t.Errorf("without a list: %v", err)
		}
		for _, v := range w.nodes {
			v.stop()
		}
		if n := mix.Wanted(asks.sender); n != 0 {
			t.Errorf("%d answers are waited for", n)
		}
		if _, err := asks.sender.Blocks(context.Background(), answers.id, 1); !errors.Is(err, mix.ErrNotRunning) {
			t.Errorf("when it has ended: %v", err)
		}
		b.Close() // does not wait for ever
	})
}
