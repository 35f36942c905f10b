package overlay_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A dnsServer answers TXT queries over UDP on the loopback interface. Names it does not
// know do not exist.
type dnsServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	txt     map[string][]string // guarded by mu
	broken  map[string]bool     // guarded by mu
	queries map[string]int      // guarded by mu
}

func newDNS(t testing.TB) *dnsServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{conn: conn, txt: make(map[string][]string), broken: make(map[string]bool), queries: make(map[string]int)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := s.answer(buf[:n]); err == nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

func (s *dnsServer) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, err
	}
	q := m.Questions[0]
	name := q.Name.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries[name]++
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	texts, known := s.txt[name]
	switch {
	case s.broken[name]:
		reply.RCode = dnsmessage.RCodeServerFailure
	case !known:
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range texts {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.TXTResource{TXT: []string{text}},
		})
	}
	return reply.Pack()
}

// set makes a name have these texts, or not exist.
func (s *dnsServer) set(name string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.broken, name)
	delete(s.txt, name)
	if len(texts) > 0 {
		s.txt[name] = texts
	}
}

func (s *dnsServer) fail(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[name] = true
}

func (s *dnsServer) asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries[name]
}

// resolver asks this server and no other.
func (s *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}
