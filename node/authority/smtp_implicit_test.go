package authority_test

import (
	"context"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

// TestImplicitTLS_RFC8314: at a server where connections begin with TLS, mail and login go by it. Nothing
// is said to a server with another's certificate, nor in the clear to one that has no TLS.
func TestImplicitTLS_RFC8314(t *testing.T) {
	m := startMail(t, true, func(m *mailServer) { m.login, m.implicit = "chicago:secret", true })
	s := m.sender()
	s.Username, s.Password = "chicago", "secret"
	if err := s.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if got := m.only(t); !got.tls || got.login != "chicago" || got.to != "alice+x@mail.example" {
		t.Errorf("%+v", got)
	}

	s.Roots = x509.NewCertPool()
	if err := s.Send(t.Context(), message()); err == nil || m.count() != 1 {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	s.Roots = m.roots
	s.Implicit = false
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // the server waits for TLS
	defer cancel()
	if err := s.Send(short, message()); err == nil || m.count() != 1 {
		t.Errorf("without TLS to such a server: %v", err)
	}

	// A server without TLS hears nothing of it: neither name, login nor mail.
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	heard := make(chan byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(heard)
			return
		}
		defer c.Close()
		c.Write([]byte("220 mail.example ESMTP\r\n"))
		var first [1]byte
		c.Read(first[:])
		heard <- first[0]
	}()
	s.Server, s.Implicit, s.Plain = l.Addr().String(), true, true
	if err := s.Send(t.Context(), message()); err == nil {
		t.Error("it was sent without TLS")
	}
	if b := <-heard; b != 22 { // a TLS handshake record (RFC 8446 section 5.1)
		t.Errorf("the first octet to a server without TLS was %d", b)
	}
}
