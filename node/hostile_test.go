package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// api is the address of a node's client API.
func (r *running) api() string { return r.status().Clients }

// TestHostileClients: strangers send a whole node bodies that are too large, stop in the
// middle of one, and ask far more than they may. Everybody gets a clear answer or is cut
// off, memory stays bounded, and the users are served meanwhile.
func TestHostileClients(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	alice := a.user("alice")
	room, err := alice.CreateRoom(t.Context(), "room")
	if err != nil {
		t.Fatal(err)
	}
	served := func(what string) {
		t.Helper()
		before := 0
		if list, err := alice.Messages(room, 0, 1000); err == nil {
			before = len(list)
		}
		if _, err := alice.Send(t.Context(), room, what); err != nil {
			t.Fatal(err)
		}
		within(t, "alice is served while "+what, func() bool {
			list, err := alice.Messages(room, 0, 1000)
			return err == nil && len(list) == before+1 && list[before].State == "final"
		})
	}
	hc := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer hc.CloseIdleConnections()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()

	// 256 MiB to a call that takes some kilobytes.
	read := new(counting)
	res, err := hc.Post(a.api()+"/v1/accounts", "application/json", io.LimitReader(io.TeeReader(zeros{}, read), 256<<20))
	if err == nil {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
		res.Body.Close()
		if res.StatusCode != 413 || strings.Contains(string(body), "goroutine ") {
			t.Errorf("a body of 256 MiB: %d %s", res.StatusCode, body)
		}
	}
	if n := read.n.Load(); n > 64<<20 {
		t.Errorf("%d bytes of it were read", n)
	}
	served("somebody sends too much")

	// 200 connections that stop in the middle.
	var conns []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", strings.TrimPrefix(a.api(), "http://"))
		if err != nil {
			break // it takes no more of them
		}
		conns = append(conns, c)
		fmt.Fprintf(c, "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"invite\":")
	}
	served("others stop in the middle of a body")
	if grown := int64(heap()) - int64(before); grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB with %d stalled connections", grown>>20, len(conns))
	}
	for _, c := range conns {
		c.Close()
	}

	// More requests than anybody may make, from one address, at once.
	var refused, answered atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 300 {
				res, err := hc.Post(a.api()+"/v1/accounts", "application/json", bytes.NewReader([]byte(`{}`)))
				if err != nil {
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				switch res.StatusCode {
				case 429:
					refused.Add(1)
				default:
					answered.Add(1)
				}
			}
		})
	}
	all.Wait()
	if refused.Load() == 0 {
		t.Errorf("of a flood %d requests were answered and none was refused as too many", answered.Load())
	}
	served("a flood has just ended")
	if grown := int64(heap()) - int64(before); grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	t.Logf("%d answered, %d refused", answered.Load(), refused.Load())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// counting counts what was read.
type counting struct{ n atomic.Int64 }

func (c *counting) Write(b []byte) (int, error) { c.n.Add(int64(len(b))); return len(b), nil }

// TestReadyz: a load balancer sees that a node is ready, is not while it still serves what
// it began before it stops, and is gone when it has stopped.
func TestReadyz(t *testing.T) {
	a := prepare(t, "atlanta.example")
	get := func(path string) (int, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+a.cfg.Metrics.Listen+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, ""
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	ask := func() (int, string) { return get("/readyz") }
	defer http.DefaultClient.CloseIdleConnections()
	up := make(chan struct{})
	early := make(chan bool)
	go func() { // figures may be asked for as soon as anything answers
		for answered := false; ; {
			select {
			case <-up:
				early <- answered
				return
			default:
				code, body := get("/metrics")
				if answered = answered || code != 0; code != 0 && (code != 200 || !strings.Contains(body, "mimid_")) {
					t.Errorf("/metrics while starting: %d %s", code, body)
				}
			}
		}
	}()
	a.must()
	close(up)
	t.Logf("figures before it was ready: %v", <-early)
	if code, body := ask(); code != 200 || !strings.Contains(body, "ready") {
		t.Errorf("a node that is ready says %d %s", code, body)
	}
	// A request whose body has not come to its end holds the stop open.
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.api(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"invite\":")
	time.Sleep(50 * time.Millisecond) // a connection without a request would be closed at once
	stopped := make(chan error, 1)
	go func() { stopped <- a.stop() }()
	within(t, "it says that it stops", func() bool {
		code, body := ask()
		return code == 503 && strings.Contains(body, "starting or stopping")
	})
	conn.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if code, _ := ask(); code != 0 {
		t.Errorf("a node that has stopped says %d", code)
	}
}
