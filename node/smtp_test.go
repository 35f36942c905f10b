package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/clientapi"
)

// TestMailIsWired: a provider whose configuration names a mail server where connections begin with TLS, who
// certifies it, and how to log in, sends codes there and nowhere else.
func TestMailIsWired(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a node that starts five times")
	}
	const address = "alice@mail.example"
	m := startMailbox(t)
	a := prepareWith(t, "atlanta.example", func(c *node.Config) {
		v := &c.Verification
		v.SMTP, v.From, v.SMTPImplicitTLS = m.addr, "codes@atlanta.example", true
		v.SMTPRoots, v.Username, v.SMTPPassword = "roots.pem", "atlanta", "smtp.password"
	})
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what, want string) {
		t.Helper()
		if err := a.run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%s: %v, want %q", what, err, want)
		}
	}
	refused("without the password", "verification.smtp_password_file")
	write("smtp.password", "secret\nnot this\n")
	refused("without the roots", "verification.smtp_roots")
	write("roots.pem", "no PEM\n")
	refused("with roots that are none", "there is no certificate in")

	// Somebody else certifies mail servers: this one is not spoken to.
	_, other := mailCertificate(t)
	write("roots.pem", other)
	a.must()
	alice := a.user("alice")
	var p *clientapi.Problem
	if _, err := alice.RequestCode(t.Context(), "mailto:bob@mail.example", ""); !errors.As(err, &p) || p.Code != clientapi.CodeUnreachable {
		t.Errorf("by a mail server that nobody vouches for: %v", err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-m.mails:
		t.Fatalf("it got %+v", got)
	default:
	}

	write("roots.pem", m.roots)
	a.must()
	if _, err := alice.RequestCode(t.Context(), "mailto:"+address, ""); err != nil {
		t.Fatalf("asking for a code: %v", err)
	}
	var got mailboxMail
	within(t, "the mail comes", func() bool {
		select {
		case got = <-m.mails:
			return true
		default:
			return false
		}
	})
	if !got.tls || got.login != "atlanta:secret" || got.from != "codes@atlanta.example" || got.to != address {
		t.Errorf("%+v", got)
	}
	mail, err := netmail.ReadMessage(strings.NewReader(got.data))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(mail.Body))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`Code: ([0-9]{4}) ([0-9]{4})`).FindStringSubmatch(string(body))
	if code == nil {
		t.Fatalf("there is no code in %s", body)
	}
	if err := alice.EnterCode(t.Context(), "mailto:"+address, code[1]+code[2]); err != nil {
		t.Errorf("entering the code: %v", err)
	}
	if s := a.log.String(); strings.Contains(s, code[1]+code[2]) || strings.Contains(s, address) || strings.Contains(s, "secret") {
		t.Errorf("the log says %s", s)
	}
}

// TestMailKeys: what each key of the configuration asks for reaches what sends mail.
func TestMailKeys(t *testing.T) {
	for _, c := range []struct {
		why             string
		set             func(v *node.Verification)
		implicit, plain bool
	}{
		{"STARTTLS", func(*node.Verification) {}, false, false},
		{"port 465 (RFC 8314 section 3.3)", func(v *node.Verification) { v.SMTP = "mail.example:465" }, true, false},
		{"another port", func(v *node.Verification) { v.SMTPImplicitTLS = true }, true, false},
		{"no TLS", func(v *node.Verification) { v.SMTPPlain = true }, false, true},
	} {
		cfg := node.DefaultConfig("atlanta.example")
		v := &cfg.Verification
		v.SMTP, v.From = "mail.example:587", "codes@atlanta.example"
		c.set(v)
		s, err := node.MailSender(cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		if s.Server != v.SMTP || s.From != v.From || s.Implicit != c.implicit || s.Plain != c.plain || s.Roots != nil || s.Username+s.Password != "" {
			t.Errorf("%s: %+v", c.why, s)
		}
	}
}

// mailbox is a mail server on this machine where connections begin with TLS.
type mailbox struct {
	addr, roots string
	mails       chan mailboxMail
}

type mailboxMail struct {
	from, to, login, data string
	tls                   bool
}

func startMailbox(t *testing.T) *mailbox {
	t.Helper()
	config, roots := mailCertificate(t)
	m := &mailbox{roots: roots, mails: make(chan mailboxMail, 10)}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &mailboxSession{m: m, c: c}, nil }))
	s.Domain, s.ErrorLog = "mail.example", log.New(io.Discard, "", 0)
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	m.addr = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Errorf("mail server: %v", err)
		}
	})
	return m
}

// mailCertificate is one for this machine, which certifies itself.
func mailCertificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

type mailboxSession struct {
	m  *mailbox
	c  *smtp.Conn
	at mailboxMail
}

func (s *mailboxSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailboxSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.at.login = user + ":" + password
		return nil
	}), nil
}

func (s *mailboxSession) Mail(from string, _ *smtp.MailOptions) error { s.at.from = from; return nil }
func (s *mailboxSession) Rcpt(to string, _ *smtp.RcptOptions) error   { s.at.to += to; return nil }

func (s *mailboxSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.at.data = string(b)
	_, s.at.tls = s.c.TLSConnectionState()
	s.m.mails <- s.at
	return nil
}

func (s *mailboxSession) Reset()        { s.at = mailboxMail{login: s.at.login} }
func (s *mailboxSession) Logout() error { return nil }
