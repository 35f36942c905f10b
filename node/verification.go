package node

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
)

// Verification is the section [verification]. With a mail server this provider verifies mail
// addresses, with a webhook telephone numbers: it is a verification authority then, and learns
// these of whoever asks.
type Verification struct {
	// SMTP is the mail server, host:port, that takes codes for all addresses. TLS is required
	// (STARTTLS, or from the start at port 465) unless it is at a loopback address.
	SMTP string `toml:"smtp" comment:"Mail server (host:port) that sends codes. Empty: no mail addresses are verified."`
	// From is the address that codes come from.
	From string `toml:"from" comment:"Address that codes come from."`
	// Username logs in there, with the first line of the file SMTPPassword, whose path is
	// relative to the data directory.
	Username     string `toml:"smtp_username" comment:"Name to log in with; empty: without."`
	SMTPPassword string `toml:"smtp_password_file" comment:"File with the password; relative to this directory."`
	// SMTPRoots is a PEM file of those who may certify the mail server. Empty: the system's.
	SMTPRoots string `toml:"smtp_roots" comment:"PEM file of those who may certify the mail server. Empty: the system's."`
	// SMTPImplicitTLS begins with TLS at another port than 465, too.
	SMTPImplicitTLS bool `toml:"smtp_implicit_tls" comment:"Begin connections to the mail server with TLS at once, as is done at port 465 in any case."`
	// SMTPPlain sends codes without TLS to a mail server that offers none.
	SMTPPlain bool `toml:"smtp_plain" comment:"Send without TLS to a mail server elsewhere that offers none: only over a network that is trusted."`
	// Webhook is the URL of a service that sends text messages, as authority.Webhook calls it:
	// https, or http on this machine.
	Webhook string `toml:"webhook" comment:"URL of a service that sends codes as text messages, https. Empty: no telephone numbers are verified."`
	// WebhookSecret is a file whose first line, of 16 octets at least, is the key of the
	// HMAC-SHA256 in each request; relative to the data directory.
	WebhookSecret string `toml:"webhook_secret_file" comment:"File with the secret that signs requests to it; relative to this directory."`
	// Serve lists the providers for whose users codes are sent. Empty: all.
	Serve []string `toml:"serve" comment:"Providers for whose users codes are sent. Empty: all."`
}

func (v *Verification) check() error {
	if v.SMTP == "" && (v.From != "" || v.Username != "" || v.SMTPPassword != "" || v.SMTPRoots != "" || v.SMTPPlain || v.SMTPImplicitTLS) {
		return errors.New("verification.smtp: it is empty, and other keys for mail are set")
	}
	if v.SMTP != "" {
		if err := (&authority.SMTP{Server: v.SMTP, From: v.From, Username: v.Username}).Check(); err != nil {
			return fmt.Errorf("verification.smtp and verification.from: %w", err)
		}
		if v.implicit() && v.SMTPPlain {
			return errors.New("verification.smtp_plain: the mail server is spoken to by TLS from the start; set one of the two")
		}
		if (v.Username == "") != (v.SMTPPassword == "") {
			return errors.New("verification.smtp_username and verification.smtp_password_file: set both or none")
		}
	}
	if (v.Webhook == "") != (v.WebhookSecret == "") {
		return errors.New("verification.webhook and verification.webhook_secret_file: set both or none")
	}
	for _, d := range v.Serve {
		if p, err := uri.ParseDomain(d); err != nil || p.Domain() != d {
			return fmt.Errorf("verification.serve: %q is no domain in lower case", d)
		}
	}
	return nil
}

// implicit says whether connections to the mail server begin with TLS.
func (v *Verification) implicit() bool {
	_, port, _ := net.SplitHostPort(v.SMTP)
	return v.SMTPImplicitTLS || port == "465"
}

// methods are those by which this provider verifies.
func (v *Verification) methods() (out []string) {
	if v.SMTP != "" {
		out = append(out, string(discovery.MethodMail))
	}
	if v.Webhook != "" {
		out = append(out, string(discovery.MethodSMS))
	}
	return out
}

// believe notes which authorities users are told to believe.
func (n *Node) believe(p *parts) {
	p.providers.methods = n.cfg.Verification.methods()
	p.providers.authorities = slices.Clone(n.cfg.Discovery.Authorities)
	if len(p.providers.methods) > 0 && !slices.Contains(p.providers.authorities, n.cfg.Domain) {
		p.providers.authorities = append(p.providers.authorities, n.cfg.Domain)
	}
}

// makeAuthority makes what verifies identifiers, and what brings own users' requests to those
// who do.
func (n *Node) makeAuthority(p *parts) (*authority.Service, error) {
	v := &n.cfg.Verification
	senders := map[discovery.Method]authority.Sender{}
	if v.SMTP != "" {
		s, err := n.mailSender()
		if err != nil {
			return nil, err
		}
		senders[discovery.MethodMail] = s
		if host, _, _ := net.SplitHostPort(v.SMTP); v.SMTPPlain {
			n.log.Warn("codes are sent without TLS if the mail server offers none", "server", host)
		}
	}
	if v.Webhook != "" {
		secret, err := n.secretFile("verification.webhook_secret_file", v.WebhookSecret)
		if err != nil {
			return nil, err
		}
		h := &authority.Webhook{URL: v.Webhook, Secret: []byte(secret), Now: n.now}
		if err := h.Check(); err != nil {
			return nil, fmt.Errorf("%w: verification.webhook: %w", ErrConfig, err)
		}
		senders[discovery.MethodSMS] = h
	}
	return authority.New(authority.Config{
		Domain: n.cfg.Domain, Store: p.store, Caller: p.caller, Senders: senders, Secrets: p.contacts, Serve: v.Serve,
		Resolve: func(ctx context.Context, domain string) error {
			_, err := p.overlay.Resolve(ctx, domain)
			return err
		},
		Anchors: p.providers.anchors, ProviderKey: func() crypto.Signer { return n.keys.present() }, Now: n.now, Log: n.log.With("part", "authority"),
	})
}

// mailSender is what sends codes by mail, as configured.
func (n *Node) mailSender() (*authority.SMTP, error) {
	v := &n.cfg.Verification
	s := &authority.SMTP{Server: v.SMTP, From: v.From, Username: v.Username, Plain: v.SMTPPlain, Implicit: v.implicit()}
	if v.SMTPPassword != "" {
		var err error
		if s.Password, err = n.secretFile("verification.smtp_password_file", v.SMTPPassword); err != nil {
			return nil, err
		}
	}
	if v.SMTPRoots != "" {
		b, err := readAtMost(n.path(v.SMTPRoots), maxConfig)
		if err != nil {
			return nil, fmt.Errorf("%w: verification.smtp_roots: %w", ErrConfig, err)
		}
		if s.Roots = x509.NewCertPool(); !s.Roots.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%w: verification.smtp_roots: there is no certificate in %s", ErrConfig, v.SMTPRoots)
		}
	}
	return s, nil
}

// secretFile reads a secret: the file's first line.
func (n *Node) secretFile(key, file string) (string, error) {
	b, err := readAtMost(n.path(file), 4<<10)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrConfig, key, err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%w: %s: %s is empty", ErrConfig, key, file)
	}
	return line, nil
}
