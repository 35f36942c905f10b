package content_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain fixes rapid's seed, so that a run repeats.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
