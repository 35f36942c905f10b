package main

import (
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// throttle VAR URL BYTES sets a variable to the URL of a server that passes connections on
// to another one, with so many bytes a second each way: so that a process can be killed in
// the middle of something.
func throttle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: throttle VAR URL BYTES")
	}
	u, err := url.Parse(args[1])
	ts.Check(err)
	rate, err := strconv.Atoi(args[2])
	ts.Check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pass(c, u.Host, rate)
		}
	}()
	ts.Setenv(args[0], "http://"+l.Addr().String())
}

func pass(c net.Conn, to string, rate int) {
	defer c.Close()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	done := make(chan bool, 2)
	slowly := func(w net.Conn, r net.Conn) {
		buf := make([]byte, max(rate/50, 1))
		for {
			n, err := io.ReadAtLeast(r, buf, 1)
			if n > 0 {
				if _, err := w.Write(buf[:n]); err != nil {
					break
				}
				time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			}
			if err != nil {
				break
			}
		}
		done <- true
	}
	go slowly(d, c)
	go slowly(c, d)
	<-done
}

// port VAR sets a variable to an address that nobody listens on.
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	ts.Setenv(args[0], l.Addr().String())
}
