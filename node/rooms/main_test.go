package rooms_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/room"
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 6000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: not within a minute", what)
}

func callLog(id room.ID, stand []byte) rooms.Call {
	return rooms.Call{Target: "atlanta.example", Endpoint: rooms.EndpointLog, Subject: id.String(), Body: stand, Max: 1 << 20}
}
