package clienthttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/protocol/clientapi"
)

// event is one event as a client reads it.
type event struct{ id, name, data string }

// reader is a strict client: what is no well-formed event fails the test.
type reader struct {
	t   testing.TB
	res *http.Response
	in  *bufio.Reader
	ctx context.Context
	end context.CancelFunc
}

func (s *site) open(cursor string, header ...string) *reader {
	s.f.t.Helper()
	runCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	path := "/v1/events"
	if cursor != "" {
		path += "?cursor=" + cursor
	}
	req, err := http.NewRequestWithContext(runCtx, "GET", s.url+path, nil)
	must(s.f.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.http.Do(req)
	if err != nil {
		cancel()
		s.f.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
		s.f.t.Errorf("stream: status %d, header %v", res.StatusCode, res.Header)
	}
	r := &reader{s.f.t, res, bufio.NewReader(res.Body), runCtx, cancel}
	s.f.t.Cleanup(r.close)
	return r
}

func (r *reader) close() {
	r.end()
	_ = r.res.Body.Close()
}

// next reads an event; ok is false at the end of the stream.
func (r *reader) next() (e event, ok bool) {
	r.t.Helper()
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			if errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
				r.t.Error("waited in vain for an event or the end")
			}
			if line != "" || e != (event{}) {
				r.t.Errorf("the stream ends inside an event: %q after %+v: %v", line, e, err)
			}
			return e, false
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
			if e.name == "" || e.data == "" {
				r.t.Errorf("an event without type or data: %+v", e)
			}
			return e, true
		case name == "id" && e == (event{}):
			e.id = value
		case name == "event" && e.name == "":
			e.name = value
		case name == "data" && e.data == "":
			e.data = value
		default:
			r.t.Errorf("a line that is not expected: %q after %+v", line, e)
		}
	}
}

// want reads an event that must be this.
func (r *reader) want(id, name string) {
	r.t.Helper()
	if e, ok := r.next(); !ok || e.id != id || e.name != name {
		r.t.Errorf("got %+v (%t), want %s with id %q", e, ok, name, id)
	}
}

func (r *reader) wantEnd() {
	r.t.Helper()
	if e, ok := r.next(); ok {
		r.t.Errorf("got %+v, want the end", e)
	}
}

func frame(t testing.TB, id string) []byte {
	t.Helper()
	f, err := clienthttp.Frame(id, clientapi.EventEntries, clientapi.Entries{Room: id})
	must(t, err)
	return f
}

func (f *fake) stream(i int) *fakeStream {
	f.t.Helper()
	var s *fakeStream
	eventually(f.t, fmt.Sprintf("stream %d", i), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if i < len(f.streams) {
			s = f.streams[i]
		}
		return s != nil
	})
	return s
}

func TestFrame(t *testing.T) {
	f, err := clienthttp.Frame("7", "entries", map[string]string{"text": "two\nlines \u2028 & more"})
	must(t, err)
	if want := "id: 7\nevent: entries\ndata: {\"text\":\"two\\nlines \\u2028 \\u0026 more\"}\n\n"; string(f) != want {
		t.Errorf("frame %q, want %q", f, want)
	}
	f, err = clienthttp.Frame("", "hello", struct{}{})
	must(t, err)
	if want := "event: hello\ndata: {}\n\n"; string(f) != want {
		t.Errorf("frame %q, want %q", f, want)
	}
	if _, err := clienthttp.Frame("1", "x", func() {}); err == nil {
		t.Error("what is no JSON was encoded")
	}
	for _, bad := range [][2]string{{"1\n", "x"}, {"1", "x\r"}, {"\x00", "x"}, {strings.Repeat("1", clienthttp.MaxCursor+1), "x"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("id %.10q and type %q were accepted", bad[0], bad[1])
				}
			}()
			_, _ = clienthttp.Frame(bad[0], bad[1], 1)
		}()
	}
}

func TestStreamResumes(t *testing.T) {
	s := serve(t)
	for i := range 5 {
		s.f.events = append(s.f.events, frame(t, fmt.Sprint(i)))
	}
	r := s.open("")
	r.want("", clientapi.EventHello)
	for i := range 3 {
		r.want(fmt.Sprint(i), clientapi.EventEntries)
	}
	r.close() // in the middle
	for name, r := range map[string]*reader{"query": s.open("2"), "header": s.open("", "Last-Event-ID", "2"), "both": s.open("2", "Last-Event-ID", "4")} {
		e, _ := r.next()
		if e.name != clientapi.EventHello || !strings.Contains(e.data, `"resumed":true`) {
			t.Errorf("%s: begins with %+v", name, e)
		}
		r.want("3", clientapi.EventEntries)
		r.want("4", clientapi.EventEntries)
	}
	eventually(t, "the first stream is closed", s.f.stream(0).isClosed)
}

// What comes later goes out at once, many frames in one piece, in order.
func TestStreamSends(t *testing.T) {
	s := serve(t)
	r := s.open("")
	r.want("", clientapi.EventHello)
	st := s.f.stream(0)
	n := 0
	for _, size := range []int{1, 1, 500, 1} {
		var frames [][]byte
		for range size {
			frames = append(frames, frame(t, fmt.Sprint(n)))
			n++
		}
		shared := bytes.Clone(bytes.Join(frames, nil))
		st.more <- frames
		for i := n - size; i < n; i++ {
			r.want(fmt.Sprint(i), clientapi.EventEntries)
		}
		if !bytes.Equal(shared, bytes.Join(frames, nil)) {
			t.Error("the writer changed frames, which are shared")
		}
	}
}

func TestStreamPings(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.Ping = 20 * time.Millisecond })
	r := s.open("")
	r.want("", clientapi.EventHello)
	for range 3 {
		r.want("", clientapi.EventPing)
	}
	s.f.stream(0).more <- [][]byte{frame(t, "1")}
	for {
		e, ok := r.next()
		if !ok {
			t.Fatal("ended")
		}
		if e.name != clientapi.EventPing {
			break
		}
	}
}

func TestStreamEndsWithItsDevice(t *testing.T) {
	t.Run("removed through the API", func(t *testing.T) {
		s := serve(t)
		r := s.open("")
		r.want("", clientapi.EventHello)
		s.body(s.do("DELETE", "/v1/devices/phone", nil))
		r.wantEnd()
		eventually(t, "no streams", func() bool { return s.Streams() == 0 })
	})
	t.Run("removed otherwise", func(t *testing.T) {
		s := serve(t, func(c *clienthttp.Config) { c.Ping = 20 * time.Millisecond })
		r := s.open("")
		r.want("", clientapi.EventHello)
		s.f.mu.Lock()
		s.f.removed = true
		s.f.mu.Unlock()
		for {
			e, ok := r.next()
			if !ok {
				break
			}
			if e.name != clientapi.EventPing {
				t.Errorf("got %+v", e)
			}
		}
	})
	t.Run("removed otherwise, and never silent", func(t *testing.T) {
		s := serve(t, func(c *clienthttp.Config) { c.Ping = 50 * time.Millisecond })
		r := s.open("")
		r.want("", clientapi.EventHello)
		st := s.f.stream(0)
		s.f.mu.Lock()
		s.f.removed = true
		s.f.mu.Unlock()
		stop := make(chan struct{})
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			for {
				select {
				case st.more <- [][]byte{frame(t, "1")}:
					time.Sleep(time.Millisecond)
				case <-stop:
					return
				}
			}
		}()
		for ok := true; ok; {
			_, ok = r.next()
		}
		close(stop)
		<-fed
	})
	t.Run("a device that was not removed", func(t *testing.T) {
		s := serve(t)
		r := s.open("")
		r.want("", clientapi.EventHello)
		s.wantProblem(s.do("DELETE", "/v1/devices/laptop", nil), 404, clientapi.CodeNotFound)
		s.f.stream(0).more <- [][]byte{frame(t, "1")}
		r.want("1", clientapi.EventEntries)
	})
}

// One stream more than allowed costs the oldest, whose network is the one that has
// gone.
func TestStreamsPerDevice(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.StreamsPerDevice = 2 })
	var all []*reader
	for range 3 {
		r := s.open("")
		r.want("", clientapi.EventHello)
		all = append(all, r)
	}
	all[0].wantEnd()
	for i := 1; i < 3; i++ {
		s.f.stream(i).more <- [][]byte{frame(t, "1")}
		all[i].want("1", clientapi.EventEntries)
	}
	eventually(t, "two streams", func() bool { return s.Streams() == 2 })
	all[1].close()
	eventually(t, "one stream", func() bool { return s.Streams() == 1 })
}

// One that is slow is not cut: it takes a piece now and then, and has time for each.
func TestSlowReaderIsNotCut(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.WriteTimeout = 1500 * time.Millisecond })
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
	must(t, err)
	st := s.f.stream(0)
	fat, err := clienthttp.Frame("1", "entries", strings.Repeat("x", 32<<10))
	must(t, err)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		select {
		case st.more <- slices.Repeat([][]byte{fat}, 16<<5):
		case <-time.After(10 * time.Second):
		}
	}()
	// 16 MB, in more time than is given for a piece.
	buf := make([]byte, 1<<20)
	n := 0
	for n < 16<<20 {
		must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		k, err := c.Read(buf)
		if err != nil {
			t.Fatalf("cut after %d octets: %v", n, err)
		}
		if n += k; n/(1<<20) != (n-k)/(1<<20) {
			time.Sleep(110 * time.Millisecond)
		}
	}
	<-fed
}

// A client that takes nothing is cut, and until then costs no more than what the
// network holds: its stream is not asked again.
func TestStalledReaderIsCut(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.WriteTimeout = 200 * time.Millisecond })
	big := bytes.Repeat([]byte("x"), 100_000)
	fat, err := clienthttp.Frame("1", "entries", string(big))
	must(t, err)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
	must(t, err)
	st := s.f.stream(0)
	sent := 0
	for !st.isClosed() {
		select {
		case st.more <- slices.Repeat([][]byte{fat}, 10): // 1 MB
			sent++
		case <-time.After(10 * time.Millisecond):
		}
		if sent > 200 {
			t.Fatal("200 MB went to a client that reads nothing")
		}
	}
	eventually(t, "no streams", func() bool { return s.Streams() == 0 })
	s.stop()
	if log := s.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("a slow client is no fault:\n%s", log)
	}
}

func TestStreamFailures(t *testing.T) {
	t.Run("cannot be opened", func(t *testing.T) {
		s := serve(t)
		s.f.openErr = errors.New("planted")
		s.wantProblem(s.do("GET", "/v1/events", nil), 500, clientapi.CodeInternal)
		s.f.openErr = fmt.Errorf("inside: %w", &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable, Detail: "starting"})
		s.wantProblem(s.do("GET", "/v1/events", nil), 503, clientapi.CodeUnavailable)
		if s.Streams() != 0 {
			t.Error("refused streams count as open")
		}
	})
	t.Run("fails later", func(t *testing.T) {
		s := serve(t)
		r := s.open("")
		r.want("", clientapi.EventHello)
		close(s.f.stream(0).more)
		r.wantEnd()
		s.stop()
		if !strings.Contains(s.log.String(), "planted") {
			t.Errorf("not in the log:\n%s", s.log)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		s := serve(t)
		s.body(s.do("HEAD", "/v1/events", nil))
		if len(s.f.streams) != 0 {
			t.Error("HEAD opened a stream")
		}
	})
}

// The end of the node ends streams at once and waits for calls.
func TestStop(t *testing.T) {
	s := serve(t)
	r := s.open("")
	r.want("", clientapi.EventHello)
	s.f.mu.Lock()
	s.f.wait = make(chan struct{})
	s.f.mu.Unlock()
	status := make(chan int, 1)
	go func() {
		res := s.do("GET", "/v1/rooms", nil)
		defer res.Body.Close()
		status <- res.StatusCode
	}()
	eventually(t, "the call is under way", func() bool { s.f.mu.Lock(); defer s.f.mu.Unlock(); return len(s.f.calls) > 0 })
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	r.wantEnd()
	select {
	case <-stopped:
		t.Error("did not wait for the call")
	case <-time.After(50 * time.Millisecond):
	}
	close(s.f.wait)
	if got := <-status; got != 200 {
		t.Errorf("the call under way ended with %d", got)
	}
	<-stopped
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.ShutdownTimeout = 50 * time.Millisecond; c.RequestTimeout = time.Hour })
	s.f.wait = make(chan struct{})
	gone := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/rooms", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := s.http.Do(req)
		if err == nil {
			res.Body.Close()
		}
		gone <- err
	}()
	eventually(t, "the call is under way", func() bool { s.f.mu.Lock(); defer s.f.mu.Unlock(); return len(s.f.calls) > 0 })
	s.stop()
	if err := <-gone; err == nil {
		t.Error("the call was answered")
	}
}
