package load

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/protocol/room"
)

// entry is an encoded entry of a message.
func entry(kind room.Kind, txn room.TxnID, body int) []byte {
	return (&room.Entry{Term: room.FirstTerm, Kind: kind, Txn: txn, Body: make([]byte, body)}).Append(nil)
}

func testFlight(t *testing.T, n, receivers int) (*flight, []room.TxnID) {
	t.Helper()
	w := &world{requests: [][]byte{[]byte("one"), []byte("two")}}
	f, err := newFlight(w, n, receivers)
	if err != nil {
		t.Fatal(err)
	}
	var txns []room.TxnID
	for i := range n {
		txns = append(txns, room.TxnIDOf(f.nonces[i], w.requests[i%2]))
	}
	return f, txns
}

// TestEntries: a receiver counts each message once, duplicates apart, and nothing
// else, as the feed encodes it.
func TestEntries(t *testing.T) {
	f, txns := testFlight(t, 5, 1)
	r := &receiver{}
	if err := r.entries([]byte("anything")); err != nil {
		t.Errorf("before a flight: %v", err)
	}
	r.flight.Store(f)
	say := func(es ...[]byte) {
		t.Helper()
		if err := r.entries(feed.EntriesData(room.ID{}, es, make([]byte, 149))); err != nil {
			t.Fatal(err)
		}
	}
	say()
	say(entry(room.KindCreate, room.TxnID{}, 3), entry(room.KindMessage, txns[0], 0), entry(room.KindMessage, txns[2], 1024))
	say(entry(room.KindMessage, txns[2], 1024), entry(room.KindMessage, room.TxnID{1}, 9))
	if r.got != 2 || r.duplicates != 1 || f.delivered.Load() != 2 || len(r.micros) != 2 {
		t.Errorf("got %d, twice %d, delivered %d, %d times", r.got, r.duplicates, f.delivered.Load(), len(r.micros))
	}
	say(entry(room.KindMessage, txns[1], 1), entry(room.KindMessage, txns[3], 2), entry(room.KindMessage, txns[4], 2))
	select {
	case <-f.arrived:
	default:
		t.Errorf("all have arrived, and nobody says so")
	}
	p := Phase{}
	p.deliveries(f, []*receiver{r})
	if p.Delivered != 5 || p.Lost != 0 || p.Duplicates != 1 {
		t.Errorf("phase %+v", p)
	}
	// The next flight begins from nothing.
	g, _ := testFlight(t, 3, 1)
	r.flight.Store(g)
	say(entry(room.KindMessage, txns[0], 0))
	if r.got != 0 || r.duplicates != 0 || g.delivered.Load() != 0 {
		t.Errorf("of the next flight: got %d, twice %d", r.got, r.duplicates)
	}
}

// TestBadEntries: events that make no sense are errors.
func TestBadEntries(t *testing.T) {
	f, txns := testFlight(t, 1, 1)
	good := string(feed.EntriesData(room.ID{}, [][]byte{entry(room.KindMessage, txns[0], 10)}, nil))
	start := strings.Index(good, `["`) + 2
	for name, data := range map[string]string{
		"no entries":    `{"room":"x"}`,
		"cut":           good[:start+headChars+2],
		"short entry":   `{"entries":["AAAA"]}`,
		"not base64":    good[:start] + "!!!!" + good[start+4:],
		"other version": good[:start] + "////" + good[start+4:],
	} {
		r := &receiver{}
		r.flight.Store(f)
		if err := r.entries([]byte(data)); !errors.Is(err, errEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPost: the request that is written by hand is one that a server reads.
func TestPost(t *testing.T) {
	p := &provider{}
	p.status.Clients = "http://127.0.0.1:1"
	u := &user{p: p}
	u.account.Token = "token"
	w := &world{sender: u, room: "ab"}
	b := string(w.post(nil, []byte("request"), room.TxnNonce{1}))
	head, body, ok := strings.Cut(b, "\r\n\r\n")
	if !ok || !strings.Contains(head, "POST /v1/rooms/ab/messages HTTP/1.1") || !strings.Contains(head, "Host: 127.0.0.1:1\r\n") ||
		!strings.Contains(head+"\r\n", fmt.Sprintf("Content-Length: %d\r\n", len(body))) {
		t.Errorf("request %q", b)
	}
	if body != `{"request":"cmVxdWVzdA==","nonce":"AQAAAAAAAAAAAAAAAAAAAA=="}` {
		t.Errorf("body %s", body)
	}
}

// TestQuantiles: of nothing they are zero, and of few the ones there are.
func TestQuantiles(t *testing.T) {
	if q := quantile(nil, 0.5); q != 0 {
		t.Errorf("of nothing: %v", q)
	}
	list := []uint32{1000, 2000, 3000, 4000, 100_000}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 4, 1: 100} {
		if got := quantile(list, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}
