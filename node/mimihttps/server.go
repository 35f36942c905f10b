package mimihttps

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

const (
	// CodeFrom (400): the header From is not one mimi@DOMAIN.
	CodeFrom clientapi.Code = "from"
	// CodeCertificate (401): the client has shown no certificate, it does not name the
	// provider in From, or has expired since the connection was made.
	CodeCertificate clientapi.Code = "certificate"
)

// ServerConfig configures a Server.
type ServerConfig struct {
	// Domain is the own provider's.
	Domain string
	// Listener is closed by Run.
	Listener net.Listener
	// Certificate is the own one.
	Certificate *Certificate
	// Roots vouch for the certificates of clients; nil: the system's.
	Roots *x509.CertPool
	// Handler gets what passes; Source tells it of whom.
	Handler http.Handler
	Limits  Limits
	Now     func() time.Time
	Log     *slog.Logger
}

// Limits bounds what peers can hold open. A zero field means its default.
type Limits struct {
	// Connections in all, and of one address. Default 2,048 and 256.
	Connections, PerAddress int
	// HeaderTimeout is how long a handshake, and a header, may take. Default 10 seconds.
	HeaderTimeout time.Duration
	// IdleTimeout of a connection between requests. Default 90 seconds.
	IdleTimeout time.Duration
	// StopTimeout is how long requests in work may take to end when the server stops.
	// Default 5 seconds.
	StopTimeout time.Duration
}

const (
	maxHeader = 32 << 10
	// requestTimeout and responseTimeout bound what the handler does not bound more
	// tightly.
	requestTimeout  = 60 * time.Second
	responseTimeout = 120 * time.Second
)

func (l Limits) withDefaults() Limits {
	setDefault(&l.Connections, 2048)
	setDefault(&l.PerAddress, 256)
	setDefault(&l.HeaderTimeout, 10*time.Second)
	setDefault(&l.IdleTimeout, 90*time.Second)
	setDefault(&l.StopTimeout, 5*time.Second)
	return l
}

func setDefault[T int | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Server answers other providers by HTTPS.
type Server struct {
	cfg  ServerConfig
	http *http.Server
}

// NewServer makes a Server. It starts nothing.
func NewServer(cfg ServerConfig) *Server {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		Protocols:         &protocols,
		ReadHeaderTimeout: cfg.Limits.HeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      responseTimeout,
		IdleTimeout:       cfg.Limits.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			NextProtos: []string{"http/1.1"},
			ClientAuth: tls.RequestClientCert,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return cfg.Certificate.current(), nil
			},
			VerifyConnection: func(cs tls.ConnectionState) error { return verifyClient(&cs, cfg.Roots, cfg.Now()) },
			Time:             cfg.Now,
		},
	}
	return s
}

// Run serves until ctx ends, and then lets requests in work end. It returns nil when ctx
// ended it.
func (s *Server) Run(ctx context.Context) error {
	l := newBounded(s.cfg.Listener, s.cfg.Limits.Connections, s.cfg.Limits.PerAddress)
	served := make(chan error, 1)
	go func() { served <- s.http.ServeTLS(l, "", "") }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTPS: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.StopTimeout)
	defer cancel()
	if s.http.Shutdown(stop) != nil {
		s.http.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTPS: %w", err)
	}
	return nil
}

type sourceKey struct{}

// Source returns the provider that a request comes from, proven by its certificate, and
// false for a request that did not come through a Server.
func Source(r *http.Request) (domain string, ok bool) {
	domain, ok = r.Context().Value(sourceKey{}).(string)
	return domain, ok
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if !strings.EqualFold(strings.TrimSuffix(host, "."), s.cfg.Domain) {
		refuse(w, http.StatusMisdirectedRequest, peering.CodeTarget, "the request is for host %.100q, this is %s", r.Host, s.cfg.Domain)
		return
	}
	if r.URL.Path == wire.DirectoryPath {
		s.cfg.Handler.ServeHTTP(w, r)
		return
	}
	if len(r.TLS.PeerCertificates) == 0 {
		refuse(w, http.StatusUnauthorized, CodeCertificate, "the client has shown no certificate: show one that names your provider")
		return
	}
	from := r.Header.Values("From")
	if len(from) != 1 {
		refuse(w, http.StatusBadRequest, CodeFrom, "%d headers From: exactly one, mimi@ and the domain of the provider that asks", len(from))
		return
	}
	domain, ok := source(from[0])
	if !ok {
		refuse(w, http.StatusBadRequest, CodeFrom, "header From is %.100q: mimi@ and the domain of the provider that asks", from[0])
		return
	}
	leaf := r.TLS.PeerCertificates[0]
	if err := names(leaf, domain); err != nil {
		refuse(w, http.StatusUnauthorized, CodeCertificate, "the client's certificate is for %.200q, not for %.100q as in From", leaf.DNSNames, domain)
		return
	}
	// A connection may outlive it.
	if now := s.cfg.Now(); now.After(leaf.NotAfter) {
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusUnauthorized, CodeCertificate, "the client's certificate has expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
		return
	}
	s.cfg.Handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sourceKey{}, domain)))
}

// refuse answers as peering does.
func refuse(w http.ResponseWriter, status int, code clientapi.Code, format string, args ...any) {
	b, err := json.Marshal(&clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)})
	if err != nil { // texts and numbers cannot fail
		panic(fmt.Sprintf("mimihttps: encoding a problem: %v", err))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(b) // an error means that the peer has gone
}
