package clienthttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/protocol/clientapi"
)

// script is a stream that has frames at times.
type script struct {
	at     []time.Duration // since begin
	frames [][]byte
	begin  time.Time
}

func (s *script) Next(ctx context.Context) ([][]byte, error) {
	if len(s.at) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	timer := time.NewTimer(s.at[0] - time.Since(s.begin))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f := s.frames[0]
	s.at, s.frames = s.at[1:], s.frames[1:]
	return [][]byte{f}, nil
}

func (s *script) Close() {}

// A written piece, as who watches sees it.
type written struct {
	at   time.Duration
	size int
}

// watch writes a stream steadily for a minute, and returns what who watches sees, and what the device reads.
func watch(t *testing.T, s *script) (seen []written, read string) {
	const every = 2 * time.Second
	begin := time.Now()
	s.begin = begin
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute+time.Millisecond)
	defer cancel()
	err := clienthttp.Steadily(ctx, s, every, func(piece []byte) error {
		seen = append(seen, written{time.Since(begin), len(piece)})
		read += string(piece)
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	return seen, read
}

// events are the events in what a device reads, without comments.
func events(read string) (out []string) {
	var frame strings.Builder
	for line := range strings.Lines(read) {
		switch {
		case strings.HasPrefix(line, ":"):
		case line == "\n":
			if frame.Len() > 0 {
				out = append(out, frame.String()+"\n")
			}
			frame.Reset()
		default:
			frame.WriteString(line)
		}
	}
	return out
}

// TestSteadyStream: with nothing to say, with little, with much at once and with pieces that are full to an octet or two,
// the times and sizes of what is written are the same, and every event is read, in its order.
func TestSteadyStream(t *testing.T) {
	frame := func(n, size int) []byte {
		f, err := clienthttp.Frame(fmt.Sprint(n), "entries", "")
		must(t, err)
		g, err := clienthttp.Frame(fmt.Sprint(n), "entries", strings.Repeat("x", size-len(f)))
		must(t, err)
		if len(g) != size {
			t.Fatalf("a frame of %d octets, not %d", len(g), size)
		}
		return g
	}
	const whole = clientapi.SteadySize
	busy := &script{}
	for n, e := range []struct {
		at   time.Duration
		size int
	}{{0, 100}, {time.Second, 200}, {1999 * time.Millisecond, 300}, {2001 * time.Millisecond, whole - 1}, {4 * time.Second, whole - 2}, {6100 * time.Millisecond, whole},
		{9 * time.Second, whole + 1}, {13 * time.Second, 5 * whole}, {13 * time.Second, 100}, {40 * time.Second, 100}} {
		busy.at, busy.frames = append(busy.at, e.at), append(busy.frames, frame(n, e.size))
	}
	want := slices.Clone(busy.frames)
	synctest.Test(t, func(t *testing.T) {
		idle, nothing := watch(t, &script{})
		if len(idle) != 30 || len(events(nothing)) != 0 {
			t.Errorf("%d pieces, and %q", len(idle), events(nothing))
		}
		for i, p := range idle {
			if p != (written{time.Duration(i+1) * 2 * time.Second, whole}) {
				t.Errorf("piece %d: %+v", i, p)
			}
		}
		seen, read := watch(t, busy)
		if !slices.Equal(seen, idle) {
			t.Errorf("who watches sees\n%v, and when nothing is said\n%v", seen, idle)
		}
		got := events(read)
		for i, f := range want {
			if i >= len(got) || !bytes.Equal([]byte(got[i]), f) {
				t.Errorf("event %d of %d octets is not read", i, len(f))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d events, not %d", len(got), len(want))
		}
	})
}

// TestSteadyStreamEnds: a stream that fails ends, and so does one whose device takes nothing.
func TestSteadyStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		begin := time.Now()
		err := clienthttp.Steadily(t.Context(), &script{begin: begin}, time.Second, func([]byte) error { return gone })
		if !errors.Is(err, gone) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// TestSteadyOverHTTP: a device that asks for a steady stream reads its events, in pieces.
func TestSteadyOverHTTP(t *testing.T) {
	s := serve(t)
	r := s.open("&steady=100")
	if got := r.res.Header.Get(clientapi.HeaderSteady); got != "100" {
		t.Errorf("it says that it is steady by %q", got)
	}
	piece := func() string {
		b := make([]byte, clientapi.SteadySize)
		if _, err := io.ReadFull(r.in, b); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := events(piece()); len(got) != 1 || !strings.HasPrefix(got[0], "event: "+clientapi.EventHello+"\n") {
		t.Errorf("it begins with %q", got)
	}
	stream, news := s.f.stream(0), [][]byte{frame(t, "7")}
	go func() { stream.more <- news }()
	var got []string
	for range 100 { // ten seconds, after which the reader gives up
		if got = events(piece()); len(got) > 0 {
			break
		}
	}
	if len(got) != 1 || got[0] != string(frame(t, "7")) {
		t.Errorf("read %q", got)
	}
	for _, bad := range []string{"99", "30001", "x", "-1"} {
		res := s.do("GET", "/v1/events?steady="+bad, nil)
		if s.body(res); res.StatusCode != 422 {
			t.Errorf("steady = %s: status %d", bad, res.StatusCode)
		}
	}
}
