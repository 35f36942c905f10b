package authority_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/protocol/discovery"
)

// mailServer is a real SMTP server on this machine.
type mailServer struct {
	addr  string
	roots *x509.CertPool
	// login must be given, if it is set; refuse is what it says to each recipient.
	login  string
	refuse error
	silent bool // answers nothing to data
	// implicit has connections begin with TLS.
	implicit bool

	mu    sync.Mutex
	mails []mailed
}

type mailed struct {
	from, to string
	tls      bool
	login    string
	data     string
}

// startMail starts one; withTLS has it offer STARTTLS.
func startMail(t *testing.T, withTLS bool, change func(*mailServer)) *mailServer {
	t.Helper()
	m := new(mailServer)
	if change != nil {
		change(m)
	}
	srv := smtp.NewServer(backend{m})
	srv.Domain, srv.MaxMessageBytes, srv.AllowInsecureAuth = "mail.example", 64<<10, true
	srv.ReadTimeout, srv.WriteTimeout = 10*time.Second, 10*time.Second
	srv.ErrorLog = log.New(io.Discard, "", 0)
	if withTLS {
		srv.TLSConfig, m.roots = certified(t)
	}
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	m.addr = l.Addr().String()
	ended := make(chan error, 1)
	if m.implicit {
		l = tls.NewListener(l, srv.TLSConfig)
	}
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-ended; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Errorf("mail server: %v", err)
		}
	})
	return m
}

func certified(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der := must(x509.CreateCertificate(rand.Reader, c, c, k.Public(), k))(t)
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der))(t))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}}, pool
}

type backend struct{ m *mailServer }

func (b backend) NewSession(c *smtp.Conn) (smtp.Session, error) { return &session{m: b.m, c: c}, nil }

type session struct {
	m  *mailServer
	c  *smtp.Conn
	at mailed
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user+":"+password != s.m.login {
			return smtp.ErrAuthFailed
		}
		s.at.login = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.m.login != "" && s.at.login == "" {
		return smtp.ErrAuthRequired
	}
	s.at.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.at.to += to
	return s.m.refuse
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.m.silent {
		time.Sleep(100 * time.Millisecond) // longer than the test waits; Close ends it
	}
	s.at.data = string(b)
	_, s.at.tls = s.c.TLSConnectionState()
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.mails = append(s.m.mails, s.at)
	return nil
}

func (s *session) Reset()        { s.at = mailed{login: s.at.login} }
func (s *session) Logout() error { return nil }

func (m *mailServer) only(t *testing.T) mailed {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mails) != 1 {
		t.Fatalf("%d mails, want 1", len(m.mails))
	}
	return m.mails[0]
}

func (m *mailServer) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mails)
}

func message() authority.Message {
	made := time.Date(2026, 11, 29, 4, 0, 0, 0, time.UTC)
	return authority.Message{To: "alice+x@mail.example", Method: discovery.MethodMail, Code: "01234567", User: "mimi://atlanta.example/u/alice", Authority: chicago,
		Made: made, Expires: made.Add(15 * time.Minute)}
}

func (m *mailServer) sender() *authority.SMTP {
	return &authority.SMTP{Server: m.addr, From: "Codes <codes@chicago.example>", Roots: m.roots, Implicit: m.implicit}
}

// TestSMTP: a real mail server gets one well-formed mail with the code, by TLS where it
// offers it, after a login where it wants one.
func TestSMTP(t *testing.T) {
	for what, withTLS := range map[string]bool{"with TLS": true, "on this machine without TLS": false} {
		m := startMail(t, withTLS, func(m *mailServer) { m.login = "chicago:secret" })
		s := m.sender()
		s.Username, s.Password = "chicago", "secret"
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), message()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := m.only(t)
		if got.from != "codes@chicago.example" || got.to != "alice+x@mail.example" || got.tls != withTLS || got.login != "chicago" {
			t.Errorf("%s: %+v", what, got)
		}
		mail := must(netmail.ReadMessage(strings.NewReader(got.data)))(t)
		h := mail.Header
		if h.Get("To") != "<alice+x@mail.example>" || h.Get("From") != `"Codes" <codes@chicago.example>` || h.Get("Auto-Submitted") != "auto-generated" || len(h) != 9 {
			t.Errorf("%s: header %v", what, h)
		}
		if _, err := h.Date(); err != nil || strings.Contains(strings.Join(strings.SplitN(got.data, "\r\n\r\n", 2)[:1], ""), "0123") {
			t.Errorf("%s: header %v, %v", what, h, err)
		}
		body := string(must(io.ReadAll(quotedprintable.NewReader(mail.Body)))(t))
		for _, want := range []string{"Code: 0123 4567", "mimi://atlanta.example/u/alice", "within 15 minutes", chicago} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q in\n%s", what, want, body)
			}
		}
	}
}

// TestSMTPRefuses: nothing goes out without TLS to another machine, to a server whose
// certificate is not good, without the login that it wants, nor when time is up; who the
// server does not know for good is told apart.
func TestSMTPRefuses(t *testing.T) {
	far := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return elsewhere{c}, err
	}
	open := startMail(t, false, nil)
	s := open.sender()
	s.Dial(far)
	if err := s.Send(t.Context(), message()); !errors.Is(err, authority.ErrNoTLS) {
		t.Errorf("another machine without TLS: %v", err)
	}
	s.Username, s.Password = "chicago", "secret"
	s.Plain = true
	s.Server = strings.Replace(open.addr, "127.0.0.1", "localhost.example", 1)
	s.Dial(func(ctx context.Context, network, _ string) (net.Conn, error) { return far(ctx, network, open.addr) })
	if err := s.Send(t.Context(), message()); err == nil || open.count() != 0 {
		t.Errorf("a password without TLS: %v", err)
	}
	s.Username, s.Password = "", ""
	if err := s.Send(t.Context(), message()); err != nil || open.only(t).tls {
		t.Errorf("where the operator says so: %v", err)
	}

	sealed := startMail(t, true, nil)
	s = sealed.sender()
	s.Roots = x509.NewCertPool()
	if err := s.Send(t.Context(), message()); err == nil || sealed.count() != 0 {
		t.Errorf("a certificate by nobody: %v", err)
	}
	s = sealed.sender()
	s.Dial(far)
	if err := s.Send(t.Context(), message()); err != nil || !sealed.only(t).tls {
		t.Errorf("another machine with TLS: %v", err)
	}

	locked := startMail(t, true, func(m *mailServer) { m.login = "chicago:secret" })
	s = locked.sender()
	s.Username, s.Password = "chicago", "wrong"
	if err := s.Send(t.Context(), message()); err == nil || errors.Is(err, authority.ErrRefused) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}

	unknown := startMail(t, false, func(m *mailServer) { m.refuse = &smtp.SMTPError{Code: 550, Message: "no alice+x@mail.example here"} })
	if err := unknown.sender().Send(t.Context(), message()); !errors.Is(err, authority.ErrRefused) || strings.Contains(err.Error(), "alice") {
		t.Errorf("an unknown recipient: %v", err)
	}
	grey := startMail(t, false, func(m *mailServer) { m.refuse = &smtp.SMTPError{Code: 451, Message: "later"} })
	if err := grey.sender().Send(t.Context(), message()); err == nil || errors.Is(err, authority.ErrRefused) {
		t.Errorf("a recipient for later: %v", err)
	}

	slow := startMail(t, false, func(m *mailServer) { m.silent = true })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := slow.sender().Send(ctx, message()); err == nil {
		t.Error("a server that does not answer in time")
	}
}

// elsewhere is a connection to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

// TestHeaderInjection: whatever stands in a message, the mail has the same headers, one
// recipient, and no text that is not in its body.
func TestHeaderInjection(t *testing.T) {
	for _, to := range []string{"a@mail.example\r\nBcc: eve@mail.example", "a@mail.example>\r\nRCPT TO:<eve@mail.example", "a@mail.example, eve@mail.example", "a b@mail.example",
		"a@mail.example\x00", "ä@mail.example", "no address", "a@b@mail.example", "<a@mail.example>", ""} {
		m := startMail(t, false, nil)
		x := message()
		x.To = to
		if err := m.sender().Send(t.Context(), x); !errors.Is(err, authority.ErrRefused) || m.count() != 0 {
			t.Errorf("to %q: %v", to, err)
		}
	}
	m := startMail(t, false, nil)
	x := message()
	x.User = "x\r\n.\r\nMAIL FROM:<eve@mail.example>\r\nBcc: eve@mail.example\r\n\r\n"
	if err := m.sender().Send(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	mail := must(netmail.ReadMessage(strings.NewReader(m.only(t).data)))(t)
	if len(mail.Header) != 9 || mail.Header.Get("Bcc") != "" {
		t.Errorf("header %v", mail.Header)
	}
	for _, from := range []string{"", "codes", "codes@chicago.example\r\nBcc: eve@mail.example", "a@b.example, c@d.example", "ä@chicago.example"} {
		if err := (&authority.SMTP{Server: "mail.example:587", From: from}).Check(); !errors.Is(err, authority.ErrConfig) {
			t.Errorf("from %q: %v", from, err)
		}
	}
	for _, server := range []string{"", "mail.example", ":587", "mail.example:"} {
		if err := (&authority.SMTP{Server: server, From: "codes@chicago.example"}).Check(); !errors.Is(err, authority.ErrConfig) {
			t.Errorf("server %q: %v", server, err)
		}
	}
}
