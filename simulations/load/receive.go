package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
)

const (
	// maxEvent bounds an event, in bytes.
	maxEvent = 16 << 20
	// Where an entry has its kind and its transaction id, see room.Entry, and how many
	// characters of base64 hold as much of it.
	kindAt, txnAt = 93, 94
	headChars     = (txnAt + 32) / 3 * 4
)

// errEvent: an event that makes no sense.
var errEvent = errors.New("event makes no sense")

// receiver is a user's stream. Its goroutine owns the fields below the line; they are
// read when it has nothing more to do.
type receiver struct {
	u      *user
	flight atomic.Pointer[flight]
	hello  chan struct{} // closed when the stream is open
	// ---
	of         *flight // the fields below belong to it
	seen       []uint64
	got        int
	duplicates int
	micros     []uint32
	line       []byte
}

func newReceiver(u *user) *receiver { return &receiver{u: u, hello: make(chan struct{})} }

// run opens the stream and reads it until ctx ends.
func (r *receiver) run(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.u.url()+"/v1/events", nil)
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+r.u.account.Token)
	t := &http.Transport{DisableCompression: true, ReadBufferSize: 64 << 10}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return fmt.Errorf("opening stream of %s: %w", r.u.user, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: stream of %s: status %d", ErrRefused, r.u.user, res.StatusCode)
	}
	in := bufio.NewReaderSize(res.Body, 256<<10)
	var event string
	for {
		line, err := r.readLine(in)
		if err != nil {
			return fmt.Errorf("reading stream of %s: %w", r.u.user, err)
		}
		switch field, value, _ := bytes.Cut(line, []byte(": ")); string(field) {
		case "event":
			if event = string(value); event == clientapi.EventHello {
				close(r.hello)
			}
		case "data":
			if event != clientapi.EventEntries {
				continue
			}
			if err := r.entries(value); err != nil {
				return fmt.Errorf("%w: stream of %s: %w", ErrRefused, r.u.user, err)
			}
		}
	}
}

// readLine returns the next line, without its end, until the next call.
func (r *receiver) readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	r.line = r.line[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		if r.line = append(r.line, line...); len(r.line) > maxEvent {
			return nil, errEvent
		}
		line, err = in.ReadSlice('\n')
	}
	if err != nil {
		return nil, err
	}
	r.line = append(r.line, line...)
	return r.line[:len(r.line)-1], nil
}

// entries looks at every entry of an event, which has been read to its end.
func (r *receiver) entries(data []byte) error {
	f := r.flight.Load()
	if f == nil {
		return nil
	}
	if f != r.of {
		r.of, r.seen, r.got, r.duplicates, r.micros = f, make([]uint64, (len(f.nonces)+63)/64), 0, 0, nil
	}
	now := f.now()
	_, data, ok := bytes.Cut(data, []byte(`"entries":[`))
	if !ok {
		return errEvent
	}
	fresh := 0
	for len(data) > 0 && data[0] == '"' {
		end := bytes.IndexByte(data[1:], '"')
		if end < headChars {
			return errEvent
		}
		var head [headChars / 4 * 3]byte
		if _, err := base64.StdEncoding.Decode(head[:], data[1:1+headChars]); err != nil || head[0] != room.Version {
			return errEvent
		}
		if room.Kind(head[kindAt]) == room.KindMessage {
			fresh += r.message(f, binary.BigEndian.Uint64(head[txnAt:]), now)
		}
		if data = data[end+2:]; len(data) > 0 && data[0] == ',' {
			data = data[1:]
		}
	}
	f.arrive(fresh, now)
	return nil
}

// message notes a message and returns 1 if it is one of the flight, for the first time.
func (r *receiver) message(f *flight, txn uint64, now int64) int {
	i, ok := f.index[txn]
	if !ok {
		return 0
	}
	if r.seen[i/64]&(1<<(i%64)) != 0 {
		r.duplicates++
		return 0
	}
	r.seen[i/64] |= 1 << (i % 64)
	r.got++
	if int(i)%f.stride == 0 {
		r.micros = append(r.micros, uint32(max(0, now-f.due[i].Load())/1000))
	}
	return 1
}
