package oprf_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain fixes what rapid draws, so that every run is the same.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.seed", "3966"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}
