package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// SocketName is the name of the socket in the data directory.
const SocketName = "admin.sock"

// Config configures a Server.
type Config struct {
	// Dir is the data directory, in which the socket is made.
	Dir string
	// Listener brings connections in place of the socket, which is not made then. Run closes it.
	Listener net.Listener
	Services Services
	// Log receives a line for everything that changes something.
	Log *slog.Logger
	// ShutdownTimeout is how long Run waits for calls under way. Default 5 seconds.
	ShutdownTimeout time.Duration
}

// Server answers on the socket.
type Server struct {
	cfg     Config
	path    string
	handler http.Handler
	ready   chan struct{} // closed by Run
}

// New returns a Server. It makes no socket. Error: ErrConfig.
func New(cfg Config) (*Server, error) {
	v := cfg.Services
	if cfg.Dir == "" || v.Accounts == nil || v.Rooms == nil || v.Peers == nil || v.Node == nil || v.Abuse == nil {
		return nil, fmt.Errorf("%w: Dir and all Services are required", ErrConfig)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ShutdownTimeout <= 0 {
		cfg.ShutdownTimeout = 5 * time.Second
	}
	s := &Server{cfg: cfg, path: filepath.Join(cfg.Dir, SocketName), ready: make(chan struct{})}
	s.handler = s.routes()
	return s, nil
}

// Handler returns the handler without its socket.
func (s *Server) Handler() http.Handler { return s.handler }

// Ready is closed when the socket is there.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run makes the socket and answers until ctx ends; then it removes it. Call it once.
// Errors: ErrRunning, ErrSocket.
func (s *Server) Run(ctx context.Context) error {
	l := s.cfg.Listener
	remove := func() {} // the socket's name
	if l == nil {
		var err error
		if l, err = listen(ctx, s.path); err != nil {
			return err
		}
		remove = func() { _ = os.Remove(s.path) }
	}
	close(s.ready) // whoever connects now waits in the queue of the socket
	srv := &http.Server{
		Handler: s.handler,
		// No ReadTimeout: it would end the context of a call that takes longer.
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		// A long verification ends with the node.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		remove()
		return fmt.Errorf("serving the operator on %s: %w", s.path, err)
	case <-ctx.Done():
	}
	// First the name, so that the next node finds the place free.
	remove()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the operator on %s: %w", s.path, err)
	}
	return nil
}

// maxSocketPath is what fits into a socket's address on all Unix systems.
const maxSocketPath = 103

func listen(ctx context.Context, path string) (net.Listener, error) {
	making := path + ".new"
	if len(making) > maxSocketPath {
		return nil, fmt.Errorf("%w: the path %s has %d octets, at most %d: use a data directory with a shorter path",
			ErrSocket, making, len(making), maxSocketPath)
	}
	if err := free(ctx, path); err != nil {
		return nil, err
	}
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrSocket, err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", making)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSocket, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by then it has another name
	err = os.Chmod(making, 0o600)
	if err == nil {
		err = os.Rename(making, path)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(making)
		return nil, fmt.Errorf("%w: %w", ErrSocket, err)
	}
	return l, nil
}

// free says whether the path may be taken: nothing is there, or a socket that nobody
// answers on.
func free(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSocket, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%w: %s is there and is no socket: move it away", ErrSocket, path)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("%w: it answers on %s: stop it first, or use another data directory", ErrRunning, path)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		// Such as a process that is alive and so busy that its queue is full.
		return fmt.Errorf("%w: cannot tell whether a node answers on %s: %w", ErrSocket, path, err)
	}
}
