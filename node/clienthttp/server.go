package clienthttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/node/ration"
)

// Config configures a Server. Services is required, all of it.
type Config struct {
	Services Services
	// Address to listen on, such as 127.0.0.1:8448, unless Listener is given. Run
	// closes the listener.
	Address  string
	Listener net.Listener
	// TLS holds the certificate. Without it only loopback addresses are served.
	TLS *tls.Config
	// Ready says why the node is not ready, or nil. Nil means always ready.
	Ready func() error
	// Version of the program, for the description.
	Version string
	// Log receives faults and, at debug level, a line per request.
	Log *slog.Logger
	// Now is the clock of rates. Default time.Now.
	Now func() time.Time

	// Requests is the rate per device. Default 50 per second, 200 at once.
	Requests ration.Config
	// Strangers is the rate per remote address (IPv6: per /64) of registrations and
	// of requests with a bad token. Default one in two seconds, 30 at once.
	Strangers ration.Config
	// StreamsPerDevice is how many streams a device may have. Default 4.
	StreamsPerDevice int

	// RequestTimeout bounds a call, streams excepted. Default 60 seconds.
	RequestTimeout time.Duration
	// BodyTimeout bounds the reading of a body. Default 20 seconds.
	BodyTimeout time.Duration
	// WriteTimeout is how long a stream's client may take nothing. Default 20
	// seconds.
	WriteTimeout time.Duration
	// Ping is the longest silence of a stream. Default 15 seconds.
	Ping time.Duration
	// ShutdownTimeout is how long Run waits for calls under way. Default 10
	// seconds.
	ShutdownTimeout time.Duration
}

func (c Config) withDefaults() Config {
	set := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	set(&c.RequestTimeout, 60*time.Second)
	set(&c.BodyTimeout, 20*time.Second)
	set(&c.WriteTimeout, 20*time.Second)
	set(&c.Ping, 15*time.Second)
	set(&c.ShutdownTimeout, 10*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Requests.PerSecond <= 0 || c.Requests.Burst <= 0 {
		c.Requests = ration.Config{PerSecond: 50, Burst: 200, MaxKeys: 1 << 16}
	}
	if c.Strangers.PerSecond <= 0 || c.Strangers.Burst <= 0 {
		c.Strangers = ration.Config{PerSecond: 0.5, Burst: 30, MaxKeys: 1 << 14}
	}
	if c.StreamsPerDevice <= 0 {
		c.StreamsPerDevice = 4
	}
	return c
}

// Server serves the API. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	handler   http.Handler
	openAPI   []byte
	devices   *ration.Ration
	strangers *ration.Ration
	streams   streamSet
	stopping  atomic.Bool
}

// New returns a Server. It opens no socket and starts nothing. Errors: ErrConfig,
// ErrPlaintext.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	v := cfg.Services
	for name, missing := range map[string]bool{
		"Accounts": v.Accounts == nil, "KeyPackages": v.KeyPackages == nil, "Providers": v.Providers == nil, "Contacts": v.Contacts == nil,
		"Claims": v.Claims == nil, "Evaluations": v.Evaluations == nil, "Verifications": v.Verifications == nil, "Rooms": v.Rooms == nil, "Finder": v.Finder == nil, "Recruits": v.Recruits == nil, "Submissions": v.Submissions == nil, "Streams": v.Streams == nil,
		"Assets": v.Assets == nil, "Downloads": v.Downloads == nil,
	} {
		if missing {
			return nil, fmt.Errorf("%w: Services.%s is missing", ErrConfig, name)
		}
	}
	if cfg.Address != "" && cfg.TLS == nil && cfg.Listener == nil && !loopback(cfg.Address) {
		return nil, plaintext(cfg.Address)
	}
	s := &Server{
		cfg:       cfg,
		devices:   ration.New(cfg.Requests),
		strangers: ration.New(cfg.Strangers),
	}
	s.streams.most = cfg.StreamsPerDevice
	var err error
	s.handler, err = s.routes()
	return s, err
}

// Handler returns the API without a server around it.
func (s *Server) Handler() http.Handler { return s.handler }

// OpenAPI returns the API's description as it is served. The caller must not
// change it.
func (s *Server) OpenAPI() []byte { return s.openAPI }

func plaintext(address string) error {
	return fmt.Errorf("%w: %s: configure a TLS certificate for it, or listen on 127.0.0.1 behind a proxy that has one", ErrPlaintext, address)
}

// loopback says whether only this machine reaches the address. A host name does
// not count, whatever it resolves to now, but for localhost.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	l := s.cfg.Listener
	if l == nil {
		var lc net.ListenConfig
		var err error
		if l, err = lc.Listen(ctx, "tcp", s.cfg.Address); err != nil {
			return nil, fmt.Errorf("%w on %q: %w", ErrListen, s.cfg.Address, err)
		}
	}
	if s.cfg.TLS == nil {
		if !loopback(l.Addr().String()) {
			_ = l.Close()
			return nil, plaintext(l.Addr().String())
		}
		return l, nil
	}
	conf := s.cfg.TLS.Clone()
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	conf.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(l, conf), nil
}

// Run listens and serves until ctx ends: then it accepts no more, ends the
// streams, whose clients will come again, and waits for calls under way. It may be
// called once. Errors: ErrListen, ErrPlaintext.
func (s *Server) Run(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug), // broken connections and handshakes
	}
	s.cfg.Log.Info("serving clients", "address", l.Addr(), "tls", s.cfg.TLS != nil)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving clients on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	s.streams.closeAll()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		s.cfg.Log.Warn("breaking off calls that did not end in time", "error", err)
		_ = srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving clients on %s: %w", l.Addr(), err)
	}
	return nil
}
