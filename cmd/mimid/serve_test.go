//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/admin"
)

// TestServeJSON: a node that is run with --json prints one object when it is ready and
// nothing else, ends with 0 when it is interrupted, and leaves no goroutine behind.
func TestServeJSON(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir() + "/a"
	var out, errw lockedBuffer
	if code := run(strings.Fields("init --domain atlanta.example --clients 127.0.0.1:0 --listen /ip4/127.0.0.1/tcp/0 --dns off --log-level error --metrics= --dir "+dir), strings.NewReader(""), &out, &errw); code != 0 {
		t.Fatal(errw.String())
	}
	out.b.Reset()
	done := make(chan int, 1)
	go func() { done <- run([]string{"serve", "--json", "--dir", dir}, strings.NewReader(""), &out, &errw) }()
	for end := time.Now().Add(10 * time.Second); out.String() == "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if out.String() == "" {
		select {
		case code := <-done:
			t.Fatalf("exit %d: %s", code, errw.String())
		default:
			t.Fatal("it is not ready within 10 s")
		}
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil { // which run waits for
		t.Fatal(err)
	}
	select {
	case code := <-done:
		var st admin.Status
		if err := json.Unmarshal([]byte(out.String()), &st); code != 0 || err != nil || st.Domain != "atlanta.example" || errw.String() != "" {
			t.Errorf("exit %d, %v: %s%s", code, err, out.String(), errw.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }
