package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/mimihttps"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/wire"
)

// web is this provider's part in HTTPS between providers. A nil one has none.
type web struct {
	domain      string
	offline     bool
	now         func() time.Time
	log         *slog.Logger
	listener    net.Listener
	certificate *mimihttps.Certificate
	directories *mimihttps.Directories
	reach       mimihttps.ClientConfig // of directories
	config      mimihttps.ServerConfig
	server      *mimihttps.Server
}

// makeWeb reads certificates and listens, if HTTPS is on.
func (n *Node) makeWeb() (*web, error) {
	c := &n.cfg.HTTPS
	if c.Listen == "" {
		return nil, nil
	}
	w := &web{domain: n.cfg.Domain, offline: !n.cfg.Overlay.Enabled, now: n.now, log: n.log.With("part", "https")}
	var err error
	if w.certificate, err = mimihttps.ReadCertificate(n.path(c.Certificate), n.path(c.Key), n.cfg.Domain, n.now, w.log); err != nil {
		return nil, fmt.Errorf("%w: https.certificate: %w", ErrConfig, err)
	}
	roots := c.Roots
	if roots != "" {
		roots = n.path(roots)
	}
	pool, err := mimihttps.Roots(roots)
	if err != nil {
		return nil, fmt.Errorf("%w: https.roots: %w", ErrConfig, err)
	}
	w.reach = mimihttps.ClientConfig{Domain: n.cfg.Domain, Certificate: w.certificate, Roots: pool,
		Resolve: c.Resolve, Public: n.cfg.Overlay.Public, Now: n.now, Log: w.log}
	w.directories = mimihttps.NewDirectories(w.reach)
	if w.listener, err = listen("https.listen", c.Listen); err != nil {
		return nil, err
	}
	w.config = mimihttps.ServerConfig{Domain: n.cfg.Domain, Listener: w.listener, Certificate: w.certificate, Roots: pool, Now: n.now, Log: w.log}
	return w, nil
}

// certified is what the overlay asks for the proof by a certificate.
func (w *web) certified() func(context.Context, string) ([]byte, error) {
	if w == nil {
		return nil
	}
	return w.directories.Record
}

func (w *web) directoryURL() string {
	if w == nil {
		return ""
	}
	return "https://" + w.domain + wire.DirectoryPath
}

// client takes requests to other providers, by the overlay or by HTTPS, and proven says
// which of them our certificate vouches for.
func (w *web) client(o *overlay.Overlay) (c *http.Client, proven func(ctx context.Context, target, endpoint string) bool) {
	if w == nil {
		return o.Client(), nil
	}
	t := &mimihttps.Transport{Overlay: o, Off: w.offline, Directories: w.directories}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, t.Proven
}

// stranger takes requests to a provider as somebody does who has not met it: by streams, or by HTTPS
// over connections of its own, by a directory that it reads anew. The directories are to be closed.
func (w *web) stranger(o *overlay.Overlay, streams *http.Client) (*http.Client, *mimihttps.Directories) {
	d := mimihttps.NewDirectories(w.reach)
	return &http.Client{
		Transport:     &mimihttps.Transport{Overlay: strangers{o, streams}, Off: w.offline, Directories: d},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, d
}

// strangers is a mimihttps.Overlay whose streams are a stranger's.
type strangers struct {
	*overlay.Overlay
	streams *http.Client // nil: the overlay is off
}

// Client implements mimihttps.Overlay.
func (s strangers) Client() *http.Client {
	if s.streams == nil {
		return s.Overlay.Client()
	}
	return s.streams
}

// record is the own one for the directory; without HTTPS nobody reads it there.
func (w *web) record(o *overlay.Overlay) func(context.Context) ([]byte, error) {
	if w == nil {
		return nil
	}
	return o.OwnRecord
}

func (w *web) serve(h http.Handler) {
	w.config.Handler = h
	w.server = mimihttps.NewServer(w.config)
}

func (w *web) close() {
	w.listener.Close() // a second close is harmless
	w.directories.Close()
}

// gossip joins rooms' topics, if there are any.
func (n *Node) gossip(o *overlay.Overlay) rooms.Gossip {
	if !n.cfg.Overlay.Enabled {
		return noGossip{}
	}
	return roomGossip{o}
}

// noGossip is that of a node without the overlay: nobody hears what it publishes, so
// everybody is nudged, and it is nudged itself.
type noGossip struct{}

func (noGossip) Join(string, overlay.TopicHandler) (rooms.Topic, error) { return noTopic{}, nil }

type noTopic struct{}

func (noTopic) Publish(context.Context, []byte) error { return nil }
func (noTopic) Mesh() []overlay.PeerID                { return nil }
func (noTopic) Leave()                                {}
