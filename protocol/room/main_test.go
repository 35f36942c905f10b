package room_test

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"testing"

	"github.com/mimid/mimid/protocol/room"
)

// TestMain fixes rapid's seed, so that a run repeats.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// sha is the oracle for hashes: SHA-256 over bytes given in hexadecimal.
func sha(t *testing.T, s string) room.Hash {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}
