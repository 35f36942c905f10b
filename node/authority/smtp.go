package authority

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// SMTP sends codes through a mail server that takes mail for everywhere, by STARTTLS (RFC
// 3207) or by TLS from the start (RFC 8314 section 3.3). Its fields do not change. Safe for concurrent use.
type SMTP struct {
	// Server is its host:port.
	Server string
	// From is the address that mail comes from.
	From string
	// Username and Password log in, if Username is not empty: never without TLS, except at a
	// loopback address.
	Username, Password string
	// Plain sends without TLS where the server is not on this machine and offers none. For
	// networks that are trusted. On a loopback address TLS is used if it is offered.
	Plain bool
	// Implicit has the connection begin with TLS, as at port 465. What the server then offers or
	// not does not matter, and Plain neither.
	Implicit bool
	// Roots are those who may certify the server. Nil: the system's.
	Roots *x509.CertPool
	// Now dates the mail. Default time.Now.
	Now func() time.Time

	dial func(ctx context.Context, network, address string) (net.Conn, error) // for tests; nil: net's
}

// ErrNoTLS: the mail server does not offer STARTTLS, so nothing was sent.
var ErrNoTLS = errors.New("authority: the mail server offers no STARTTLS; set it up there, or verification.smtp_plain if the network between is trusted")

// Check says what is wrong with the configuration. Error: ErrConfig.
func (s *SMTP) Check() error {
	host, port, err := net.SplitHostPort(s.Server)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("%w: mail server %q is not host:port", ErrConfig, s.Server)
	}
	if _, err := s.sender(); err != nil {
		return err
	}
	if s.Username == "" && s.Password != "" {
		return fmt.Errorf("%w: a password for the mail server, and no user name", ErrConfig)
	}
	return nil
}

func (s *SMTP) sender() (*mail.Address, error) {
	a, err := mail.ParseAddress(s.From)
	if err != nil || strings.ContainsAny(s.From, "\r\n") || !plain(a.Address) {
		return nil, fmt.Errorf("%w: %q is no address that mail can come from", ErrConfig, s.From)
	}
	return a, nil
}

// plain says whether an address can stand in a command and a header as it is.
func plain(address string) bool {
	for _, c := range []byte(address) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("<>(),;:\\\"[]", c) >= 0 {
			return false
		}
	}
	return len(address) <= 320 && strings.Count(address, "@") == 1
}

// Send implements Sender. Errors: ErrRefused (a permanent answer to the recipient), ErrNoTLS,
// those of the network.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	if err := s.send(ctx, m); err != nil {
		return fmt.Errorf("sending mail through %s: %w", s.Server, err)
	}
	return nil
}

func (s *SMTP) send(ctx context.Context, m Message) error {
	from, err := s.sender()
	if err != nil {
		return err
	}
	if !plain(m.To) {
		return fmt.Errorf("%w: not a plain address", ErrRefused)
	}
	host, _, err := net.SplitHostPort(s.Server)
	if err != nil {
		return err
	}
	dial := s.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", s.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The deadline ends what the server drags out, and this what is given up.
	if d, ok := ctx.Deadline(); ok {
		conn.SetDeadline(d)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if s.Implicit {
		over := tls.Client(conn, s.tls(host))
		if err := over.HandshakeContext(ctx); err != nil { // net/smtp knows that it is TLS, and lets logins through
			return err
		}
		conn = over
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	if err := c.Hello(hello(m.Authority)); err != nil {
		return err
	}
	if err := s.secure(c, conn, host); err != nil {
		return err
	}
	if s.Username != "" {
		// PlainAuth refuses where the connection is neither TLS nor to this machine.
		if err := c.Auth(smtp.PlainAuth("", s.Username, s.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(from.Address); err != nil {
		return err
	}
	if err := c.Rcpt(m.To); err != nil {
		var answer *textproto.Error
		if errors.As(err, &answer) && answer.Code >= 500 {
			return fmt.Errorf("%w: %d", ErrRefused, answer.Code) // the text may repeat the address
		}
		return errors.New("the recipient is not taken now")
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(s.compose(from, m)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	c.Quit() // it was accepted, whatever comes of the goodbye
	return nil
}

// secure goes over to TLS. On this machine it need not be.
func (s *SMTP) secure(c *smtp.Client, conn net.Conn, host string) error {
	if s.Implicit {
		return nil
	}
	if ok, _ := c.Extension("STARTTLS"); ok {
		return c.StartTLS(s.tls(host))
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); s.Plain || ok && a.IP.IsLoopback() {
		return nil
	}
	return ErrNoTLS
}

func (s *SMTP) tls(host string) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
}

// hello is the name that the server is greeted with.
func hello(domain string) string {
	if domain == "" {
		return "localhost"
	}
	return domain
}

// compose writes the mail. What stands in a header is a constant, a number, or an address
// that plain has judged; the rest is encoded, so that a line break of it is none of the mail's.
func (s *SMTP) compose(from *mail.Address, m Message) []byte {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	_, domain, _ := strings.Cut(from.Address, "@")
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", from.String()}, {"To", "<" + m.To + ">"}, {"Subject", "Your code"}, {"Date", now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + hex.EncodeToString(id[:]) + "@" + domain + ">"}, {"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	q.Write([]byte(m.Text())) // into memory
	q.Close()
	return b.Bytes()
}
