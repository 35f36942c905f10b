package mls_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain fixes the seed of random schedules, so that a run repeats. Search
// further with -rapid.seed=0 (a fresh one) and -rapid.checks=N.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.seed", "9420"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
