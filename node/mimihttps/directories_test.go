package mimihttps_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/mimihttps"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/wire"
)

// foreign is a provider that somebody else has made: any handler, any certificate.
func foreign(t testing.TB, cert tls.Certificate, h http.HandlerFunc) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

func directories(t testing.TB, i *issuer, at map[string]string) *mimihttps.Directories {
	t.Helper()
	d := mimihttps.NewDirectories(mimihttps.ClientConfig{Domain: atlanta, Certificate: i.own(atlanta, time.Now), Roots: i.roots(), Resolve: at})
	t.Cleanup(d.Close)
	return d
}

const plainDirectory = `{"submitMessage":"https://biloxi.example/x/submit/{roomId}/now","requestConsent":"https://biloxi.example/x/consent/{targetDomain}"}`

// TestDirectoriesRefused: what another provider's server says is believed only if it is
// that provider's, and never more of it is read than a directory can have.
func TestDirectoriesRefused(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write([]byte(body))
		}
	}
	good := i.pair(leaf(biloxi))
	expired := leaf(biloxi)
	expired.NotBefore, expired.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	for _, x := range []struct {
		why  string
		cert tls.Certificate
		h    http.HandlerFunc
		text string // in the error; "" for none
	}{
		{"good", good, say(200, plainDirectory), ""},
		{"of another provider", i.pair(leaf("chicago.example")), say(200, plainDirectory), "chicago.example"},
		{"a wildcard", i.pair(leaf("*.example")), say(200, plainDirectory), "names another provider"},
		{"by a stranger", stranger.pair(leaf(biloxi)), say(200, plainDirectory), "unknown authority"},
		{"expired", i.pair(expired), say(200, plainDirectory), "expired"},
		{"not there", good, say(404, "no"), "404"},
		{"garbage", good, say(200, "<html>"), "malformed"},
		{"nothing", good, say(200, ""), "malformed"},
		{"no endpoint", good, say(200, "{}"), "no endpoint"},
		{"elsewhere", good, say(200, strings.ReplaceAll(plainDirectory, "biloxi.example", "localhost")), "leads away"},
		{"a name that ends alike", good, say(200, strings.ReplaceAll(plainDirectory, "biloxi.example", "notbiloxi.example")), "leads away"},
		{"two places", good, say(200, strings.Replace(plainDirectory, "biloxi.example", "biloxi.example:8443", 1)), "one place"},
		{"below, at one place", good, say(200, strings.ReplaceAll(plainDirectory, "biloxi.example", "mimi.biloxi.example:8443")), ""},
		{"a redirect", good, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != wire.DirectoryPath {
				t.Error("the redirect is followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "302"},
		{"endless", good, func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("{"))
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<12)); err != nil {
					return
				}
			}
		}, "too large"},
		{"a header without end", good, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "header"},
	} {
		t.Run(x.why, func(t *testing.T) {
			d := directories(t, i, map[string]string{biloxi: foreign(t, x.cert, x.h)})
			record, err := d.Record(t.Context(), biloxi)
			if x.text == "" {
				if err != nil || record != nil {
					t.Errorf("%q, %v", record, err)
				}
				return
			}
			if !errors.Is(err, mimihttps.ErrDirectory) || !strings.Contains(err.Error(), x.text) || record != nil {
				t.Errorf("%q, %v; want %q", record, err, x.text)
			}
		})
	}
	d := directories(t, i, nil)
	for _, name := range []string{"localhost", "x.invalid", "box"} {
		if _, err := d.Record(t.Context(), name); !errors.Is(err, mimihttps.ErrDirectory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A provider whose server accepts and says nothing holds up who waits for it, and not for
// longer than that one wants.
func TestSilentDirectory(t *testing.T) {
	i := newIssuer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := directories(t, i, map[string]string{biloxi: l.Addr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Record(ctx, biloxi); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	l.Close()
	c, err := l.Accept() // the connection that was made is ended by its own deadline, or here
	if err == nil {
		c.Close()
	}
	d.Close()
}

// TestForeignProvider: one that speaks MIMI only gets what MIMI says, where its directory
// says; a directory is read once for many requests.
func TestForeignProvider(t *testing.T) {
	i := newIssuer(t)
	var read atomic.Int64
	var last atomic.Pointer[http.Request]
	cert := i.pair(leaf("other.example", biloxi))
	addr := foreign(t, cert, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == wire.DirectoryPath {
			read.Add(1)
			w.Write([]byte(plainDirectory))
			return
		}
		last.Store(r)
		if strings.Contains(r.URL.Path, "submit") {
			http.Redirect(w, r, "https://chicago.example/", http.StatusTemporaryRedirect)
		}
	})
	d := directories(t, i, map[string]string{biloxi: addr})
	s := &served{t: t, by: i, addr: addr, clock: new(clock)}
	c := s.caller(nobody{}, false, nil)
	c.Client.Transport = &mimihttps.Transport{Overlay: nobody{}, Directories: d}
	c.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range 5 {
		if _, err := c.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "requestConsent", Subject: "mimi://biloxi.example/u/bob"}); err != nil {
			t.Fatal(err)
		}
	}
	r := last.Load()
	if r.URL.Path != "/x/consent/biloxi.example" || r.Host != biloxi || r.Header.Get("From") != "mimi@"+atlanta || len(r.TLS.PeerCertificates) != 1 || r.TLS.PeerCertificates[0].DNSNames[0] != atlanta {
		t.Errorf("%s %s %v", r.Host, r.URL.Path, r.Header)
	}
	_, err := c.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "submitMessage", Subject: room, Room: room})
	if refused, ok := errors.AsType[*peering.Refused](err); !ok || refused.Problem.Status != 307 {
		t.Errorf("a redirect: %v", err)
	}
	if r := last.Load(); r.URL.EscapedPath() != "/x/submit/"+roomPath+"/now" {
		t.Errorf("%s", r.URL.EscapedPath())
	}
	if n := read.Load(); n != 1 {
		t.Errorf("the directory was read %d times", n)
	}
	if _, err := c.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "mimid-log", Subject: "x"}); !errors.Is(err, peering.ErrNotSent) || !errors.Is(err, peering.ErrUnreachable) {
		t.Errorf("an endpoint of ours: %v", err)
	}
}

// Where only the Internet is to be reached, a name that leads inside is not followed.
func TestOnlyPublic(t *testing.T) {
	for addr, ok := range map[string]bool{"192.0.2.1:443": true, "[2001:db8::1]:443": true, "127.0.0.1:443": false, "10.1.2.3:443": false, "192.168.0.1:443": false,
		"169.254.169.254:80": false, "[::1]:443": false, "[fe80::1]:443": false, "[fd00::1]:443": false, "[::ffff:127.0.0.1]:443": false, "0.0.0.0:1": false, "224.0.0.1:1": false, "x": false} {
		if err := mimihttps.OnlyPublic("tcp", addr, nil); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// A renewed certificate is shown without a restart, and one that cannot be read leaves
// the former one.
func TestCertificateIsReadAnew(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	cert, key := i.files(dir, leaf(biloxi))
	clk := new(clock)
	c, err := mimihttps.ReadCertificate(cert, key, biloxi, clk.now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := mimihttps.Shown(c)
	touch := func(ahead time.Duration) {
		for _, f := range []string{cert, key} {
			if err := os.Chtimes(f, time.Time{}, time.Now().Add(ahead)); err != nil {
				t.Fatal(err)
			}
		}
	}
	i.files(dir, leaf(biloxi))
	touch(time.Second)
	if mimihttps.Shown(c) != first {
		t.Error("files are looked at with every use")
	}
	clk.add(2 * time.Minute)
	second := mimihttps.Shown(c)
	if second == first {
		t.Error("not read anew")
	}
	for n, bad := range []func(){
		func() { i.files(dir, leaf("chicago.example")) },
		func() { os.WriteFile(cert, []byte("x"), 0o600) },
		func() { os.Remove(key) },
	} {
		bad()
		for _, f := range []string{cert, key} {
			os.Chtimes(f, time.Time{}, time.Now().Add(time.Duration(n+2)*time.Second))
		}
		clk.add(2 * time.Minute)
		if mimihttps.Shown(c) != second {
			t.Errorf("bad files, %d: the former certificate is gone", n)
		}
	}
	for why, f := range map[string]func() error{
		"another name": func() error {
			cert, key := i.files(t.TempDir(), leaf("*."+biloxi))
			_, err := mimihttps.ReadCertificate(cert, key, biloxi, time.Now, slog.New(slog.DiscardHandler))
			return err
		},
		"no file": func() error {
			_, err := mimihttps.ReadCertificate("nothing", "nothing", biloxi, time.Now, slog.New(slog.DiscardHandler))
			return err
		},
		"roots that are none": func() error {
			_, err := mimihttps.Roots(cert)
			return err
		},
		"no roots": func() error {
			_, err := mimihttps.Roots("nothing")
			return err
		},
	} {
		if err := f(); !errors.Is(err, mimihttps.ErrConfig) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

var _ mimihttps.Overlay = (*overlay.Overlay)(nil)
